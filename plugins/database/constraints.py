"""Which columns a constraint or an index is about: PostgreSQL names what refused a write, never the columns."""

from __future__ import annotations

import asyncpg

Name = tuple[str, str, str]
"""Schema, table, constraint."""

CATALOGUE = """
SELECT n.nspname::text, c.relname::text, k.name::text,
       (SELECT array_agg(a.attname::text ORDER BY p.place)
          FROM unnest(k.columns) WITH ORDINALITY AS p (number, place)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = k.relid AND a.attnum = p.number)
  FROM (SELECT conrelid AS relid, conname AS name, conkey AS columns
          FROM pg_catalog.pg_constraint
         WHERE conrelid <> 0
         UNION ALL
        SELECT i.indrelid, x.relname, (i.indkey::int2[])[0:i.indnkeyatts - 1]
          FROM pg_catalog.pg_index i
          JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o
                            WHERE o.conindid = i.indexrelid AND o.contype <> 'f')
         UNION ALL
        SELECT p.partrelid, '', p.partattrs::int2[]
          FROM pg_catalog.pg_partitioned_table p) k
  JOIN pg_catalog.pg_class c ON c.oid = k.relid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
"""Constraints; indexes that are none; without a name, what a table is partitioned by. An expression has no column."""

CHECK_VIOLATION = "23514"
"""Of a constraint, or without one: the table has no partition for the row."""


class Constraints:
    """The columns of every constraint, read once and again when an unknown name turns up."""

    def __init__(self) -> None:
        self._columns: dict[Name, tuple[str, ...]] = {}

    async def load(self, connection: asyncpg.Connection) -> None:
        """Read the catalogue. Raises asyncpg's errors."""
        rows = await connection.fetch(CATALOGUE)
        self._columns = {(schema, table, name): tuple(columns or ()) for schema, table, name, columns in rows}

    def knows(self, error: BaseException) -> bool:
        """False for an error of a constraint that was made after the catalogue was read."""
        name = _name(error)
        return name is None or name in self._columns

    def forget_unknown(self, error: BaseException) -> None:
        """Remember that the catalogue has no such constraint (one of a domain, say), and do not ask again."""
        name = _name(error)
        if name is not None:
            self._columns.setdefault(name, ())

    def columns(self, error: BaseException) -> tuple[str, ...]:
        """The columns that `error` is about, as far as they are known."""
        column = getattr(error, "column_name", None)
        if isinstance(column, str):
            return (column,)
        name = _name(error)
        return self._columns.get(name, ()) if name is not None else ()


def _name(error: BaseException) -> Name | None:
    parts = [getattr(error, part, None) for part in ("schema_name", "table_name", "constraint_name")]
    schema, table, constraint = [part if isinstance(part, str) else "" for part in parts]
    is_named = bool(constraint) or (bool(table) and getattr(error, "sqlstate", None) == CHECK_VIOLATION)
    return (schema, table, constraint) if is_named else None

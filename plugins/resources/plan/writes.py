"""Rows that are made, changed and removed: SQL text and arguments.

Each is one statement that gives back one JSON value, `[row, key]`: the row as it is read afterwards, and the text of
a JSON list with its key. The same set of columns is the same text.
`look` reads such a row where a trigger of the table may keep it from being written, to see whether it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from plugins.resources.parse.body import Row
from plugins.resources.plan.showing import select_list, shown
from plugins.resources.plan.sql import cast_value, key_conditions, where_clause
from plugins.resources.schema.catalogue import Column
from plugins.resources.schema.naming import quoted, relation
from plugins.resources.schema.resource import Field, Resource

MAX_TEXTS: Final = 64
"""Statements that are kept for one resource (chosen: making one takes 5 us)."""


class WriteStatements:
    """The statements that write to one resource. The key of a row is bound from `$1` on."""

    def __init__(self, resource: Resource) -> None:
        key = resource.key if resource.has_items else ()
        keys = f"json_build_array({', '.join(map(key_text, key))})::text"
        if not resource.is_key_unique:  # nor is it known to have no NULLs, and no URL names such a row
            nulls = [f"t.{quoted(part.column.name)} IS NULL" for part in key]
            keys = f"CASE WHEN {' OR '.join(nulls or ['true'])} THEN '[]' ELSE {keys} END"
        row = f"(SELECT row_to_json(r.*) FROM (SELECT {select_list(resource.fields.values())}) r)"  # noqa: S608 (identifiers quoted, values bound)
        self._relation = relation(resource.table)
        written = f"json_build_array({row}, {keys})"
        self._returning = f" RETURNING {written}"
        self._first = len(key) + 1
        conditions = key_conditions(resource, "t") if key else ["false"]  # never all rows
        rows = f"(SELECT 1 FROM {self._relation} t{where_clause(conditions)} LIMIT 2) c"  # noqa: S608 (identifiers quoted, values bound)
        self.is_of_several = f"SELECT to_json(count(*) > 1) FROM {rows}"  # noqa: S608 (identifiers quoted, values bound)
        """Whether several rows have this key: then none of them is written."""
        if not resource.is_key_unique:
            conditions.append(f"(SELECT count(*) FROM {rows}) = 1")  # noqa: S608 (identifiers quoted, values bound)
        self._where = where_clause(conditions)
        self._modified = resource.writes.modified
        columns = [f"t.{quoted(column.name)}" for column in resource.table.columns.values() if column.is_readable]
        everything = f"hashtextextended(ROW({', '.join(columns)})::text, 0)::text"
        self.look = f"SELECT json_build_array({written}, {everything}) FROM {self._relation} t{self._where}"  # noqa: S608 (identifiers quoted, values bound)
        """The row with a key: `[what a write would give back, "what differs where any column does"]`."""
        self._inserts: dict[tuple[str, ...], str] = {}
        self.delete = f"DELETE FROM {self._relation} t{self._where} RETURNING json_build_array(NULL, {keys})"  # noqa: S608 (identifiers quoted, values bound)

    def insert(self, row: Row) -> tuple[str, Sequence[str | None]]:
        """A new row."""
        names = tuple([field.name for field in row.fields])
        sql = self._inserts.get(names)
        if sql is None:
            sql = self._insert(row)
            if len(self._inserts) < MAX_TEXTS:
                self._inserts[names] = sql
        return sql, row.values

    def _insert(self, row: Row) -> str:
        columns = [quoted(field.column.name) for field in row.fields]
        values = [cast_value(number, field.column.type) for number, field in enumerate(row.fields, 1)]
        if self._modified is not None:
            columns.append(quoted(self._modified.name))
            values.append("now()")
        given = f"({', '.join(columns)}) VALUES ({', '.join(values)})" if columns else "DEFAULT VALUES"
        return f"INSERT INTO {self._relation} AS t {given}{self._returning}"

    def update(self, key: Sequence[str], row: Row) -> tuple[str, Sequence[str | None]]:
        """Other values in the row with this key; there is at least one."""
        terms = [
            f"{quoted(field.column.name)} = {cast_value(number, field.column.type)}"
            for number, field in enumerate(row.fields, self._first)
        ]
        terms += [f"{quoted(field.column.name)} = DEFAULT" for field in row.absent]
        if self._modified is not None:
            terms.append(f"{quoted(self._modified.name)} = now()")
        sql = f"UPDATE {self._relation} AS t SET {', '.join(terms)}{self._where}{self._returning}"  # noqa: S608 (identifiers quoted, values bound)
        return sql, (*key, *row.values)


def key_text(field: Field) -> str:
    """A part of a key as it stands in a path; what JSON shows in a form of its own, in that form."""
    has_form = field.kind.name in ("timestamp", "address")
    return f"to_json({shown(field)}) #>> '{{}}'" if has_form else f"{shown(field)}::text"


def trial(columns: Iterable[Column]) -> str:
    """A statement that fails for values, from `$1` on, that a column's type, with its domain and limits, does not
    take."""
    casts = [f"({cast_value(at, column.type)})::{column.declared} IS NULL" for at, column in enumerate(columns, 1)]
    return f"SELECT json_build_array({', '.join(casts)})"

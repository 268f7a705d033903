"""Rows that are made, changed and removed: SQL text and arguments.

Each is one statement that gives back one JSON value, `[row, key]`: the row as it is read afterwards, and the text of
a JSON list with its key. The same set of columns is the same text.
"""

from __future__ import annotations

from collections.abc import Sequence

from plugins.resources.parse.body import Row
from plugins.resources.parse.values import Value
from plugins.resources.plan.sql import cast_value, key_conditions, quoted, relation, select_list, shown, where_clause
from plugins.resources.schema.catalogue import Column
from plugins.resources.schema.kinds import VECTORS
from plugins.resources.schema.resource import Resource


class WriteStatements:
    """The statements that write to one resource. The key of a row is bound from `$1` on."""

    def __init__(self, resource: Resource) -> None:
        key = resource.key if resource.has_items else ()
        keys = f"json_build_array({', '.join(shown(part) for part in key)})::text"
        row = f"(SELECT row_to_json(r.*) FROM (SELECT {select_list(resource.fields.values())}) r)"  # noqa: S608 (identifiers quoted, values bound)
        self._relation = relation(resource.table)
        self._returning = f" RETURNING json_build_array({row}, {keys})"
        self._first = len(key) + 1
        self._where = where_clause(key_conditions(resource, "t")) if key else ""
        self._modified = resource.writes.modified
        self.delete = f"DELETE FROM {self._relation} t{self._where} RETURNING json_build_array(NULL, {keys})"  # noqa: S608 (identifiers quoted, values bound)

    def insert(self, row: Row) -> tuple[str, Sequence[Value]]:
        """A new row."""
        columns = [quoted(field.column.name) for field in row.fields]
        values = [cast_input(number, field.column) for number, field in enumerate(row.fields, 1)]
        if self._modified is not None:
            columns.append(quoted(self._modified.name))
            values.append("now()")
        given = f"({', '.join(columns)}) VALUES ({', '.join(values)})" if columns else "DEFAULT VALUES"
        return f"INSERT INTO {self._relation} AS t {given}{self._returning}", row.values

    def update(self, key: Sequence[str], row: Row) -> tuple[str, Sequence[Value]]:
        """Other values in the row with this key; there is at least one."""
        terms = [
            f"{quoted(field.column.name)} = {cast_input(number, field.column)}"
            for number, field in enumerate(row.fields, self._first)
        ]
        terms += [f"{quoted(field.column.name)} = DEFAULT" for field in row.absent]
        if self._modified is not None:
            terms.append(f"{quoted(self._modified.name)} = now()")
        sql = f"UPDATE {self._relation} AS t SET {', '.join(terms)}{self._where}{self._returning}"  # noqa: S608 (identifiers quoted, values bound)
        return sql, (*key, *row.values)


def cast_input(number: int, column: Column) -> str:
    """An argument of a body as a value that the column takes: an array is bound as texts, in lists."""
    if column.type.is_array and column.type.name not in VECTORS:
        return f"${number}::text[]::{quoted(column.type.schema)}.{quoted(column.type.name)}"
    return cast_value(number, column.type)


def trial(column: Column) -> str:
    """A statement that fails for a value, `$1`, that the column's type, with its domain and limits, does not take."""
    return f"SELECT json_build_array(({cast_input(1, column)})::{column.declared} IS NULL)"

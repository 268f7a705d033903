"""Rows that are made, changed and removed: SQL text and arguments.

Each is one statement that gives back one JSON value, `[row, key]`: the row as it is read afterwards, and the text of
a JSON list with its key. The same set of columns is the same text.
`look` reads such a row where a trigger of the table may keep it from being written, to see whether it did.

Where only some rows may be written, a statement finds no others, and one that makes or changes a row gives back
`OUTSIDE` where that is none of them: it has to be rolled back then. Where only some rows, or none, may be read,
`UNSEEN` stands in the place of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from plugins.resources.parse.body import Row
from plugins.resources.plan.showing import select_list, shown
from plugins.resources.plan.sql import cast_value, key_conditions, rows_condition, rows_conditions, where_clause
from plugins.resources.schema.catalogue import Column
from plugins.resources.schema.granted import Granted, Rows
from plugins.resources.schema.naming import quoted, relation
from plugins.resources.schema.resource import Field

MAX_TEXTS: Final = 64
"""Statements that are kept for one resource (chosen: making one takes 5 us)."""

UNSEEN: Final = b"true"
"""What stands in the place of a row that may not be read."""

OUTSIDE: Final = b"false"
"""What stands in the place of everything where a row may not be as it was made."""


class WriteStatements:
    """The statements that write to one resource, to rows of `granted`, and give back what `shown` shows of them.

    The key of a row is bound from `$1` on, where there is one; behind it the values of the rows that may be written,
    and of those that may be read.
    """

    def __init__(self, granted: Granted, shown: Granted | None) -> None:
        resource, rows = granted.resource, granted.rows
        key = resource.key if resource.has_items else ()
        keys = f"json_build_array({', '.join(map(key_text, key))})::text"
        if not resource.is_key_unique:  # nor is it known to have no NULLs, and no URL names such a row
            nulls = [f"t.{quoted(part.column.name)} IS NULL" for part in key]
            keys = f"CASE WHEN {' OR '.join(nulls or ['true'])} THEN '[]' ELSE {keys} END"
        self._relation = relation(resource.table)
        self._rows = rows
        self._size = rows.size + (shown.rows.size if shown is not None else 0)
        self._first = len(key) + self._size + 1
        row = _row(shown, len(key) + rows.size + 1)
        written = f"json_build_array({row}, {keys})"
        self._returning = _within(rows, written, len(key) + 1)
        made = f"json_build_array({_row(shown, rows.size + 1)}, {keys})"
        self._returning_new = _within(rows, made, 1)
        conditions = key_conditions(resource, "t") if key else ["false"]  # never all rows
        conditions += rows_conditions(rows, len(key) + 1)
        same = f"(SELECT 1 FROM {self._relation} t{where_clause(conditions)} LIMIT 2) c"  # noqa: S608 (identifiers quoted, values bound)
        self.is_of_several = f"SELECT to_json(count(*) > 1) FROM {same}"  # noqa: S608 (identifiers quoted, values bound)
        """Whether several rows have this key: then none of them is written."""
        if not resource.is_key_unique:
            conditions.append(f"(SELECT count(*) FROM {same}) = 1")  # noqa: S608 (identifiers quoted, values bound)
        self._where = where_clause(conditions)
        self._modified = resource.writes.modified
        columns = [f"t.{quoted(column.name)}" for column in resource.table.columns.values() if column.is_readable]
        everything = f"hashtextextended(ROW({', '.join(columns)})::text, 0)::text"
        self.look = f"SELECT json_build_array({written}, {everything}) FROM {self._relation} t{self._where}"  # noqa: S608 (identifiers quoted, values bound)
        """The row with a key: `[what a write would give back, "what differs where any column does"]`."""
        self.read = f"SELECT {row} FROM {self._relation} t{self._where}"  # noqa: S608 (identifiers quoted, values bound)
        """The row with a key, as it is."""
        self._inserts: dict[tuple[str, ...], str] = {}
        self.delete = f"DELETE FROM {self._relation} t{self._where} RETURNING json_build_array(NULL, {keys})"  # noqa: S608 (identifiers quoted, values bound)

    def insert(self, row: Row, bound: Sequence[str] = ()) -> tuple[str, Sequence[str | None]]:
        """A new row. `bound` are the values of rows."""
        names = tuple([field.name for field in row.fields])
        sql = self._inserts.get(names)
        if sql is None:
            sql = self._insert(row)
            if len(self._inserts) < MAX_TEXTS:
                self._inserts[names] = sql
        return sql, (*bound, *row.values)

    def _insert(self, row: Row) -> str:
        columns = [quoted(field.column.name) for field in row.fields]
        values = [cast_value(number, field.column.type) for number, field in enumerate(row.fields, self._size + 1)]
        if self._modified is not None:
            columns.append(quoted(self._modified.name))
            values.append("now()")
        given = f"({', '.join(columns)}) VALUES ({', '.join(values)})" if columns else "DEFAULT VALUES"
        return f"INSERT INTO {self._relation} AS t {given}{self._returning_new}"

    def fits(self, row: Row, bound: Sequence[str]) -> tuple[str, Sequence[str | None]] | None:
        """Whether a row with these values could be one that may be written, as far as they say; None where they say
        nothing. `bound` are the values of rows. It reads no row, and so tells of none."""
        given = {field.column.name: value for field, value in zip(row.fields, row.values, strict=True)}
        texts = iter(bound)
        alternatives = [
            [(column, text) for column, text in zip(columns, texts, strict=False) if column.name in given]
            for columns in self._rows.alternatives
        ]
        if not all(alternatives):
            return None
        rows = Rows(tuple([tuple([column for column, _ in pairs]) for pairs in alternatives]))
        columns = list(dict.fromkeys([column for pairs in alternatives for column, _ in pairs]))
        names = ", ".join([f"t.{quoted(column.name)}" for column in columns])
        casts = ", ".join([f"{cast_value(at, column.type)}::{column.declared}" for at, column in enumerate(columns, 1)])
        like = f"SELECT {names} FROM {self._relation} t WHERE false UNION ALL SELECT {casts}"  # noqa: S608 (identifiers quoted, values bound)
        sql = f"SELECT to_json(EXISTS (SELECT FROM ({like}) t WHERE {rows_condition(rows, len(columns) + 1)}))"  # noqa: S608 (identifiers quoted, values bound)
        return sql, (
            *[given[column.name] for column in columns],
            *[text for pairs in alternatives for _, text in pairs],
        )

    def update(self, bound: Sequence[str], row: Row) -> tuple[str, Sequence[str | None]]:
        """Other values in a row, of which there is at least one. `bound` are its key and the values of rows."""
        terms = [
            f"{quoted(field.column.name)} = {cast_value(number, field.column.type)}"
            for number, field in enumerate(row.fields, self._first)
        ]
        terms += [f"{quoted(field.column.name)} = DEFAULT" for field in row.absent]
        if self._modified is not None:
            terms.append(f"{quoted(self._modified.name)} = now()")
        sql = f"UPDATE {self._relation} AS t SET {', '.join(terms)}{self._where}{self._returning}"  # noqa: S608 (identifiers quoted, values bound)
        return sql, (*bound, *row.values)


def _row(shown: Granted | None, first: int) -> str:
    """The row as it is read, where it may be; values are bound from `first` on."""
    if shown is None:
        return "'true'::json"
    row = f"(SELECT row_to_json(r.*) FROM (SELECT {select_list(shown.resource.fields.values())}) r)"  # noqa: S608 (identifiers quoted, values bound)
    if shown.rows.are_all:
        return row
    return f"CASE WHEN {rows_condition(shown.rows, first)} THEN {row} ELSE 'true'::json END"


def _within(rows: Rows, written: str, first: int) -> str:
    """RETURNING what was written, if that is one of these rows."""
    if rows.are_all:
        return f" RETURNING {written}"
    return f" RETURNING CASE WHEN {rows_condition(rows, first)} THEN {written} ELSE 'false'::json END"


def key_text(field: Field) -> str:
    """A part of a key as it stands in a path; what JSON shows in a form of its own, in that form."""
    has_form = field.kind.name in ("timestamp", "address")
    return f"to_json({shown(field)}) #>> '{{}}'" if has_form else f"{shown(field)}::text"


def trial(columns: Iterable[Column]) -> str:
    """A statement that fails for values, from `$1` on, that a column's type, with its domain and limits, does not
    take."""
    casts = [f"({cast_value(at, column.type)})::{column.declared} IS NULL" for at, column in enumerate(columns, 1)]
    return f"SELECT json_build_array({', '.join(casts)})"

"""The plan: SQL text and arguments for a query that was understood.

Identifiers come from the catalogue, quoted; values are arguments, always. A value goes as text and is cast in SQL to
its column's type. The same shape of query is the same text, so that the caches of statements and plans are hit:
LIMIT and OFFSET are bound, conditions stand in one order, `= ANY` takes lists of any length.

A list comes back as one JSON value, `[rows, has more, total]`; one row more than the page is read to know the second.
`array_to_json(array_agg(row))` is the quickest way to a page (measured for 1,000 rows of 7 columns: 3.1 ms, json_agg
of json_build_object 4.5 ms, text joined by hand 4.1 ms) and puts no line breaks between rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from plugins.resources.catalogue import Column, Table, Type
from plugins.resources.grammar import Filter, ListQuery
from plugins.resources.resource import Child, Field, Order, Resource

Argument = str | int | Sequence[str]

COMPARISONS: Final = {"eq": "=", "ne": "IS DISTINCT FROM", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
PATTERNS: Final = {"contains": "%{}%", "startswith": "{}%", "endswith": "%{}"}

LIKE_SPECIALS: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
"""What LIKE reads as more than itself; the backslash is its escape character unless another one is named."""


class ListStatement:
    """The lists of a resource, or, with a `Below`, of its rows that belong to one row of another."""

    def __init__(self, resource: Resource, below: Below | None = None) -> None:
        self._resource = resource
        self._source = f"{_relation(resource.table)} t"
        self._columns = _columns(resource.fields.values())
        self._order = _order(resource.total_order(resource.sort))
        self._scope = below.conditions if below is not None else ()
        self._guard = f" WHERE {below.parent_exists}" if below is not None else ""
        self._first = 1 + (len(below.parent.key) if below is not None else 0)
        self._plain = self._text((), self._columns, self._order)

    def plan(self, query: ListQuery, key: Sequence[str] = ()) -> tuple[str, list[Argument]]:
        """SQL and its arguments; `key` is that of the row above."""
        arguments: list[Argument] = [*key, query.limit, (query.page - 1) * query.limit]
        if not query.filters and query.sort is None and query.fields is None:
            return self._plain, arguments
        conditions = [_condition(each, arguments) for each in query.filters]
        columns = self._columns if query.fields is None else _columns(query.fields)
        order = self._order if query.sort is None else _order(self._resource.total_order(query.sort))
        return self._text(conditions, columns, order), arguments

    def _text(self, conditions: Sequence[str], columns: str, order: str) -> str:
        where = _where((*self._scope, *conditions))
        limit, offset = f"${self._first}::int", f"${self._first + 1}::bigint"
        rows = f"SELECT {columns} FROM {self._source}{where}{order} LIMIT {limit} + 1 OFFSET {offset}"  # noqa: S608 (identifiers quoted, values bound)
        page = f"SELECT array_agg(r.*) AS rows, count(*) AS count FROM ({rows}) r"  # noqa: S608 (identifiers quoted, values bound)
        total = f"SELECT count(*) AS count FROM {self._source}{where}"  # noqa: S608 (identifiers quoted, values bound)
        return (
            f"SELECT json_build_array(coalesce(array_to_json(page.rows[1:{limit}]), '[]'), page.count > {limit}, "  # noqa: S608 (identifiers quoted, values bound)
            f"total.count) FROM ({page}) page, ({total}) total{self._guard}"
        )


class ItemStatement:
    """One row of a resource by its key, which is bound from `$1` on."""

    def __init__(self, resource: Resource) -> None:
        self._source = f"{_relation(resource.table)} t{_where(_key_conditions(resource, 't'))}"
        self._plain = self._text(resource.fields.values())

    def sql(self, fields: Sequence[Field] | None) -> str:
        """One row as an object of `fields`, all of them unless given; no row where there is none."""
        return self._plain if fields is None else self._text(fields)

    def _text(self, fields: Iterable[Field]) -> str:
        return f"SELECT row_to_json(r.*) FROM (SELECT {_columns(fields)} FROM {self._source}) r"  # noqa: S608 (identifiers quoted, values bound)


class Below:
    """The rows of a child that belong to one row of its parent, whose key is bound from `$1` on."""

    def __init__(self, parent: Resource, child: Child) -> None:
        self.parent = parent
        row = f"FROM {_relation(parent.table)} p{_where(_key_conditions(parent, 'p'))}"
        bound = {part.column.name: _value(at, part.column.type) for at, part in enumerate(parent.key, 1)}
        self.parent_exists = f"EXISTS (SELECT {row})"
        self.conditions = tuple(
            f"t.{quoted(column.name)} = {bound.get(target.name) or f'(SELECT p.{quoted(target.name)} {row})'}"
            for column, target in zip(child.columns, child.targets, strict=True)
        )


def quoted(identifier: str) -> str:
    """A name from the catalogue, as SQL takes it whatever it is made of."""
    return '"' + identifier.replace('"', '""') + '"'


def _relation(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def _value(number: int, type_: Type) -> str:
    """An argument that is text, as a value of the type."""
    return f"${number}::text::{quoted(type_.schema)}.{quoted(type_.name)}"


def _values(number: int, type_: Type) -> str:
    return f"${number}::text[]::{quoted(type_.schema)}.{quoted(type_.name)}[]"


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _order(order: Sequence[Order]) -> str:
    terms = [f"t.{quoted(each.field.column.name)}{' DESC' if each.is_descending else ''}" for each in order]
    return f" ORDER BY {', '.join(terms)}" if terms else ""


def _key_conditions(resource: Resource, alias: str) -> list[str]:
    return [
        f"{alias}.{quoted(part.column.name)} = {_value(at, part.column.type)}"
        for at, part in enumerate(resource.key, 1)
    ]


def _columns(fields: Iterable[Field]) -> str:
    return ", ".join(f"{_shown(field.column)} AS {quoted(field.name)}" for field in fields)


def _shown(column: Column) -> str:
    """The column as JSON should have it, where PostgreSQL's own way is not that."""
    name = f"t.{quoted(column.name)}"
    match column.type.schema, column.type.name:
        case "pg_catalog", "bytea":
            return rf"translate(encode({name}, 'base64'), E'\n', '')"  # base64 breaks lines, as for mail
        case "pg_catalog", "timestamp":
            return f"{name} AT TIME ZONE 'UTC'"  # RFC 3339 asks for an offset; without a time zone it is taken as UTC
    return name


def _condition(condition: Filter, arguments: list[Argument]) -> str:
    """The SQL of one filter; appends its argument."""
    column, operator, value = condition.field.column, condition.operator, condition.value
    name = f"t.{quoted(column.name)}"
    if operator == "null":
        return f"{name} IS NULL" if value == "true" else f"{name} IS NOT NULL"
    number = len(arguments) + 1
    if not isinstance(value, str):
        arguments.append(value)
        every = _values(number, column.type)
        return f"{name} = ANY ({every})" if operator == "in" else f"({name} <> ALL ({every}) OR {name} IS NULL)"
    if operator in PATTERNS:
        arguments.append(PATTERNS[operator].format(value.translate(LIKE_SPECIALS)))
        return f"{_matched(column, name)} LIKE ${number}::text"
    arguments.append(value)
    return f"{name} {COMPARISONS[operator]} {_value(number, column.type)}"


def _matched(column: Column, name: str) -> str:
    """The column as LIKE takes it."""
    if column.type.name == "bpchar":
        name = f"{name}::text"  # without the blanks that fill it up
    return name if column.is_deterministic else f'{name} COLLATE "C"'  # LIKE needs it before PostgreSQL 18

"""The plan of a list: SQL text and arguments for a query that was understood.

The same shape of query is the same text, so that the caches of statements and plans are hit: LIMIT and OFFSET are
bound, conditions stand in one order, `= ANY` takes lists of any length.

A list comes back as one JSON value, `[rows, has more, total]`; one row more than the page is read to know the second.
`array_to_json(array_agg(row))` is the quickest way to a page (measured for 1,000 rows of 7 columns: 3.1 ms, json_agg
of json_build_object 4.5 ms, text joined by hand 4.1 ms) and puts no line breaks between rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from plugins.resources.parse.query import ListQuery
from plugins.resources.plan.conditions import condition_of
from plugins.resources.plan.sql import (
    Argument,
    cast_value,
    key_conditions,
    order_by,
    quoted,
    relation,
    select_list,
    where_clause,
)
from plugins.resources.schema.resource import Child, Resource


class ListStatement:
    """The lists of a resource, or, with a `Below`, of its rows that belong to one row of another."""

    def __init__(self, resource: Resource, below: Below | None = None) -> None:
        self._resource = resource
        self._source = f"{relation(resource.table)} t"
        self._columns = select_list(resource.fields.values())
        self._order = order_by(resource.total_order(resource.sort))
        self._scope = below.conditions if below is not None else ()
        self._guard = f" WHERE {below.parent_exists}" if below is not None else ""
        self._first = 1 + (len(below.parent.key) if below is not None else 0)
        self._plain = self._text((), self._columns, self._order)

    def plan(self, query: ListQuery, key: Sequence[str] = ()) -> tuple[str, list[Argument]]:
        """SQL and its arguments; `key` is that of the row above."""
        arguments: list[Argument] = [*key, query.limit, (query.page - 1) * query.limit]
        if not query.filters and query.sort is None and query.fields is None:
            return self._plain, arguments
        conditions = [condition_of(each, arguments) for each in query.filters]
        columns = self._columns if query.fields is None else select_list(query.fields)
        order = self._order if query.sort is None else order_by(self._resource.total_order(query.sort))
        return self._text(conditions, columns, order), arguments

    def _text(self, conditions: Sequence[str], columns: str, order: str) -> str:
        where = where_clause((*self._scope, *conditions))
        limit, offset = f"${self._first}::int", f"${self._first + 1}::bigint"
        rows = f"SELECT {columns} FROM {self._source}{where}{order} LIMIT {limit} + 1 OFFSET {offset}"  # noqa: S608 (identifiers quoted, values bound)
        page = f"SELECT array_agg(r.*) AS rows, count(*) AS count FROM ({rows}) r"  # noqa: S608 (identifiers quoted, values bound)
        total = f"SELECT count(*) AS count FROM {self._source}{where}"  # noqa: S608 (identifiers quoted, values bound)
        return (
            f"SELECT json_build_array(coalesce(array_to_json(page.rows[1:{limit}]), '[]'), page.count > {limit}, "  # noqa: S608 (identifiers quoted, values bound)
            f"total.count) FROM ({page}) page, ({total}) total{self._guard}"
        )


class Below:
    """The rows of a child that belong to one row of its parent, whose key is bound from `$1` on."""

    def __init__(self, parent: Resource, child: Child) -> None:
        self.parent = parent
        row = f"FROM {relation(parent.table)} p{where_clause(key_conditions(parent, 'p'))}"
        bound = {part.column.name: cast_value(at, part.column.type) for at, part in enumerate(parent.key, 1)}
        self.parent_exists = f"EXISTS (SELECT {row})"
        self.conditions = tuple(
            f"t.{quoted(column.name)} = {bound.get(target.name) or f'(SELECT p.{quoted(target.name)} {row})'}"
            for column, target in zip(child.columns, child.targets, strict=True)
        )

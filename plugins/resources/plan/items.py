"""One row by its key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plugins.resources.plan.showing import select_list
from plugins.resources.plan.sql import key_conditions, rows_conditions, where_clause
from plugins.resources.schema.granted import UNRESTRICTED, Rows
from plugins.resources.schema.naming import relation
from plugins.resources.schema.resource import Field, Resource


class ItemStatement:
    """One row of a resource by its key, which is bound from `$1` on, and behind it the values of `rows`."""

    def __init__(self, resource: Resource, rows: Rows = UNRESTRICTED) -> None:
        conditions = [*key_conditions(resource, "t"), *rows_conditions(rows, len(resource.key) + 1)]
        self._source = f"{relation(resource.table)} t{where_clause(conditions)}"
        self._plain = self._text(resource.fields.values())

    def sql(self, fields: Sequence[Field] | None) -> str:
        """One row as an object of `fields`, all of them unless given; no row where there is none."""
        return self._plain if fields is None else self._text(fields)

    def _text(self, fields: Iterable[Field]) -> str:
        return f"SELECT row_to_json(r.*) FROM (SELECT {select_list(fields)} FROM {self._source}) r"  # noqa: S608 (identifiers quoted, values bound)

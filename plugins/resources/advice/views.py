r"""What stands behind the columns of a view, as PostgreSQL resolves them when it plans.

The planner opens a view up: EXPLAIN (VERBOSE) of its columns prints `alias.column` for each that is a table's own, and
names the table at the node of that alias. What the view computes, groups or unites it prints in another way: no index
of a table serves these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import orjson

from plugins.resources.advice.explaining import nodes_of
from plugins.resources.schema.catalogue import Table
from plugins.resources.schema.naming import quoted, relation
from plugins.resources.shapes import Conditions, Shape
from service.api import Database

_NAME: Final = r'("(?:[^"]|"")+"|[a-z_][a-z0-9_]*)'
_COLUMN: Final = re.compile(rf"{_NAME}\.{_NAME}")
"""As EXPLAIN prints a column of a table."""


@dataclass(frozen=True, slots=True)
class Source:
    """The column of a table that a column of a view is."""

    schema: str
    table: str
    alias: str
    """Which of them, where the view has the table several times."""
    column: str


async def read_sources(database: Database, view: Table, columns: Iterable[str]) -> Mapping[str, Source]:
    """What these columns of the view are, by their names in it; those that are no table's own are left out. Raises
    ServiceErrors."""
    names = list(dict.fromkeys(columns))
    if not names:
        return {}
    listed = ", ".join([f"t.{quoted(name)}" for name in names])
    sql = f"EXPLAIN (VERBOSE, FORMAT JSON) SELECT {listed} FROM {relation(view)} t"  # noqa: S608 (identifiers quoted)
    (told,) = orjson.loads(await database.fetch_json(sql) or b"")
    nodes = [node for node, _ in nodes_of(told["Plan"])]
    tables = {node["Alias"]: node for node in nodes if "Relation Name" in node}
    sources = {}
    for name, printed in zip(names, told["Plan"].get("Output", ()), strict=False):  # none above a union
        found = _COLUMN.fullmatch(printed)
        alias, column = [_unquoted(part) for part in found.groups()] if found else ("", "")
        if node := tables.get(alias):
            sources[name] = Source(node["Schema"], node["Relation Name"], alias, column)
    return sources


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def seen_through(shape: Shape, sources: Mapping[str, Source]) -> Iterator[tuple[Source, Shape]]:
    """A list of the view as one of each table behind it: the filters on its columns, and the order where all is."""
    for first in {source.alias: source for source in sources.values()}.values():
        own = {name: source.column for name, source in sources.items() if source.alias == first.alias}
        names = [name.removeprefix("-") for name in shape.order]
        order: list[str] = []
        if own.keys() >= {*names, *[name for name, _ in shape.where.leaves()]}:
            order = [spelled[: -len(name)] + own[name] for name, spelled in zip(names, shape.order, strict=True)]
        yield first, replace(shape, table=first.table, where=_through(shape.where, own), order=tuple(order))


def _through(where: Conditions, own: Mapping[str, str]) -> Conditions:
    filters = tuple(sorted([(own[name], operator) for name, operator in where.filters if name in own]))
    either = [
        tuple([_through(each, own) for each in alternatives])
        for alternatives in where.either
        if own.keys() >= {name for each in alternatives for name, _ in each.leaves()}
    ]
    return Conditions(filters, tuple(either))

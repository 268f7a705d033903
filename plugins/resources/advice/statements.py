"""Lists that pg_stat_statements has seen: it keeps the texts of statements without their values, ours among them.

A text of ours is read back into a shape, since it is made of few words (`plan/`): what it is not made of, or conditions
joined by OR, which no one index serves, give none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from plugins.resources.plan.sql import quoted
from plugins.resources.schema.resource import Resource
from plugins.resources.shapes import Seen, Shape, merged
from service.api import Database

LISTS: Final = "SELECT json_build_array("
"""How the statement of a list begins."""

MOST_STATEMENTS: Final = 200
"""That are looked at (chosen): those that have taken the most time."""

OPERATORS: Final = {
    "=": "eq",
    "= ANY": "in",
    "<> ALL": "nin",
    "IS DISTINCT FROM": "ne",
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "BETWEEN": "between",
    "LIKE": "contains",  # or another one that trigrams serve as well
    "ILIKE": "ilike",
    "@>": "has",
    "&&": "overlaps",
    "IS NULL": "null",
    "IS NOT NULL": "null",
}

_NAME: Final = r'"((?:[^"]|"")+)"'
_LIST: Final = re.compile(
    rf" FROM {_NAME}\.{_NAME} t(?: WHERE (?P<where>.*?))?(?: ORDER BY (?P<order>[^()]*?))? LIMIT ", re.DOTALL
)
_CONDITION: Final = re.compile(
    rf't\.{_NAME}(?:::text|::"(?:[^"]|"")+"\."(?:[^"]|"")+")?(?: COLLATE "[^"]*")? '
    rf"({'|'.join(re.escape(each) for each in sorted(OPERATORS, key=len, reverse=True))})(?![A-Za-z])"
)
_NOT_IN: Final = re.compile(rf"\(t\.{_NAME}[^ ]* <> ALL \([^()]*\) OR t\.{_NAME}[^ ]* IS NULL\)")
_ORDER: Final = re.compile(rf"t\.{_NAME}( DESC)?")


async def read_statements(database: Database, extension_schema: str, resources: Sequence[Resource]) -> list[Seen]:
    """Shapes of lists of these resources, first what has taken the most time. Raises ServiceErrors."""
    rows = await database.fetch(
        f"SELECT s.query, s.calls, s.total_exec_time, s.max_exec_time "  # noqa: S608 (the identifier is quoted)
        f"FROM {quoted(extension_schema)}.pg_stat_statements s "
        "JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = pg_catalog.current_database() "
        "WHERE pg_catalog.starts_with(s.query, $1::text) ORDER BY s.total_exec_time DESC LIMIT $2::int",
        LISTS,
        MOST_STATEMENTS,
    )
    there = {(each.table.schema, each.table.name): each for each in resources}
    return merged([seen for row in rows if (seen := _seen(row, there)) is not None])


def _seen(row: Mapping[str, object], resources: Mapping[tuple[str, str], Resource]) -> Seen | None:
    shape = shape_in(str(row["query"]), resources)
    if shape is None:
        return None
    calls, total_ms, worst_ms = [float(str(row[name])) for name in ("calls", "total_exec_time", "max_exec_time")]
    return Seen(shape, round(calls), total_ms / 1000, worst_ms / 1000)


def shape_in(query: str, resources: Mapping[tuple[str, str], Resource]) -> Shape | None:
    """The shape of the list that the text of a statement asks for."""
    every = list(_LIST.finditer(query))  # the rows that are counted have no order, those of the page have one
    if not every:
        return None
    found = next((each for each in every if each["order"]), every[0])
    resource = resources.get((_unquoted(found[1]), _unquoted(found[2])))
    if resource is None:
        return None
    where = found["where"] or ""
    filters = [(_unquoted(match[1]), "nin") for match in _NOT_IN.finditer(where)]
    where = _NOT_IN.sub("", where)
    if " OR " in where or "NOT (" in where:
        return None
    filters += [(_unquoted(match[1]), OPERATORS[match[2]]) for match in _CONDITION.finditer(where)]
    order = [f"{'-' if match[2] else ''}{_unquoted(match[1])}" for match in _ORDER.finditer(found["order"] or "")]
    columns = {name.removeprefix("-") for name in order} | {name for name, _ in filters}
    if not columns <= resource.table.columns.keys():
        return None  # of a time when the table had others
    return Shape(resource.table.name, tuple(sorted(set(filters))), tuple(order))


def _unquoted(name: str) -> str:
    return name.replace('""', '"')

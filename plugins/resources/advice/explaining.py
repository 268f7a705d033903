"""EXPLAIN of a list: its rows, in its order, with values that stand in the table, as far as one page, or their count.

Each in a transaction that is READ ONLY and has the timeout of the database's writes, so that nothing is changed and
nobody waits for long. What is shown of a plan names tables, columns and indexes, and no value.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from plugins.resources.parse.filters import Condition, Filter, Group
from plugins.resources.plan import counts
from plugins.resources.plan.conditions import condition_of
from plugins.resources.plan.showing import select_list
from plugins.resources.plan.sql import Argument, order_by, where_clause
from plugins.resources.schema.kinds import TEXT, kind_of
from plugins.resources.schema.naming import quoted, relation
from plugins.resources.schema.resource import Field, Order, Resource
from plugins.resources.shapes import Conditions, Shape
from service.api import Database, ServiceError, Timeout, Transaction

EXPLAIN: Final = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "

ABSENT: Final = "q7zkvx3wj"
"""A text that hardly any row has (chosen; trigrams can look for it)."""

SOUGHT: Final = frozenset({"eq", "in", "contains", "startswith", "endswith", "like", "ilike", "has", "overlaps"})
"""Operators that find nothing where no row has the text."""

PART_CHARS: Final = 3
"""Of a text that stands in the table, for operators that look for a part (chosen: what trigrams can find)."""


@dataclass(frozen=True, slots=True)
class Scan:
    """How one table, or one partition, was read."""

    table: str
    alias: str
    """What it is called in the plan, which may have it several times."""
    read: int
    kept: int
    """Rows of these that passed what the table is filtered by."""
    is_whole: bool
    """Whether it was read from end to end, or as far as the page took."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How PostgreSQL came by the rows of a page."""

    ms: float
    rows: int
    """Of the page, and the one more that tells whether there is another; one where rows are only counted."""
    read: int
    """Rows that were read for it."""
    kept: int
    """Those of them that passed what the list is filtered by."""
    indexes: tuple[str, ...]
    """Those that were used."""
    scans: tuple[Scan, ...]
    lines: tuple[str, ...]
    """The plan, a line for each node."""
    is_in_vain: bool = False
    """Whether it was looked for a text that hardly any row has."""


@dataclass(frozen=True, slots=True)
class NoPlan:
    """Why there is none."""

    reason: str
    """What follows the list: `did not end in time`."""
    is_slow: bool = False


async def explain(database: Database, resource: Resource, shape: Shape, *, is_in_vain: bool = False) -> Plan | NoPlan:
    """The plan of a list of that shape; in vain with `ABSENT` where a text is sought, which may take the longest."""
    fields = {name: _field(resource, name) for name, _ in shape.where.leaves()}
    try:
        async with reading(database) as work:
            values = await _values(work, resource, list(fields.values()))
            if values is None:
                return NoPlan("has no row to be tried with")
            arguments: list[Argument] = []
            asked = _conditions(shape.where, fields, values, is_in_vain=is_in_vain)
            conditions = [condition_of(each, arguments) for each in asked]
            plan = await explained(work, _text(resource, shape, conditions), arguments)
            return replace(plan, is_in_vain=is_in_vain)
    except Timeout:
        return NoPlan("did not end within timeouts.write of the database", is_slow=True)
    except ServiceError as error:
        return NoPlan(f"cannot be explained: {error}")


def seeks_text(resource: Resource, shape: Shape) -> bool:
    """Whether a list of that shape can be asked for in vain, with `ABSENT`."""
    return any(_is_sought(_field(resource, name), operator) for name, operator in shape.where.leaves())


def _is_sought(field: Field, operator: str) -> bool:
    kind = field.kind.element or field.kind
    return operator in SOUGHT and kind is TEXT


def _conditions(
    where: Conditions, fields: Mapping[str, Field], values: Mapping[str, str], *, is_in_vain: bool
) -> Iterator[Condition]:
    """What a request with these values would ask."""
    for name, operator in where.filters:
        if is_in_vain and _is_sought(fields[name], operator):
            given = _given(operator, ABSENT, part_chars=len(ABSENT))
        else:
            given = _given(operator, values.get(name, ""), part_chars=PART_CHARS)
        yield Filter(fields[name], operator, given)
    for alternatives in where.either:
        members = [tuple(_conditions(each, fields, values, is_in_vain=is_in_vain)) for each in alternatives]
        yield Group(True, tuple([Group(False, each) for each in members]))


def _text(resource: Resource, shape: Shape, conditions: Sequence[str]) -> str:
    rows = f"FROM {relation(resource.table)} t{where_clause(conditions)}"
    if shape.count == "exact":
        return f"SELECT {counts.every(rows)}"
    if shape.count == "capped":
        return f"SELECT {counts.capped(rows)}"
    order = [Order(_field(resource, name.removeprefix("-")), name.startswith("-")) for name in shape.order]
    return f"SELECT {select_list(resource.fields.values())} {rows}{order_by(order)} LIMIT {resource.limit + 1}"


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[Transaction]:
    """A transaction in which nothing can be changed."""
    async with database.transaction() as work:
        await work.execute("SET TRANSACTION READ ONLY")
        yield work


async def explained(work: Transaction, sql: str, arguments: list[Argument]) -> Plan:
    """Run it and say how. Raises ServiceErrors."""
    body = await work.fetch_json(EXPLAIN + sql, *arguments)
    (told,) = orjson.loads(body or b"")
    top = told["Plan"]
    nodes = list(nodes_of(top))
    scans = tuple([_scan(node) for node, _ in nodes if "Relation Name" in node])
    return Plan(
        ms=round(told["Execution Time"], 3),
        rows=round(top["Actual Rows"]),
        read=sum([scan.read for scan in scans]),
        kept=sum([scan.kept for scan in scans]),
        indexes=tuple(dict.fromkeys([node["Index Name"] for node, _ in nodes if "Index Name" in node])),
        scans=scans,
        lines=tuple([_line(node, depth) for node, depth in nodes]),
    )


def _field(resource: Resource, column: str) -> Field:
    """A column as filters take it, also where clients do not see it."""
    there = resource.table.columns[column]
    return Field(column, there, kind_of(there.type))


async def _values(work: Transaction, resource: Resource, fields: list[Field]) -> Mapping[str, str] | None:
    """A value for each column, all of one row; None where there is no such row."""
    if not fields:
        return {}
    terms = []
    for field in fields:
        name = f"t.{quoted(field.column.name)}"
        one = f"({name})[array_lower({name}, 1)]" if field.column.type.is_array else name
        terms.append((f"{one}::text AS {quoted(field.name)}", f"{one} IS NOT NULL"))
    rows = await work.fetch(
        f"SELECT {', '.join([term for term, _ in terms])} FROM {relation(resource.table)} t"  # noqa: S608 (identifiers quoted)
        f"{where_clause([condition for _, condition in terms])} LIMIT 1"
    )
    return {name: str(value) for name, value in rows[0].items()} if rows else None


def _given(operator: str, value: str, *, part_chars: int) -> str | tuple[str, ...]:
    """The value as a request would give it to this operator."""
    match operator:
        case "null":
            return "true"
        case "in" | "nin" | "overlaps":
            return (value,)
        case "between":
            return (value, value)
        case "contains" | "startswith":
            return value[:part_chars]
        case "endswith":
            return value[-part_chars:]
        case "like" | "ilike":
            return f"{value[:part_chars].replace(chr(92), '_')}%"
    return value


# --- reading a plan: https://www.postgresql.org/docs/current/sql-explain.html, FORMAT JSON


def nodes_of(node: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The node and all below it, each with its depth."""
    yield node, depth
    for inner in node.get("Plans", ()):
        yield from nodes_of(inner, depth + 1)


def _scan(node: Mapping[str, Any]) -> Scan:
    kept: float = node.get("Actual Rows", 0)
    loops: float = node.get("Actual Loops", 1)
    return Scan(
        table=node["Relation Name"],
        alias=node["Alias"],
        read=round((kept + _removed(node)) * loops),
        kept=round(kept * loops),
        is_whole=node["Node Type"] == "Seq Scan",
    )


def _removed(node: Mapping[str, Any]) -> float:
    found: float = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return found


def _line(node: Mapping[str, Any], depth: int) -> str:
    """`Index Scan using orders_user_id_idx on orders: 5 rows, 0.02 ms, 3 pages`."""
    what = node["Node Type"]
    if "Index Name" in node:
        what += f" using {node['Index Name']}"
    if "Relation Name" in node:
        what += f" on {node['Relation Name']}"
    if "Sort Key" in node:
        what += f" by {', '.join(node['Sort Key'])}"
    facts = [f"{node.get('Actual Rows', 0):,.0f} rows"]
    if removed := _removed(node):
        facts.append(f"{removed:,.0f} removed")
    if (loops := node.get("Actual Loops", 1)) != 1:
        facts.append(f"{loops:,} times")
    facts.append(f"{node.get('Actual Total Time', 0.0):,.2f} ms")
    facts.append(f"{node.get('Shared Hit Blocks', 0) + node.get('Shared Read Blocks', 0):,} pages")
    return f"{'  ' * depth}{what}: {', '.join(facts)}"

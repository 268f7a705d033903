"""A page deep in a list by cursor is read from an index, no row too many; and what a list counts is bounded.

By what plans do and how many rows they read, never by time.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from plugins.resources import Settings
from plugins.resources.parse.cursors import Cursor
from plugins.resources.parse.query import parse_list
from plugins.resources.plan.lists import ListStatement
from plugins.resources.schema.catalogue import CATALOGUE, read_catalogue
from plugins.resources.schema.selecting import select

ROWS = 20_000
LIMIT = 10

EVENTS = f"""
CREATE TABLE events (id int PRIMARY KEY, kind int NOT NULL, at int, score int NOT NULL, note text);
INSERT INTO events
SELECT n, n % 4, CASE WHEN n % 5 > 0 THEN n / 7 END, n % 100, repeat('x', 50) FROM generate_series(1, {ROWS}) n;
CREATE INDEX ON events (score, id);
CREATE INDEX ON events (at, id);
CREATE INDEX ON events (score, id DESC);
CREATE INDEX ON events (kind, score DESC, id DESC);
ANALYZE events;
"""


class Events:
    """The table, and the statements of its lists with what they do."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], catalogue: str) -> None:
        self._connection = connection
        settings = Settings.model_validate({"tables": ["events"]})
        (self.resource,) = select(read_catalogue(catalogue.encode()), settings, plugin="resources").resources

    async def plan(self, query: str, cursor: Cursor | None = None, *, is_counted: bool = False) -> Any:
        """What PostgreSQL did for a list."""
        parsed = parse_list(f"limit={LIMIT}&{query}", self.resource, faults := [], ())
        assert faults == []
        parsed = replace(parsed, cursor=cursor)
        statement = ListStatement(self.resource)
        sql, arguments = statement.plan(
            parsed, statement.choose(parsed), statement.order(parsed), is_counted=is_counted
        )
        plan = await self._connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
        return json.loads(plan)[0]["Plan"]

    async def row(self, order: str, offset: int) -> tuple[str | None, ...]:
        """What a cursor has of a row, as far into the list as `offset`."""
        columns = ", ".join(f"{term.split()[0]}::text" for term in order.split(", "))
        sql = f"SELECT {columns} FROM events ORDER BY {order} OFFSET $1 LIMIT 1"
        return tuple(await self._connection.fetchrow(sql, offset))


@pytest_asyncio.fixture
async def events(make_database) -> AsyncIterator[Events]:
    connection = await asyncpg.connect(make_database(EVENTS))
    yield Events(connection, await connection.fetchval(CATALOGUE, "public"))
    await connection.close()


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def scans(plan: Any) -> list[Any]:
    return [node for node in nodes(plan) if node.get("Relation Name") == "events"]


def rows_read(plan: Any) -> int:
    """Rows that were taken from the table, those that a filter dropped among them."""
    return sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans(plan))


CASES = [
    # sort, the same in SQL, how many index scans
    ("", "id", 1),
    ("sort=-id", "id DESC", 1),
    ("sort=score", "score, id", 1),
    ("sort=-score", "score DESC, id DESC", 1),
    ("sort=score,-id", "score, id DESC", 2),
    ("sort=kind,-score", "kind, score DESC, id DESC", 2),
    ("sort=at", "at, id", 2),
    ("sort=-at", "at DESC, id DESC", 1),
]


@pytest.mark.parametrize(("query", "order", "scans_count"), CASES, ids=[case[0] or "the key" for case in CASES])
@pytest.mark.parametrize("direction", [">", "<", ">=", "<="])
async def test_deep_page_by_cursor_reads_no_row_too_many_from_an_index(events, query, order, scans_count, direction):
    values = await events.row(order, ROWS // 2)
    plan = await events.plan(query, Cursor(direction, values))
    used = scans(plan)
    assert {node["Node Type"] for node in used} <= {"Index Scan", "Index Only Scan"}
    assert all(node.get("Rows Removed by Filter", 0) == 0 for node in used)
    assert all("Index Cond" in node for node in used)
    assert rows_read(plan) <= 2 * (LIMIT + 1)
    assert len(used) <= 2
    if direction == ">":
        assert len(used) == scans_count


@pytest.mark.parametrize("direction", [">", "<"])
@pytest.mark.parametrize(("query", "order"), [("sort=at", "at, id"), ("sort=-at", "at DESC, id DESC")])
async def test_deep_page_among_nulls_reads_no_row_too_many_from_an_index(events, query, order, direction):
    among_nulls = ROWS - ROWS // 10 if query == "sort=at" else ROWS // 10
    values = await events.row(order, among_nulls)
    assert values[0] is None
    plan = await events.plan(query, Cursor(direction, values))
    assert {node["Node Type"] for node in scans(plan)} <= {"Index Scan", "Index Only Scan"}
    assert all("Index Cond" in node and not node.get("Rows Removed by Filter") for node in scans(plan))
    assert rows_read(plan) <= 2 * (LIMIT + 1)


async def test_deep_page_by_page_reads_every_row_before_it(events):
    """What a cursor spares; and the way in which the claims above would fail."""
    plan = await events.plan(f"page={ROWS // 2 // LIMIT + 1}")
    assert rows_read(plan) == ROWS // 2 + LIMIT + 1


async def test_filter_and_cursor_are_served_by_one_index(events):
    values = await events.row("score DESC, id DESC", ROWS // 2)
    plan = await events.plan("sort=-score&kind=2", Cursor(">", values))
    (scan,) = scans(plan)
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "events_kind_score_id_idx")
    assert rows_read(plan) <= LIMIT + 1


async def test_counted_list_reads_a_bounded_number_of_rows(events):
    plan = await events.plan("", is_counted=True)
    assert rows_read(plan) == LIMIT + 1 + 10_001


async def test_list_that_ends_on_its_page_is_not_counted(events):
    plan = await events.plan("id[lte]=5", is_counted=True)
    assert rows_read(plan) == 5

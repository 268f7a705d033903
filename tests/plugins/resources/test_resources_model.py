"""Filters, sorts and pages agree with a plain Python model of the same rows, over a real socket and PostgreSQL."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest_asyncio
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

SCHEMA = """
CREATE TYPE size AS ENUM ('small', 'large', 'huge');
CREATE TABLE things (
    id int PRIMARY KEY, name text COLLATE "C", "limit" int, price numeric, is_new boolean, size size
);
"""

SIZES = ("small", "large", "huge")

Row = dict[str, Any]
Condition = tuple[str, str, Any]

texts = st.text(alphabet="aAbB%_\\,'é😀 +&=", max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(1, 9),
    "name": texts,
    "limit": st.integers(-2, 2),
    "price": st.decimals(min_value=-2, max_value=2, places=1),
    "isNew": st.booleans(),
    "size": st.sampled_from(SIZES),
}
COMPARISONS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
MATCHES = {"contains": lambda a, b: b in a, "startswith": str.startswith, "endswith": str.endswith}


OPERATIONS = [
    (field, chosen)
    for field in VALUES
    for chosen in ["eq", "ne", "in", "nin", "null"]
    + (list(COMPARISONS) if field != "isNew" else [])
    + (list(MATCHES) * 2 if field == "name" else [])
]


@st.composite
def conditions(draw: st.DrawFn, rows: list[Row]) -> Condition:
    """A condition on one field, more often than not with a value that a row has."""
    field, chosen = draw(st.sampled_from(OPERATIONS))
    present = [row[field] for row in rows if row[field] is not None]
    if field == "name":
        present += [name[1:] for name in present] + ["%", "_", "\\"]
    value = st.sampled_from(present) | VALUES[field] if present else VALUES[field]
    if chosen == "null":
        return field, chosen, draw(st.booleans())
    if chosen in ("in", "nin"):
        return field, chosen, draw(st.lists(value, min_size=1, max_size=3))
    return field, chosen, draw(value)


rows_of_things = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items() if name != "id"}), max_size=9
).map(lambda rows: [{"id": number, **row} for number, row in enumerate(rows, 1)])

sorts = st.lists(st.tuples(st.sampled_from(list(VALUES)), st.booleans()), max_size=3, unique_by=lambda each: each[0])


def rank(field: str, value: Any) -> Any:
    """What the value is compared by."""
    return SIZES.index(value) if field == "size" else value


def holds(row: Row, condition: Condition) -> bool:
    """Whether the row is among those that the condition asks for."""
    field, chosen, wanted = condition
    value = row[field]
    match chosen:
        case "eq":
            return value == wanted
        case "ne":
            return value != wanted
        case "in":
            return value in wanted
        case "nin":
            return value not in wanted
        case "null":
            return (value is None) is wanted
    if value is None:
        return False
    if chosen in MATCHES:
        return bool(MATCHES[chosen](value, wanted))
    return bool(COMPARISONS[chosen](rank(field, value), rank(field, wanted)))


def ordered(rows: list[Row], sort: list[tuple[str, bool]]) -> list[Row]:
    """NULLs are larger than everything; ties are broken by id, in the direction of the last column."""
    tie_break = ("id", sort[-1][1] if sort else False)
    for field, is_descending in reversed([*sort, tie_break]):

        def key(row: Row, field: str = field) -> tuple[bool, Any]:
            return row[field] is None, 0 if row[field] is None else rank(field, row[field])

        rows = sorted(rows, key=key, reverse=is_descending)
    return rows


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_query(wanted: list[Condition], sort: list[tuple[str, bool]], page: int, limit: int) -> str:
    pairs = [("page", str(page)), ("limit", str(limit)), ("fields", "id")]
    if sort:
        pairs.append(("sort", ",".join(f"{'-' if is_descending else ''}{field}" for field, is_descending in sort)))
    for field, chosen, value in wanted:
        if isinstance(value, list):
            escaped = (as_text(each).replace("\\", "\\\\").replace(",", "\\,") for each in value)
            pairs.append((f"{field}[{chosen}]", ",".join(escaped)))
        else:
            pairs.append((f"{field}[{chosen}]", as_text(value)))
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)


@pytest_asyncio.fixture
async def things(serve) -> AsyncIterator[Things]:
    """A service over the table, and a connection to fill it."""
    api = await serve(SCHEMA, tables=["things"])
    connection = await asyncpg.connect(api.url)
    yield Things(api, connection)
    await connection.close()


class Things:
    def __init__(self, api: Any, connection: Any) -> None:
        self.get = api.get
        self._connection = connection

    async def fill(self, rows: list[Row]) -> None:
        """These rows, and no others."""
        await self._connection.execute("TRUNCATE things")
        await self._connection.executemany(
            "INSERT INTO things VALUES ($1, $2, $3, $4, $5, $6)",
            [tuple(row[name] for name in VALUES) for row in rows],
        )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), rows=rows_of_things)
async def test_every_page_has_the_rows_that_a_plain_model_has(things, data, rows):
    await things.fill(rows)
    for _ in range(4):
        wanted = data.draw(st.lists(conditions(rows), max_size=3, unique_by=lambda each: each[:2]))
        sort, limit = data.draw(sorts), data.draw(st.integers(1, 4))
        expected = ordered([row for row in rows if all(holds(row, each) for each in wanted)], sort)
        for page in range(1, len(expected) // limit + 3):
            query = as_query(wanted, sort, page, limit)
            note(query)
            status, body = await things.get(f"things?{query}")
            assert status == 200, body
            first = (page - 1) * limit
            assert body["data"] == [{"id": row["id"]} for row in expected[first : first + limit]]
            assert body["pagination"]["total"] == len(expected)
            assert body["pagination"]["hasNext"] is (len(expected) > first + limit)

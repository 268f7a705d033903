"""Filters, sorts, pages and cursors agree with a plain Python model of the same rows, over a real socket."""

from __future__ import annotations

import json
import operator
import re
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
    id int, name text COLLATE "C", "limit" int, price numeric, is_new boolean, size size, tags text[], kind text,
    PRIMARY KEY (kind, id)
);
"""

SIZES = ("small", "large", "huge")

Row = dict[str, Any]
Condition = tuple[str, str, Any]
Sort = list[tuple[str, bool]]
Tree = tuple[str, Any]
"""`("and", [trees])`, `("or", [trees])` or `("leaf", condition)`."""

texts = st.text(alphabet="aAbB%_\\,'é😀 +&=", max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(1, 9),
    "name": texts,
    "limit": st.integers(-2, 2),
    "price": st.decimals(min_value=-2, max_value=2, places=1),
    "isNew": st.booleans(),
    "size": st.sampled_from(SIZES),
    "tags": st.lists(st.none() | texts, max_size=3),
    "kind": st.sampled_from(["x", "y"]),
}
KEY = ("kind", "id")
COMPARISONS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
MATCHES = {"contains": lambda a, b: b in a, "startswith": str.startswith, "endswith": str.endswith}
PATTERNS = ("like", "ilike")

OPERATIONS = [
    (field, chosen)
    for field in VALUES
    if field != "tags"
    for chosen in ["eq", "ne", "in", "nin", "null"]
    + ([*COMPARISONS, "between"] if field != "isNew" else [])
    + ([*MATCHES, *PATTERNS] * 2 if field == "name" else [])
] + [("tags", chosen) for chosen in ("has", "overlaps", "null")]

pieces = st.sampled_from(["%", "_", "\\%", "\\_", "\\\\", "\\a", "a", "A", "b", "é", "😀"])


@st.composite
def conditions(draw: st.DrawFn, rows: list[Row]) -> Condition:
    """A condition on one field, more often than not with a value that a row has."""
    field, chosen = draw(st.sampled_from(OPERATIONS))
    present = [row[field] for row in rows if row[field] is not None]
    if field == "name":
        present += [name[1:] for name in present] + ["%", "_", "\\"]
    values = texts if field == "tags" else VALUES[field]
    if field == "tags":
        present = [tag for tags in present for tag in tags if tag is not None]
    value = st.sampled_from(present) | values if present else values
    if chosen == "null":
        return field, chosen, draw(st.booleans())
    if chosen in PATTERNS:
        return field, chosen, "".join(draw(st.lists(pieces, max_size=5)))
    if chosen == "between":
        return field, chosen, [draw(value), draw(value)]
    if chosen in ("in", "nin", "overlaps"):
        return field, chosen, draw(st.lists(value, min_size=1, max_size=3))
    return field, chosen, draw(value)


@st.composite
def trees(draw: st.DrawFn, rows: list[Row], depth: int = 3) -> Tree:
    word = draw(st.sampled_from(["leaf", "and", "or"] if depth else ["leaf"]))
    if word == "leaf":
        return word, draw(conditions(rows))
    return word, draw(st.lists(trees(rows, depth - 1), min_size=1, max_size=3))


def with_keys(rows: list[Row]) -> list[Row]:
    """The rows, each key once."""
    return list({(row["kind"], row["id"]): row for row in rows}.values())


a_row = st.fixed_dictionaries({name: values if name in KEY else st.none() | values for name, values in VALUES.items()})
rows_of_things = st.lists(a_row, max_size=12).map(with_keys)

sorts = st.lists(
    st.tuples(st.sampled_from([name for name in VALUES if name != "tags"]), st.booleans()),
    max_size=4,
    unique_by=lambda each: each[0],
)


def rank(field: str, value: Any) -> Any:
    """What the value is compared by."""
    return SIZES.index(value) if field == "size" else value


def pattern(text: str, *, ignores_case: bool) -> re.Pattern[str]:
    r"""What LIKE means by it: `\x` is x, `%` any text, `_` any character. Case is that of ASCII, as COLLATE "C" has."""
    parts = re.findall(r"\\.|.", text, re.DOTALL)
    meaning = [{"%": ".*", "_": "."}.get(part) or re.escape(part[-1]) for part in parts]
    return re.compile("".join(meaning), re.DOTALL | (re.IGNORECASE if ignores_case else 0))


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
    match chosen:
        case "has":
            return wanted in value
        case "overlaps":
            return not set(value).isdisjoint(wanted)
        case "between":
            low, high = (rank(field, each) for each in wanted)
            return low <= rank(field, value) <= high
        case "like" | "ilike":
            return bool(pattern(wanted, ignores_case=chosen == "ilike").fullmatch(value))
    if chosen in MATCHES:
        return bool(MATCHES[chosen](value, wanted))
    return bool(COMPARISONS[chosen](rank(field, value), rank(field, wanted)))


def stands(row: Row, tree: Tree) -> bool:
    word, inner = tree
    if word == "leaf":
        return holds(row, inner)
    return (any if word == "or" else all)([stands(row, each) for each in inner])


def ordered(rows: list[Row], sort: Sort) -> list[Row]:
    """NULLs are larger than everything; ties are broken by the key, in the direction of the last column."""
    rest = [(name, sort[-1][1] if sort else False) for name in KEY if name not in dict(sort)]
    for field, is_descending in reversed([*sort, *rest]):

        def key(row: Row, field: str = field) -> tuple[bool, Any]:
            return row[field] is None, 0 if row[field] is None else rank(field, row[field])

        rows = sorted(rows, key=key, reverse=is_descending)
    return rows


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(value: Any) -> str:
    """Numbers with all of their digits."""
    if isinstance(value, list):
        return f"[{','.join(map(as_json, value))}]"
    return json.dumps(value) if isinstance(value, bool | str) else str(value)


def as_tree(tree: Tree) -> str:
    """The tree in JSON; members of an `and` that differ in their names become one object."""
    word, inner = tree
    if word == "leaf":
        field, chosen, value = inner
        return f'{{"{field}":{as_json(value)}}}' if chosen == "eq" else f'{{"{field}":{{"{chosen}":{as_json(value)}}}}}'
    members = [as_tree(each) for each in inner]
    names = [name for member in members for name in json.loads(member)]
    if word == "and" and len(set(names)) == len(names) > 1:
        return f"{{{','.join([member[1:-1] for member in members])}}}"
    return f'{{"{word}":[{",".join(members)}]}}'


def as_query(sort: Sort, wanted: list[Condition] | None = None, **parameters: Any) -> str:
    pairs = [(name, str(value)) for name, value in parameters.items()] + [("fields", ",".join(KEY))]
    if sort:
        pairs.append(("sort", ",".join(f"{'-' if is_descending else ''}{field}" for field, is_descending in sort)))
    for field, chosen, value in wanted or []:
        if isinstance(value, list):
            escaped = (as_text(each).replace("\\", "\\\\").replace(",", "\\,") for each in value)
            pairs.append((f"{field}[{chosen}]", ",".join(escaped)))
        else:
            pairs.append((f"{field}[{chosen}]", as_text(value)))
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)


def keys(rows: list[Row]) -> list[Row]:
    """What is shown of them."""
    return [{"id": row["id"], "kind": row["kind"]} for row in rows]


@pytest_asyncio.fixture
async def things(serve) -> AsyncIterator[Things]:
    """A service over the table, and a connection to fill it."""
    api = await serve(SCHEMA, tables=["things"])
    connection = await asyncpg.connect(api.url)
    yield Things(api, connection)
    await connection.close()


class Things:
    def __init__(self, api: Any, connection: Any) -> None:
        self._api = api
        self._connection = connection

    async def get(self, query: str) -> tuple[list[Row], Row]:
        """Rows and pagination of a list that must be there."""
        note(query)
        status, body = await self._api.get(f"things?{query}")
        assert status == 200, body
        return body["data"], body["pagination"]

    async def fill(self, rows: list[Row]) -> None:
        """These rows, and no others."""
        await self._connection.execute("TRUNCATE things")
        await self.insert(rows)

    async def insert(self, rows: list[Row]) -> None:
        await self._connection.executemany(
            "INSERT INTO things VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            [tuple(row[name] for name in VALUES) for row in rows],
        )

    async def delete(self, rows: list[Row]) -> None:
        await self._connection.executemany(
            "DELETE FROM things WHERE kind = $1 AND id = $2", [(row["kind"], row["id"]) for row in rows]
        )


examined = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@examined
@given(data=st.data(), rows=rows_of_things)
async def test_every_page_has_the_rows_that_a_plain_model_has(things, data, rows):
    await things.fill(rows)
    for _ in range(4):
        wanted = data.draw(st.lists(conditions(rows), max_size=3, unique_by=lambda each: each[:2]))
        sort, limit = data.draw(sorts), data.draw(st.integers(1, 4))
        expected = ordered([row for row in rows if all(holds(row, each) for each in wanted)], sort)
        for page in range(1, len(expected) // limit + 3):
            found, facts = await things.get(as_query(sort, wanted, page=page, limit=limit))
            first = (page - 1) * limit
            assert found == keys(expected[first : first + limit])
            assert facts["total"] == len(expected)
            assert facts["hasNext"] is (len(expected) > first + limit)


@examined
@given(data=st.data(), rows=rows_of_things)
async def test_every_tree_chooses_the_rows_that_a_plain_model_chooses(things, data, rows):
    await things.fill(rows)
    for _ in range(4):
        tree, wanted = data.draw(trees(rows)), data.draw(st.lists(conditions(rows), max_size=1))
        expected = [row for row in rows if stands(row, tree) and all(holds(row, each) for each in wanted)]
        found, facts = await things.get(as_query([], wanted, filter=as_tree(tree), limit=100))
        assert found == keys(ordered(expected, []))
        assert facts["total"] == len(expected)


@examined
@given(data=st.data(), rows=rows_of_things)
async def test_cursors_show_every_row_once_forward_and_backward_from_wherever_they_begin(things, data, rows):
    await things.fill(rows)
    sort, limit = data.draw(sorts), data.draw(st.integers(1, 4))
    wanted = data.draw(st.lists(conditions(rows), max_size=1))
    expected = keys(ordered([row for row in rows if all(holds(row, each) for each in wanted)], sort))
    begin = data.draw(st.integers(1, 2 if len(expected) > limit else 1))
    at = (begin - 1) * limit
    found, facts = await things.get(as_query(sort, wanted, page=begin, limit=limit))
    while True:
        assert found == expected[at : at + limit]
        assert facts["hasNext"] is (at + limit < len(expected)) is (facts["nextCursor"] is not None)
        if facts["nextCursor"] is None:
            break
        at += limit
        found, facts = await things.get(as_query(sort, wanted, cursor=facts["nextCursor"], limit=limit))
        assert [facts[name] for name in ("page", "total", "totalPages", "hasPrev")] == [None, None, None, True]
        back, there = await things.get(as_query(sort, wanted, cursor=facts["prevCursor"], limit=limit, count="exact"))
        assert back == expected[max(at - limit, 0) : at]
        assert (there["total"], there["hasNext"]) == (len(expected), True)
        again, _ = await things.get(as_query(sort, wanted, cursor=there["nextCursor"], limit=limit))
        assert again == found
    step = data.draw(st.integers(1, 4))
    while facts["prevCursor"] is not None:
        found, facts = await things.get(as_query(sort, wanted, cursor=facts["prevCursor"], limit=step))
        assert found == expected[max(at - step, 0) : at]
        at -= step
        assert facts["hasPrev"] is (at > 0) is (facts["prevCursor"] is not None)
    assert at <= 0


@examined
@given(data=st.data(), rows=rows_of_things, is_backward=st.booleans())
async def test_rows_that_stay_are_seen_once_while_others_come_and_go(things, data, rows, is_backward):
    await things.fill(rows)
    sort, limit = data.draw(sorts), data.draw(st.integers(1, 3))
    name, has = ("prevCursor", "hasPrev") if is_backward else ("nextCursor", "hasNext")
    if is_backward:
        pages = max(1, -(-len(rows) // limit))
        found, facts = await things.get(as_query(sort, page=pages, limit=limit))
    else:
        found, facts = await things.get(as_query(sort, limit=limit))
    seen, present, stayed = found, rows, rows
    while facts[name] is not None:
        gone = data.draw(st.lists(st.sampled_from(present), max_size=3, unique_by=id)) if present else []
        come = [row for row in with_keys(data.draw(st.lists(a_row, max_size=2))) if keys([row])[0] not in keys(present)]
        await things.delete(gone)
        await things.insert(come)
        present = [row for row in present if row not in gone] + come
        stayed = [row for row in stayed if row not in gone]
        found, facts = await things.get(as_query(sort, cursor=facts[name], limit=limit))
        assert facts[has] is (facts[name] is not None)
        seen = found + seen if is_backward else seen + found
    assert [row for row in seen if row in keys(stayed)] == keys(ordered(stayed, sort))


@examined
@given(data=st.data(), rows=rows_of_things.filter(bool))
async def test_end_that_was_reached_because_rows_went_leads_back_to_all_of_the_others(things, data, rows):
    await things.fill(rows)
    sort, limit = data.draw(sorts), data.draw(st.integers(1, 3))
    everything = ordered(rows, sort)
    found, facts = await things.get(as_query(sort, limit=limit))
    if facts["nextCursor"] is None:
        return
    await things.delete(everything[limit:])
    found, facts = await things.get(as_query(sort, cursor=facts["nextCursor"], limit=limit))
    assert (found, facts["hasNext"], facts["nextCursor"]) == ([], False, None)
    found, facts = await things.get(as_query(sort, cursor=facts["prevCursor"], limit=limit))
    assert (found, facts["hasPrev"], facts["hasNext"]) == (keys(everything[:limit]), False, True)
    found, facts = await things.get(as_query(sort, cursor=facts["nextCursor"], limit=limit))
    assert (found, facts["hasPrev"]) == ([], True)
    await things.delete(everything[: limit - 1])
    found, facts = await things.get(as_query(sort, cursor=facts["prevCursor"], limit=limit))
    assert found == keys(everything[limit - 1 : limit])

"""Whatever is granted, answers agree with a plain Python model of it, and nothing else is ever in one.

Every cell of a text column has a word of its own, so that whatever leaks can be seen wherever it comes out: in a body,
a header, an error, a cursor.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest_asyncio
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from service.api import Grant

SCHEMA = """
CREATE TABLE people (
    id int PRIMARY KEY, team text COLLATE "C" NOT NULL DEFAULT 'a', owner int NOT NULL DEFAULT 1,
    pay int NOT NULL DEFAULT 0, name text COLLATE "C" NOT NULL DEFAULT 'new', note text COLLATE "C" NOT NULL DEFAULT ''
);
CREATE TABLE tasks (
    id int PRIMARY KEY, person int NOT NULL REFERENCES people (id), title text COLLATE "C" NOT NULL
);
"""

PEOPLE = ("id", "team", "owner", "pay", "name", "note")
TASKS = ("id", "person", "title")
NUMBERS = ("id", "owner", "pay", "person")
CANARIES = {"people": ("name", "note"), "tasks": ("title",)}

Row = dict[str, Any]


# --- the model


def stands(row: Row, grant: Grant) -> bool:
    return any(all(str(row[column]) == text for column, text in alternative) for alternative in grant.where)


def sees(columns: frozenset[str] | None, column: str) -> bool:
    return columns is None or column in columns


def may_give(grant: Grant, column: str) -> bool:
    return sees(grant.readable, column) and sees(grant.writable, column)


def shown(row: Row, grant: Grant) -> Row:
    return {column: value for column, value in row.items() if sees(grant.readable, column)}


def ordered(rows: list[Row], columns: tuple[str, ...], grant: Grant, sort: list[tuple[str, bool]]) -> list[Row]:
    """By `sort`, then by what can be seen: the key, or all columns where it cannot."""
    is_descending = bool(sort) and sort[-1][1]
    rest = ["id"] if sees(grant.readable, "id") else [each for each in columns if sees(grant.readable, each)]
    for column, descending in [*[(each, is_descending) for each in rest if each not in dict(sort)][::-1], *sort[::-1]]:
        rows = sorted(rows, key=lambda row: row[column], reverse=descending)
    return rows


# --- what is granted, and what is there

texts = {
    "team": ["a", "b", "a", "b"],
    "owner": ["1", "2", "1", "x", "1.0", "99999999999", ""],
    "pay": ["5", "0", " 5"],
    "id": ["1"],
}
alternatives = st.lists(
    st.sampled_from([(column, text) for column, several in texts.items() for text in several]),
    max_size=2,
    unique_by=lambda each: each[0],
).map(tuple)


def grants(columns: tuple[str, ...], where: st.SearchStrategy[Any]) -> st.SearchStrategy[Grant | None]:
    subset = st.none() | st.frozensets(st.sampled_from(columns), min_size=1)
    granted = st.builds(Grant, st.just(((),)) | st.lists(where, max_size=2).map(tuple), subset, st.none() | subset)
    return st.integers(0, 9).flatmap(lambda number: granted if number else st.none())


to_people = grants(PEOPLE, alternatives)
to_tasks = grants(TASKS, st.sampled_from([(("person", "1"),), (("person", "2"),), (("id", "1"),)]))


def people(seeds: list[tuple[int, str, int, int]]) -> list[Row]:
    return [
        {"id": key, "team": team, "owner": owner, "pay": pay, "name": f"name{key}q", "note": f"note{key}q"}
        for key, team, owner, pay in seeds
    ]


some_people = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["a", "b"]), st.integers(1, 2), st.sampled_from([0, 5])),
    min_size=2,
    max_size=9,
    unique_by=lambda each: each[0],
).map(people)


@st.composite
def some_tasks(draw: st.DrawFn, rows: list[Row]) -> list[Row]:
    keys = [row["id"] for row in rows]
    chosen = draw(st.lists(st.sampled_from(keys), max_size=5)) if keys else []
    return [{"id": at, "person": person, "title": f"title{at}q"} for at, person in enumerate(chosen, 1)]


class Firm:
    """The service, its tables, and what must never come out of it."""

    def __init__(self, api: Any, connection: Any, decider: Any) -> None:
        self._api = api
        self._connection = connection
        self._decider = decider

    def grant(self, **granted: Grant | None) -> None:
        """Those of `people_list=...`; all others are refused."""
        self._decider.grants = {tuple(name.split("_")): grant for name, grant in granted.items()}

    async def fill(self, rows: list[Row], tasks: list[Row]) -> None:
        await self._connection.execute("TRUNCATE people CASCADE")
        for table, columns, filled in (("people", PEOPLE, rows), ("tasks", TASKS, tasks)):
            places = ", ".join(f"${at}" for at in range(1, len(columns) + 1))
            await self._connection.executemany(
                f"INSERT INTO {table} VALUES ({places})", [tuple(row[name] for name in columns) for row in filled]
            )

    async def index(self) -> list[Any]:
        return list(await self._api.rows(""))

    async def people(self) -> list[Row]:
        return [dict(row) for row in await self._connection.fetch("SELECT * FROM people ORDER BY id")]

    async def ask(self, method: str, path: str, body: Any = None, *, allowed: set[str]) -> tuple[int, Any, Any]:
        """Status, body and headers; no word of a cell is in them but those that are `allowed` or were sent."""
        note(f"{method} {path} {body}")
        status, answer = await self._api.send(method, path, body)
        headers = self._api.headers
        text = json.dumps(answer) + json.dumps(dict(headers))
        for token in re.findall(r"cursor=([A-Za-z0-9_-]+)", text):
            text += base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        for token in re.findall(r'"(?:next|prev)Cursor": "([^"]+)"', text):
            text += base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        sent = set(re.findall(r"(?:name|note|title)\d+q", f"{path} {body}"))
        leaked = set(re.findall(r"(?:name|note|title)\d+q", text)) - allowed - sent
        assert not leaked, (method, path, answer)
        assert status < 500, answer
        return status, answer, headers


def may_be(body: Row, alternative: tuple[tuple[str, str], ...]) -> bool:
    """Whether a row of this can have what the body says."""
    return all(is_value(*pair) for pair in alternative) and all(
        str(body.get(column, text)) == text for column, text in alternative
    )


def told_apart(grant: Grant) -> set[str]:
    """The columns that no update changes: those of several alternatives that may have rows."""
    alternatives = [each for each in grant.where if all(is_value(*pair) for pair in each)]
    return (
        {column for each in alternatives for column, _ in each}
        if len(alternatives) > 1 and not is_all(grant)
        else set()
    )


def is_value(column: str, text: str) -> bool:
    return column not in NUMBERS or (text.isdecimal() and len(text) < 10)


def words(rows: list[Row], grant: Grant | None, table: str) -> set[str]:
    """Those of the cells that a grant shows."""
    if grant is None:
        return set()
    return {
        row[column] for row in rows if stands(row, grant) for column in CANARIES[table] if sees(grant.readable, column)
    }


@pytest_asyncio.fixture
async def firm(serve, decider) -> AsyncIterator[Firm]:
    api = await serve(SCHEMA, decider, tables=["people", "tasks"])
    connection = await asyncpg.connect(api.url)
    yield Firm(api, connection, decider)
    await connection.close()


examined = settings(max_examples=70, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def queries(draw: st.DrawFn, columns: tuple[str, ...]) -> tuple[list[str], list[tuple[str, bool]], Any, list[str]]:
    """Fields, sort, one condition, and the names that are in them."""
    fields = draw(st.just([]) | st.lists(st.sampled_from(columns), min_size=1, max_size=3, unique=True))
    sort = draw(
        st.lists(st.tuples(st.sampled_from(columns), st.booleans()), max_size=2, unique_by=lambda each: each[0])
    )
    column = draw(st.none() | st.sampled_from(columns))
    condition = None
    if column is not None:
        value = draw(st.sampled_from([0, 1, 2, 5] if column in NUMBERS else ["a", "b", "name1q", "note2q", "title1q"]))
        condition = (
            column,
            draw(st.sampled_from(["eq", "gt", "in"] if column in NUMBERS else ["eq", "gt", "like"])),
            value,
        )
    named = [*fields, *[each for each, _ in sort], *([column] if column is not None else [])]
    return fields, sort, condition, named


def holds(row: Row, condition: Any) -> bool:
    if condition is None:
        return True
    column, operator, value = condition
    return bool(row[column] > value if operator == "gt" else row[column] == value)


def spelled(fields: list[str], sort: list[tuple[str, bool]], condition: Any, *, is_tree: bool, **more: Any) -> str:
    pairs = [(name, str(value)) for name, value in more.items()]
    if fields:
        pairs.append(("fields", ",".join(fields)))
    if sort:
        pairs.append(("sort", ",".join(f"{'-' if descending else ''}{column}" for column, descending in sort)))
    if condition is not None:
        column, operator, value = condition
        if is_tree:
            inner = {column: {operator: [value] if operator == "in" else value}}
            pairs.append(("filter", json.dumps({"or": [inner, inner]})))
        else:
            pairs.append((f"{column}[{operator}]", str(value)))
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)


@examined
@given(data=st.data(), rows=some_people, listed=to_people)
async def test_list_has_what_is_granted_whatever_is_asked_of_it(firm, data, rows, listed):
    firm.grant(people_list=listed)
    await firm.fill(rows, [])
    allowed = words(rows, listed, "people")
    for _ in range(3):
        seen = tuple(each for each in PEOPLE if listed is None or sees(listed.readable, each))
        fields, sort, condition, named = data.draw(queries(data.draw(st.sampled_from([seen, seen, seen, PEOPLE]))))
        if condition is not None and data.draw(st.booleans()):
            condition, named = None, [*fields, *[each for each, _ in sort]]
        count, is_tree = data.draw(st.sampled_from(["auto", "exact", "estimated"])), data.draw(st.booleans())
        query = spelled(fields, sort, condition, is_tree=is_tree, count=count, limit=2)
        status, body, _ = await firm.ask("GET", f"people?{query}", allowed=allowed)
        if listed is None:
            assert (status, body["error"]["code"]) == (403, "FORBIDDEN")
            continue
        hidden = {each for each in PEOPLE if not sees(listed.readable, each)}
        if hidden.intersection(named):
            assert status == 400
            told = json.dumps(body["error"])
            assert not [
                each for each in hidden.difference(named) if re.search(rf"\b{each}\b", told.replace('"id"', ""))
            ]
            continue
        assert status == 200
        expected = [row for row in rows if stands(row, listed) and holds(row, condition)]
        expected = [shown(row, listed) for row in ordered(expected, PEOPLE, listed, sort)]
        expected = [{name: value for name, value in row.items() if not fields or name in fields} for row in expected]
        total = len(expected)
        assert body["pagination"]["total"] in ([total] if count != "estimated" or not is_all(listed) else range(10**6))
        page, found, at = body, [], 1
        while True:
            found += page["data"]
            if not page["pagination"]["hasNext"]:
                break
            at += 1
            if page["pagination"]["nextCursor"] is not None and data.draw(st.booleans()):
                query = spelled(
                    fields, sort, condition, is_tree=is_tree, limit=2, cursor=page["pagination"]["nextCursor"]
                )
            elif page["pagination"]["page"] is not None:
                query = spelled(fields, sort, condition, is_tree=is_tree, limit=2, page=page["pagination"]["page"] + 1)
            else:
                query = spelled(fields, sort, condition, is_tree=is_tree, limit=2, page=at)
            status, page, _ = await firm.ask("GET", f"people?{query}", allowed=allowed)
            assert status == 200
        assert found == expected


def is_all(grant: Grant) -> bool:
    return () in grant.where


@examined
@given(data=st.data(), rows=some_people, read=to_people, below=to_tasks)
async def test_row_and_what_belongs_to_it_are_there_as_far_as_they_are_granted(firm, data, rows, read, below):
    firm.grant(people_read=read, tasks_list=below)
    tasks = data.draw(some_tasks(rows))
    await firm.fill(rows, tasks)
    for key in range(1, 5):
        row = next((row for row in rows if row["id"] == key), None)
        is_there = read is not None and sees(read.readable, "id") and row is not None and stands(row, read)
        status, body, _ = await firm.ask("GET", f"people/{key}", allowed=words(rows, read, "people"))
        if read is None:
            assert status == 403
        elif not is_there:
            assert (status, body["error"]["message"]) == (404, "There is no such row in people.")
        else:
            assert (status, body) == (200, shown(row, read))
        status, body, _ = await firm.ask("GET", f"people/{key}/tasks?count=exact", allowed=words(tasks, below, "tasks"))
        if read is None or below is None:
            assert status == 403
        elif not is_there or not sees(below.readable, "person"):
            assert (status, body["error"]["message"]) == (404, "There is no such row in people.")
        else:
            found = ordered([each for each in tasks if each["person"] == key and stands(each, below)], TASKS, below, [])
            assert (status, body["data"]) == (200, [shown(each, below) for each in found])
            assert body["pagination"]["total"] == len(found)


@examined
@given(data=st.data(), rows=some_people, read=to_people, made=to_people)
async def test_row_is_made_only_as_granted_and_shown_only_as_granted(firm, data, rows, read, made):
    firm.grant(people_read=read, people_create=made)
    await firm.fill(rows, [])
    body = data.draw(bodies(("id", "team", "owner", "pay", "name")))
    before = await firm.people()
    defaults = {"team": "a", "owner": 1, "pay": 0, "name": "new", "note": ""}
    row = {column: {**defaults, **body}.get(column) for column in PEOPLE}
    status, answer, headers = await firm.ask(
        "POST", "people", body, allowed=words([row], read, "people") if row["id"] else set()
    )
    if made is None:
        expected = 403
    elif any(not may_give(made, name) for name in body) or ("id" not in body and may_give(made, "id")):
        expected = 422
    elif not any(may_be(body, alternative) for alternative in made.where):
        expected = 403
    elif "id" not in body:
        expected = 422
    elif body["id"] in [each["id"] for each in rows]:
        expected = 409
    else:
        expected = 201 if stands(row, made) else 403
    assert status == expected, answer
    if status != 201:
        assert await firm.people() == before
        assert no_hidden_name(answer, made, [*body, "id"])
        return
    assert await firm.people() == sorted([*before, row], key=lambda each: each["id"])
    is_shown = read is not None and stands(row, read)
    assert answer == (shown(row, read) if is_shown else None)
    place = f"/api/v1/people/{row['id']}" if is_shown and sees(read.readable, "id") else None
    assert headers.get("Location") == place


@examined
@given(data=st.data(), rows=some_people, read=to_people, changed=to_people)
async def test_row_is_changed_only_as_granted_before_and_after(firm, data, rows, read, changed):
    firm.grant(people_read=read, people_update=changed)
    await firm.fill(rows, [])
    key, method = data.draw(st.integers(1, 4)), data.draw(st.sampled_from(["PATCH", "PUT"]))
    body = data.draw(bodies(("team", "owner", "pay", "name")))
    before = await firm.people()
    old = next((row for row in rows if row["id"] == key), None)
    defaults = {"team": "a", "owner": 1, "pay": 0, "name": "new", "note": ""}
    open_ = [] if changed is None else [
        name for name in defaults
        if may_give(changed, name) and name not in told_apart(changed)
    ]  # fmt: skip
    replaced = {name: defaults[name] for name in open_ if name not in body} if method == "PUT" else {}
    new = None if old is None else {**old, **body, **replaced}
    allowed = words([each for each in (old, new) if each is not None], read, "people")
    status, answer, _ = await firm.ask(method, f"people/{key}", body, allowed=allowed)
    if changed is None:
        expected = 403
    elif not sees(changed.readable, "id"):
        expected = 404
    elif any(name not in open_ for name in body):
        expected = 422
    elif old is None or not stands(old, changed):
        expected = 404
    elif not stands(new, changed):
        expected = 403
    else:
        expected = 200 if read is not None and stands(new, read) else 204
    assert status == expected, answer
    if status >= 400:
        assert await firm.people() == before
        assert no_hidden_name(answer, changed, [*body])
        return
    assert any(stands(old, alone) and stands(new, alone) for alone in [Grant((each,)) for each in changed.where])
    assert await firm.people() == sorted(
        [*[each for each in rows if each["id"] != key], new], key=lambda each: each["id"]
    )
    assert answer == (shown(new, read) if status == 200 else None)


@examined
@given(data=st.data(), rows=some_people, removed=to_people)
async def test_row_is_removed_only_as_granted(firm, data, rows, removed):
    firm.grant(people_delete=removed)
    tasks = data.draw(some_tasks(rows))
    await firm.fill(rows, tasks)
    key = data.draw(st.integers(1, 4))
    old = next((row for row in rows if row["id"] == key), None)
    status, answer, _ = await firm.ask("DELETE", f"people/{key}", allowed=set())
    if removed is None:
        expected = 403
    elif not sees(removed.readable, "id") or old is None or not stands(old, removed):
        expected = 404
    else:
        expected = 409 if key in [task["person"] for task in tasks] else 204
    assert status == expected, answer
    assert (key in [row["id"] for row in await firm.people()]) is (old is not None and status != 204)


columns_of_people = to_people.map(lambda each: each and Grant(readable=each.readable, writable=each.writable))
columns_of_tasks = to_tasks.map(lambda each: each and Grant(readable=each.readable))


@examined
@given(
    listed=columns_of_people,
    read=st.none() | columns_of_people,
    made=columns_of_people,
    changed=st.none() | columns_of_people,
    removed=st.none() | columns_of_people,
    below=columns_of_tasks,
)
async def test_index_says_what_routes_do(firm, listed, read, made, changed, removed, below):
    """Methods, fields and lists below are those that requests find there."""
    firm.grant(
        people_list=listed,
        people_read=read,
        people_create=made,
        people_update=changed,
        people_delete=removed,
        tasks_list=below,
    )
    await firm.fill(people([(1, "a", 1, 0)]), [{"id": 1, "person": 1, "title": "title1q"}])
    told = {each["name"]: each for each in await firm.index()}

    async def is_served(method: str, path: str, body: Any = None) -> bool:
        status, _, _ = await firm.ask(method, path, body, allowed={"name1q", "note1q", "title1q"})
        return status not in (403, 404)

    assert ("tasks" in told) is (below is not None)
    assert ("people" in told) is (listed is not None)
    if listed is None:
        return
    found = told["people"]
    assert [each["name"] for each in found["fields"]] == [each for each in PEOPLE if sees(listed.readable, each)]
    assert ("POST" in found["methods"]) is await is_served("POST", "people", {})
    assert bool(found["children"]) is await is_served("GET", "people/1/tasks")
    bodies_of = {"GET": None, "PUT": {}, "PATCH": {}, "DELETE": None}
    served = [method for method, body in bodies_of.items() if await is_served(method, "people/1", body)]
    if not sees(listed.readable, "id"):
        served = []
    assert [method for method in bodies_of if method in found["itemMethods"]] == served
    assert (found["itemPath"], found["key"]) == (("/api/v1/people/{id}", ["id"]) if served else (None, []))
    is_changed = changed is not None and sees(changed.readable, "id")
    assert [each["name"] for each in found["fields"] if not each["readOnly"]] == [
        name
        for name in PEOPLE
        if sees(listed.readable, name)
        and ((made is not None and may_give(made, name)) or (is_changed and name != "id" and may_give(changed, name)))
    ]


@st.composite
def bodies(draw: st.DrawFn, columns: tuple[str, ...]) -> Row:
    values = {
        "id": st.integers(1, 9),
        "team": st.sampled_from("ab"),
        "owner": st.integers(1, 2),
        "pay": st.sampled_from([0, 5]),
    }
    names = draw(st.lists(st.sampled_from(columns), unique=True))
    return {name: draw(values.get(name, st.just("name9q"))) for name in names}


def no_hidden_name(answer: Any, grant: Grant | None, sent: list[str]) -> bool:
    """Whether an error names no column that is not there, but those that the client has named."""
    told = json.dumps(answer["error"]["details"]) + answer["error"]["message"]
    hidden = [each for each in PEOPLE if grant is None or not sees(grant.readable, each)]
    return not [each for each in hidden if each not in sent and f'"{each}"' in told]

"""Cursors over a real socket: whom they lead where, and what is said of those that nobody was given."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from plugins.resources.parse.cursors import MAX_CHARS, OTHER_SIDE, read_cursor, write_cursor
from plugins.resources.plan.cursors import branches
from plugins.resources.schema.kinds import Unfit
from plugins.resources.schema.resource import Order

SCHEMA = """
CREATE TABLE notes (id int PRIMARY KEY, title text, made_at timestamptz, score float8, secret_code text);
INSERT INTO notes SELECT n, 'title ' || n % 5, '2026-01-01'::timestamptz + n * interval '1 hour', n / 3.0, 'hunter2'
FROM generate_series(1, 30) n;
CREATE TABLE marks (id int PRIMARY KEY, note_id int REFERENCES notes);
INSERT INTO marks SELECT n, 1 + n % 2 FROM generate_series(1, 30) n;
CREATE TABLE hidden (code text PRIMARY KEY, name text);
INSERT INTO hidden SELECT n, n FROM generate_series(1, 30) n;
CREATE TABLE keyless (name text);
CREATE TABLE listed (ids int[] PRIMARY KEY, name text);
"""
SERVED = {"tables": ["notes", "marks", "hidden", "keyless", "listed"], "table": {"hidden": {"hidden": "code"}}}

BROKEN = "is not a cursor of this service; send nextCursor or prevCursor as it was."
LONG = "is longer than any cursor of this service."
VERSION = "is of another version of this service; begin again without it."
ELSEWHERE = "is of a list with another path, sort or filter; begin again without it."
UNFIT = "has a value that its field cannot have; begin again without it."


def token(document: Any) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def opened(cursor: str) -> list[Any]:
    return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


async def facts(api: Any, path: str) -> dict[str, Any]:
    status, body = await api.get(path)
    assert status == 200, body
    return body["pagination"]


async def cursor_of(api: Any, path: str) -> str:
    return (await facts(api, path))["nextCursor"]


async def test_client_begins_with_a_plain_list_and_goes_on_by_cursor_with_another_limit_and_other_fields(serve):
    api = await serve(SCHEMA, **SERVED)
    status, body = await api.get("notes?sort=-madeAt&limit=5")
    assert [row["id"] for row in body["data"]] == [30, 29, 28, 27, 26]
    status, body = await api.get(f"notes?sort=-madeAt&fields=id&limit=2&cursor={body['pagination']['nextCursor']}")
    assert (status, body["data"]) == (200, [{"id": 25}, {"id": 24}])
    assert body["pagination"] | {"nextCursor": "", "prevCursor": ""} == {
        "page": None,
        "limit": 2,
        "total": None,
        "totalPages": None,
        "hasNext": True,
        "hasPrev": True,
        "nextCursor": "",
        "prevCursor": "",
        "totalIsEstimate": False,
    }


@pytest.mark.parametrize(("count", "total", "pages"), [("auto", 30, 4), ("exact", 30, 4), ("none", None, None)])
async def test_total_beside_a_cursor_is_that_of_the_whole_list(serve, count, total, pages):
    api = await serve(SCHEMA, **SERVED)
    cursor = await cursor_of(api, "notes?limit=20")
    told = await facts(api, f"notes?limit=8&cursor={cursor}&count={count}")
    assert (told["total"], told["totalPages"], told["page"]) == (total, pages, None)
    assert told["totalIsEstimate"] is False


async def test_cursor_of_children_is_bound_to_their_parent(serve):
    api = await serve(SCHEMA, **SERVED)
    cursor = await cursor_of(api, "notes/1/marks?limit=3")
    assert await api.rows(f"notes/1/marks?limit=2&cursor={cursor}") == [{"id": 8, "noteId": 1}, {"id": 10, "noteId": 1}]
    for path in ("notes/2/marks", "marks"):
        assert await api.faults(f"{path}?cursor={cursor}") == [("cursor", ELSEWHERE)]
    status, _ = await api.get("notes/99/marks")
    assert status == 404


async def test_list_without_an_order_that_clients_see_has_no_cursors_and_says_why(serve):
    api = await serve(SCHEMA, **SERVED)
    for name, why in (
        ("hidden", "its key is hidden"),
        ("keyless", "it has no key"),
        ("listed", "its key is of a type that has no order"),
    ):
        told = await facts(api, f"{name}?page=2&limit=5")
        assert (told["nextCursor"], told["prevCursor"]) == (None, None)
        expected = f"is not taken by {name}, since {why}; use page."
        assert await api.faults(f"{name}?cursor=x") == [("cursor", expected)]
        assert [sentence for sentence in api.said if sentence.startswith(f"{name} is served as a list without items")]
    assert (await facts(api, "hidden?limit=5"))["hasNext"] is True
    far = "begins after more than 100,000 rows; narrow the list by filters."
    assert await api.faults("hidden?page=100002&limit=1") == [("page", far)]


async def test_row_with_values_too_long_for_a_url_has_no_cursor(serve):
    sql = """
    CREATE TABLE notes (id int PRIMARY KEY, body text);
    INSERT INTO notes SELECT n, repeat('é', 2000) || n FROM generate_series(1, 3) n;
    """
    api = await serve(sql, tables=["notes"])
    told = await facts(api, "notes?sort=body&limit=1")
    assert (told["hasNext"], told["nextCursor"]) == (True, None)
    assert (await facts(api, "notes?limit=1"))["nextCursor"] is not None


async def test_forged_cursors_have_their_exact_answers_and_show_nothing_else(serve):
    api = await serve(SCHEMA, **SERVED)
    fingerprint = {
        path: opened(await cursor_of(api, path))[2]
        for path in (
            "notes?limit=1",
            "notes?limit=1&sort=title",
            "notes?limit=1&sort=-madeAt",
            "notes?limit=1&sort=score",
        )
    }
    by_id, by_title, by_time, by_score = fingerprint.values()
    other = await cursor_of(api, "notes?limit=1&sort=-id")
    filtered = await cursor_of(api, "notes?limit=1&id[gt]=1")
    cases = [
        # no cursor at all
        ("", BROKEN),
        ("x", BROKEN),
        ("%00", None),
        ("%FF", None),
        ("====", BROKEN),
        ("a.b", BROKEN),
        ("%20", BROKEN),
        ("null", BROKEN),
        ("'%20OR%201=1--", BROKEN),
        ("A" * MAX_CHARS, BROKEN),
        ("A" * (MAX_CHARS + 1), LONG),
        (token("[1"), BROKEN),
        (token("[" * 1500), BROKEN),
        (token("1"), BROKEN),
        (token("{}"), BROKEN),
        (token("[]"), BROKEN),
        (token('[1,">","x",["\\ud800"]]'), BROKEN),
        (token("[NaN]"), BROKEN),
        (token([True, ">", by_id, ["1"]]), BROKEN),
        (token(["1", ">", by_id, ["1"]]), BROKEN),
        (token([1.0, ">", by_id, ["1"]]), BROKEN),
        # another version
        (token([0, ">", by_id, ["1"]]), VERSION),
        (token([2]), VERSION),
        (token([-1, {}]), VERSION),
        # another shape
        (token([1]), BROKEN),
        (token([1, ">", by_id, ["1"], 0]), BROKEN),
        (token([1, "=", by_id, ["1"]]), BROKEN),
        (token([1, "> 0 OR 1=1 --", by_id, ["1"]]), BROKEN),
        (token([1, None, by_id, ["1"]]), BROKEN),
        (token([1, [], by_id, ["1"]]), BROKEN),
        (token([1, ">", 7, ["1"]]), BROKEN),
        (token([1, ">", by_id, "1"]), BROKEN),
        (token([1, ">", by_id, {"0": "1"}]), BROKEN),
        (token([1, ">", by_id, []]), BROKEN),
        (token([1, ">", by_id, ["1", "1"]]), BROKEN),
        (token([1, ">", by_id, [1]]), BROKEN),
        (token([1, ">", by_id, [True]]), BROKEN),
        (token([1, ">", by_id, [["1"]]]), BROKEN),
        (token([1, ">", by_id, ["1\0"]]), BROKEN),
        (token([1, ">", by_title, ["title 1"]]), ELSEWHERE),
        # another list
        (token([1, ">", "", ["1"]]), ELSEWHERE),
        (token([1, ">", "x" * 2000, ["1"]]), ELSEWHERE),
        (token([1, ">", by_title, ["a", "1"]]), ELSEWHERE),
        (other, ELSEWHERE),
        (filtered, ELSEWHERE),
        # values that PostgreSQL refuses
        (token([1, ">", by_id, ["x"]]), UNFIT),
        (token([1, ">", by_id, [""]]), UNFIT),
        (token([1, "<", by_id, ["2147483648"]]), UNFIT),
        (token([1, ">=", by_id, ["1.5"]]), UNFIT),
        (token([1, ">", by_id, ["1) OR (1=1"]]), UNFIT),
    ]  # fmt: skip
    for cursor, message in cases:
        status, body = await api.get(f"notes?cursor={cursor}")
        error = body.get("error", {"code": None, "details": [{}]})
        (detail,) = error["details"]
        assert (status, error["code"], detail.get("field")) == (400, "VALIDATION_ERROR", "cursor"), cursor
        assert message is None or detail["message"] == message, cursor
    sorted_cases = [
        ("-madeAt", by_time, ["soon", "1"]),
        ("-madeAt", by_time, ["2026-13-01", "1"]),
        ("-madeAt", by_time, ["294277-01-01", "1"]),
        ("-madeAt", by_time, [None, "x"]),
        ("score", by_score, ["1e999", "1"]),
        ("score", by_score, ["one", None]),
        ("title", by_title, ["a", "9" * 400]),
    ]
    for sort, bound, values in sorted_cases:
        assert await api.faults(f"notes?sort={sort}&cursor={token([1, '>', bound, values])}") == [("cursor", UNFIT)]


async def test_forged_values_show_no_more_than_sort_and_filters_do(serve):
    api = await serve(SCHEMA, **SERVED)
    path = "notes?limit=100&sort=title&id[lte]=4&fields=id"
    bound = opened(await cursor_of(api, path.replace("100", "1")))[2]
    every = {row["id"] for row in await api.rows(path)}
    for values in (
        ["", "0"],
        [None, None],
        ["' OR 1=1 --", "1"],
        ["title 3", "-5"],
        ["\uffff", "1"],
        ["title 1", None],
    ):
        for direction in OTHER_SIDE:
            shown = {row["id"] for row in await api.rows(f"{path}&cursor={token([1, direction, bound, values])}")}
            assert shown <= every
    beyond = ["title 9", "1"]
    assert len(await api.rows(f"{path}&cursor={token([1, '<', bound, beyond])}")) == len(every)
    assert await api.rows(f"{path}&cursor={token([1, '>', bound, beyond])}") == []


async def test_cursor_is_read_only_where_all_else_is_right_and_not_beside_page(serve):
    api = await serve(SCHEMA, **SERVED)
    cursor = await cursor_of(api, "notes?limit=1")
    together = "cannot be given together with page."
    assert await api.faults(f"notes?cursor={cursor}&page=1") == [("cursor", together)]
    assert await api.faults("notes?cursor=x&page=2") == [("cursor", together)]
    assert [field for field, _ in await api.faults(f"notes?cursor={cursor}&sort=nope")] == ["sort"]
    assert [field for field, _ in await api.faults(f"notes?cursor={cursor}&cursor={cursor}")] == ["cursor"]
    assert [field for field, _ in await api.faults(f"notes/1?cursor={cursor}")] == ["cursor"]


async def test_what_another_field_is_to_blame_for_is_not_put_down_to_the_cursor(serve):
    sql = """
    CREATE TABLE a (id int PRIMARY KEY);
    INSERT INTO a VALUES (0), (1);
    CREATE VIEW broken AS SELECT id, 1 / id AS part FROM a;
    """
    api = await serve(sql, tables=["broken"], table={"broken": {"key": "id"}})
    status, body = await api.get("broken")
    assert (status, body["error"]["code"]) == (500, "INTERNAL_ERROR")


KEYS = """
CREATE TABLE bytes (id bytea PRIMARY KEY);
INSERT INTO bytes SELECT decode(lpad(to_hex(n), 4, '0'), 'hex') FROM generate_series(250, 262) n;
CREATE TABLE spans (id interval PRIMARY KEY);
INSERT INTO spans SELECT n * interval '1 day 3 hours 0.000001 seconds' FROM generate_series(-6, 6) n;
CREATE TABLE floats (id float8 PRIMARY KEY);
INSERT INTO floats SELECT n / 3.0 FROM generate_series(1, 10) n;
INSERT INTO floats VALUES ('NaN'), ('Infinity'), ('-Infinity'), (1e-300);
CREATE TABLE numbers (id numeric PRIMARY KEY);
INSERT INTO numbers SELECT n / 3.0 FROM generate_series(1, 10) n;
INSERT INTO numbers VALUES ('NaN'), (12345678901234567890.123456789);
CREATE TABLE times (id timestamptz PRIMARY KEY);
INSERT INTO times
SELECT '2026-01-01 00:00:00.000001'::timestamptz + n * interval '1 microsecond' FROM generate_series(1, 9) n;
INSERT INTO times VALUES ('infinity'), ('-infinity'), ('0044-03-15 BC');
CREATE TYPE mood AS ENUM ('sad', 'ok, so', 'happy');
CREATE DOMAIN feeling AS mood;
CREATE TABLE moods (id feeling PRIMARY KEY);
INSERT INTO moods VALUES ('happy'), ('sad'), ('ok, so');
CREATE TABLE padded (id char(4) PRIMARY KEY);
INSERT INTO padded VALUES ('a'), ('ab'), ('b'), ('b c');
CREATE TABLE bits (id varbit PRIMARY KEY);
INSERT INTO bits VALUES (B'0'), (B'1'), (B'10'), (B'101'), (B'');
CREATE TABLE letters (id name PRIMARY KEY);
INSERT INTO letters VALUES ('a'), ('b'), ('Z');
CREATE TABLE addresses (id inet PRIMARY KEY);
INSERT INTO addresses VALUES ('10.0.0.1'), ('10.0.0.0/8'), ('::1'), ('10.0.0.1/24');
CREATE TABLE flags (is_new bool, id text COLLATE "C", PRIMARY KEY (is_new, id));
INSERT INTO flags
VALUES (true, ''), (true, E'a\\nb'), (false, '"'), (false, '\\'), (true, '😀'), (false, ', '), (false, ']');
CREATE VIEW nullable AS SELECT is_new, id FROM flags UNION ALL SELECT NULL, id FROM flags;
"""


async def test_cursors_lead_through_keys_of_every_kind_of_type(serve):
    api = await serve(KEYS, tables=["*"], table={"nullable": {"key": ["is_new", "id"]}})
    connection = await asyncpg.connect(api.url)
    index = (await api.get(""))[1]["data"]
    assert len(index) == 12
    for name in [row["name"] for row in index]:
        for sort in ("", "&sort=-id", "&sort=id"):
            everything = await api.rows(f"{name}?limit=100{sort}")
            assert len(everything) == await connection.fetchval(f"SELECT count(*) FROM {name}")
            found, backward = [], []
            told = await facts(api, f"{name}?limit=2{sort}")
            found += await api.rows(f"{name}?limit=2{sort}")
            while told["nextCursor"]:
                path = f"{name}?limit=2{sort}&cursor={told['nextCursor']}"
                told, found = await facts(api, path), found + await api.rows(path)
            assert found == everything, (name, sort)
            while told["prevCursor"]:
                path = f"{name}?limit=2{sort}&cursor={told['prevCursor']}"
                told, backward = await facts(api, path), await api.rows(path) + backward
            assert found[: len(backward)] == backward, (name, sort)
            assert len(found) - len(backward) in (1, 2), (name, sort)
    await connection.close()


# --- the pure parts


def test_cursor_says_what_was_written_and_nothing_else_is_read(items):
    text = write_cursor("<=", "f", ["a", None])
    cursor = read_cursor(text, "f", 2)
    assert (cursor.direction, cursor.values, cursor.is_backward) == ("<=", ("a", None), True)
    with pytest.raises(Unfit, match="another path, sort or filter"):
        read_cursor(text, "g", 2)
    with pytest.raises(Unfit, match="is not a cursor"):
        read_cursor(text, "f", 3)


def test_cursor_that_is_too_long_to_come_back_is_not_written():
    lengths = range(2900, 3001)
    written = [write_cursor(">", "f" * 11, ["x" * length]) for length in lengths]
    assert {written.index(None)} == {next(n for n, text in enumerate(written) if text is None)}
    assert max(len(text) for text in written if text) <= MAX_CHARS
    assert all(text is None for text in written[written.index(None) :])


def order_of(items, *names: str) -> tuple[Order, ...]:
    return tuple(Order(items.fields[name.lstrip("-")], name.startswith("-")) for name in names)


def as_sql(items, names, values, *, is_inclusive=False) -> list[str]:
    """The branches, without casts and quotes."""
    arguments: list[Any] = []
    found = branches(order_of(items, *names), values, arguments, is_inclusive=is_inclusive)
    assert arguments == [value for value in values if value is not None]
    text = [" AND ".join(branch) for branch in found]
    text = [each.replace('::"public"."mood"', "") for each in text]
    types = ("text", "numeric", "int4", "mood")
    for type_ in types:
        text = [
            each.replace(f'::text::"pg_catalog"."{type_}"', "").replace(f'::text::"public"."{type_}"', "")
            for each in text
        ]
    return [each.replace("t.", "").replace('"', "") for each in text]


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        (["id"], ["7"], ["id > $1"]),
        (["-id"], ["7"], ["id < $1"]),
        (["name", "id"], ["a", "7"], ["(name, id) > ($1, $2)", "name IS NULL"]),
        (["-name", "-id"], ["a", "7"], ["(name, id) < ($1, $2)"]),
        (["name", "id"], [None, "7"], ["name IS NULL AND id > $1"]),
        (["-name", "-id"], [None, "7"], ["name IS NOT NULL", "name IS NULL AND id < $1"]),
        (["-name", "id"], ["a", "7"], ["name < $1", "name = $1 AND id > $2"]),
        (["name", "-id"], ["a", "7"], ["name > $1", "name IS NULL", "name = $1 AND id < $2"]),
        (["price", "name", "id"], ["1", None, "7"],
         ["price > $1", "price IS NULL", "price = $1 AND name IS NULL AND id > $2"]),
        (["price", "name", "id"], ["1", "a", "7"],
         ["(price, name, id) > ($1, $2, $3)", "price IS NULL", "price = $1 AND name IS NULL"]),
        (["id"], [None], ["false"]),
    ],
)  # fmt: skip
def test_rows_after_a_place_are_branches_that_an_index_serves(items, names, values, expected):
    assert as_sql(items, names, values) == expected


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        (["id"], ["7"], ["id >= $1"]),
        (["-name", "id"], ["a", "7"], ["name < $1", "name = $1 AND id >= $2"]),
        (["name", "id"], ["a", None], ["name > $1", "name IS NULL", "name = $1 AND id IS NULL"]),
    ],
)
def test_rows_from_a_place_on_have_the_place_itself(items, names, values, expected):
    assert as_sql(items, names, values, is_inclusive=True) == expected


def test_sides_leave_nothing_out():
    for direction, other in OTHER_SIDE.items():
        assert OTHER_SIDE[other] == direction
        assert {direction[0], other[0]} == {"<", ">"}
        assert direction.endswith("=") is not other.endswith("=")
    assert all(a != b for a, b in pairwise(OTHER_SIDE))

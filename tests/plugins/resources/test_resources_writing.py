"""Rows are made, changed, replaced and removed, over a real socket and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import threading

import asyncpg
import pytest
import pytest_asyncio

from plugins.resources.handlers import receiving
from plugins.resources.parse.body import read_object
from service.api import Change
from service.testing.tokens import TOKEN_SECRET

SHOP = """
CREATE TYPE state AS ENUM ('new', 'paid');
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email varchar(40) UNIQUE NOT NULL, display_name text,
    age int DEFAULT 18 CONSTRAINT secret_rule CHECK (age < 150), password_hash text NOT NULL DEFAULT 'x',
    hidden_note text UNIQUE, created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT '2000-01-01'
);
CREATE TABLE orders (
    id int PRIMARY KEY, user_id bigint REFERENCES users, state state NOT NULL DEFAULT 'new',
    total numeric(10, 2) NOT NULL, meta jsonb
);
CREATE TABLE tags (name text PRIMARY KEY);
CREATE TABLE notes (text text);
INSERT INTO users (email) VALUES ('ada@example.com'), ('bob@example.com');
INSERT INTO orders VALUES (1, 1, 'new', 5, '{"a": 1}');
"""

TABLES = {"users": {"hidden": "password_hash, hidden_note", "modified": "updated_at"}}


@pytest.fixture
def seen(watcher):
    return watcher.seen


@pytest_asyncio.fixture
async def shop(serve, watcher):
    """A writable shop."""
    return await serve(SHOP, watcher, tables=["users", "orders", "tags", "notes"], table=TABLES)


async def test_new_row_is_answered_with_201_its_place_and_itself(shop, seen):
    status, row = await shop.send("POST", "users", {"email": "eve@example.com", "displayName": "Eve"})
    assert (status, shop.headers["Location"], shop.headers["Content-Type"]) == (
        201,
        "/api/v1/users/3",
        "application/json",
    )
    assert await shop.get("users/3") == (200, row)
    assert (row["id"], row["email"], row["displayName"], row["age"]) == (3, "eve@example.com", "Eve", 18)
    assert seen == [Change("users", ("3",))]


async def test_new_row_takes_the_clients_own_key_where_the_column_allows_it(shop):
    status, row = await shop.send("POST", "orders", {"id": 77, "total": 1})
    assert (status, row["id"], shop.headers["Location"]) == (201, 77, "/api/v1/orders/77")
    assert await shop.refused("POST", "users", {"id": 9, "email": "x"}) == [("id", "is read-only.")]


async def test_place_of_a_new_row_leads_to_it_whatever_its_key(shop):
    for name in ("a/b,c", "100%25", "ü ?&#+", "back\\slash", "...", ";x=1"):
        status, row = await shop.send("POST", "tags", {"name": name})
        place = shop.headers["Location"].removeprefix("/api/v1/")
        assert (status, await shop.get(place)) == (201, (200, row)), name


async def test_row_of_a_table_without_a_key_has_no_place(shop, seen):
    assert await shop.send("POST", "notes", {"text": "x"}) == (201, {"text": "x"})
    assert "Location" not in shop.headers
    assert seen == [Change("notes")]
    assert any("notes: update and delete left out, because no URL names a single row" in each for each in shop.said)


async def test_list_in_a_body_is_422_and_stores_nothing(shop, seen):
    assert await shop.refused("POST", "tags", [{"name": "a"}]) == [("body", "must be a JSON object.")]
    assert (await shop.rows("tags"), seen) == ([], [])


async def test_patch_changes_the_columns_that_it_names_and_a_json_value_as_a_whole(shop, seen):
    status, row = await shop.send("PATCH", "orders/1", {"meta": {"b": [1.10]}, "state": "paid"})
    assert (status, row) == (200, {"id": 1, "userId": 1, "state": "paid", "total": 5.0, "meta": {"b": [1.1]}})
    assert await shop.get("orders/1") == (200, row)
    assert seen == [Change("orders", ("1",))]


async def test_patch_of_nothing_is_the_row_unchanged_and_no_change(shop, seen):
    before = await shop.get("users/1")
    assert await shop.send("PATCH", "users/1", {}) == before
    assert await shop.send("PATCH", "users/1", {"id": 1}) == before
    assert seen == []
    assert (await shop.send("PATCH", "users/99", {}))[0] == 404


async def test_put_replaces_every_writable_field(shop, seen):
    await shop.send("PATCH", "users/1", {"displayName": "Ada", "age": 36})
    created = (await shop.get("users/1"))[1]["createdAt"]
    status, row = await shop.send("PUT", "users/1", {"email": "new@example.com", "createdAt": created})
    assert (status, row["email"], row["displayName"], row["age"]) == (200, "new@example.com", None, 18)
    assert await shop.refused("PUT", "users/1", {"displayName": "x"}) == [("email", "is required.")]
    assert await shop.refused("PUT", "orders/1", {}) == [("total", "is required.")]
    assert seen == [Change("users", ("1",))] * 2


async def test_put_with_the_key_of_the_path_is_taken_and_with_another_refused(shop):
    body = {"id": 1, "total": 3}
    assert (await shop.send("PUT", "orders/1", body))[0] == 200
    for method in ("PUT", "PATCH"):
        ((field, message),) = await shop.refused(method, "orders/2", body)
        assert (field, message) == ("id", "is part of the key and must be what the path says.")


async def test_what_is_read_can_be_put_back_without_what_is_read_only(shop):
    _, row = await shop.get("orders/1")
    assert await shop.send("PUT", "orders/1", row) == (200, row)


async def test_delete_is_204_without_a_body_and_404_afterwards(shop, seen):
    assert await shop.send("DELETE", "orders/1") == (204, None)
    assert "Content-Length" not in shop.headers
    assert (await shop.send("DELETE", "orders/1"))[0] == 404
    assert seen == [Change("orders", ("1",))]


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"total": 1}), ("PUT", {"total": 1}), ("DELETE", None)])
async def test_writing_to_a_row_that_is_not_there_is_404(shop, seen, method, body):
    status, answer = await shop.send(method, "orders/999", body)
    assert (status, answer["error"]["code"]) == (404, "NOT_FOUND")
    assert seen == []


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"total": "x"}), ("PUT", {}), ("DELETE", None)])
async def test_key_that_cannot_be_one_is_400_before_the_body_is_looked_at(shop, method, body):
    assert [field for field, _ in await shop.refused(method, "orders/x?y=1", body, status=400)] == ["id", "y"]


async def test_writing_takes_no_parameters(shop):
    assert await shop.refused("POST", "tags?fields=name", {"name": "a"}, status=400) == [
        ("fields", "means nothing here.")
    ]


async def test_taken_value_is_409_and_names_the_field(shop, seen):
    assert await shop.refused("POST", "users", {"email": "ada@example.com"}, status=409) == [
        ("email", "is taken already.")
    ]
    assert await shop.refused("PATCH", "users/2", {"email": "ada@example.com"}, status=409) == [
        ("email", "is taken already.")
    ]
    assert seen == []


async def test_constraints_are_told_by_fields_and_never_by_their_own_name(shop):
    status, answer = await shop.send("POST", "users", {"email": "e", "age": 200})
    assert (status, answer["error"]["details"]) == (422, [{"field": "age", "message": "is not allowed."}])
    assert "secret_rule" not in str(answer)


async def test_reference_to_nothing_is_422_and_a_row_that_is_referred_to_stays(shop, seen):
    assert await shop.refused("POST", "orders", {"id": 2, "total": 1, "userId": 99}) == [
        ("userId", "refers to something that does not exist.")
    ]
    status, answer = await shop.send("DELETE", "users/1")
    assert (status, answer["error"]["code"], answer["error"]["details"]) == (409, "CONFLICT", [])
    assert (await shop.get("users/1"))[0] == 200
    assert seen == []


async def test_hidden_column_is_not_named_where_it_refuses(shop):
    await execute(shop.url, "ALTER TABLE users ALTER hidden_note SET DEFAULT 'same'")
    assert (await shop.send("POST", "users", {"email": "1"}))[0] == 201
    status, answer = await shop.send("POST", "users", {"email": "2"})
    assert (status, answer["error"]["details"]) == (409, [])
    assert "hidden" not in str(answer)


async def test_time_of_the_last_change_is_set_by_us_and_read_only_for_clients(shop):
    before = (await shop.get("users/1"))[1]["updatedAt"]
    assert before.startswith("2000-01-01")
    assert (await shop.send("PATCH", "users/1", {"age": 20}))[1]["updatedAt"] > before
    assert (await shop.send("POST", "users", {"email": "new"}))[1]["updatedAt"] > before
    assert await shop.refused("PATCH", "users/1", {"updatedAt": before}) == [("updatedAt", "is read-only.")]


MASS = [
    ("id", "is read-only."),
    ("passwordHash", "is no field."),
    ("password_hash", "is no field."),
    ("hiddenNote", "is no field."),
    ("updatedAt", "is read-only."),
    ("xmin", "is no field."),
    ("ctid", "is no field."),
    ("Email", "is no field; did you mean email?"),
    ("display_name", "is no field; did you mean displayName?"),
    ("__proto__", "is no field."),
    ("", "is no field."),
    ("email\"='x'--", "is no field."),
]


async def test_columns_that_are_not_for_clients_cannot_be_assigned(shop, seen):
    before = await rows_of(shop.url)
    for field, message in MASS:
        told = [(field, KEY if field == "id" else message)]
        assert await shop.refused("POST", "users", {"email": "m", field: 99}) == [(field, message)], field
        assert await shop.refused("PUT", "users/1", {"email": "m", field: 99}) == told, field
        assert await shop.refused("PATCH", "users/1", {field: 99}) == told, field
    everything = await shop.refused("PATCH", "users/1", dict.fromkeys([field for field, _ in MASS], 99))
    assert {field for field, _ in everything} == {field for field, _ in MASS}
    assert await rows_of(shop.url) == before
    assert seen == []


KEY = "is part of the key and must be what the path says."

DEEP = b'{"meta": ' + b"[" * 70 + b"]" * 70 + b"}"
NUMBER = b"9" * 401

JSON = "application/json"
BROKEN = (400, "VALIDATION_ERROR", "body")
WRONG = (422, "VALIDATION_ERROR")
UNREAD = (415, "UNSUPPORTED_MEDIA_TYPE", None, None)

BODIES = [
    # bytes, content type, status, code, field, message
    (b"", JSON, *BROKEN, "is empty."),
    (b"  ", JSON, *BROKEN, "is empty."),
    (b"{", JSON, *BROKEN, "is not JSON at line 1, column 2"),
    (b'{\n"total": x\n}', JSON, *BROKEN, "is not JSON at line 2, column 10"),
    (b"{'total': 1}", JSON, *BROKEN, "is not JSON at line 1, column 2"),
    (b'{"total": 1} x', JSON, *BROKEN, "is not JSON at line 1, column 14"),
    (b'{"total": 01}', JSON, *BROKEN, "is not JSON"),
    (b'{"total": .5}', JSON, *BROKEN, "is not JSON"),
    (b'{"total": +5}', JSON, *BROKEN, "is not JSON"),
    (b'{"total": 0x5}', JSON, *BROKEN, "is not JSON"),
    (b'{"total": NaN}', JSON, *BROKEN, "has NaN, which is no JSON number."),
    (b'{"total": -Infinity}', JSON, *BROKEN, "has -Infinity"),
    (b'{"total": ' + NUMBER + b"}", JSON, *BROKEN, "has a number of more than 400 digits"),
    (b'{"total": 1e99999}', JSON, *BROKEN, "has a number of more than 400 digits"),
    (b'{"meta": 1e-1000}', JSON, *BROKEN, "has a number of more than 400 digits"),
    (b'{"total": 1, "total": 2}', JSON, *BROKEN, "has the name total twice"),
    (b'{"meta": {"a": 1, "a": 2}}', JSON, *BROKEN, "has the name a twice"),
    (b'{"meta": "\\u0000"}', JSON, *BROKEN, "has a NUL character in a text."),
    (b'{"meta": {"\\u0000": 1}}', JSON, *BROKEN, "has a NUL character in a text."),
    (b'{"meta": "\x00"}', JSON, *BROKEN, "is not JSON"),
    (b'{"meta": "\\ud800"}', JSON, *BROKEN, "has half of a surrogate pair"),
    (b'{"meta": "\xff"}', JSON, *BROKEN, "is not UTF-8 at byte 11."),
    (b'{"meta": "\xed\xa0\x80"}', JSON, *BROKEN, "is not UTF-8"),
    ('{"total": 1}'.encode("utf-16"), JSON, *BROKEN, "is not UTF-8"),
    (b'\xef\xbb\xbf{"total": 1}', JSON, *BROKEN, "is not JSON"),
    (DEEP, JSON, *BROKEN, "has more than 64 objects and lists inside each other."),
    (b"[" * 100_000, JSON, *BROKEN, "has more than 64 objects"),
    (b"[]", JSON, *WRONG, "body", "must be a JSON object."),
    (b"null", JSON, *WRONG, "body", "must be a JSON object."),
    (b'"total"', JSON, *WRONG, "body", "must be a JSON object."),
    (b"total=1", "application/x-www-form-urlencoded", *UNREAD),
    (b'{"total": 1}', "text/plain", *UNREAD),
    (b'{"total": 1}', "application/merge-patch+json", *UNREAD),
    (b'{"total": 1}', "application/json; charset=latin-1", *UNREAD),
    (b'{"total": 1}', "application/json; charset=utf-16", *UNREAD),
    (b'{"total": 1}', "", *UNREAD),
    (b'{"meta": "' + b"x" * 2**20 + b'"}', JSON, 413, "PAYLOAD_TOO_LARGE", None, None),
    # well-formed, with wrong values
    (b'{"total": "x"}', JSON, *WRONG, "total", "must be a number."),
    (b'{"total": true}', JSON, *WRONG, "total", "must be a number."),
    (b'{"total": 100000000}', JSON, *WRONG, "total", "must be below 100000000 and above"),
    (b'{"total": 0.001}', JSON, *WRONG, "total", "must have at most 2 digits after the"),
    (b'{"total": "x"}' + b" " * 2**16, JSON, *WRONG, "total", "must be a number."),  # read in a thread
    (b" " * 2**16 + b'{"total": x}', JSON, *BROKEN, "is not JSON at line 1, column 65547"),
    (b" " * 2**16 + b"[]", JSON, *WRONG, "body", "must be a JSON object."),
    (b'{"total": null}', JSON, *WRONG, "total", "must not be null."),
    (b'{"state": "lost"}', JSON, *WRONG, "state", "must be one of new and paid."),
    (b'{"userId": 1.5}', JSON, *WRONG, "userId", "must be an integer."),
    (b'{"userId": {"$gt": 0}}', JSON, *WRONG, "userId", "must be an integer."),
    (b'{"userId": 9223372036854775808}', JSON, *WRONG, "userId", "must be from -9223372"),
    (b'{"userId": "1; DROP TABLE orders"}', JSON, *WRONG, "userId", "must be an integer."),
    (b'{"total); DROP TABLE orders; --": 1}', JSON, 422, "VALIDATION_ERROR",
     "total); DROP TABLE orders; --", "is no field."),
    ('{"t\u043etal": 1}'.encode(), JSON, *WRONG, "t\u043etal", "is no field"),
]  # fmt: skip


async def test_large_body_is_read_beside_the_event_loop_and_a_small_one_in_it(shop, monkeypatch):
    threads: list[threading.Thread] = []

    def read(body: bytes) -> object:
        threads.append(threading.current_thread())
        return read_object(body)

    monkeypatch.setattr(receiving, "read_object", read)
    numbers = list(range(100_000))
    status, row = await shop.send("PATCH", "orders/1", {"meta": numbers})
    assert (status, row["meta"]) == (200, numbers)
    status, row = await shop.send("PATCH", "orders/1", {"meta": [1]})
    assert (status, row["meta"]) == (200, [1])
    assert [thread is threading.current_thread() for thread in threads] == [False, True]


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_wrong_bodies_have_their_exact_answers_and_store_nothing(shop, seen, method):
    before = await rows_of(shop.url)
    wrong = []
    for raw, content_type, status, code, field, message in BODIES:
        path = "orders" if method == "POST" else "orders/1"
        found, answer = await shop.send(method, path, raw=raw, content_type=content_type)
        error = answer["error"]
        told = {detail["field"]: detail["message"] for detail in error["details"]}
        if (found, error["code"]) != (status, code) or (field is not None and not told[field].startswith(message)):
            wrong.append((raw[:60], found, error))
        if status == 415:
            name = "Accept-Patch" if method == "PATCH" else "Accept"
            assert shop.headers[name] == "application/json"
    assert wrong == []
    assert await rows_of(shop.url) == before
    assert seen == []


async def test_all_faults_of_a_body_come_at_once(shop):
    body = {"state": "x", "total": "y", "meta": {}, "nope": 1, "userId": 1.5}
    status, answer = await shop.send("POST", "orders", body)
    assert (status, answer["error"]["message"]) == (422, "5 fields are wrong.")
    assert [detail["field"] for detail in answer["error"]["details"]] == ["state", "total", "userId", "nope", "id"]


async def test_charset_may_be_said_if_it_is_utf_8(shop):
    for content_type in ("application/json; charset=utf-8", 'application/json;charset="UTF-8"', "Application/JSON"):
        assert (await shop.send("PATCH", "orders/1", {"total": 2}, content_type=content_type))[0] == 200


async def test_options_and_405_say_what_is_allowed_and_what_a_patch_may_be(shop):
    everything = "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
    assert (await shop.send("OPTIONS", "users/1"), shop.headers["Allow"]) == ((204, None), everything)
    assert shop.headers["Accept-Patch"] == "application/json"
    assert (await shop.send("OPTIONS", "users"), shop.headers["Allow"]) == ((204, None), "GET, HEAD, OPTIONS, POST")
    assert "Accept-Patch" not in shop.headers
    assert ((await shop.send("DELETE", "users"))[0], shop.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert ((await shop.send("POST", "users/1", {}))[0], shop.headers["Allow"]) == (405, everything)
    assert (await shop.send("PATCH", "users/1/orders", {}))[0] == 405


async def test_index_says_what_can_be_written(shop):
    _, index = await shop.get("")
    by_name = {row["name"]: row for row in index["data"]}
    assert by_name["users"]["methods"] == ["GET", "HEAD", "OPTIONS", "POST"]
    assert by_name["users"]["itemMethods"] == ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"]
    assert by_name["notes"]["itemMethods"] == []
    assert by_name["tags"]["itemMethods"] == ["GET", "HEAD", "OPTIONS", "DELETE"]
    read_only = {field["name"] for field in by_name["users"]["fields"] if field["readOnly"]}
    assert read_only == {"id", "updatedAt"}


async def test_only_what_is_asked_for_can_be_done(serve):
    tables = {"users": {"writes": ["update"]}, "orders": {"writes": False}}
    api = await serve(SHOP, tables=["users", "orders"], table=tables)
    assert (await api.send("PATCH", "users/1", {"age": 20}))[0] == 200
    for method, path in (("POST", "users"), ("DELETE", "users/1"), ("POST", "orders"), ("PATCH", "orders/1")):
        assert (await api.send(method, path, {}))[0] == 405, (method, path)


async def test_tables_that_an_asterisk_has_found_are_read_only_until_they_are_named(serve):
    api = await serve(SHOP, tables=["*"], writes=["tags"])
    assert (await api.send("POST", "tags", {"name": "x"}))[0] == 201
    assert (await api.send("POST", "orders", {"id": 5, "total": 1}))[0] == 405
    api = await serve(SHOP, tables=["*"], table={"orders": {"writes": ["create"]}})
    assert (await api.send("POST", "orders", {"id": 5, "total": 1}))[0] == 201
    assert (await api.send("DELETE", "orders/5"))[0] == 405
    assert (await api.send("POST", "tags", {"name": "x"}))[0] == 405


async def test_row_that_the_rules_of_a_trigger_refuse_is_422_and_one_it_drops_409(serve):
    rules = """
    CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.name = 'bad' THEN RAISE EXCEPTION 'a secret reason'; END IF;
        RETURN CASE WHEN NEW.name = 'gone' THEN NULL ELSE NEW END;
    END $$;
    CREATE TRIGGER judge BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION judge();
    """
    api = await serve(SHOP + rules, tables=["tags"])
    status, answer = await api.send("POST", "tags", {"name": "bad"})
    assert (status, "secret" in str(answer)) == (422, False)
    assert (await api.send("POST", "tags", {"name": "gone"}))[0] == 409
    assert await api.rows("tags") == []


async def test_value_too_large_for_an_index_is_422(shop):
    name = "".join(chr(0x4E00 + number * 37 % 20_000) for number in range(5_000))  # which does not compress
    status, answer = await shop.send("POST", "tags", {"name": name})
    assert (status, answer["error"]["code"]) == (422, "VALIDATION_ERROR")


CASCADES = """
CREATE TABLE parents (id int PRIMARY KEY, code int UNIQUE, name text);
CREATE TABLE children (id int PRIMARY KEY, parent_id int REFERENCES parents ON DELETE CASCADE);
CREATE TABLE grandchildren (id int PRIMARY KEY, child_id int REFERENCES children ON DELETE SET NULL);
CREATE TABLE coded (id int PRIMARY KEY, code int REFERENCES parents (code) ON UPDATE CASCADE ON DELETE RESTRICT);
CREATE TABLE strangers (id int PRIMARY KEY, grandchild_id int REFERENCES grandchildren ON DELETE CASCADE);
CREATE VIEW names AS SELECT id, name FROM parents;
INSERT INTO parents VALUES (1, 10, 'a'), (2, 20, 'b');
INSERT INTO children VALUES (1, 1);
INSERT INTO grandchildren VALUES (1, 1);
INSERT INTO coded VALUES (1, 20);
"""


async def test_tables_that_a_change_reaches_are_announced_too(serve, seen, watcher):
    api = await serve(CASCADES, watcher, tables=["*"], writes=["parents", "names"], table={"names": {"key": "id"}})
    for method, path, body, reached in (
        ("PATCH", "parents/1", {"name": "x"}, {"names"}),
        ("PATCH", "parents/2", {"code": 21}, {"names", "coded"}),
        ("POST", "parents", {"id": 3}, {"names"}),
        ("DELETE", "parents/1", None, {"names", "children", "grandchildren"}),
    ):
        seen.clear()
        assert (await api.send(method, path, body))[0] < 300, path
        assert seen[0] == Change("parents", (path.partition("/")[2] or "3",))
        assert {change.resource for change in seen[1:]} == reached, (method, path)
        assert {change.keys for change in seen[1:]} == {()}
    seen.clear()
    assert (await api.send("PATCH", "names/2", {"name": "y"}))[0] == 200
    assert {change.resource for change in seen} == {"names", "parents", "coded"}
    assert (await api.get("coded/1"))[1]["code"] == 21


async def test_digits_beyond_a_floating_point_number_are_text_where_the_operator_says_so(serve):
    sql = "CREATE TABLE sums (id bigint PRIMARY KEY, total numeric, steps bigint[], small int)"
    api = await serve(sql, tables=["sums"], table={"sums": {"bigint": "string"}})
    sent = {"id": 9007199254740993, "total": "12345678901234567890.10", "steps": [9007199254740993], "small": 1}
    shown = sent | {"id": "9007199254740993", "steps": ["9007199254740993"]}
    assert await api.send("POST", "sums", sent) == (201, shown)
    assert api.headers["Location"] == "/api/v1/sums/9007199254740993"
    assert await api.send("PUT", "sums/9007199254740993", shown) == (200, shown)
    assert (await api.rows("sums?total[gt]=12345678901234567890"))[0] == shown


async def test_routes_say_what_they_write_and_are_named_for_what_they_do(shop):
    routes = {route.name: route for route in shop.service.application.state.routes if route.name.startswith("users.")}
    assert {name: (route.method, route.writes) for name, route in routes.items() if route.writes} == {
        "users.create": ("POST", ("users",)),
        "users.update": ("PATCH", ("users",)),
        "users.replace": ("PUT", ("users",)),
        "users.delete": ("DELETE", ("users",)),
    }
    assert routes["users.options"].method == "OPTIONS"


async def test_instance_with_a_path_writes_below_it_and_announces_by_its_own_names(serve, seen, watcher):
    api = await serve(SHOP, watcher, path="shop", tables=["tags"])
    assert (await api.send("POST", "shop/tags", {"name": "x"}))[0] == 201
    assert api.headers["Location"] == "/api/v1/shop/tags/x"
    assert seen == [Change("resources.tags", ("x",))]


async def test_notify_asks_for_a_reload_and_anything_else_for_nothing(shop):
    said = shop.said
    for payload in ("", "reload please", "RELOAD", "reload"):
        await execute(shop.url, f"NOTIFY pegboard, '{payload}'")
    async with asyncio.timeout(10):
        while "A reload is asked for: NOTIFY pegboard." not in said:
            await shop.get("users")
    assert len([sentence for sentence in said if "reload" in sentence]) == 1


async def test_bytes_are_base64_in_and_out(serve):
    api = await serve("CREATE TABLE files (id int PRIMARY KEY, body bytea, parts bytea[])", tables=["files"])
    body = base64.b64encode(bytes(range(256)) * 3).decode()
    row = {"id": 1, "body": body, "parts": [body, None, ""]}
    assert await api.send("POST", "files", row) == (201, row)
    assert await api.send("PATCH", "files/1", {"parts": []}) == (200, row | {"parts": []})
    assert await api.send("PATCH", "files/1", {"parts": None, "body": None}) == (
        200,
        {"id": 1, "body": None, "parts": None},
    )


async def test_nobody_is_asked_who_they_are_and_the_start_says_so(make_service, make_database):
    settings = {"service": {"host": "0.0.0.0"}, "plugins": {"resources": {"tables": ["users", "tags", "notes"]}}}
    settings["plugins"]["database"] = {"url": make_database(SHOP)}
    service = await make_service(["database", "resources"], settings)
    (sentence,) = [each for each in service.said if each.startswith("Whoever")]
    assert sentence == (
        "Whoever this service answers can create rows of notes; create and delete rows of tags; create, update and "
        "delete rows of users: no rule says who may; write writes = false under [plugins.resources.table.notes], "
        'and so for each, or host = "127.0.0.1" under [service].'
    )
    settings["plugins"]["resources"] = {"tables": ["*"]}
    assert not any("Whoever" in each for each in (await make_service(["database", "resources"], settings)).said)


async def test_start_says_what_rules_let_everyone_write(make_service, make_database):
    """What whoever has not said who they are is granted, and what a claim that they lack would have to say is not."""
    everyone = {"tags": {"actions": ["list", "create"]}, "users": {"actions": ["update"], "where": {"id": "claim:sub"}}}
    roles = {
        "*": {"tables": everyone},
        "anonymous": {"tables": {"users": {"actions": ["delete"], "where": {"display_name": "guest"}}}},
        "editor": {"tables": {"*": {"actions": ["create", "update", "delete"]}}},
    }
    auth = {"default": "optional", "secret": TOKEN_SECRET, "roles": roles}
    settings = {"service": {"host": "0.0.0.0"}, "plugins": {"auth": auth}}
    settings["plugins"] |= {"database": {"url": make_database(SHOP)}, "resources": {"tables": ["users", "tags"]}}
    plugins = ["database", "auth", "resources"]
    (sentence,) = [each for each in (await make_service(plugins, settings)).said if each.startswith("Whoever")]
    assert sentence == (
        "Whoever this service answers can create rows of tags; delete rows of users: rules let everyone; change these "
        "rules, write writes = false under [plugins.resources.table.tags], and so for each, or "
        'host = "127.0.0.1" under [service].'
    )
    settings["service"] = {"host": "127.0.0.1"}
    assert not any("Whoever" in each for each in (await make_service(plugins, settings)).said)
    settings["service"] = {"host": "0.0.0.0"}
    roles["*"] = roles["anonymous"] = {"tables": {"tags": {"actions": ["list"]}}}
    assert not any("Whoever" in each for each in (await make_service(plugins, settings)).said)


async def execute(url, sql):
    connection = await asyncpg.connect(url)
    try:
        return await connection.execute(sql)
    finally:
        await connection.close()


async def rows_of(url):
    """All that is in the tables, as text."""
    connection = await asyncpg.connect(url)
    try:
        return [
            [str(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
            for table in ("users", "orders", "tags", "notes")
        ]
    finally:
        await connection.close()

"""What grants do to columns of every type, triggers, views and hidden columns."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from plugins.resources.handlers.permitting import MAX_HANDLERS, Gate, Need
from plugins.resources.parse.query import ListQuery
from plugins.resources.plan.lists import ListStatement
from plugins.resources.schema.granted import Rows, as_granted, rows_of
from plugins.resources.schema.resource import Resource
from plugins.resources.schema.selecting import select
from plugins.resources.settings import Settings
from service.api import ANONYMOUS, NO_ROW, PRINCIPAL, Answer, Grant, MountedRoute, Principal, hookimpl

EVERYTHING = Grant()

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN grade AS int CHECK (VALUE > 0);
CREATE TABLE things (
    id int PRIMARY KEY, number numeric(6, 2), real float8, flag boolean, day date, at timestamptz, code uuid, mood mood,
    grade grade, fixed char(5), address inet, moment time, big bigint, tags text[], data jsonb
);
INSERT INTO things VALUES (
    1, 1.50, 0.5, true, '2026-01-31', '2026-01-31T13:30:00Z', '0f8fad5b-d9cb-469f-a165-70867728950e', 'ok', 3, 'ab',
    '10.0.0.1', '13:30', 9007199254740993, '{a}', '{}'
), (2, 2, 2, false, '2025-01-01', '2025-01-01T00:00:00Z', '1f8fad5b-d9cb-469f-a165-70867728950e', 'sad', 4, 'cd',
    '10.0.0.2', '14:30', 1, '{b}', '{"a": 1}');
"""


def rows(**columns: str) -> Grant:
    return Grant((tuple(columns.items()),))


@pytest.mark.parametrize(
    ("column", "fits", "unfit"),
    [
        ("number", ["1.5", "1.50", "15e-1"], ["", "x", "1,5", "0x1", "1.5 "]),
        ("real", ["0.5", "5e-1"], ["1e999", "half"]),
        ("flag", ["true"], ["t", "1", "TRUE", "yes"]),
        ("day", ["2026-01-31"], ["2026-02-30", "now", "today", "31.01.2026"]),
        ("at", ["2026-01-31T13:30:00Z", "2026-01-31T14:30:00+01:00"], ["now", "yesterday", ""]),
        ("code", ["0f8fad5b-d9cb-469f-a165-70867728950e", "0F8FAD5BD9CB469FA16570867728950E"], ["0f8fad5b", "{}"]),
        ("mood", ["ok"], ["OK", "happy", ""]),
        ("grade", ["3"], ["3.0", "three", "99999999999"]),
        ("fixed", ["ab", "ab   "], ["abc"]),
        ("address", ["10.0.0.1"], ["10.0.0", "localhost"]),
        ("moment", ["13:30", "13:30:00"], ["25:00"]),
        ("big", ["9007199254740993"], ["9007199254740993.0", "9223372036854775808"]),
        ("tags", [], ["{a}", "a"]),
        ("data", [], ["{}", '{"a": 1}']),
        ("absent", [], ["1"]),
    ],
)
async def test_rows_are_those_whose_column_has_the_value_by_its_type(
    serve, decider, column: str, fits: list[str], unfit: list[str]
) -> None:
    api = await serve(TYPES, decider, tables=["things"])
    for text in [*fits, *unfit, "\0", "\ud800", "1; DROP TABLE things", "' OR true --"]:
        granted = rows(**{column: text})
        decider.grants = {("things", each): granted for each in ("list", "read", "update", "delete")}
        status, body = await api.get("things?fields=id")
        assert (status, body["data"]) == (200, [{"id": 1}] if text in fits else []), text
        assert (await api.get("things/1"))[0] == (200 if text in fits else 404)
        assert (await api.get("things/2"))[0] == 404
        assert (await api.send("PATCH", "things/1", {}))[0] == (200 if text in fits else 404)
        assert (await api.send("PATCH", "things/2", {"big": 5}))[0] == 404
        assert (await api.send("DELETE", "things/2"))[0] == 404


async def test_gates_are_told_what_there_is_to_be_granted(serve, decider) -> None:
    await serve(TYPES, decider, tables=["things"], table={"things": {"hidden": ["mood"]}})
    told = decider.expected["things"]
    assert "mood" in told.columns
    assert "mood" not in told.shown
    assert {"tags", "data"}.isdisjoint(told.columns)
    assert {"tags", "data"} <= told.shown
    assert (told.key, told.required) == ({"id"}, {"id"})
    assert [told.columns["grade"](text) for text in ("3", "x", "\0")] == [True, False, False]


async def test_rows_may_be_told_apart_by_a_column_that_no_client_sees(serve, decider) -> None:
    api = await serve(TYPES, decider, tables=["things"], table={"things": {"hidden": ["mood"]}})
    decider.grants = {("things", "list"): rows(mood="ok"), ("things", "create"): rows(mood="ok")}
    status, body = await api.get("things")
    assert (status, len(body["data"])) == (200, 1)
    assert "mood" not in body["data"][0]
    assert (await api.send("POST", "things", {"id": 3}))[0] == 403


async def test_key_that_cannot_be_read_orders_nothing_and_names_no_row(serve, decider) -> None:
    api = await serve(TYPES, decider, tables=["things"], table={"things": {"sort": ["-id"]}})
    granted = Grant(readable=frozenset({"day", "flag"}))
    decider.grants = {("things", each): granted for each in ("list", "read", "update", "delete", "create")}
    status, body = await api.get("things?limit=1")
    assert (status, body["data"]) == (200, [{"flag": False, "day": "2025-01-01"}])
    assert (body["pagination"]["nextCursor"], body["pagination"]["hasNext"]) == (None, True)
    for method in ("GET", "PATCH", "DELETE"):
        status, _ = await api.send(method, "things/1", {} if method == "PATCH" else None)
        assert status == 404
    assert await api.refused("POST", "things", {"id": 3}) == [("id", "is no field.")]


async def test_resource_of_which_no_column_is_granted_is_refused(serve, decider) -> None:
    api = await serve(TYPES, decider, tables=["things"])
    decider.grants = {("things", "list"): Grant(readable=frozenset({"elsewhere"}))}
    status, body = await api.get("things")
    assert (status, body["error"]["message"]) == (403, "things: you may list none of its columns.")
    assert await api.rows("") == []


async def test_no_row_is_none_also_where_a_row_is_made(serve, decider) -> None:
    api = await serve(TYPES, decider, tables=["things"])
    decider.grants = {("things", each): Grant(NO_ROW) for each in ("list", "read", "create")}
    assert await api.rows("things?count=exact") == []
    assert (await api.send("POST", "things", {"id": 3}))[0] == 403


async def test_alternatives_are_rows_of_any(serve, decider) -> None:
    api = await serve(TYPES, decider, tables=["things"])
    for where, found in [
        ((("mood", "ok"),), [1]),
        ((("mood", "ok"), ("flag", "false")), []),
    ]:
        decider.grants = {("things", "list"): Grant((where,))}
        assert [row["id"] for row in await api.rows("things")] == found
    decider.grants = {("things", "list"): Grant(((("mood", "ok"),), (("flag", "false"), ("big", "1")), (("id", "x"),)))}
    assert [row["id"] for row in await api.rows("things?sort=id")] == [1, 2]
    assert [row["id"] for row in await api.rows("things?id=2&flag=false")] == [2]


async def test_default_sort_by_a_column_that_cannot_be_read_is_none(serve, decider) -> None:
    """The order of rows and the cursors would tell its values."""
    api = await serve(TYPES, decider, tables=["things"], table={"things": {"sort": ["day", "-number"]}})
    decider.grants = {("things", "list"): Grant(readable=frozenset({"id", "flag"}))}
    status, body = await api.get("things?limit=1")
    assert (status, body["data"]) == (200, [{"id": 1, "flag": True}])
    cursor = body["pagination"]["nextCursor"]
    assert json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[-1] == ["1"]
    decider.grants = {("things", "list"): Grant(readable=frozenset({"id", "number"}))}
    assert [row["id"] for row in await api.rows("things")] == [2, 1]


def test_rows_cannot_be_told_apart_by_a_column_that_the_role_of_the_database_may_not_read(build) -> None:
    table = build.table("items", build.column("id", "int4"), build.column("secret", is_readable=False))
    assert rows_of(((("secret", "x"),),), table) == (Rows(()), ())
    assert rows_of(((("secret", "x"),), (("id", "1"),)), table) == (Rows(((table.columns["id"],),)), ("1",))


STAFF = """
CREATE TABLE firms (id int PRIMARY KEY, code text UNIQUE NOT NULL, name text);
CREATE TABLE staff (id int PRIMARY KEY, firm text REFERENCES firms (code), name text);
INSERT INTO firms VALUES (1, 'x', 'X');
INSERT INTO staff VALUES (7, 'x', 'Ada');
"""


@pytest.mark.parametrize(
    ("read", "below", "is_there"),
    [
        (["id", "code"], ["id", "firm"], True),
        (["id", "name"], ["id", "firm"], False),
        (["code", "name"], ["id", "firm"], False),
        (["id", "code"], ["id", "name"], False),
    ],
)
async def test_rows_below_are_there_where_key_and_reference_are_seen_at_both_ends(
    serve, decider, read: list[str], below: list[str], is_there: bool
) -> None:
    api = await serve(STAFF, decider, tables=["firms", "staff"])
    decider.grants = {
        ("firms", "list"): EVERYTHING,
        ("firms", "read"): Grant(readable=frozenset(read)),
        ("staff", "list"): Grant(readable=frozenset(below)),
    }
    status, body = await api.get("firms/1/staff")
    assert (status, body.get("data")) == ((200, [{"id": 7, "firm": "x"}]) if is_there else (404, None))
    (firms, _) = await api.rows("")
    assert firms["children"] == (["/api/v1/firms/{id}/staff"] if is_there else [])


@pytest.mark.parametrize(("made", "read"), [(["id", "name"], ["name"]), (["code", "name"], ["id", "name"])])
async def test_place_of_a_new_row_is_told_only_where_its_key_may_be_written_and_read(
    serve, decider, made: list[str], read: list[str]
) -> None:
    api = await serve(
        "CREATE TABLE firms (id serial PRIMARY KEY, code text, name text)", decider, tables=["firms"]
    )  # fmt: skip
    decider.grants = {
        ("firms", "create"): Grant(readable=frozenset(made)),
        ("firms", "read"): Grant(readable=frozenset(read)),
    }
    told = {"id": 1, "name": "X"}
    assert await api.send("POST", "firms", {"name": "X"}) == (201, {name: told[name] for name in read})
    assert "Location" not in api.headers
    decider.grants["firms", "create"] = decider.grants["firms", "read"] = EVERYTHING
    assert (await api.send("POST", "firms", {"name": "Y"}))[0] == 201
    assert api.headers["Location"] == "/api/v1/firms/2"


DOCS = """
CREATE TABLE docs (
    id int PRIMARY KEY, owner int, region text, tenant int, title text, state text NOT NULL DEFAULT 'new'
);
INSERT INTO docs VALUES (1, 1, 'US', 2, 'own', 'x'), (2, 2, 'EU', 2, 'eu', 'x'), (3, 9, 'EU', 2, 'both', 'x');
CREATE VIEW twice AS SELECT *, owner AS keeper FROM docs;
"""
OWN_OR_EU = ((("owner", "9"),), (("region", "EU"), ("tenant", "2")))


async def test_row_is_not_changed_from_one_alternative_to_another(serve, decider) -> None:
    """Neither who may write the rows of an owner nor who may write those of a region may do this, nor may both."""
    api = await serve(DOCS, decider, tables=["docs", "twice"], table={"twice": {"key": "id"}})
    grant_all(decider, "docs", Grant(OWN_OR_EU))
    body = {"owner": 9, "region": "US"}
    assert await api.refused("PATCH", "docs/2", body) == [("owner", "is read-only."), ("region", "is read-only.")]
    assert await api.refused("PUT", "docs/3", {"tenant": 1}) == [("tenant", "is read-only.")]
    kept = {"id": 2, "owner": 2, "region": "EU", "tenant": 2}
    assert await api.send("PUT", "docs/2", {"title": "z"}) == (200, {**kept, "title": "z", "state": "new"})
    assert (await api.send("PATCH", "docs/1", {"title": "z"}))[0] == 404
    assert (await api.send("POST", "docs", {"id": 4, "owner": 9, "region": "US"}))[0] == 201
    grant_all(decider, "twice", Grant(OWN_OR_EU))
    assert await api.refused("PATCH", "twice/2", {"keeper": 9}) == [("keeper", "is read-only.")]


def test_columns_that_stand_in_no_table_are_changed_where_they_tell_no_rows_apart(build) -> None:
    """As in a view with a trigger that writes them: that none has an origin does not make them one column."""
    columns = [build.column("id", "int4"), *[build.column(name, "int4") for name in ("owner", "tenant", "title")]]
    table = build.table("docs", *columns)
    (resource,) = select(build.catalogue(table), Settings(tables=["docs"]), plugin="resources").resources
    part, _ = as_granted(resource, Grant(((("owner", "1"),), (("tenant", "2"),))))
    assert part is not None
    assert part.resource.writes.changeable == {"title"}


async def test_alternative_that_can_have_no_row_leaves_the_other_to_be_changed(serve, decider) -> None:
    api = await serve(DOCS, decider, tables=["docs"])
    grant_all(decider, "docs", Grant(((("owner", "9"),), (("tenant", "x"),))))
    assert (await api.send("PATCH", "docs/3", {"tenant": 1}))[0] == 200
    assert (await api.send("PATCH", "docs/3", {"owner": 1}))[0] == 403


async def test_index_says_which_fields_an_update_leaves_as_they_are(serve, decider) -> None:
    """Also after it was asked by somebody who has the same columns, and rows that are told apart otherwise."""
    api = await serve(DOCS, decider, tables=["docs"])
    for where, kept in [
        (((("owner", "9"),),), ["id"]),
        (OWN_OR_EU, ["id", "owner", "region", "tenant"]),
        (((("owner", "9"),), (("tenant", "2"),)), ["id", "owner", "tenant"]),
        (((("owner", "9"),), (("tenant", "x"),)), ["id"]),
    ]:
        decider.grants = {("docs", "list"): EVERYTHING, ("docs", "update"): Grant(where)}
        (docs,) = await api.rows("")
        assert [field["name"] for field in docs["fields"] if field["readOnly"]] == kept


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_body_that_changes_nothing_leaves_the_row_as_it_is(serve, decider, watcher, method: str) -> None:
    seen = watcher.seen
    api = await serve(DOCS, decider, watcher, tables=["docs"])
    row = {"id": 2, "owner": 2, "region": "EU", "tenant": 2, "title": "eu", "state": "x"}
    for granted, found in [
        (Grant(writable=frozenset()), row),
        (Grant(readable=frozenset({"id"})), row),
        (Grant(OWN_OR_EU, writable=frozenset({"tenant"})), row),
    ]:
        decider.grants = {("docs", "update"): granted, ("docs", "read"): rows(owner="2")}
        assert await api.send(method, "docs/2", {}) == (200, found)
        assert await api.send(method, "docs/3", {}) == (204, None)
        assert (await api.send(method, "docs/7", {}))[0] == 404
    decider.grants = {("docs", "update"): Grant(OWN_OR_EU, writable=frozenset())}
    assert await api.send(method, "docs/2", {}) == (204, None)
    assert (await api.send(method, "docs/1", {}))[0] == 404
    assert seen == []


async def test_put_without_fields_gives_those_that_are_granted_their_defaults(serve, decider) -> None:
    api = await serve(DOCS, decider, tables=["docs"])
    grant_all(decider, "docs", Grant(OWN_OR_EU, writable=frozenset({"tenant", "state"})))
    kept = {"id": 2, "owner": 2, "region": "EU", "tenant": 2, "title": "eu"}
    assert await api.send("PUT", "docs/2", {}) == (200, {**kept, "state": "new"})


TENANTS = """
CREATE DOMAIN state AS text CHECK (VALUE <> 'none');
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN feeling AS mood;
CREATE DOMAIN code AS text COLLATE "POSIX";
CREATE TABLE regions (tenant int, code text, PRIMARY KEY (tenant, code));
CREATE TABLE items (
    id serial PRIMARY KEY, tenant int NOT NULL DEFAULT 1, no int, region text,
    rate numeric(6, 2), word text COLLATE "C", code code COLLATE "C", fixed char(4), state state, feeling feeling,
    at timestamptz(0),
    UNIQUE (tenant, no), FOREIGN KEY (tenant, region) REFERENCES regions
);
INSERT INTO regions VALUES (1, 'eu'), (2, 'us');
INSERT INTO items (tenant, no) VALUES (1, 1), (2, 1);
"""


async def test_value_outside_what_is_granted_is_refused_before_any_row_can_tell(serve, decider) -> None:
    """Neither by a key that is taken nor by one that is not there does anybody learn of rows of another tenant."""
    api = await serve(TENANTS, decider, tables=["items"])
    grant_all(decider, "items", rows(tenant="1"))
    for body in ({"no": 1}, {"no": 7}, {"no": 7, "region": "us"}, {"no": 7, "region": "xx"}):
        for method, path in (("POST", "items"), ("PATCH", "items/1"), ("PUT", "items/1")):
            status, answer = await api.send(method, path, {"tenant": 2, **body})
            assert (status, answer["error"]["message"]) == (403, "A row like this is none that you may write.")
        for key in ("2", "9"):
            assert (await api.send("PATCH", f"items/{key}", {"tenant": 2, **body}))[0] == 404
            assert (await api.send("PATCH", f"items/{key}", body))[0] == 404
    assert (await api.send("POST", "items", {"tenant": 1, "no": 1}))[0] == 409
    assert (await api.send("POST", "items", {"no": 1}))[0] == 409
    assert (await api.send("POST", "items", {"tenant": 1, "region": "us"}))[0] == 422
    assert (await api.send("POST", "items", {"tenant": 1, "no": 2, "region": "eu"}))[0] == 201
    assert (await api.send("PATCH", "items/1", {"tenant": 1, "no": 3}))[0] == 200


@pytest.mark.parametrize(
    ("column", "granted", "given", "others"),
    [
        ("rate", "1.5", [1.5, "1.50"], [1.51, 1.49]),
        ("word", "Ada", ["Ada"], ["ada", None]),
        ("code", "x", ["x"], ["X", None]),
        ("fixed", "ab", ["ab", "ab  "], ["abc"]),
        ("state", "new", ["new"], ["old", None]),
        ("feeling", "ok", ["ok"], ["sad", None]),
        (
            "at",
            "2026-01-31T13:30:00Z",
            ["2026-01-31T13:30:00.4Z", "2026-01-31T14:30:00+01:00"],
            ["2026-01-31T13:30:01Z"],
        ),
    ],
)
async def test_value_that_is_given_is_compared_as_it_would_stand_in_the_column(
    serve, decider, column: str, granted: str, given: list[Any], others: list[Any]
) -> None:
    api = await serve(TENANTS, decider, tables=["items"])
    grant_all(decider, "items", Grant(((("tenant", "1"), (column, granted)), (("tenant", "1"), ("no", "5")))))
    for value in given:
        assert (await api.send("POST", "items", {"no": None, column: value}))[0] == 201
    for value in others:
        assert (await api.send("POST", "items", {"no": 1, column: value}))[0] == 403  # and not 409
    assert (await api.send("POST", "items", {"no": 5, column: others[0]}))[0] == 201


async def test_value_that_its_column_cannot_have_is_told_of_its_field_before_rows_are(serve, decider) -> None:
    api = await serve(TENANTS, decider, tables=["items"])
    grant_all(decider, "items", rows(state="new"))
    assert await api.refused("POST", "items", {"state": "none"}) == [("state", "is not allowed.")]
    assert await api.refused("PATCH", "items/1", {"state": "none"}) == [("state", "is not allowed.")]


async def test_whoever_has_no_row_makes_none_and_uses_up_no_number(serve, decider) -> None:
    """Also where what is granted is no value of its column. The database is not even asked."""
    api = await serve(TENANTS, decider, tables=["items"])
    for granted in (Grant(NO_ROW), rows(tenant="x")):
        grant_all(decider, "items", granted)
        for body in ({}, {"tenant": 1, "no": 1}, {"tenant": 2, "no": 1, "region": "xx"}):
            assert (await api.send("POST", "items", body))[0] == 403
            assert (await api.send("PATCH", "items/1", body))[0] == 404
            assert (await api.send("PUT", "items/1", body))[0] == 404
        assert (await api.send("DELETE", "items/1"))[0] == 404
        assert (await api.get("items/1"))[0] == 404
        assert await api.rows("items") == []
    grant_all(decider, "items", EVERYTHING)
    status, made = await api.send("POST", "items", {})
    assert (status, made["id"]) == (201, 3)
    decider.grants = {("items", "create"): Grant(NO_ROW)}
    connection = await asyncpg.connect(api.url)
    await connection.execute("DROP TABLE items")
    await connection.close()
    assert (await api.send("POST", "items", {}))[0] == 403


# --- triggers and views

MEDDLING = """
CREATE TABLE kept (id int PRIMARY KEY, owner int, text text);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON kept FOR EACH ROW EXECUTE FUNCTION keep();
INSERT INTO kept VALUES (1, 1, 'mine'), (2, 2, 'theirs');
CREATE TABLE moved (id int PRIMARY KEY, owner int, text text);
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.owner := 2; RETURN NEW; END';
CREATE TRIGGER move BEFORE INSERT OR UPDATE ON moved FOR EACH ROW EXECUTE FUNCTION move();
INSERT INTO kept VALUES (3, 1, 'x');
CREATE TABLE several_rows (id int, owner int, text text);
CREATE VIEW several AS SELECT * FROM several_rows;
INSERT INTO several_rows VALUES (1, 1, 'mine'), (1, 2, 'theirs'), (2, 2, 'a'), (2, 2, 'b'), (3, 1, 'a'), (3, 1, 'b');
"""


def grant_all(decider: Any, table: str, grant: Grant) -> None:
    decider.grants = {(table, each): grant for each in ("list", "read", "create", "update", "delete")}


async def test_row_that_a_trigger_keeps_is_told_of_only_where_it_is_granted(serve, decider) -> None:
    api = await serve(MEDDLING, decider, tables=["kept"])
    grant_all(decider, "kept", rows(owner="1"))
    assert (await api.send("PATCH", "kept/1", {"text": "x"}))[0] == 409
    assert (await api.send("DELETE", "kept/1"))[0] == 409
    for key in ("2", "9"):
        assert (await api.send("PATCH", f"kept/{key}", {"text": "x"}))[0] == 404
        assert (await api.send("DELETE", f"kept/{key}"))[0] == 404


async def test_row_that_a_trigger_moves_away_is_not_made(serve, decider) -> None:
    api = await serve(MEDDLING, decider, tables=["moved"])
    grant_all(decider, "moved", rows(owner="1"))
    assert (await api.send("POST", "moved", {"id": 1, "owner": 1}))[0] == 403
    grant_all(decider, "moved", rows(owner="2"))
    assert (await api.send("POST", "moved", {"id": 1, "owner": 1}))[0] == 403
    assert await api.send("POST", "moved", {"id": 1}) == (201, {"id": 1, "owner": 2, "text": None})
    assert await api.rows("moved") == [{"id": 1, "owner": 2, "text": None}]


async def test_rows_of_one_key_that_are_not_granted_are_none(serve, decider) -> None:
    api = await serve(MEDDLING, decider, tables=["several"], table={"several": {"key": "id"}})
    grant_all(decider, "several", rows(owner="1"))
    assert await api.send("PATCH", "several/1", {"text": "x"}) == (200, {"id": 1, "owner": 1, "text": "x"})
    assert (await api.send("PATCH", "several/2", {"text": "x"}))[0] == 404
    assert (await api.send("DELETE", "several/2"))[0] == 404
    assert (await api.send("PATCH", "several/3", {"text": "x"}))[0] == 409
    for body in ({}, {"text": "x"}):
        assert (await api.send("PATCH", "several/2", body))[0] == 404
        assert (await api.send("PATCH", "several/9", body))[0] == 404
        assert (await api.send("PATCH", "several/3", body))[0] == 409


async def test_change_that_is_refused_is_not_announced(serve, decider, watcher) -> None:
    seen = watcher.seen
    api = await serve(MEDDLING, decider, watcher, tables=["kept"])
    grant_all(decider, "kept", rows(owner="1"))
    assert (await api.send("POST", "kept", {"id": 7, "owner": 2}))[0] == 403
    assert seen == []
    assert (await api.send("POST", "kept", {"id": 7, "owner": 1}))[0] == 201
    assert [(change.resource, change.keys) for change in seen] == [("kept", ("7",))]


async def test_change_is_announced_with_its_key_also_where_nobody_is_shown_it(serve, decider, watcher) -> None:
    seen = watcher.seen
    api = await serve(MEDDLING, decider, watcher, tables=["kept"])
    decider.grants = {("kept", "create"): EVERYTHING}
    assert await api.send("POST", "kept", {"id": 7, "owner": 2}) == (201, None)
    assert [(change.resource, change.keys) for change in seen] == [("kept", ("7",))]


# --- values that are computed as they are read

RATIOS = """
CREATE TABLE parts (id int PRIMARY KEY, owner int, team text, a int, b int);
INSERT INTO parts VALUES (1, 1, 'a', 4, 2), (2, 2, 'a', 1, 0), (3, 1, 'b', 9, 3), (4, 3, 'b', 1, 0);
CREATE VIEW ratios AS SELECT *, a / b AS ratio FROM parts;
CREATE TABLE quotients (id int PRIMARY KEY, owner int, team text, a int, b int, ratio int GENERATED ALWAYS AS (a / b));
INSERT INTO quotients SELECT id, owner, team, a, b FROM parts;
"""


@pytest.mark.parametrize("table", ["ratios", "quotients"])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ratio[null]=false", [1, 3]),
        ("ratio[ne]=0&limit=1", [1]),
        ("ratio[gt]=2", [3]),
        ("id=2&ratio[null]=false", []),
        ("id=77&ratio[null]=false", []),
        ("sort=-ratio&limit=1", [3]),
        ("fields=id&ratio=2", [1]),
        ("ratio[null]=true", []),
        ('filter={"or":[{"ratio":2},{"id":{"lt":0}}]}', [1]),
        ("ratio[null]=false&limit=1&page=2", [3]),
    ],
)
async def test_value_of_a_hidden_row_that_cannot_be_computed_tells_nothing(
    serve, decider, table: str, query: str, found: list[int]
) -> None:
    """What fails for a row of another is never computed, whatever a client asks of it."""
    api = await serve(RATIOS, decider, tables=[table], table={table: {"key": "id", "writes": False}})
    for where in (((("owner", "1"),),), ((("owner", "1"), ("team", "a")), (("id", "3"),))):
        decider.grants = {(table, "list"): Grant(where)}
        for count in ("auto", "exact", "estimated"):
            path = f"{table}?{quote(query, safe='=&[]')}&count={count}"
            status, body = await api.get(path)
            assert (status, [row["id"] for row in body["data"]]) == (200, found), body
            cursor = body["pagination"]["nextCursor"]
            assert cursor is None or len(await api.rows(f"{path}&cursor={cursor}")) == 1


@pytest.mark.parametrize(
    ("facts", "is_virtual", "waits"),
    [({}, True, True), ({}, False, False), ({"relation": "view"}, False, True)],
)
async def test_conditions_of_clients_wait_only_where_reading_computes(
    build, facts: dict[str, Any], is_virtual: bool, waits: bool
) -> None:
    ratio = build.column("ratio", "int4", is_generated=is_virtual, is_virtual=is_virtual)
    table = build.table("parts", build.column("id", "int4"), build.column("owner", "int4"), ratio, **facts)
    (resource,) = select(build.catalogue(table), Settings(tables=["parts"]), plugin="resources").resources
    restricted = ListStatement(resource, rows=Rows(((table.columns["owner"],),)))
    chosen = restricted.choose(ListQuery(limit=1), ["1"])
    assert ("OFFSET 0) t" in chosen.rows(restricted.source)) is waits
    assert chosen.rows(restricted.source).count('t."owner" = $1::text::') == 1
    assert "OFFSET 0" not in ListStatement(resource).source


# --- what it costs


class Routes:
    """Tells of the routes and of who takes part in them."""

    class Plugin:
        def __init__(self) -> None:
            Routes.served: list[Any] = []

        @hookimpl
        def steps(self, route: MountedRoute) -> list[Any]:
            Routes.served.append(route)
            return []


def gates() -> dict[str, Gate]:
    """By the names of routes."""
    found = {route.name: getattr(route.handler, "__self__", None) for route in Routes.served}
    return {name: gate for name, gate in found.items() if isinstance(gate, Gate)}


async def test_handlers_are_shared_by_all_who_have_the_same_columns(serve, decider) -> None:
    api = await serve(MEDDLING, decider, Routes, tables=["kept"])
    gate = gates()["kept.list"]
    for owner in range(20):
        decider.grants = {("kept", "list"): rows(owner=str(owner))}
        await api.rows("kept")
    assert (len(gate._handlers), len(gate._bound)) == (1, 20)
    for owner in range(2_100):
        decider.grants = {("kept", "list"): rows(owner=str(1000 + owner))}
        gate.check({PRINCIPAL: ANONYMOUS})  # type: ignore[arg-type]  # it asks for no more of a request
    assert len(gate._handlers) == 1
    assert len(gate._bound) <= 2_000
    columns = [None, *[frozenset(each) for each in ("a", "b", "ab", "c", "ac", "bc", "abc")]]
    for readable, writable in itertools.product([each and each | {"id"} for each in columns], columns):
        for owner in ("", "1"):
            grant = Grant((((("owner", owner),) if owner else ()),), readable, writable)
            decider.grants = {("kept", "list"): grant}
            gate.check({PRINCIPAL: ANONYMOUS})  # type: ignore[arg-type]
            assert len(gate._handlers) <= MAX_HANDLERS
    assert (await api.get("kept"))[0] == 200


async def test_gate_asks_for_each_grant_once(items: Resource) -> None:
    asked = []

    class Asked:
        def grant(self, principal: Principal, resource: str, action: str) -> Grant:
            asked.append((resource, action))
            return Grant()

    needs = [Need(items, "update"), Need(items, "read", is_optional=True)]
    gate = Gate(Asked(), {"items": "shop.items"}, needs, lambda parts: lambda request, bound: Answer(204))  # type: ignore[arg-type]
    gate.check({PRINCIPAL: ANONYMOUS})  # type: ignore[arg-type]
    assert asked == [("shop.items", "update"), ("shop.items", "read")]


async def test_without_access_there_is_no_gate(serve) -> None:
    await serve(MEDDLING, Routes, tables=["kept"])
    assert "kept.list" in [route.name for route in Routes.served]
    assert gates() == {}

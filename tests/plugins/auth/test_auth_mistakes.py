"""Mistakes in rules: what never works stops the start, what may surprise is told, and no line to write grants more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.api import ACCESS, Grantable, Ports, hookimpl
from service.errors import SettingsError
from service.testing import TOKEN_SECRET

DOCS = Grantable(
    "docs",
    {"id": str.isdigit, "tenant": str.isdigit, "owner": lambda text: True, "state": ("open", "closed").__contains__},
    shown=frozenset({"id", "tenant", "owner", "state", "title"}),
    key=frozenset({"id"}),
    required=frozenset({"title"}),
    empty=frozenset({"owner", "title"}),
    writes={
        "create": frozenset({"tenant", "owner", "state", "title"}),
        "update": frozenset({"tenant", "owner", "state", "title"}),
    },
)
BASE = Grantable("base", {"email": str.isalpha}, frozenset({"email"}), frozenset(), writes={})


class Shelf:
    """Two resources to be granted."""

    class Plugin:
        uses = (ACCESS,)

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            access = ports.find(ACCESS)
            assert access is not None
            for resource in (DOCS, BASE):
                access.expect(resource)
            yield


async def faults(serve: Any, roles: Any) -> list[str]:
    """Each as one line, from its place on."""
    with pytest.raises(SettingsError) as caught:
        await serve({"roles": roles}, Shelf)
    found = [" ".join(each.split()[1:]) for each in str(caught.value).split("\n\n")]
    return [each for each in found if each.startswith("plugins.")]


DOCS_RULE = "plugins.auth.roles.user.tables.docs"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            "prices",
            'no table "prices" is served; there are base and docs remove: [plugins.auth.roles.user.tables.prices]',
        ),
        ("dosc", 'no table "dosc" is served; did you mean "docs"? write: [plugins.auth.roles.user.tables.docs]'),
    ],
)
async def test_rule_of_an_unknown_table_becomes_that_of_a_near_one_or_none(serve: Any, table: str, told: str) -> None:
    assert await faults(serve, {"user": {"tables": {table: {}}}}) == [f"plugins.auth.roles.user.tables.{table}: {told}"]


@pytest.mark.parametrize(
    ("tables", "renamed"),
    [({"dosc": {}, "docz": {}}, ["dosc"]), ({"dosc": {}, "docs": {}}, []), ({"bsae": {}}, ["bsae"])],
)
async def test_no_two_rules_of_a_role_are_sent_to_one_table(serve: Any, tables: Any, renamed: list[str]) -> None:
    told = await faults(serve, {"user": {"tables": tables}})
    for each in told:
        is_renamed = any(each.startswith(f"plugins.auth.roles.user.tables.{table}:") for table in renamed)
        assert ("write: [" in each) == is_renamed
        assert ("remove: [" in each) != is_renamed
    assert len(told) == len(tables.keys() - {"docs"})


async def test_rule_that_stands_one_table_too_high_is_not_to_be_removed(serve: Any) -> None:
    """Without it, everyone might read what it is about."""
    assert await faults(serve, {"user": {"docs": {"where": {"owner": "claim:sub"}}}}) == [
        "plugins.auth.roles.user.docs: there is no such setting; there is tables, below which it may belong "
        "write: plugins.auth.roles.user.tables.docs in place of plugins.auth.roles.user.docs"
    ]


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        ({"email": "claim:t"}, ['"..." = "claim:t"']),
        ({"email": "claim:t", "zip": 7}, ['"..." = "claim:t" "...." = 7'] * 2),
        ({"tenent": "claim:t"}, ['tenant = "claim:t"']),
        ({"tenent": 1, "tenant": 2}, ['"..." = 1 tenant = 2']),
        ({"tenent": 1, "tenants": 2}, ['tenant = 1 "..." = 2'] * 2),
        ({"tenent": 1, "email": "x"}, ['tenant = 1 "..." = "x"'] * 2),
        ({"tenent": 1, "state": "opn"}, ['tenant = 1 state = "..."', 'state = "..."']),
        ({"state": "opn"}, ['state = "..."']),
    ],
)
async def test_rows_are_never_said_to_be_others(serve: Any, where: Any, lines: list[str]) -> None:
    """Only a near name is offered, and never one that has a condition already; every line mends all that is wrong."""
    told = await faults(serve, {"user": {"tables": {"docs": {"where": where}}}})
    assert sorted(each.partition(" write: ")[2].removeprefix(f"[{DOCS_RULE}.where] ") for each in told) == sorted(lines)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("Claim: 7", "claim:7"),
        ("claim:", "claim:..."),
        ("clam:sub", "claim:sub"),
        ("calim:sub", "claim:sub"),
        ("claims:sub", "claim:sub"),
        ("litteral:x", "literal:x"),
        ("Literal:x", "literal:x"),
    ],
)
async def test_what_is_nearly_a_claim_is_to_be_one(serve: Any, value: str, line: str) -> None:
    (told,) = await faults(serve, {"user": {"tables": {"docs": {"where": {"owner": value}}}}})
    assert told == (
        f'{DOCS_RULE}.where.owner: is neither a claim nor safely a text; write "{line}", or "literal:{value}" '
        f'write: owner = "{line}"'
    )


@pytest.mark.parametrize("value", ["claim:sub", "literal:clam:sub", "urn:x", "https://x", "class:x", "main", "12:30"])
async def test_what_is_like_no_claim_is_as_it_is(serve: Any, value: str) -> None:
    assert await serve({"roles": {"user": {"tables": {"docs": {"where": {"owner": value}}}}}}, Shelf)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            {"readable": ["owner", "xyz", "titel"]},
            [
                '{}.readable: names "xyz", which is no column that docs shows; there are id, owner, state, tenant and '
                "title",
                '{}.readable: names "titel", which is no column that docs shows; did you mean "title"?',
                "{}.readable: lacks id, the key by which read names a row",
            ],
        ),
        (
            {"actions": ["read", "update"], "readable": ["owner", "title"]},
            ["{}.readable: lacks id, the key by which read and update name a row"],
        ),
    ],
)
async def test_every_fault_of_a_list_offers_the_same_whole_line(serve: Any, rule: Any, told: list[str]) -> None:
    found = await faults(serve, {"user": {"tables": {"docs": rule}}})
    line = 'write: readable = ["id", "owner", "title"]'
    assert found == [f"{each.format(DOCS_RULE)} {line}" for each in told]


async def test_list_of_which_no_name_is_right_names_no_other_column(serve: Any) -> None:
    (told,) = await faults(serve, {"user": {"tables": {"docs": {"actions": ["list"], "readable": ["xyz"]}}}})
    assert told.endswith('write: readable = ["..."]')


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            {"actions": ["create"], "writable": ["owner"]},
            '{}.writable: lacks title, without which no row can be made write: writable = ["title", "owner"]',
        ),
        (
            {"actions": ["create"], "readable": ["owner"]},
            '{}.readable: lacks title, without which no row can be made write: readable = ["title", "owner"]',
        ),
        (
            {"actions": ["create"], "writable": ["title"], "where": {"owner": "claim:sub"}},
            "{}.writable: lacks owner, for which where asks, and which a new row does not have unless it is given one "
            'write: writable = ["owner", "title"]',
        ),
        (
            {"actions": ["read", "update"], "writable": []},
            '{}.actions: names update, and leaves no column that it could change write: actions = ["read"]',
        ),
        (
            {"actions": ["update"], "readable": ["id"]},
            '{}.actions: names update, and leaves no column that it could change write: actions = ["..."]',
        ),
    ],
)
async def test_rule_that_can_never_work_stops_the_start(serve: Any, rule: Any, told: str) -> None:
    assert await faults(serve, {"user": {"tables": {"docs": rule}}}) == [told.format(DOCS_RULE)]


@pytest.mark.parametrize(
    "rule",
    [
        {"actions": ["create"], "writable": ["title"], "where": {"state": "open"}},
        {"actions": ["create"], "where": {"owner": "claim:sub"}},
        {"actions": ["update"], "writable": ["title"], "where": {"owner": "claim:sub"}},
        {"actions": ["read", "list"], "writable": []},
    ],
)
async def test_rule_that_may_work_does_not(serve: Any, rule: Any) -> None:
    """A column with a default may have the value that `where` asks for."""
    assert await serve({"roles": {"user": {"tables": {"docs": rule}}}}, Shelf)


SCHEMA = """
CREATE TABLE plain (id int PRIMARY KEY, owner text, state text DEFAULT 'open', touched timestamptz);
CREATE TABLE filled (id int PRIMARY KEY, owner text);
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.owner := 'ada'; RETURN NEW; END $$;
CREATE TRIGGER fill BEFORE INSERT ON filled FOR EACH ROW EXECUTE FUNCTION fill();
CREATE VIEW seen AS SELECT id, owner FROM plain;
"""


async def test_what_never_works_is_told_of_real_tables(make_service: Any, make_database: Any) -> None:
    """And not of what may: a trigger may give a new row its value, and so may whatever is behind a view."""
    making = {"actions": ["create"], "writable": ["id"], "where": {"owner": "claim:sub"}}
    rules = {
        "plain": {"actions": ["create"], "writable": ["id"], "where": {"owner": "claim:sub", "state": "open"}},
        "filled": making,
        "seen": making,
    }
    auth = {"secret": TOKEN_SECRET, "roles": {"user": {"tables": rules}, "admin": {"tables": {"plain": {}}}}}
    shown: dict[str, Any] = {"tables": ["plain", "filled", "seen"], "table": {"seen": {"key": ["id"]}}}
    settings = {"plugins": {"auth": auth, "database": {"url": make_database(SCHEMA)}, "resources": shown}}
    with pytest.raises(SettingsError) as caught:
        await make_service(["auth", "database", "resources"], settings)
    (told,) = str(caught.value).split("\n\n")
    assert "tables.plain.writable: lacks owner, for which where asks" in told
    assert 'write: writable = ["owner", "id"]' in told
    rules["plain"] = {"actions": ["read", "update"], "writable": ["id"]}
    with pytest.raises(SettingsError, match="leaves no column that it could change"):
        await make_service(["auth", "database", "resources"], settings)
    rules["plain"] = {"actions": ["read", "delete"]}
    shown["table"]["plain"] = {"writes": ["create", "update"]}
    unserved = "The role user may delete rows of plain, which takes that from nobody."
    assert unserved in (await make_service(["auth", "database", "resources"], settings)).said
    del shown["table"]["plain"]
    assert unserved not in (await make_service(["auth", "database", "resources"], settings)).said


# --- what is told


async def told(serve: Any, roles: Any, *words: str) -> list[str]:
    service = await serve({"roles": roles}, Shelf)
    return [each for each in service.said if any(word in each for word in words)]


async def test_role_without_tables_is_told(serve: Any) -> None:
    assert await told(serve, {"user": {}, "admin": {"tables": {"*": {}}}}, "no tables") == [
        "The role user has no tables, so it grants nothing; write [plugins.auth.roles.user.tables.TABLE], "
        "or remove [plugins.auth.roles.user]."
    ]


async def test_tables_that_no_role_names_are_told_where_others_are_named(serve: Any) -> None:
    assert await told(serve, {"user": {"tables": {"docs": {}}}}, "Everyone") == [
        "Everyone whom the service answers may read base, since no role names it; to say who may, write "
        "[plugins.auth.roles.ROLE.tables.base]."
    ]
    assert not await told(serve, {"user": {"tables": {"*": {}}}}, "since no role names")
    assert not await told(serve, {}, "since no role names")


async def test_rules_that_one_for_everyone_makes_void_are_told(serve: Any) -> None:
    everything = {"tables": {"*": {"actions": ["read", "list", "create", "update", "delete"]}}}
    mine = {"tables": {"docs": {"where": {"owner": "claim:sub"}}}}
    assert await told(serve, {"*": everything, "user": mine, "admin": everything}, "Everyone") == [
        "Everyone may read, list, create, update and delete rows of every table here, so the rules of admin and user "
        'take nothing of that away; for them to count, remove plugins.auth.roles."*".tables."*".'
    ]
    assert not await told(serve, {"*": everything}, "Everyone may")
    assert not await told(
        serve, {"*": {"tables": {"*": {"readable": ["id"], "actions": ["list"]}}}, "user": mine}, "void"
    )
    only = {"tables": {**everything["tables"], "docs": {"actions": ["list"]}}}
    assert not await told(serve, {"*": only, "user": mine}, "Everyone may")

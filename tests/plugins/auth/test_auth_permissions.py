"""Roles in the settings: who is granted what, what refusals say, and mistakes told with the line to write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest

from service.api import (
    ACCESS,
    ANONYMOUS,
    NO_ROW,
    Access,
    Forbidden,
    Grant,
    Grantable,
    Ports,
    Principal,
    Unauthenticated,
    hookimpl,
)
from service.errors import SettingsError

USERS = Grantable(
    "users",
    {"id": str.isdigit, "email": lambda text: True, "owner_id": str.isdigit},
    frozenset({"id", "email", "bio"}),
    frozenset({"id"}),
)
ORDERS = Grantable("orders", {"id": str.isdigit}, frozenset({"id"}), frozenset({"id"}))


class Shop:
    """Something to be granted."""

    expected = (USERS, ORDERS)
    access: Access

    class Plugin:
        uses = (ACCESS,)

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            found = ports.find(ACCESS)
            assert found is not None
            Shop.access = found
            for resource in Shop.expected:
                found.expect(resource)
            yield


def principal(*roles: str, **claims: object) -> Principal:
    return Principal("ada", frozenset(roles), claims=MappingProxyType(claims), scheme="test")


async def access(serve: Any, roles: dict[str, Any] | None = None, **settings: Any) -> Access:
    await serve({"roles": {name: {"tables": tables} for name, tables in (roles or {}).items()}, **settings}, Shop)
    return Shop.access


async def test_table_that_no_role_names_is_read_and_never_written(serve: Any) -> None:
    granted = await access(serve)
    for who in (ANONYMOUS, principal(), principal("admin")):
        for action in ("read", "list"):
            assert granted.grant(who, "users", action) == Grant(writable=frozenset())
        for action in ("create", "update", "delete"):
            assert granted.grant(who, "users", action) is None
            refusal = granted.refusal(who, "users", action)
            assert (type(refusal), refusal.message) == (Forbidden, f"users: no role may {action}.")


async def test_table_that_a_role_names_is_refused_to_all_others(serve: Any) -> None:
    granted = await access(serve, {"admin": {"users": {"actions": ["list", "update"]}}})
    assert granted.grant(principal("admin"), "users", "list") == Grant(writable=frozenset())
    assert granted.grant(principal("admin"), "users", "update") == Grant()
    assert granted.grant(principal("admin"), "users", "read") is None
    assert granted.grant(principal("user"), "users", "list") is None
    assert granted.grant(ANONYMOUS, "users", "list") is None
    assert granted.grant(ANONYMOUS, "orders", "list") is not None


async def test_star_names_every_table_and_a_name_stands_in_its_place(serve: Any) -> None:
    granted = await access(
        serve, {"user": {"*": {"actions": ["list"], "readable": ["id"]}, "users": {"actions": ["read"]}}, "other": {}}
    )
    assert granted.grant(principal("user"), "orders", "list") == Grant(readable=frozenset({"id"}), writable=frozenset())
    assert granted.grant(principal("user"), "users", "list") is None
    assert granted.grant(principal("user"), "users", "read") == Grant(writable=frozenset())
    assert granted.grant(principal("other"), "orders", "list") is None
    assert granted.grant(principal(), "anything", "read") is None


async def test_everyone_has_the_role_star(serve: Any) -> None:
    granted = await access(
        serve,
        {
            "*": {"users": {"actions": ["list"], "readable": ["id"]}},
            "admin": {"users": {"actions": ["list", "read"]}},
        },
    )
    public = Grant(readable=frozenset({"id"}), writable=frozenset())
    assert granted.grant(ANONYMOUS, "users", "list") == granted.grant(principal("user"), "users", "list") == public
    assert granted.grant(principal("admin"), "users", "list") == Grant(writable=frozenset())
    assert granted.grant(principal("*"), "users", "read") is None


async def test_anonymous_is_a_role_and_nobody_else_has_it_unasked(serve: Any) -> None:
    granted = await access(serve, {"anonymous": {"users": {"actions": ["list"]}}})
    assert granted.grant(ANONYMOUS, "users", "list") is not None
    assert granted.grant(Principal(None, frozenset({"admin"})), "users", "list") is not None
    assert granted.grant(principal(), "users", "list") is None
    assert granted.grant(principal("anonymous"), "users", "list") is not None


async def test_claims_are_those_of_who_asks(serve: Any) -> None:
    granted = await access(
        serve, {"user": {"users": {"actions": ["list"], "where": {"owner_id": "claim:userId", "id": 7}}}}
    )
    where = ((("id", "7"), ("owner_id", "5")),)
    assert granted.grant(principal("user", userId=5), "users", "list") == Grant(where, writable=frozenset())
    assert granted.grant(principal("user", userId="5"), "users", "list") == Grant(where, writable=frozenset())
    for claims in ({}, {"userId": None}, {"userId": [5]}, {"userid": 5}):
        grant = granted.grant(principal("user", **claims), "users", "list")
        assert grant is not None
        assert grant.where == NO_ROW
    one, true = [granted.grant(principal("user", userId=value), "users", "list") for value in (1, True)]
    assert one is not None
    assert true is not None
    assert one.fingerprint != true.fingerprint  # though 1 == True


async def test_same_who_asks_gets_the_grant_that_was_made(serve: Any) -> None:
    granted = await access(serve, {"user": {"users": {"where": {"owner_id": "claim:sub"}}}})
    first = granted.grant(principal("user"), "users", "list")
    assert granted.grant(principal("user"), "users", "list") is first


async def test_refusal_says_what_was_needed(serve: Any) -> None:
    granted = await access(
        serve,
        {
            "admin": {"users": {"actions": ["read", "delete"], "readable": ["id"]}},
            "editor": {"users": {"actions": ["read", "update"], "readable": ["id", "email"]}},
        },
    )
    told = granted.refusal(principal("user"), "users", "read")
    assert (type(told), told.message) == (Forbidden, "users: read needs one of the roles admin, editor.")
    assert granted.refusal(principal("user"), "users", "delete").message == "users: delete needs the role admin."
    told = granted.refusal(ANONYMOUS, "users", "read")
    assert (type(told), told.headers) == (Unauthenticated, {"WWW-Authenticate": 'Bearer realm="api"'})
    told = granted.refusal(ANONYMOUS, "users", "create")
    assert (type(told), told.message) == (Forbidden, "users: no role may create.")


async def test_refusal_sends_nobody_for_a_token_that_is_not_looked_at(serve: Any) -> None:
    granted = await access(serve, {"admin": {"users": {}}}, default="none")
    assert granted.refusal(ANONYMOUS, "users", "read").status == 403


async def test_roles_without_a_column_in_common_are_told_so(serve: Any) -> None:
    granted = await access(
        serve,
        {
            "a": {"users": {"actions": ["list"], "readable": ["id"], "where": {"id": 1}}},
            "b": {"users": {"actions": ["list"], "readable": ["email"]}},
        },
    )
    assert granted.grant(principal("a", "b"), "users", "list") is None
    message = granted.refusal(principal("a", "b"), "users", "list").message
    assert message == "users: your roles have no column in common that they may list."


# --- mistakes


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"usrs": {}}, 'no table "usrs" is served; did you mean "users"?'),
        ({"users": {"readable": ["id", "emial"]}}, 'write: readable = ["id", "email"]'),
        ({"users": {"readable": ["id", "owner_id"]}}, "which is no column that users shows; there are"),
        ({"users": {"writable": ["emial"]}}, 'write: writable = ["email"]'),
        (
            {"users": {"where": {"ownerid": "claim:sub"}}},
            'did you mean "owner_id"? write: [plugins.auth.roles.user.tables.users.where] owner_id = "claim:sub"',
        ),
        ({"users": {"where": {"bio": "x"}}}, "which is no column of users that values can be compared with"),
        ({"users": {"where": {"owner_id": "me"}}}, "is no value of the column owner_id of users"),
        (
            {"users": {"readable": ["email"]}},
            'lacks id, the key by which read name a row write: readable = ["id", "email"]',
        ),
        ({"users": {"readable": ["id"], "writable": ["email"]}}, "what cannot be read is not there"),
        ({"users": {"where": {"owner_id": "Claim:sub"}}}, 'write "claim:sub", or "literal:Claim:sub"'),
        ({"users": {"actions": ["reed"]}}, "read"),
        ({"users": {"actions": []}}, "actions"),
        ({"*": {"where": {"tenant": "claim:t"}}}, "which is no column of any table that values can be compared with"),
        ({"*": {"readable": ["naem"]}}, "which is no column that any table shows"),
    ],
)
async def test_mistake_in_a_rule_stops_the_start_and_names_its_line(serve: Any, tables: Any, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await access(serve, {"user": tables})
    message = " ".join(str(caught.value).split())
    assert told in message
    assert "roles.user.tables" in message


async def test_star_that_some_tables_have_no_column_for_is_told(serve: Any) -> None:
    service = await serve({"roles": {"user": {"tables": {"*": {"where": {"owner_id": "claim:sub"}}}}}}, Shop)
    assert [each for each in service.said if "role user" in each] == [
        'The role user has no row of orders, which has no owner_id for "*" to ask for; to grant some, name the table '
        "under [plugins.auth.roles.user.tables]."
    ]


async def test_rules_are_not_checked_where_nothing_can_be_granted(serve: Any) -> None:
    assert await serve({"roles": {"user": {"tables": {"nowhere": {"readable": ["x"]}}}}})


# --- roles and scopes of routes


async def test_route_asks_for_one_of_its_roles_and_all_of_its_scopes(serve: Any, forge: Any) -> None:
    needs = {"roles": ["admin", "editor"], "scopes": ["who:read", "who:see"]}
    service = await serve({"default": "optional"}, routes={"who.default": {"auth": needs}})

    async def asked(**claims: Any) -> tuple[int, str]:
        answer: tuple[int, str] = await forge.asked(service, token=forge.signed(forge.claims(**claims)))
        return answer

    assert await forge.asked(service) == (401, "NO_TOKEN")
    assert await asked(role="admin", scope="who:see who:read") == (200, "ada")
    assert await asked(role=["x", "editor"], scope="who:see who:read more") == (200, "ada")
    assert await asked(role="user", scope="who:see who:read") == (403, "FORBIDDEN")
    assert await asked(role="admin", scope="who:see") == (403, "FORBIDDEN")
    headers = {"Authorization": f"Bearer {forge.signed()}"}
    async with service.client.get("/api/v1/who", headers=headers) as told:
        body = await told.json()
        assert body["error"]["message"] == (
            "This needs one of the roles admin, editor and the scopes who:read, who:see."
        )


async def test_route_that_anyone_may_ask_refuses_whoever_lacks_its_roles(serve: Any, forge: Any) -> None:
    needs = {"need": "optional", "roles": ["anonymous", "admin"]}
    service = await serve(
        routes={
            "who.default": {"auth": needs},
        }
    )
    assert await forge.asked(service) == (200, None)
    assert await forge.asked(service, token=forge.signed(forge.claims(role="admin"))) == (200, "ada")
    assert await forge.asked(service, token=forge.signed()) == (403, "FORBIDDEN")


async def test_route_of_operators_may_ask_for_more(serve: Any, forge: Any) -> None:
    service = await serve(routes={"who.console": {"auth": {"scopes": ["console"]}}})
    admin = forge.claims(role="admin")
    assert await forge.asked(service, "/console", forge.signed(admin)) == (403, "FORBIDDEN")
    assert await forge.asked(service, "/console", forge.signed({**admin, "scope": "console"})) == (200, "ada")
    assert await forge.asked(service, "/console", forge.signed(forge.claims(scope="console"))) == (403, "FORBIDDEN")


async def test_route_that_looks_at_no_token_cannot_ask_for_roles(serve: Any) -> None:
    with pytest.raises(SettingsError, match='write: need = "required"'):
        await serve(routes={"who.default": {"auth": {"need": "none", "roles": ["admin"]}}})

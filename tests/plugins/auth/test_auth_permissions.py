"""Roles in the settings: who is granted what, what refusals say, and mistakes told with the line to write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest

from plugins.auth.permissions import granting
from service.api import (
    ACCESS,
    ANONYMOUS,
    NO_ROW,
    PRINCIPAL,
    Access,
    Answer,
    Forbidden,
    Grant,
    Grantable,
    Ports,
    Principal,
    Route,
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


async def test_anonymous_is_a_role_and_nobody_else_has_it_whatever_a_token_says(serve: Any) -> None:
    granted = await access(serve, {"anonymous": {"users": {"actions": ["list"]}}})
    assert granted.grant(ANONYMOUS, "users", "list") is not None
    assert granted.grant(Principal(None, frozenset({"admin"})), "users", "list") is not None
    for who in (principal(), principal("anonymous"), principal("*", "anonymous")):
        assert granted.grant(who, "users", "list") is None
        told = granted.refusal(who, "users", "list")
        assert (type(told), told.message) == (Forbidden, "users: list is for those who do not say who they are.")
    assert granted.grant(ANONYMOUS, "users", "list") is not None


async def test_refusal_names_no_role_that_who_asks_cannot_have(serve: Any) -> None:
    """Nobody who has said who they are has `anonymous`; to say that it is needed would be of no use."""
    granted = await access(serve, {role: {"users": {"actions": ["list"]}} for role in ("admin", "anonymous", "editor")})
    for who in (principal(), principal("anonymous")):
        message = granted.refusal(who, "users", "list").message
        assert message == "users: list needs one of the roles admin, editor."


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


class Shown:
    """Three routes that show a resource, and refuse as its rules say."""

    class Plugin:
        uses = (ACCESS,)

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            self._access = ports.find(ACCESS)
            assert self._access is not None
            self._access.expect(USERS)
            yield

        @hookimpl
        def routes(self) -> Iterable[Route]:
            for name in ("one", "two"):
                yield Route("GET", name, self._show, name=f"shown.{name}", reads=("users",))
            yield Route("POST", "three", self._show, name="shown.three", writes=("users",))

        def _show(self, request: Any) -> Answer:
            assert self._access is not None
            if self._access.grant(request[PRINCIPAL], "users", "list") is None:
                raise self._access.refusal(request[PRINCIPAL], "users", "list")
            return Answer.json({"subject": request[PRINCIPAL].subject})


@pytest.mark.parametrize("default", ["none", "optional"])
async def test_refusal_sends_for_a_token_exactly_where_the_route_looks_at_one(
    serve: Any, forge: Any, default: str
) -> None:
    """Whatever holds for the others: where none is looked at, not even a valid one is of use."""
    settings = {"default": default, "roles": {"admin": {"tables": {"users": {}}}}}
    routes = {"shown.one": {"auth": "none"}, "shown.two": {"auth": "optional"}}
    service = await serve(settings, Shown, routes=routes)
    admin = forge.signed(forge.claims(role="admin"))
    for token in (None, admin):
        assert await forge.asked(service, "/api/v1/one", token) == (403, "FORBIDDEN")
    assert await forge.asked(service, "/api/v1/two", admin) == (200, "ada")
    async with service.client.get("/api/v1/two") as response:
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
    async with service.client.post("/api/v1/three") as response:
        assert response.status == {"none": 403, "optional": 401}[default]


async def test_grants_and_rules_that_are_kept_are_bounded(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    granted: Any = await access(serve, {"user": {"users": {"where": {"email": "claim:email"}}}})
    monkeypatch.setattr(granting, "MAX_KEPT", 3)
    for number in range(10):
        grant = granted.grant(principal("user", f"r{number}", email=f"{number}@x"), "users", "list")
        assert grant.where == ((("email", f"{number}@x"),),)
        assert len(granted._rules) <= 3
        assert len(granted._grants) <= 3
    assert granted._grants


async def test_grant_of_a_long_claim_is_made_and_not_kept(serve: Any) -> None:
    """A token may have thousands of characters in a claim: ten thousand of them are not kept for whoever sent them."""
    granted: Any = await access(serve, {"user": {"users": {"where": {"email": "claim:email"}}}})
    long = "x" * (granting.LONGEST_KEPT + 1)
    assert granted.grant(principal("user", email=long), "users", "list").where == ((("email", long),),)
    assert not granted._grants
    granted.grant(principal("user", email=long[1:]), "users", "list")
    assert len(granted._grants) == 1


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
            'lacks id, the key by which read names a row write: readable = ["id", "email"]',
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


async def test_route_for_roles_sends_whoever_has_said_nothing_for_a_token(serve: Any, forge: Any) -> None:
    needs = {"need": "optional", "roles": ["admin"]}
    service = await serve(routes={"who.default": {"auth": needs}})
    async with service.client.get("/api/v1/who") as response:
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')


async def test_route_for_anonymous_lets_in_no_token_that_says_so(serve: Any, forge: Any) -> None:
    routes = {
        "who.default": {"auth": {"need": "optional", "roles": ["anonymous"]}},
        "who.maybe": {"auth": {"need": "optional", "roles": ["anonymous", "admin"]}},
    }
    service = await serve(routes=routes)
    token = forge.signed(forge.claims(role=["anonymous", "*"]))
    told = {"/api/v1/who": "This is for those who do not say who they are."}
    for path in ("/api/v1/who", "/api/v1/who/maybe"):
        assert await forge.asked(service, path) == (200, None)
        async with service.client.get(path, headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == 403
            message = (await response.json())["error"]["message"]
            assert message == told.get(path, "This needs the role admin.")


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        ({"roles": ["*"]}, 'write: auth = "required"'),
        ({"roles": ["*", "admin"], "scopes": ["who:read"]}, 'write: auth = { scopes = ["who:read"] }'),
    ],
)
async def test_route_for_everyone_is_no_role(serve: Any, needs: Any, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await serve(routes={"who.default": {"auth": needs}})
    message = " ".join(str(caught.value).split())
    assert 'has the role "*", which everyone has' in message
    assert told in message


@pytest.mark.parametrize("roles", [["*"], ["anonymous", "admin"]])
async def test_operators_have_a_role_of_their_own(serve: Any, roles: list[str]) -> None:
    with pytest.raises(SettingsError, match="which is no role of a token") as caught:
        await serve({"operator_roles": roles})
    assert 'write: operator_roles = ["admin"]' in str(caught.value)


async def test_role_of_a_route_that_nothing_gives_is_told(serve: Any) -> None:
    rules = {"roles": {"editor": {"tables": {"users": {}}}}}
    routes = {
        "who.default": {"auth": {"roles": ["amdin", "editor"]}},
        "who.post": {"auth": {"roles": ["amdin", "clerk"]}},
        "who.maybe": {"auth": {"need": "optional", "roles": ["anonymous", "admin"]}},
    }
    service = await serve(rules, routes=routes)
    assert [each for each in service.said if "The route" in each] == [
        'The route who.default asks for the role amdin, which no rule names; did you mean "admin"?',
        "The route who.post asks for the role clerk, which no rule names, so whoever asks it needs a token or key that "
        "has that role all the same.",
    ]
    service = await serve(routes=routes)
    assert [each for each in service.said if "The route" in each] == [
        'The route who.default asks for the role amdin, which no rule names; did you mean "admin"?'
    ]


async def test_route_of_operators_may_ask_for_more(serve: Any, forge: Any) -> None:
    service = await serve(routes={"who.console": {"auth": {"scopes": ["console"]}}})
    admin = forge.claims(role="admin")
    assert await forge.asked(service, "/console", forge.signed(admin)) == (403, "FORBIDDEN")
    assert await forge.asked(service, "/console", forge.signed({**admin, "scope": "console"})) == (200, "ada")
    assert await forge.asked(service, "/console", forge.signed(forge.claims(scope="console"))) == (403, "FORBIDDEN")


async def test_route_that_looks_at_no_token_cannot_ask_for_roles(serve: Any) -> None:
    with pytest.raises(SettingsError, match='write: need = "required"'):
        await serve(routes={"who.default": {"auth": {"need": "none", "roles": ["admin"]}}})

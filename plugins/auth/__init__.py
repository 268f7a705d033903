"""Say who is asking: JSON Web Tokens, API keys, and the schemes of other plugins; give tokens to who logs in.

Table    [plugins.auth], [plugins.auth.login], [plugins.auth.roles]
Slot     IDENTIFY: an API key, a token, or what another scheme recognises; AUTHORIZE: operators' routes need a role, and
         so do routes for which the settings name roles or scopes
Routes   auth.token, auth.refresh, auth.logout, where there is login
Provides OPERATORS, ACCESS, and HIDDEN with login; takes every AUTHENTICATOR, and DATABASE and REDIS if they are there
Raises   Unauthenticated 401 NO_TOKEN, InvalidToken 401 INVALID_TOKEN, TokenExpired 401 TOKEN_EXPIRED, Forbidden 403,
         Unavailable 503 while an issuer's keys have never been fetched, the database with the API keys is away, or
         what is revoked cannot be found out
Source   RFC 6750 (Bearer), RFC 7515 to 7519 and RFC 8725 (JWT), OWASP ASVS 5.0 V9

- `settings.py`  what an operator can say
- `tokens/`      keys, what a valid token says, those that are remembered, new ones
- `api_keys/`    keys of machines, and their scheme
- `schemes.py`   which scheme recognises a request
- `steps.py`     the Checks
- `permissions/` what roles may do to tables, and who may ask a route
- `login/`       name and password become tokens
- `revocation/`  tokens that are not to be accepted any more
- `store/`       what is kept in PostgreSQL
- `material.py`  the settings' keys, read; `commands/` `pegboard token`, `pegboard key`, `pegboard auth`
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from plugins.auth.api_keys import open_keys
from plugins.auth.login.handlers import Login
from plugins.auth.login.opening import check, cost_of, hidden_by, open_login
from plugins.auth.material import Material
from plugins.auth.permissions.checking import Checking, notes
from plugins.auth.permissions.granting import Permissions
from plugins.auth.permissions.requiring import Requiring, strangers
from plugins.auth.permissions.settings import NOT_OF_TOKENS
from plugins.auth.revocation.opening import Revocation
from plugins.auth.schemes import Bearer
from plugins.auth.settings import Need, RouteSettings, Settings
from plugins.auth.steps import Identifying, Operating
from plugins.auth.store.schema import make_schema
from plugins.auth.tokens.jwks import PATIENCE_S, Jwks
from plugins.auth.tokens.keys import Keys
from plugins.auth.tokens.remembering import Memory
from plugins.auth.tokens.verifying import Verified
from service.api import (
    ACCESS,
    AUTHENTICATOR,
    DATABASE,
    HIDDEN,
    OPERATORS,
    REDIS,
    Authenticator,
    Check,
    Door,
    Finish,
    MountedRoute,
    Operators,
    PluginError,
    PortKey,
    Ports,
    Probe,
    Route,
    Run,
    Slot,
    hookimpl,
)

if TYPE_CHECKING:
    import click

__all__ = ["Plugin", "RouteSettings", "Settings"]


class Plugin:
    uses = (AUTHENTICATOR, DATABASE, REDIS)
    provides: tuple[PortKey[Any], ...] = (OPERATORS, ACCESS)

    def __init__(self, settings: Settings, run: Run) -> None:
        self.requires = (DATABASE,) if settings.api_keys or settings.login else ()
        self._settings = settings
        self._run = run
        self._material = Material(settings, run)
        self._jwks: Jwks | None = None
        self._operating = Operating(settings.operator_roles)
        self._checking = Checking(settings.roles, run)
        self._roles = settings.roles.keys() - NOT_OF_TOKENS
        """Those that rules name and tokens can have."""
        self._known = self._roles | set(settings.operator_roles)
        self._told: set[str] = set()
        """Roles of routes of which something was said."""
        self._revocation = Revocation(
            settings.revocation, run, expires_s=settings.expires.seconds, leeway_s=settings.leeway.seconds
        )
        self._login: Login | None = None
        if settings.login is not None:
            self.provides = (OPERATORS, ACCESS, HIDDEN)
            check(settings.login, run)

    @hookimpl
    @asynccontextmanager
    async def household(self, run: Run) -> AsyncIterator[None]:
        """Says once what workers would say each; makes the secret that they then find, where none is set."""
        if self._material.keeps_secret:
            self._material.kept()
        for sentence in (*self._material.sentences, *notes(self._settings.roles, run.name)):
            run.say(sentence)
        yield None

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        keys, rules = Keys(self._material.keys()), self._material.rules
        memory: Memory[Verified] = Memory(self._settings.remember)
        refreshing: asyncio.Task[None] | None = None
        if self._settings.jwks is not None:

            def forget_foreign() -> None:
                known = {key.identity for key in (*keys.fixed, *keys.fetched)}
                memory.forget(lambda verified: verified.key.identity not in known)

            url, algorithms = self._settings.jwks, self._settings.algorithms
            self._jwks = Jwks(url, keys, algorithms, self._run, changed=forget_foreign)
            if self._run.serves:
                refreshing = self._run.spawn(self._jwks.keep_fresh(), name=f"{self._run.name}: fresh keys")
        bearer = Bearer(keys, rules, memory, self._run.clock, self._jwks, self._revocation.held)
        schemes: list[Authenticator] = [bearer, *ports.every(AUTHENTICATOR)]
        database = ports.find(DATABASE)
        async with AsyncExitStack() as stack:
            if refreshing is not None:
                stack.callback(refreshing.cancel)
            if database is not None and database.is_own and self._run.serves:
                await make_schema(database)
            if database is not None and self._settings.api_keys is not False:
                opening = open_keys(database, self._run, size=self._settings.remember)
                schemes.insert(0, await stack.enter_async_context(opening))  # first, to refuse a key beside a token
            await stack.enter_async_context(self._revocation.opened(ports, memory.forget))
            api, operator = self._revocation.api, self._revocation.operator
            self._identifying = Identifying(schemes, api, recall=bearer.recall)
            self._identifying_operators = Identifying(schemes, operator, recall=bearer.recall)
            ports.provide(OPERATORS, Operators(self._operating.who))
            self._permissions = Permissions(self._settings.roles, self._checking, nobody=self._identifying.nobody)
            ports.provide(ACCESS, self._permissions)
            if database is not None and self._settings.login is not None:
                login, maker = self._settings.login, self._material.maker()
                ports.provide(HIDDEN, hidden_by(login))
                revocations = self._revocation.revocations
                assert revocations is not None  # noqa: S101  # where there is a database
                expires, revoke = self._settings.expires, revocations.revoke_session
                opened = open_login(login, self._run, database, maker, expires=expires, revoke=revoke)
                self._login = await stack.enter_async_context(opened)
            yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        self._checking.finish()  # all that can be granted is known now
        return self._login.routes(self._run.name) if self._login is not None else ()

    @hookimpl
    def steps(self, route: MountedRoute) -> Iterable[Check | Finish]:
        settings = route.settings(RouteSettings)
        needs_more = bool(settings.roles or settings.scopes)
        need = settings.need or ("required" if needs_more else None)
        if route.door is Door.OPERATOR:
            yield from self._guard(route, need)
        elif route.door is Door.API:
            yield from self._identify(route, need or self._settings.default)
        if needs_more and route.door is not Door.PROBE:
            self._tell_of_strangers(route, settings.roles)
            requiring = Requiring(settings.roles, settings.scopes, nobody=self._identifying.nobody)
            yield Check(Slot.AUTHORIZE, requiring.allow)

    def _identify(self, route: MountedRoute, need: Need) -> Iterable[Check | Finish]:
        identifying = self._identifying
        if need == "none":
            if any(self._permissions.is_ruled(name) for name in (*route.reads, *route.writes)):
                yield Check(Slot.IDENTIFY, identifying.unasked)
            return
        yield Check(Slot.IDENTIFY, identifying.optional if need == "optional" else identifying.required)
        yield from self._keep_private()

    def _tell_of_strangers(self, route: MountedRoute, roles: Sequence[str]) -> None:
        """Roles that no rule names may be misspelt. Where no rule names any, or accounts have theirs in a column, there
        may be others."""
        login = self._settings.login
        are_all = bool(self._roles) and not (login is not None and self._settings.role_claim in login.claims)
        for role, hint in strangers(roles, self._known, are_all=are_all):
            if role not in self._told:
                self._told.add(role)
                self._run.say(f"The route {route.name} asks for the role {role}, which no rule names{hint}")

    def _guard(self, route: MountedRoute, need: Need | None) -> Iterable[Check | Finish]:
        """Operators' routes need a role, whatever the default, unless they have a listener of their own."""
        if need is None and self._run.has_operator_listener:
            return
        if need in (None, "required"):
            yield Check(Slot.IDENTIFY, self._identifying_operators.required)
            yield from self._keep_private()
            yield Check(Slot.AUTHORIZE, self._operating.allow)
        elif self._run.strict and not self._run.has_operator_listener:
            raise PluginError(
                f"the route {route.name} is for operators, and auth = {need!r} would open it to anyone; remove that, "
                "or give operators a listener of their own: operator = { port = 3001 } under [service]."
            )
        elif need == "optional":
            yield Check(Slot.IDENTIFY, self._identifying_operators.optional)
            yield from self._keep_private()

    def _keep_private(self) -> Iterable[Finish]:
        if self._identifying.takes_keys:
            yield Finish(Slot.IDENTIFY, self._identifying.keep_private)

    @hookimpl
    def probes(self) -> Iterable[Probe]:
        if self._jwks is not None:
            yield Probe(f"{self._run.name}.jwks", self._jwks.check, timeout_s=PATIENCE_S + 1, critical=False)
        yield from self._revocation.probes()

    @hookimpl
    def commands(self, group: click.Group) -> None:
        from plugins.auth.commands.auth import auth_group, init_command  # inside: a service that serves needs none
        from plugins.auth.commands.hash import hash_command
        from plugins.auth.commands.key import key_group
        from plugins.auth.commands.revoke import revocations_command, revoke_command
        from plugins.auth.commands.token import token_command

        roles = self._known if self._roles else ()
        group.add_command(token_command(self._material.maker, self._settings.expires, self._run.clock, roles=roles))
        group.add_command(key_group(self._run, are_taken=self._settings.api_keys is not False, roles=roles))
        revoking = (revoke_command(self._revocation, self._run), revocations_command(self._revocation, self._run))
        hashing = hash_command(cost_of(self._settings.login))
        group.add_command(auth_group(init_command(self._run), *revoking, hashing))

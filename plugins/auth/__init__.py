"""Say who is asking: JSON Web Tokens, and the schemes of other plugins; give tokens to who logs in.

Table    [plugins.auth], [plugins.auth.login]
Slot     IDENTIFY: a bearer token, or what another scheme recognises; AUTHORIZE: operators' routes need a role
Provides OPERATORS, HIDDEN; takes every AUTHENTICATOR; needs DATABASE for login
Raises   Unauthenticated 401 NO_TOKEN, InvalidToken 401 INVALID_TOKEN, TokenExpired 401 TOKEN_EXPIRED, Forbidden 403,
         Unavailable 503 while an issuer's keys have never been fetched
Source   RFC 6750 (Bearer), RFC 7515 to 7519 and RFC 8725 (JWT), OWASP ASVS 5.0 V9

- `settings.py`  what an operator can say
- `tokens/`      keys, what a valid token says, those that are remembered, new ones
- `schemes.py`   which scheme recognises a request
- `steps.py`     the Checks
- `material.py`  the settings' keys, read; `commands/` `pegboard token`, `pegboard auth`
- `login/`       name and password become tokens; `store/` what is kept in PostgreSQL
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from plugins.auth.login.handlers import Login
from plugins.auth.login.opening import check, cost_of, hidden_by, open_login
from plugins.auth.material import Material
from plugins.auth.schemes import Bearer
from plugins.auth.settings import Need, RouteSettings, Settings
from plugins.auth.steps import Identifying, Operating
from plugins.auth.tokens.jwks import PATIENCE_S, Jwks
from plugins.auth.tokens.keys import Keys
from plugins.auth.tokens.remembering import Memory
from service.api import (
    AUTHENTICATOR,
    DATABASE,
    HIDDEN,
    OPERATORS,
    Check,
    Door,
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
    uses = (AUTHENTICATOR,)
    provides: tuple[PortKey[Any], ...] = (OPERATORS,)
    requires: tuple[PortKey[Any], ...] = ()

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._material = Material(settings, run)
        self._jwks: Jwks | None = None
        self._operating = Operating(settings.operator_roles)
        self._login: Login | None = None
        if settings.login is not None:
            self.requires, self.provides = (DATABASE,), (OPERATORS, HIDDEN)
            check(settings.login, run)

    @hookimpl
    @asynccontextmanager
    async def household(self, run: Run) -> AsyncIterator[None]:
        """Says once what workers would say each; makes the secret that they then find, where none is set."""
        if self._material.keeps_secret:
            self._material.kept()
        for sentence in self._material.sentences:
            run.say(sentence)
        yield None

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        keys, rules, memory = Keys(self._material.keys()), self._material.rules, Memory(self._settings.remember)
        refreshing: asyncio.Task[None] | None = None
        if self._settings.jwks is not None:

            def forget_foreign() -> None:
                known = {key.identity for key in (*keys.fixed, *keys.fetched)}
                memory.forget(lambda verified: verified.key.identity not in known)

            url, algorithms = self._settings.jwks, self._settings.algorithms
            self._jwks = Jwks(url, keys, algorithms, self._run, changed=forget_foreign)
            if self._run.serves:
                refreshing = self._run.spawn(self._jwks.keep_fresh(), name=f"{self._run.name}: fresh keys")
        bearer = Bearer(keys, rules, memory, self._run.clock, self._jwks)
        self._identifying = Identifying([bearer, *ports.every(AUTHENTICATOR)])
        ports.provide(OPERATORS, Operators(self._operating.who))
        try:
            async with self._open_login(ports):
                yield
        finally:
            if refreshing is not None:
                refreshing.cancel()

    @asynccontextmanager
    async def _open_login(self, ports: Ports) -> AsyncIterator[None]:
        settings = self._settings
        async with AsyncExitStack() as stack:
            if settings.login is not None:
                ports.provide(HIDDEN, hidden_by(settings.login))
                database, maker = ports.need(DATABASE), self._material.maker()
                opening = open_login(settings.login, self._run, database, maker, expires=settings.expires)
                self._login = await stack.enter_async_context(opening)
            yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        return self._login.routes(self._run.name) if self._login is not None else ()

    @hookimpl
    def steps(self, route: MountedRoute) -> Iterable[Check]:
        need = route.settings(RouteSettings).need
        if route.door is Door.OPERATOR:
            yield from self._guard(route, need)
        elif route.door is Door.API and (need or self._settings.default) != "none":
            is_optional = (need or self._settings.default) == "optional"
            yield Check(Slot.IDENTIFY, self._identifying.optional if is_optional else self._identifying.required)

    def _guard(self, route: MountedRoute, need: Need | None) -> Iterable[Check]:
        """Operators' routes need a role, whatever the default, unless they have a listener of their own."""
        if need is None and self._run.has_operator_listener:
            return
        if need in (None, "required"):
            yield Check(Slot.IDENTIFY, self._identifying.required)
            yield Check(Slot.AUTHORIZE, self._operating.allow)
        elif self._run.strict and not self._run.has_operator_listener:
            raise PluginError(
                f"the route {route.name} is for operators, and auth = {need!r} would open it to anyone; remove that, "
                "or give operators a listener of their own: operator = { port = 3001 } under [service]."
            )
        elif need == "optional":
            yield Check(Slot.IDENTIFY, self._identifying.optional)

    @hookimpl
    def probes(self) -> Iterable[Probe]:
        if self._jwks is not None:
            yield Probe(f"{self._run.name}.jwks", self._jwks.check, timeout_s=PATIENCE_S + 1, critical=False)

    @hookimpl
    def commands(self, group: click.Group) -> None:
        from plugins.auth.commands.auth import auth_group  # inside: a service that serves needs none of it
        from plugins.auth.commands.hash import hash_command
        from plugins.auth.commands.token import token_command

        group.add_command(auth_group(hash_command(cost_of(self._settings.login))))
        group.add_command(token_command(self._material.maker, self._settings.expires, self._run.clock))

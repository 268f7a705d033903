"""Say who is asking: JSON Web Tokens, and the schemes of other plugins.

Table    [plugins.auth]
Slot     IDENTIFY: a bearer token, or what another scheme recognises; AUTHORIZE: operators' routes need a role
         and so do routes for which the settings name roles or scopes
Provides OPERATORS; ACCESS, which rows and columns a role may have; takes every AUTHENTICATOR
Raises   Unauthenticated 401 NO_TOKEN, InvalidToken 401 INVALID_TOKEN, TokenExpired 401 TOKEN_EXPIRED, Forbidden 403,
         Unavailable 503 while an issuer's keys have never been fetched
Source   RFC 6750 (Bearer), RFC 7515 to 7519 and RFC 8725 (JWT), OWASP ASVS 5.0 V9

- `settings.py`  what an operator can say
- `tokens/`      keys, what a valid token says, those that are remembered, new ones
- `schemes.py`   which scheme recognises a request
- `steps.py`     the Checks
- `permissions/` what roles may do to tables, and who may ask a route
- `material.py`  the settings' keys, read; `commands.py` `pegboard token`
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from plugins.auth.material import Material
from plugins.auth.permissions.checking import Checking
from plugins.auth.permissions.granting import Permissions
from plugins.auth.permissions.requiring import Requiring
from plugins.auth.schemes import Bearer
from plugins.auth.settings import Need, RouteSettings, Settings
from plugins.auth.steps import Identifying, Operating
from plugins.auth.tokens.jwks import PATIENCE_S, Jwks
from plugins.auth.tokens.keys import Keys
from plugins.auth.tokens.remembering import Memory
from service.api import (
    ACCESS,
    AUTHENTICATOR,
    OPERATORS,
    Check,
    Door,
    MountedRoute,
    Operators,
    PluginError,
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
    provides = (OPERATORS, ACCESS)

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._material = Material(settings, run)
        self._jwks: Jwks | None = None
        self._operating = Operating(settings.operator_roles)
        self._checking = Checking(settings.roles, run)

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
        knows_nobody = self._settings.default == "none"
        challenges = self._identifying.challenges
        permissions = Permissions(
            self._settings.roles, self._checking, challenges=challenges, knows_nobody=knows_nobody
        )
        ports.provide(ACCESS, permissions)
        try:
            yield
        finally:
            if refreshing is not None:
                refreshing.cancel()

    @hookimpl
    def routes(self) -> Iterable[Route]:
        self._checking.finish()  # all that can be granted is known now
        return ()

    @hookimpl
    def steps(self, route: MountedRoute) -> Iterable[Check]:
        settings = route.settings(RouteSettings)
        needs_more = bool(settings.roles or settings.scopes)
        need = settings.need or ("required" if needs_more else None)
        if route.door is Door.OPERATOR:
            yield from self._guard(route, need)
        elif route.door is Door.API and (need or self._settings.default) != "none":
            is_optional = (need or self._settings.default) == "optional"
            yield Check(Slot.IDENTIFY, self._identifying.optional if is_optional else self._identifying.required)
        if needs_more and route.door is not Door.PROBE:
            requiring = Requiring(settings.roles, settings.scopes, challenges=self._identifying.challenges)
            yield Check(Slot.AUTHORIZE, requiring.allow)

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
        from plugins.auth.commands import token_command  # inside: a service that serves needs none of it

        group.add_command(token_command(self._material.maker, self._settings.expires, self._run.clock))

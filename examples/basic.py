"""Take HTTP Basic authentication beside tokens: a few people with passwords, for tools that know nothing else.

Table    [plugins.basic]
Provides AUTHENTICATOR, which the plugin `auth` takes
Raises   InvalidToken: 401, a name or password that is wrong
Source   RFC 7617

[plugins.basic]
enabled = true
people.grace = { password = { env = "GRACE_PASSWORD" }, roles = ["reader"] }
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp.web import Request

from service.api import AUTHENTICATOR, InvalidToken, PluginSettings, Ports, Principal, Secret, hookimpl

NOBODY = Secret("")
"""What the password of somebody unknown is compared with, so that it takes as long as that of somebody known."""


class Person(PluginSettings):
    password: Secret
    """What they send; long and random, since nothing slows down who guesses."""

    roles: tuple[str, ...] = ()
    """What they are: `["admin"]`."""


class Settings(PluginSettings):
    people: Mapping[str, Person] = {}
    """Who may come in, by the name that they send."""


class Basic:
    """The scheme: `Authorization: Basic`, with name and password in base64."""

    scheme = "basic"
    challenge = 'Basic realm="api", charset="UTF-8"'

    def __init__(self, people: Mapping[str, Person]) -> None:
        self._people = people

    def recognises(self, request: Request) -> bool:
        return request.headers.get("Authorization", "")[:6].lower() == "basic "

    def authenticate(self, request: Request) -> Principal:
        try:
            name, _, password = base64.b64decode(request.headers["Authorization"][6:]).decode().partition(":")
        except ValueError:
            raise InvalidToken("Name and password are not in base64, as Basic wants them.") from None
        person = self._people.get(name)
        is_right = Secret(password) == (person.password if person else NOBODY)  # compares in constant time
        if person is None or not is_right:
            raise InvalidToken("Name or password is wrong.")
        return Principal(name, frozenset(person.roles), scheme=self.scheme)


class Plugin:
    provides = (AUTHENTICATOR,)

    def __init__(self, settings: Settings) -> None:
        self._basic = Basic(settings.people)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        ports.provide(AUTHENTICATOR, self._basic)
        yield

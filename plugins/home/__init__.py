"""Answer `GET /`: a page for people that shows what there is and how to ask for it, and the same as JSON for programs.

Table   [plugins.home]
Slot    none: one route, behind the door that `door` names
Raises  nothing
Source  RFC 9110, section 12.5.1 (Accept); CSP 3

What it tells depends on who may see it. Behind the API door of a strict service it tells what the index of the
resources and the health routes tell anyway: lists, what is below them, probes. Where only operators come, or where
`strict` is off, it also tells Pegboard's version, the environment, the plugins that are on, and every other route that
can be asked for there.
Inside: `listing` sorts the routes, `page` renders them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Annotated, Final, Literal

from aiohttp.web import Request
from pydantic import AfterValidator, Field

from plugins.home.listing import Listing, indexed, listing
from plugins.home.page import Page, up_for
from service.api import (
    CLIENT,
    SERVING,
    About,
    Answer,
    Door,
    PluginSettings,
    Ports,
    Route,
    Run,
    hookimpl,
    prefers,
    timestamp,
)

HEADERS: Final = (
    ("Vary", "Accept"),
    ("Cache-Control", "no-store"),  # the page repeats the Host header, and says how long the process is up
)

HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
"""A host that is shown as it was sent; any other is no host that a client could mean."""

URL: Final = re.compile(rf"https?://{HOST.pattern}(?:/[A-Za-z0-9._~/-]*)?")


def _base(url: str | None) -> str | None:
    """`url` without the slash at its end. Raises ValueError, saying what it has to be."""
    if url is not None and not URL.fullmatch(url):
        raise ValueError('is absolute, like "https://api.example.com", and has no user, query or fragment')
    return url and url.rstrip("/")


class Settings(PluginSettings):
    door: Literal["api", "operator"] = "api"
    """Who it is for: "api" is anyone who may call the API, "operator" whoever runs the service."""

    url: Annotated[str | None, AfterValidator(_base), Field(examples=["https://api.example.com"])] = None
    """Where clients find the API, for links and curl lines: `"https://api.example.com"`. Where the request came to,
    unless set."""


def origin_of(scheme: str, host: str) -> str:
    """Where the client has found this service, as far as it said so in a way that can be repeated."""
    return f"{'https' if scheme == 'https' else 'http'}://{host if HOST.fullmatch(host) else 'localhost'}"


class Plugin:
    def __init__(self, settings: Settings, run: Run) -> None:
        self._door = Door(settings.door)
        self._is_open = self._door is Door.OPERATOR or not run.strict
        self._url = settings.url
        self._run = run
        self._rendered: tuple[tuple[str, str], Answer] | None = None

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        self._serving = ports.need(SERVING)
        if self._door is Door.OPERATOR and self._run.strict and self._url is None:
            self._run.say(
                f"{self._run.name} shows operators commands that go to their own address; say where clients come: "
                'url = "https://api.example.com" under [plugins.home].'
            )
        self._page = Page(self._url, headers=HEADERS)
        self._began_at, self._began_s = self._run.clock.now(), self._run.clock.monotonic()
        yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "/", self._home, name="home.read", door=self._door, summary="What there is.")

    def _home(self, request: Request) -> Answer:
        if not prefers(request.headers.get("Accept", ""), "text/html", over="application/json"):
            return self._as_json
        origin = origin_of(request[CLIENT].scheme, request[CLIENT].host)
        up = up_for(self._run.clock.monotonic() - self._began_s)
        if self._rendered is None or self._rendered[0] != (origin, up):
            page = self._page.render(self._listing, about=self._about, up=up, origin=origin)
            self._rendered = (origin, up), page
        return self._rendered[1]

    @property
    def _about(self) -> About | None:
        return self._serving.about if self._is_open else None

    @cached_property
    def _listing(self) -> Listing:
        """What is shown, but for this route itself. Known once all is declared, which is before the first request."""
        doors = {Door.API, Door.PROBE, self._door}
        routes = [route for route in self._serving.routes if route.path != "/"]
        return listing(routes, doors=doors) if self._is_open else listing(indexed(routes), doors=doors).without_others()

    @cached_property
    def _as_json(self) -> Answer:
        facts: Mapping[str, object] = {}
        if (about := self._about) is not None:
            facts = {
                "name": "Pegboard",
                "version": about.version,
                "environment": about.environment,
                "plugins": about.plugins,
                "startedAt": timestamp(self._began_at),
            }
        places = self._listing.links()
        links = [{"name": place.name, "href": place.under(self._url), "summary": place.summary} for place in places]
        return Answer.json({**facts, "links": links}, headers=HEADERS)

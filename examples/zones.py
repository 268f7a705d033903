"""Serve the time zones that this machine knows: a resource that is no table, in the form of those that are.

Table   [plugins.zones]
Routes  zones.list, zones.read
Raises  InvalidRequest: 400, everything wrong with a query string at once; NotFound: 404, no such zone
Source  zoneinfo (PEP 615); docs/clients.md, the form of lists
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

from aiohttp.web import Request

from service.api import Answer, Detail, InvalidRequest, NotFound, PluginSettings, Ports, Route, Run, hookimpl

NUMBER = re.compile(r"[1-9][0-9]{0,5}")
"""A page or a limit: from 1, of at most six digits (chosen)."""


class Settings(PluginSettings):
    limit: int = 10
    """Zones a page, unless a client asks."""

    max_limit: int = 100
    """The most zones of a page; a client that asks for more gets this many."""


class Plugin:
    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._clock = run.clock
        self._zones: dict[str, ZoneInfo] = {}

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        self._zones = {name: ZoneInfo(name) for name in sorted(available_timezones())}
        yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "zones", self._list, name="zones.list", reads=("zones",), summary="List the time zones.")
        yield Route("GET", "zones/{id}", self._read, name="zones.read", reads=("zones",), summary="Read one time zone.")

    def _list(self, request: Request) -> Answer:
        asked = {"page": 1, "limit": self._settings.limit}
        faults = []
        for name, text in request.query.items():
            if name not in asked:
                faults.append(Detail(name, "is no parameter; there are page and limit."))
            elif not NUMBER.fullmatch(text):
                faults.append(Detail(name, "must be a whole number from 1 to 999999."))
            else:
                asked[name] = int(text)
        if faults:
            raise InvalidRequest("The parameters are wrong.", details=faults)
        page, limit = asked["page"], min(asked["limit"], self._settings.max_limit)
        names, begin = list(self._zones), (page - 1) * limit
        pagination = {
            "page": page,
            "limit": limit,
            "total": len(names),
            "totalPages": -(-len(names) // limit),
            "hasNext": begin + limit < len(names),
            "hasPrev": page > 1,
            "nextCursor": None,
            "prevCursor": None,
            "totalIsEstimate": False,
        }
        rows = [self._zone(name) for name in names[begin : begin + limit]]
        return Answer.json({"data": rows, "pagination": pagination})

    def _read(self, request: Request) -> Answer:
        name = request.match_info["id"]
        if name not in self._zones:
            raise NotFound("There is no such time zone.")
        return Answer.json(self._zone(name))

    def _zone(self, name: str) -> dict[str, object]:
        offset = datetime.fromtimestamp(self._clock.now(), UTC).astimezone(self._zones[name]).utcoffset()
        return {"id": name, "offsetSeconds": int(offset.total_seconds()) if offset is not None else 0}

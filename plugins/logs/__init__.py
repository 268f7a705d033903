"""Write one line for every request, and what the service itself has to say, to standard output.

Table   [plugins.logs]
Slot    none: it observes each Exchange after its answer is on the way
Raises  nothing; what cannot be written is counted, and said once writing works again
Source  morgan (tokens), OWASP ASVS 5.0 V16.2 and V16.4 (what is logged, and what never is)

Inside: `lines` renders, with `tokens`, `escaping` and `redaction`; `records` brings in `logging`; `sink` writes.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

from plugins.logs.lines import JsonLines, Lines, TextLines
from plugins.logs.records import RecordHandler, attached
from plugins.logs.redaction import Redaction
from plugins.logs.sink import Sink
from service.api import Exchange, PluginSettings, Ports, Run, hookimpl

STDOUT, STDERR = 1, 2
"""The descriptors themselves: nothing that Python puts around them may buffer or block."""

log = logging.getLogger("pegboard.logs")


def _lines(spelled: str, redaction: Redaction) -> Lines:
    return JsonLines(redaction) if spelled == "json" else TextLines(spelled, redaction)


def _check_format(spelled: str) -> str:
    _lines(spelled, Redaction())
    return spelled


class Settings(PluginSettings):
    format: Annotated[str, AfterValidator(_check_format)] = "json"
    """"json", or a line with tokens: ":method :url :status :response-time ms - :user-id"."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on the service's own messages are written; requests always are."""

    redact: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], ...] = ()
    """Further headers and query parameters whose values are written as ***, besides authorization, proxy-authorization,
    cookie, set-cookie, x-api-key, token, access_token, refresh_token, id_token, api_key, password, secret,
    client_secret and whatever else is named like a secret, as new_password. Case, dashes and underscores make no
    difference."""

    skip: tuple[str, ...] = ()
    """Routes by name (glob) whose requests are not written unless they end in 5xx: ["health.*"]."""


def _say_broken(reason: str) -> None:
    """On standard error, since the log itself is what fails."""
    with suppress(OSError):
        os.write(STDERR, f"log lines are lost: standard output cannot be written ({reason}).\n".encode())


class Plugin:
    def __init__(self, settings: Settings, run: Run) -> None:
        self._clock = run.clock
        redaction = Redaction(settings.redact)
        self._lines = _lines(settings.format, redaction)
        self._sink = Sink(STDOUT, render=self._lines.exchange, say_lost=self._lost, say_broken=_say_broken)
        self._handler = RecordHandler(self._lines, redaction, self._sink.put)
        self._level = logging.getLevelNamesMapping()[settings.level.upper()]
        self._skip = settings.skip
        self._skipped: dict[str, bool] = {}

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        self._sink.open()
        atexit.register(self._sink.close)
        try:
            with attached(self._handler, self._level):
                yield
        finally:
            await asyncio.to_thread(self._sink.close)
            atexit.unregister(self._sink.close)

    @hookimpl
    def observers(self) -> Iterable[Callable[[Exchange], None]]:
        yield self._write_unless_skipped if self._skip else self._sink.put_exchange

    def _write_unless_skipped(self, exchange: Exchange) -> None:
        if exchange.status >= 500 or not self._is_skipped(exchange.route):
            self._sink.put_exchange(exchange)

    def _is_skipped(self, route: str) -> bool:
        skipped = self._skipped.get(route)
        if skipped is None:  # routes are few, so this stays small
            skipped = self._skipped[route] = any(fnmatchcase(route, glob) for glob in self._skip)
        return skipped

    def _lost(self, count: int) -> bytes:
        return self._lines.entry(
            at_s=self._clock.now(),
            level="warning",
            logger=log.name,
            message=f"{count} log lines were lost: standard output could not take them.",
        )

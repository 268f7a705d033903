"""What an entry looks like: one line of JSON, or one line of text after the operator's own format.

JSON, of a request    time, level, kind "request", method, route, version, status, error, url, durationMs, bytes,
                      requestId, remote, userId, userAgent; traceback where something crashed
JSON, of the service  time, level, kind "log", logger, message; traceback where there is one
Text, of a request    the format with its tokens filled in
Text, of the service  time LEVEL logger: message
Text, both            a traceback follows in lines that begin with `    | `, as no entry does
"""

from __future__ import annotations

import re
from traceback import format_exception
from typing import Protocol

from plugins.logs.escaping import json_line, printable
from plugins.logs.redaction import Redaction
from plugins.logs.tokens import compile_format
from service.api import MASK, Exchange, timestamp

FOLLOWING = "\n    | "

KEPT_COUNT = 1_024
"""Rendered parts of lines that are kept, of each kind; then begun anew: methods and agents are endless (chosen)."""

_PLAIN_PATH = re.compile(r"[!#->A-\[\]-~]*")
"""Printable ASCII without `"` and `\\`, so that it stands in JSON as it is, without `?` and `@`, so that it holds no
secret."""


class Lines(Protocol):
    """Renders entries; each ends with a line feed and has no other inside, tracebacks in text excepted."""

    def exchange(self, exchange: Exchange) -> bytes:
        """The line of one finished request."""

    def entry(self, *, at_s: float, level: str, logger: str, message: str, traceback: str = ...) -> bytes:
        """The line of something that the service itself has to say; texts are redacted already."""


class JsonLines:
    """`format = "json"`."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._stamp = Stamps()
        self._hides_agent = redaction.hides("User-Agent")
        self._outcomes: dict[tuple[object, ...], str] = {}
        self._clients: dict[tuple[object, ...], str] = {}

    def exchange(self, exchange: Exchange) -> bytes:
        """What repeats is rendered once and kept: how requests to a route end, and who sends them."""
        outcome = (exchange.method, exchange.route, exchange.version, exchange.status, exchange.error_code)
        client = (exchange.remote, exchange.subject, exchange.headers.get("User-Agent"))
        known_outcome = self._outcomes.get(outcome) or self._outcome(outcome)
        known_client = self._clients.get(client) or self._client(client)
        if exchange.failure is None and _PLAIN_PATH.fullmatch(exchange.target):
            subject = f'"url":"{exchange.target}"'
        else:
            subject = self._subject(exchange)
        return (
            f'{{"time":"{self._stamp(exchange.started_at)}",{known_outcome},{subject},'
            f'"durationMs":{exchange.duration_s * 1000:.3f},"bytes":{exchange.bytes_sent},'
            f'"requestId":"{exchange.request_id}",{known_client}}}\n'
        ).encode()

    def _outcome(self, outcome: tuple[str, str, str, int, str | None]) -> str:
        method, route, version, status, error = outcome
        level = "info" if status < 500 else "error"
        facts: dict[str, object] = {"level": level, "kind": "request", "method": method, "route": route}
        return _kept(self._outcomes, outcome, facts | {"version": version, "status": status, "error": error})

    def _client(self, client: tuple[str, str | None, str | None]) -> str:
        remote, subject, agent = client
        shown = MASK if self._hides_agent and agent else agent
        return _kept(self._clients, client, {"remote": remote, "userId": subject, "userAgent": shown})

    def _subject(self, exchange: Exchange) -> str:
        """What has to be looked at each time: a URL with a query or unusual characters, a traceback."""
        facts: dict[str, object] = {"url": self._redaction.url(exchange.target)}
        if exchange.failure is not None:
            facts["traceback"] = traceback_of(exchange, exchange.failure, self._redaction)
        return _inside(facts)

    def entry(self, *, at_s: float, level: str, logger: str, message: str, traceback: str = "") -> bytes:
        fields: dict[str, object] = {
            "time": self._stamp(at_s),
            "level": level,
            "kind": "log",
            "logger": logger,
            "message": message,
        }
        if traceback:
            fields["traceback"] = traceback
        return json_line(fields)


class TextLines:
    """A morgan-like format: `":method :url :status :response-time ms - :user-id"`."""

    def __init__(self, text: str, redaction: Redaction) -> None:
        """Raises ValueError for a format that is none, saying which tokens there are."""
        self._redaction = redaction
        self._stamp = Stamps()
        self._template, self._readers = compile_format(text, redaction, self._stamp)

    def exchange(self, exchange: Exchange) -> bytes:
        line = self._template % tuple([read(exchange) for read in self._readers])
        if exchange.failure is not None:
            line += _following(f"request {exchange.request_id}")
            line += _following(traceback_of(exchange, exchange.failure, self._redaction))
        return f"{line}\n".encode()

    def entry(self, *, at_s: float, level: str, logger: str, message: str, traceback: str = "") -> bytes:
        line = f"{self._stamp(at_s)} {level.upper()} {logger}: {message}"
        return f"{printable(line)}{_following(traceback)}\n".encode()


_MILLISECONDS = tuple(f"{number:03d}Z" for number in range(1000))


class Stamps:
    """Instants as RFC 3339 in UTC with milliseconds; the date is worked out once a second."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = (0, timestamp(0))

    def __call__(self, at_s: float) -> str:
        millisecond = int(at_s * 1000)
        known, text = self._last
        if known != millisecond:
            same_second = known // 1000 == millisecond // 1000
            date = text[:-4] if same_second else timestamp(millisecond // 1000)[:-4]
            text = date + _MILLISECONDS[millisecond % 1000]
            self._last = (millisecond, text)  # in one step: other threads log too
        return text


def traceback_of(exchange: Exchange, failure: BaseException, redaction: Redaction) -> str:
    """What crashed, without the secrets that the request carried."""
    text = "".join(format_exception(failure)).rstrip("\n")
    return redaction.text_of(text, target=exchange.target, headers=exchange.headers)


def _inside(facts: dict[str, object]) -> str:
    """`"name":value,...`: JSON without its braces."""
    return json_line(facts)[1:-2].decode()


def _kept(parts: dict[tuple[object, ...], str], key: tuple[object, ...], facts: dict[str, object]) -> str:
    if len(parts) >= KEPT_COUNT:
        parts.clear()
    part = parts[key] = _inside(facts)
    return part


def _following(text: str) -> str:
    return "".join([FOLLOWING + printable(line) for line in text.split("\n")]) if text else ""

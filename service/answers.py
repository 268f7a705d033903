"""`Answer`: a status, a head rendered once, the body's bytes, and the header lines of this sending.

It stands where aiohttp expects a response, but the pipeline sends it itself: `prepare` and `write_eof` find nothing
left to do. `StreamHead` shows a `StreamResponse` to Finish steps as if it were an Answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, final
from weakref import ref

import orjson
from aiohttp import HttpVersion11

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, StreamResponse

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

BODILESS = frozenset({204, 304})
"""Statuses that never have a body (RFC 9110, sections 15.3.5 and 15.4.5)."""

FRAMING = frozenset({"connection", "content-length", "content-type", "date", "transfer-encoding"})
"""Headers that frame the message: a second line of one would mean two things to two readers (RFC 9112, section 6.3)."""

JOIN_BELOW_BYTES = 65_536
"""Bodies below this leave in one piece with their head; larger ones are not copied (chosen)."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@final
class Answer:
    """What a handler or a step answers with.

    `body` is sent as it is; `content_type` is ignored where there is no body. Raises ValueError for a status that ends
    no request and for a header that could not be sent as one line or that frames the message, TypeError for a body
    that is not bytes.
    """

    __slots__ = (
        "_body",
        "_content_type",
        "_head",
        "_lines",
        "_made",
        "_status",
        "_taker",
        "error_code",
        "failure",
        "keep_alive",
    )

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        *,
        content_type: str = JSON,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._status = status
        self._body = body
        self._content_type = content_type
        self.keep_alive = True
        """False closes the connection after this answer; settled when it is sent."""
        self.error_code: str | None = None
        self.failure: BaseException | None = None
        """The crash behind an INTERNAL_ERROR, for the log."""
        self._taker: ref[BaseRequest] | None = None
        self._made = (0, True)
        if type(body) is not bytes:
            raise TypeError(f"The body of an answer is bytes, not {type(body).__name__}.")
        if status in BODILESS:
            self._head = _status_line(status)
        elif body:
            self._head = b"%b%d\r\n" % (_opening(status, content_type), len(body))
        else:
            self._head = b"%bContent-Length: 0\r\n" % _status_line(status)
        self._lines = [(_field_name(name), _field_value(value)) for name, value in headers]

    @classmethod
    def json(cls, value: object, status: int = 200, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        """An answer with `value` as JSON (whatever orjson serialises; TypeError otherwise)."""
        return cls(status, orjson.dumps(value), headers=headers)

    @property
    def status(self) -> int:
        """Rendered with the head, so it cannot change: a step that wants another returns another answer."""
        return self._status

    @property
    def body(self) -> bytes:
        """As `status`: its length stands in the head."""
        return self._body

    @property
    def content_type(self) -> str:
        """As `status`."""
        return self._content_type

    def add(self, name: str, value: str) -> None:
        """Add a header line to this sending. Raises ValueError where name or value would break the line."""
        self._lines.append((_field_name(name), _field_value(value)))

    def header(self, name: str) -> str | None:
        """The value of the first line called `name` (any case), or None."""
        wanted = name.lower()
        if wanted == "content-type" and self._body:
            return self._content_type
        for known, value in self._lines:
            if known.lower() == wanted:
                return value
        return None

    def take(self, request: BaseRequest) -> Answer:
        """This answer for `request`: itself for the first that takes it, for every other a copy as it was then.

        So a handler may keep an answer: the lines of one sending never show in another.
        """
        if self._taker is None:
            self._taker = ref(request)  # a kept answer does not keep it
            self._made = (len(self._lines), self.keep_alive)
            return self
        if self._taker() is request:
            return self
        copy = Answer.__new__(Answer)
        copy._status, copy._head, copy._body, copy._content_type = (
            self._status,
            self._head,
            self._body,
            self._content_type,
        )
        copy.error_code, copy.failure, copy._taker = self.error_code, None, ref(request)
        line_count, copy.keep_alive = copy._made = self._made
        copy._lines = self._lines[:line_count]
        return copy

    def render(self, request: BaseRequest) -> list[bytes]:
        """The bytes to write for `request`: head and body apart where joining them would copy much."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in self._lines])
        connection = ""
        if not self.keep_alive:
            connection = "Connection: close\r\n"
        elif request.version < HttpVersion11:
            connection = "Connection: keep-alive\r\n"
        head = b"%b%b%b\r\n" % (
            self._head,
            _date_line(int(time.time())),
            (lines + connection).encode("utf-8", "surrogateescape"),
        )
        if self._is_bodiless(request):
            return [head]
        if len(self._body) < JOIN_BELOW_BYTES:
            return [head + self._body]
        return [head, self._body]

    async def send(self, request: BaseRequest) -> int:
        """Write it out and wait while the client reads too slowly; returns the bytes of the body sent.

        Raises ConnectionResetError when the client has gone.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The client has gone.")
        for piece in self.render(request):
            transport.write(piece)
        if request.protocol.writing_paused:
            await request.writer.drain()
        return 0 if self._is_bodiless(request) else len(self._body)

    def _is_bodiless(self, request: BaseRequest) -> bool:
        return request.method == "HEAD" or not self._body or self._status in BODILESS

    async def prepare(self, request: BaseRequest) -> None:
        """Nothing is left to do for aiohttp: the pipeline has sent it."""

    async def write_eof(self) -> None:
        """Nothing is left to do for aiohttp: the pipeline has sent it."""


class Sent:
    """What aiohttp gets in place of a response of its own that is out: it must not prepare a file twice."""

    __slots__ = ("keep_alive",)

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: BaseRequest) -> None:
        """Nothing is left to do for aiohttp."""

    async def write_eof(self) -> None:
        """Nothing is left to do for aiohttp."""


class StreamHead:
    """The head of a `StreamResponse` on its way out, for Finish steps: read its status, add headers."""

    __slots__ = ("_response",)

    def __init__(self, response: StreamResponse) -> None:
        self._response = response

    error_code = None
    failure = None

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def content_type(self) -> str:
        return self._response.content_type

    def add(self, name: str, value: str) -> None:
        self._response.headers.add(_field_name(name), _field_value(value))

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)


@cache
def _status_line(status: int) -> bytes:
    if not 200 <= status <= 599:
        raise ValueError(f"The status of an answer is from 200 to 599, not {status}.")
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


@lru_cache(maxsize=256)
def _opening(status: int, content_type: str) -> bytes:
    """The head of an answer up to the length of its body."""
    media_type = _field_value(content_type).encode("latin-1")
    return b"%bContent-Type: %b\r\nContent-Length: " % (_status_line(status), media_type)


@lru_cache(maxsize=1_024)
def _field_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name.")
    if name.lower() in FRAMING:
        raise ValueError(f"The core writes the header {name} itself; the type of a body is said by content_type=.")
    return name


def _field_value(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    if _CONTROL.search(value):
        raise ValueError(f"A header value cannot hold a control character: {value!r}.")
    value.encode("utf-8", "surrogateescape")  # raises UnicodeEncodeError, a ValueError, for what has no bytes
    return value


_DATE: tuple[int, bytes] = (0, b"")


def _date_line(now_s: int) -> bytes:
    """The Date header (RFC 9110, section 6.6.1), formatted once a second."""
    global _DATE
    if _DATE[0] != now_s:
        _DATE = (now_s, f"Date: {formatdate(now_s, usegmt=True)}\r\n".encode("ascii"))
    return _DATE[1]

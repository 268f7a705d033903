"""The one place that knows aiohttp's protocol: connections of ours, made by a front of ours.

`Front` is what a listening socket calls for each connection; it hands every parsed request to the table and what
cannot be parsed to the plan for malformed requests, so that both get the one error form and an Exchange. It looks at
its connections from time to time and ends what waits for too long; no request has a timer of its own. A contract test
holds this file against each version of aiohttp that setup.cfg admits.

    connected ─ header ─→ head ─ header ─→ body ─ body ─→ answered ─ keep_alive ─→ head ...
     closed                408              408            closed
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import resource
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import TracebackType
from typing import Final, cast
from weakref import WeakSet

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import TimerNoop
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo
from multidict import CIMultiDict, CIMultiDictProxy

from service.errors import (
    HeadersTooLarge,
    InvalidRequest,
    PayloadTooLarge,
    RequestTimeout,
    ServiceError,
    Unavailable,
    UriTooLong,
)
from service.pipeline import CUT_OFF
from service.settings import Limits, Timeouts
from service.table import Table
from service.trip import BODY_AWAITED, DEADLINE, LATE_BODY

log = logging.getLogger("pegboard")

LINGER_S: Final = 2.0
"""How long what is left of a refused request is read, so that the client sees the answer and no reset (chosen)."""

LAST_WORDS_S: Final = 0.2
"""How long a connection is kept at the end: what its client has just sent is still on its way (chosen: a round trip
between continents)."""

AGREE_S: Final = 1.0
"""How long who has connected may take to agree on TLS, at the end (chosen)."""

AGREEING_EVERY_S: Final = 0.02
"""How often they are looked at then (chosen)."""

LOOK_EVERY_S: Final = 1.0
"""How often connections are looked at: how late a deadline may be met, unless it is shorter than ten times that."""

SPARE_FILES: Final = 128
"""Open files that are left to what is not a connection of a client: pools, logs, listening sockets (chosen)."""

SURPLUS: Final = 64
"""Connections beyond the limit that are told so; still more are closed without a word (chosen)."""

SURPLUS_S: Final = 1.0
"""How long one of those may take to say what it wants (chosen)."""

COME_BACK_S: Final = 1
"""When a client that was turned away should try again (chosen)."""

MOST_HEADERS: Final = 128
"""Header lines of a request (aiohttp's own figure)."""

TOO_MANY_HEADERS: Final = "Too many headers received"
"""The parser's complaint about more than these."""

_HEAD_END: Final = b"\r\n\r\n"

_QUOTED: Final = re.compile(r"[: ]*(?:bytearray\()?b['\"].*")
"""Where a parser's message goes on with the bytes that it read."""

MESSAGE_LENGTH: Final = 120
"""What is told of a parser's complaint, in characters (chosen)."""

MALFORMED: Final = ERROR._replace(method="-", path="-", headers=CIMultiDictProxy(CIMultiDict()), raw_headers=())
"""What stands for a request that could not be parsed; aiohttp's own has a dict for headers and calls itself UNKNOWN."""


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = (
        "__weakref__",
        "_begun_at",
        "_body",
        "_body_until",
        "_front",
        "_gone",
        "_head_bytes",
        "_idle_at",
        "_idle_count",
        "_is_open",
        "_is_refused",
        "_loose_bytes",
        "_most_bytes",
        "_serving",
        "_silence_s",
        "_too_large",
    )

    def __init__(self, front: Front, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            front,
            loop=loop,
            keepalive_timeout=math.inf,  # the front looks after that
            max_line_size=front.line_bytes,
            max_field_size=front.field_bytes,
            max_headers=MOST_HEADERS,
            lingering_time=LINGER_S,
            access_log=None,  # type: ignore[arg-type] # the pipeline emits the Exchange
        )
        self._front = front
        self._gone = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._is_open = False
        """A head or a body has begun and has not ended."""
        self._begun_at: float | None = None
        """When the head began that is arriving."""
        self._head_bytes = 0
        """How much of it is there."""
        self._loose_bytes = 0
        """How much came with the end of a request, so that it may hold the beginning of a head."""
        self._most_bytes = front.head_bytes
        self._body: StreamReader | None = None
        """The body that is arriving."""
        self._body_until = math.inf
        self._too_large: StreamReader | None = None
        self._idle_at = 0.0
        """Since when no request is there, as far as was seen."""
        self._idle_count = 0
        """How many requests there were by then."""
        self._silence_s = front.header_s
        """How long nothing may come while there was no request yet."""
        self._is_refused = False
        """What comes will not be looked at: the last answer is due."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._idle_at = self._front.now()
        self._serving = self._task_handler
        if self._serving is not None:
            self._serving.add_done_callback(self._served)
        self._front.admit(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._gone.set()

    def log_exception(self, *args: object, **kwargs: object) -> None:
        """Log what aiohttp met outside of a handler, but for a broken or late body that it read on after the answer."""
        if not isinstance(kwargs.get("exc_info"), web.RequestPayloadError | ServiceError):
            super().log_exception(*args, **kwargs)

    def _served(self, _: asyncio.Task[None]) -> None:
        self._serving = None  # how it ended holds the frame that holds this: a cycle, and the last request in it

    def serve_one_probe(self) -> None:
        """Answer one request, and only for a probe: there are too many connections already."""
        self._request_handler = self._front.serve_probe  # type: ignore[assignment]
        self._request_factory = self._front.make_last
        self._silence_s = min(self._silence_s, SURPLUS_S)

    async def end(self) -> None:
        """Answer the request that has begun or is on its way, if there is one, and close; returns when all of it is
        sent."""
        await asyncio.sleep(LAST_WORDS_S)
        await asyncio.sleep(0)  # where the loop was held up for as long: it reads what has come before this goes on
        if self._head_bytes:
            self._request_factory = self._front.make_last
        else:
            self.close()
        if self._serving is not None:
            await asyncio.wait({self._serving})
        self.force_close()  # which sends what is buffered first
        await self._gone.wait()

    def cut(self) -> asyncio.Task[None] | None:
        """End what is being served, which tells its client, and a head that has begun; what is to be waited for."""
        if self._serving is None or self._serving.done():
            return None
        if self._head_bytes and self._waiter is not None and not self._waiter.done():
            self._refuse(Unavailable(CUT_OFF, headers={"Retry-After": str(COME_BACK_S)}))
        else:
            self._serving.cancel()
        return self._serving

    # --- what arrives

    def data_received(self, data: bytes) -> None:
        known = self._request_count
        RequestHandler.data_received(self, data)  # super() costs a tenth of a microsecond
        if not self._is_open and len(self._messages) < 2 and self._loose_bytes + len(data) <= self._most_bytes:
            if data.endswith(_HEAD_END):
                self._loose_bytes = 0
                return  # one whole head and nothing else, as nearly always; a body is met when its request is made
            if not data or (self._messages and self._messages[-1][1].is_eof()):
                self._loose_bytes += len(data)
                return  # and a whole body; or nothing, which is how aiohttp resumes reading
        if not self._is_refused and not self._upgraded:
            self._follow(data, self._request_count - known)

    def _follow(self, data: bytes, completed: int) -> None:
        """Keep track of heads and bodies that arrive in pieces. `data` has completed so many heads."""
        queued = len(self._messages) - completed
        before = self._messages[queued - 1][1] if queued else self._body
        if before is EMPTY_PAYLOAD:
            before = None
        if before is not None:
            self._bound(before)
            if completed and not before.is_eof() and isinstance(fault := self._messages[-1][0], _ErrInfo):
                before.set_exception(web.RequestPayloadError(fault.message))  # it is broken, and aiohttp keeps quiet
        if completed and self._head_bytes + self._loose_bytes + len(data) > self._most_bytes:
            self._measure(completed)
        last = self._messages[-1][1] if self._messages else before
        if last is not None and not last.is_eof():
            self.meet(last)
        elif completed or before is not None:
            self._rest(loose_bytes=len(data))
        elif self._head_bytes or data.lstrip(b"\r\n"):
            if not self._head_bytes:
                self._begun_at, self._is_open = self._front.now(), True
            self._head_bytes += len(data)
            if self._head_bytes > self._most_bytes:
                self._refuse(self._front.head_too_large())

    def _rest(self, *, loose_bytes: int = 0) -> None:
        """Wait for another head, which may have begun with some of the last bytes."""
        self._body, self._begun_at, self._is_open = None, None, False
        self._head_bytes, self._loose_bytes = 0, loose_bytes

    def meet(self, body: StreamReader) -> None:
        """Look after the body of a request, unless it is looked after."""
        if body is self._body:
            return
        self._bound(body)
        if not body.is_eof():
            self._rest()
            self._body, self._body_until, self._is_open = body, self._front.now() + self._front.body_s, True
            body._timer = Wait(self)

    def _bound(self, body: StreamReader) -> None:
        """Let whoever reads a body that is too large know, once: what is left may be read for nobody afterwards."""
        if body.total_bytes > self._front.body_bytes and body is not self._too_large and body.exception() is None:
            self._too_large = body
            body.set_exception(PayloadTooLarge.over(self._front.body_bytes))

    def _measure(self, completed: int) -> None:
        """Refuse the first of the newest heads that is too large, and drop what followed on it."""
        for place in range(len(self._messages) - completed, len(self._messages)):
            message, _ = self._messages[place]
            if not isinstance(message, _ErrInfo) and _size(message) > self._most_bytes:
                while len(self._messages) > place:
                    self._messages.pop()
                self._refuse(self._front.head_too_large())
                return

    def _refuse(self, fault: ServiceError) -> None:
        """Answer what is arriving with `fault`, once what came before it is answered."""
        self._is_refused = True
        self._messages.append((_ErrInfo(fault.status, fault, fault.message), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what does not arrive

    def look(self, now_s: float) -> None:
        """End what has been waited for too long."""
        if self._waiter is None or self._waiter.done():
            body = self._body
            if body is not None and now_s >= self._body_until and not body.is_eof() and body.exception() is None:
                body.set_exception(RequestTimeout(LATE_BODY))
            return
        if self._begun_at is None:
            if self._loose_bytes:
                self._begun_at, self._is_open = now_s, True
        elif now_s >= self._begun_at + self._front.header_s:
            if self._head_bytes or self._has_begun():
                self._refuse(RequestTimeout("The head of the request did not arrive in time."))
                return
            self._rest()
        if self._idle_count != self._request_count:
            self._idle_count, self._idle_at = self._request_count, now_s
        elif not self._head_bytes and now_s >= self._idle_at + (
            self._front.keep_alive_s if self._request_count else self._silence_s
        ):
            self.force_close()

    def _has_begun(self) -> bool:
        """True if the parser holds the beginning of a head, and is of no use any more."""
        try:
            return self._parser is not None and self._parser.feed_eof() is not None
        except Exception:
            return True

    def _make_error_handler(self, err_info: _ErrInfo) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        """What answers a request that was given up on; the connection ends with it."""
        fault = self._front.fault(err_info)

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            outcome = await self._front.table.refuse(cast(web.Request, request), fault)
            if isinstance(fault, UriTooLong | HeadersTooLarge):
                await self._see_off()
            return cast(web.StreamResponse, outcome)  # an Answer quacks like one

        return answer

    async def _see_off(self) -> None:
        """Throw away for a while what a client still sends that has its answer: a reset would take that from it."""
        self.close()
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        try:
            async with asyncio.timeout(LINGER_S):
                await self._gone.wait()
        except TimeoutError:
            pass


class Wait(TimerNoop):
    """What aiohttp enters around each wait for a piece of a body."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Note that the handler's deadline came, and raise what the piece that came has led to: aiohttp would give out
        the piece, and look only before the next one."""
        request = self._connection._current_request
        if request is None:
            return
        if kind is asyncio.CancelledError:
            deadline = request.get(DEADLINE)
            if deadline is not None and deadline.expired():
                request[BODY_AWAITED] = True
        elif kind is None and (failure := request.content.exception()) is not None:
            raise failure


class Front(web.Server):
    """Makes the connections of one application on one address, and looks after them."""

    def __init__(
        self, table: Table, *, timeouts: Timeouts, limits: Limits, now: Callable[[], float] | None = None
    ) -> None:
        """`now` gives seconds that never go back; the running loop's own unless said."""
        super().__init__(table.serve, request_factory=self._make, handler_cancellation=True)  # type: ignore[arg-type]
        self.table = table
        self._running_loop = asyncio.get_running_loop()
        self.now = now or self._running_loop.time
        self.header_s = timeouts.header.seconds
        self.body_s = timeouts.body.seconds
        self.keep_alive_s = timeouts.keep_alive.seconds
        self.line_bytes = limits.line.bytes
        self.field_bytes = max(limits.line.bytes - len(": "), 0)  # which the parser does not count
        self.head_bytes = limits.headers.bytes
        self.body_bytes = limits.body.bytes
        self._most = _affordable(limits.connections)
        self._agreeing: WeakSet[Connection] = WeakSet()
        self._is_crowded = False
        self._look_every_s = min(LOOK_EVERY_S, min(self.header_s, self.body_s, self.keep_alive_s) / 10)
        self._next_look: asyncio.TimerHandle | None = None

    def __call__(self) -> Connection:
        return Connection(self, self._running_loop)

    def agree(self) -> Connection:
        """A connection that is made once its client has agreed on TLS; of one that does not nothing is heard."""
        connection = self()
        self._agreeing.add(connection)
        return connection

    # --- how many

    def admit(self, connection: Connection) -> None:
        """Take in a connection that was just made, as far as there is room."""
        self._agreeing.discard(connection)
        if self._next_look is None:
            self._look_later()
        surplus = len(self._connections) - self._most
        if surplus <= 0:
            return
        if not self._is_crowded:
            self._is_crowded = True
            log.warning(
                "%d connections are open and no more are taken in: new ones get 503. Where clients need more, raise "
                "connections under [service.limits], and `ulimit -n` to %d above it.",
                self._most,
                SPARE_FILES,
            )
        if surplus <= SURPLUS:
            connection.serve_one_probe()
        else:
            connection.force_close()

    async def serve_probe(self, request: web.Request) -> web.StreamResponse:
        """Answer on a connection that is one too many."""
        full = Unavailable(
            "This service has as many connections as it takes.", headers={"Retry-After": str(COME_BACK_S)}
        )
        return cast(web.StreamResponse, await self.table.serve_probe(request, full))

    # --- how long

    def look(self) -> None:
        """End what connections have waited for too long."""
        connections, now_s = self._made(), self.now()
        for connection in connections:
            connection.look(now_s)
        if len(connections) < self._most:
            self._is_crowded = False

    def _look_later(self) -> None:
        self._next_look = self._running_loop.call_later(self._look_every_s, self._look_and_again)

    def _look_and_again(self) -> None:
        self._next_look = None
        if self._connections:
            self._look_later()
        self.look()

    async def finish(self) -> None:
        """Answer what has begun and close every connection; returns when the last one is closed."""
        agreed_by_s = self._running_loop.time() + AGREE_S
        while self._connections or (self._agreeing and self._running_loop.time() < agreed_by_s):
            await asyncio.gather(*[connection.end() for connection in self._made()])
            if self._agreeing:
                await asyncio.sleep(AGREEING_EVERY_S)

    async def cut(self, *, within_s: float) -> None:
        """Cancel every handler, which tells its client, and close. Those that ignore it are left behind."""
        serving = {task for connection in self._made() if (task := connection.cut()) is not None}
        if serving:
            _, stubborn = await asyncio.wait(serving, timeout=within_s)
            if stubborn:
                log.error("Requests that ignore their cancellation are left behind: %d.", len(stubborn))
        for connection in self._made():
            connection.force_close()

    def _made(self) -> list[Connection]:
        return cast("list[Connection]", self.connections)

    # --- what for

    def _make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.Request:
        if message is ERROR:
            message = MALFORMED
        if payload is not EMPTY_PAYLOAD:
            protocol.meet(payload)  # type: ignore[attr-defined] # a Connection
        return web.Request(
            message, payload, protocol, writer, task, self._running_loop, client_max_size=self.body_bytes
        )

    def make_last(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.Request:
        """A request that is the last one of its connection."""
        if message is not ERROR:
            message = message._replace(should_close=True)
        return self._make(message, payload, protocol, writer, task)

    def fault(self, err_info: _ErrInfo) -> ServiceError:
        """What is told of a request that was given up on."""
        error = err_info.exc
        if isinstance(error, ServiceError):
            return error
        if isinstance(error, LineTooLong):
            if error.args[1] == self.line_bytes:
                return UriTooLong(
                    f"The request target is longer than the {self.line_bytes:,} bytes that this service takes."
                )
            return HeadersTooLarge(
                f"A header of the request is longer than the {self.line_bytes:,} bytes that this service takes."
            )
        if err_info.message == TOO_MANY_HEADERS:
            return HeadersTooLarge(f"The request has more headers than the {MOST_HEADERS} that this service takes.")
        return InvalidRequest(f"This is not a valid HTTP request: {_plainly(err_info.message)}.")

    def head_too_large(self) -> ServiceError:
        return HeadersTooLarge(
            f"The head of the request is larger than the {self.head_bytes:,} bytes that this service takes."
        )


def _affordable(connections: int) -> int:
    """`connections`, or as many as this process may have files open for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if files == resource.RLIM_INFINITY else max(1, min(connections, files - SPARE_FILES))


def _size(message: RawRequestMessage) -> int:
    """The bytes of a head, as they are sent without needless spaces."""
    lines = sum([len(name) + len(value) + len(": \r\n") for name, value in message.raw_headers])
    return len(f"{message.method} {message.path} HTTP/1.1\r\n\r\n") + lines


def _plainly(message: str) -> str:
    """The parser's complaint without what the client sent: its first line, printable, short."""
    first = _QUOTED.sub("", message.strip().split("\n", 1)[0]).rstrip(":. ")
    return "".join(char for char in first if char.isprintable())[:MESSAGE_LENGTH] or HTTPStatus.BAD_REQUEST.phrase

"""Folds a route's steps and its handler into one `Plan`, once, at start; a plan serves requests.

Whatever is raised inside becomes the one error form at the plan's edge (see `shield.py`); the way through the steps
is in `trip.py`.

    serve ─ receive ─ trip: checks → handler → finishes ─ send ─ releases ─ Exchange
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from os import urandom
from typing import Final, TypeAlias
from weakref import ref

from aiohttp import HttpVersion11
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.web import Request, RequestKey, StreamResponse

from service.answers import BODILESS, Answer, Sent, StreamHead
from service.errors import ExpectationFailed, PayloadTooLarge, Unavailable
from service.events import CLIENT_CLOSED_REQUEST, Exchange
from service.keys import CLIENT, PRINCIPAL, REQUEST_ID, VERSION, Client
from service.parts import Check, CheckFn, Finish, FinishFn, MountedRoute, Release, ReleaseFn, Step, Wrap
from service.ports import ANONYMOUS
from service.run import Clock
from service.shield import Shield
from service.slots import Slot
from service.trip import DEADLINE, Outcome, Segment, around, resume

log = logging.getLogger("pegboard")

Observer: TypeAlias = Callable[[Exchange], None]

SWITCHING_PROTOCOLS: Final = 101

CUT_OFF: Final = "The service is ending and could not wait for this request any longer."

REQUEST_ID_HEADER: Final = "X-Request-Id"
_WELL_FORMED_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,128}")
_OWN_ID: Final = f"req_{urandom(6).hex()}"
_SERIAL: Final = count(1)

_ENTERED: RequestKey[int] = RequestKey("entered", int)
"""The innermost slot with a Release that this request has entered."""


class Begun:
    """A response of aiohttp's own whose head is out, and the bytes of its body so far."""

    __slots__ = ("_response", "sent", "status")

    def __init__(self, response: StreamResponse) -> None:
        self._response = ref(response)  # which holds the request, which holds this
        self.status = response.status
        self.sent = 0

    def count(self, body_bytes: int, _: int) -> None:
        self.sent += body_bytes

    def is_of(self, response: StreamResponse) -> bool:
        return self._response() is response


_BEGUN: RequestKey[Begun] = RequestKey("begun", Begun)


class Plan:
    """One route, folded. `serve` is what aiohttp calls."""

    __slots__ = (
        "_body_limit",
        "_clock",
        "_closing",
        "_finishes",
        "_handler_s",
        "_observers",
        "_releases",
        "_segment",
        "_shield",
        "_template",
        "name",
        "route",
        "steps",
        "version",
    )

    def __init__(
        self,
        route: MountedRoute,
        steps: Sequence[Step],
        *,
        observers: tuple[Observer, ...],
        clock: Clock,
        handler_s: float,
        body_limit: int,
        closing: Callable[[], bool],
    ) -> None:
        """`steps` in the order of plugins; `closing()` is true once connections should end."""
        self.route = route
        self.name = route.name
        self.version = route.version
        self.steps = tuple(sorted(steps, key=lambda step: step.slot))
        self._template = route.path
        self._clock = clock
        self._handler_s = handler_s
        self._body_limit = body_limit
        self._closing = closing
        self._shield = Shield(clock)
        self._observers = observers
        self._releases = tuple((step.slot, step.fn) for step in reversed(self.steps) if isinstance(step, Release))
        self._finishes = tuple(step.fn for step in reversed(self.steps) if isinstance(step, Finish))
        self._segment = self._fold(self.steps)

    def _fold(self, steps: Sequence[Step]) -> Segment:
        """The segment of these steps; what stands inside the first Wrap becomes its handler."""
        checks: list[tuple[int, CheckFn]] = [(Slot.RECEIVE, self._check_size)] if steps is self.steps else []
        finishes: list[tuple[int, FinishFn]] = []
        handler = self.route.handler
        for place, step in enumerate(steps):
            match step:
                case Check():
                    checks.append((step.slot, step.fn))
                case Finish():
                    finishes.append((step.slot, step.fn))
                case Release():
                    checks.append((step.slot, _enter(step.slot)))
                case Wrap():
                    handler = around(step, self._fold(steps[place + 1 :]))
                    break
        if not any(isinstance(step, Wrap) for step in steps):
            checks.append((Slot.RECALL, self._invite_body))
        checks.sort(key=lambda check: (check[0], not isinstance(check[1], _enter)))  # a slot is entered, then run
        begin = self._begin if steps is self.steps else None
        return Segment(checks, handler, finishes, refuse=self._shield.refuse, begin=begin)

    async def serve(self, request: Request) -> Answer | Sent:
        """Answer `request`: run the steps, send what they gave, release, tell the observers. Never raises but
        CancelledError, when the client has left or the service ends."""
        clock = self._clock
        began_at = clock.now()
        began = clock.monotonic()
        request_id, client = self._receive(request)
        status, sent = CLIENT_CLOSED_REQUEST, 0
        answer: Outcome | None = None
        try:
            trip = self._segment.trip(request)
            try:
                awaited = next(trip)
            except StopIteration as end:
                answer = end.value
            else:
                cut_at = asyncio.get_running_loop().time() + self._handler_s
                answer = await resume(request, trip, awaited, cut_at)
            if type(answer) is Answer:
                try:
                    status, sent = await self._send(request, answer, request_id)
                except Exception as error:  # a step has put into it what cannot be sent
                    answer = self._shield.refuse(request, error)
                    status, sent = await self._send(request, answer, request_id)
            else:
                status, sent = await self._end_stream(request, answer)
                return Sent(keep_alive=bool(answer.keep_alive))
            return answer
        except asyncio.CancelledError:
            if self._closing():
                answer, status, sent = self._cut_off(request, request_id)
            raise
        finally:
            for slot, release in self._releases:
                if slot <= request.get(_ENTERED, 0):
                    self._let_go(release, request)
            if self._observers:
                duration_s = clock.monotonic() - began
                self._tell(request, answer, status, sent, began_at, duration_s, request_id, client)

    def _receive(self, request: Request) -> tuple[str, Client]:
        """The core's own RECEIVE: id, client, version. Returns the first two, which nobody changes."""
        headers = request.headers
        caller_id = headers.get(REQUEST_ID_HEADER)
        if caller_id is None or not _WELL_FORMED_ID.fullmatch(caller_id):
            caller_id = f"{_OWN_ID}{next(_SERIAL):08x}"
        request[REQUEST_ID] = caller_id
        client = request[CLIENT] = Client(request.remote or "", request.scheme, headers.get("Host", ""))
        request[VERSION] = self.version
        request[PRINCIPAL] = ANONYMOUS
        return caller_id, client

    @staticmethod
    def _invite_body(request: Request) -> Awaitable[None] | None:
        """Send `100 Continue` to a client that waits for it, once only the handler is left (RFC 9110, 10.1.1)."""
        if request.body_exists and "Expect" in request.headers:
            return _continue(request)
        return None

    def _check_size(self, request: Request) -> None:
        """Refuse a body that says it is too large; `request.read()` cuts off one that does not say so."""
        if request.body_exists and (request.content_length or 0) > self._body_limit:
            raise PayloadTooLarge(f"The body is larger than the {self._body_limit:,} bytes that this service takes.")

    async def _send(self, request: Request, answer: Answer, request_id: str) -> tuple[int, int]:
        """Send an answer; its status and the bytes of its body."""
        if request.writer.output_size:
            return _break_off(request)
        answer.add(REQUEST_ID_HEADER, request_id)
        answer.keep_alive = (
            answer.keep_alive
            and request.keep_alive
            and not self._closing()
            and (request.content.is_eof() or not _refuses_body(request, answer))
        )
        try:
            return answer.status, await answer.send(request)
        except ConnectionError:
            return CLIENT_CLOSED_REQUEST, 0

    async def _begin(self, request: Request, response: StreamResponse) -> None:
        """Send the head of a response of aiohttp's own, unless its handler has."""
        if _BEGUN not in request:
            await response.prepare(request)
        begun = request.get(_BEGUN)
        if begun is None or not begun.is_of(response):
            raise RuntimeError("The handler returned a response that is not this request's: make one for each request.")

    async def _end_stream(self, request: Request, response: StreamResponse) -> tuple[int, int]:
        """Send the rest of a response that has begun; its status and the bytes of its body."""
        begun = request[_BEGUN]
        try:
            await response.write_eof()
        except ConnectionError:
            return CLIENT_CLOSED_REQUEST, begun.sent
        except Exception:
            log.exception("The end of a stream failed on route %s.", self.name)
            return _break_off(request)
        if not begun.sent and request.method != "HEAD":
            return response.status, response.content_length or 0  # a file leaves past the counter
        return response.status, begun.sent

    async def finish_stream(self, request: Request, response: StreamResponse) -> None:
        """Run the Finishes on a stream that is about to begin, and lift the handler's deadline."""
        head = StreamHead(response)
        for finish in self._finishes:
            pending = finish(request, head)  # type: ignore[arg-type]
            if pending is not None and not isinstance(pending, Answer):
                await pending
        head.add(REQUEST_ID_HEADER, request[REQUEST_ID])
        _correct(request, response, closing=self._closing())
        begun = request[_BEGUN] = Begun(response)
        request.writer.on_body_write = begun.count
        deadline = request.get(DEADLINE)
        if deadline is not None and not deadline.expired():
            deadline.reschedule(None)

    def _cut_off(self, request: Request, request_id: str) -> tuple[Answer | None, int, int]:
        """Tell a client that still waits that its request was cancelled, because the service could not wait for it any
        longer; what was sent: an answer, its status and the bytes of its body."""
        transport = request.transport
        if transport is None or transport.is_closing():
            return None, CLIENT_CLOSED_REQUEST, 0
        if (begun := request.get(_BEGUN)) is not None:
            return None, begun.status, begun.sent
        answer = self._shield.refuse(request, Unavailable(CUT_OFF, headers={"Retry-After": "1"}))
        answer.add(REQUEST_ID_HEADER, request_id)
        answer.keep_alive = False
        for piece in answer.render(request):
            transport.write(piece)
        return answer, answer.status, len(answer.body)

    def _let_go(self, release: ReleaseFn, request: Request) -> None:
        try:
            release(request)
        except Exception:
            log.exception("A Release step of route %s failed.", self.name)

    def _tell(
        self,
        request: Request,
        answer: Outcome | None,
        status: int,
        sent: int,
        began_at: float,
        duration_s: float,
        request_id: str,
        client: Client,
    ) -> None:
        """Hand the one Exchange of this request to every observer."""
        error_code, failure = (answer.error_code, answer.failure) if type(answer) is Answer else (None, None)
        if status == CLIENT_CLOSED_REQUEST:
            sent = request[_BEGUN].sent if _BEGUN in request else 0
            if isinstance(failure, ConnectionError):
                error_code = failure = None  # the connection that broke under its handler is the client's
        exchange = tuple.__new__(  # as a named tuple makes itself, without a second call
            Exchange,
            (
                request_id,
                request.method,
                request.raw_path,
                self.name,
                self._template,
                request[VERSION],
                status,
                began_at,
                duration_s,
                sent,
                client.address,
                request[PRINCIPAL].subject,
                request.headers,
                error_code,
                failure,
            ),
        )
        for observe in self._observers:
            try:
                observe(exchange)
            except Exception:
                log.exception("An observer failed on route %s.", self.name)
        if failure is not None and type(answer) is Answer:
            answer.failure = None  # its traceback holds the answer: a cycle


class _enter:  # noqa: N801 (a step: the verb of what it does)
    """Marks that a slot with a Release was entered; stands before that slot's checks."""

    __slots__ = ("_slot",)

    def __init__(self, slot: int) -> None:
        self._slot = slot

    def __call__(self, request: Request) -> None:
        request[_ENTERED] = self._slot


async def _continue(request: Request) -> None:
    if request.headers["Expect"].lower() != "100-continue":
        raise ExpectationFailed("The only expectation that this service meets is 100-continue.")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _refuses_body(request: Request, answer: Answer) -> bool:
    """True if the rest of the body would be read for nothing, or may never come because nobody invited it."""
    return answer.status >= 400 or "Expect" in request.headers


def _break_off(request: Request) -> tuple[int, int]:
    """End the connection, because a stream has begun and cannot be completed: the client must see it end early."""
    begun = request.get(_BEGUN)
    if begun is None or (transport := request.transport) is None or transport.is_closing():
        request.protocol.force_close()
        return CLIENT_CLOSED_REQUEST, 0
    request.protocol.force_close()
    return begun.status, begun.sent


def _correct(request: Request, response: StreamResponse, *, closing: bool) -> None:
    """Correct what aiohttp has just written into the head of a stream."""
    headers, writer = response.headers, request.writer
    if headers.get("Server") == SERVER_SOFTWARE:
        del headers["Server"]
    if request.method == "HEAD":
        writer.length = 0  # aiohttp would send what a handler writes
    endless = writer.length is None and "Transfer-Encoding" not in headers and response.status not in BODILESS
    if (closing or endless) and response.status != SWITCHING_PROTOCOLS:
        response.force_close()
        headers["Connection"] = "close"

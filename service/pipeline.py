"""Folds a route's steps and its handler into one `Plan`, once, at start; a plan serves requests.

A plan is one plain generator per request that yields only what has to be waited for, so that a request whose steps
and handler answer at once costs no coroutine of its own. It looks at what came back, never at how a function was
defined. Whatever is raised inside becomes the one error form at its edge (see `shield.py`).

    serve ─ receive ─ trip: checks → handler → finishes ─ send ─ releases ─ Exchange
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from itertools import count
from os import urandom
from typing import Any, Final, TypeAlias

from aiohttp import HttpVersion11
from aiohttp.web import Request, RequestKey, StreamResponse

from service.answers import Answer, StreamHead
from service.errors import ExpectationFailed, PayloadTooLarge, Timeout
from service.events import CLIENT_CLOSED_REQUEST, Exchange
from service.keys import CLIENT, PRINCIPAL, REQUEST_ID, VERSION, Client
from service.parts import Check, CheckFn, Finish, FinishFn, Handler, MountedRoute, Release, ReleaseFn, Step, Wrap
from service.ports import ANONYMOUS
from service.run import Clock
from service.shield import Shield
from service.slots import Slot

log = logging.getLogger("pegboard")

Outcome: TypeAlias = Answer | StreamResponse
Trip: TypeAlias = Generator[Awaitable[object], object, Outcome]
Observer: TypeAlias = Callable[[Exchange], None]

HANDLER: Final = Slot.RECALL + 1
"""Level of the handler: inside every slot."""

FINISH_GRACE_S: Final = 5.0
"""What the Finishes of a request get after its handler ran into the deadline (chosen)."""

REQUEST_ID_HEADER: Final = "X-Request-Id"
_WELL_FORMED_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,128}")
_OWN_ID: Final = f"req_{urandom(6).hex()}"
_SERIAL: Final = count(1)

_ENTERED: RequestKey[int] = RequestKey("entered", int)
"""The innermost slot with a Release that this request has entered."""

_DEADLINE: RequestKey[asyncio.Timeout] = RequestKey("deadline", asyncio.Timeout)
"""The running deadline of the handler; lifted once a stream has begun."""


class Segment:
    """Checks, a handler and Finishes with no Wrap among them. A Wrap makes the segment inside it a handler."""

    __slots__ = ("_checks", "_finishes", "_handler", "_refuse")

    def __init__(
        self,
        checks: Iterable[tuple[int, CheckFn]],
        handler: Handler,
        finishes: Sequence[tuple[int, FinishFn]],
        refuse: Callable[[Request, Exception], Answer],
    ) -> None:
        self._checks = tuple(checks)
        self._handler = handler
        self._refuse = refuse
        outward = [(slot, fn) for slot, fn in reversed(finishes)]
        self._finishes = tuple(tuple(fn for slot, fn in outward if slot <= level) for level in range(HANDLER + 1))

    def trip(self, request: Request) -> Trip:
        """One request from the first check to the last finish. Yields what has to be waited for."""
        level: int = 0
        result: Any  # what a step gave: an answer, nothing, or something to wait for
        try:
            for level, check in self._checks:  # noqa: B007 (where the answer arose)
                result = check(request)
                if result is not None:
                    if type(result) is not Answer:
                        result = yield result
                    if result is not None:
                        break
            else:
                level = HANDLER
                result = self._handler(request)
                if type(result) is not Answer and not isinstance(result, StreamResponse):
                    result = yield result
            if not isinstance(result, Answer | StreamResponse):
                raise TypeError(f"A handler answers with an Answer or a StreamResponse, not {type(result).__name__}.")
            if not isinstance(result, Answer):
                return result  # a stream: its finishes run when it is prepared
            answer = result
        except Exception as error:
            answer = self._refuse(request, error)
        for finish in self._finishes[level]:
            try:
                result = finish(request, answer)
                if result is not None:
                    if type(result) is not Answer:
                        result = yield result
                    if result is not None:
                        answer = result
            except Exception as error:
                answer = self._refuse(request, error)
        return answer

    async def run(self, request: Request) -> Outcome:
        """The trip from inside a coroutine, for a Wrap's `proceed`."""
        trip = self.trip(request)
        try:
            awaited = next(trip)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        return await resume(trip, awaited)


async def resume(trip: Trip, awaited: Awaitable[object]) -> Outcome:
    """Wait for what the trip yields until it ends. Runs in the task that serves the request."""
    while True:
        try:
            value = await awaited
        except BaseException as error:  # CancelledError too: the trip decides what it means
            step: Callable[[object], Awaitable[object]] = trip.throw  # type: ignore[assignment]
            value = error
        else:
            step = trip.send
        try:
            awaited = step(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class Plan:
    """One route, folded. `serve` is what aiohttp calls."""

    __slots__ = (
        "_body_limit",
        "_clock",
        "_closing",
        "_finishes",
        "_handler_s",
        "_observers",
        "_parsed",
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
        parsed: bool = True,
    ) -> None:
        """`steps` in the order of plugins; `closing()` is true once connections should end; `parsed` is false for
        the plan of requests that could not be parsed."""
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
        self._parsed = parsed
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
                    handler = _around(step, self._fold(steps[place + 1 :]))
                    break
        if not any(isinstance(step, Wrap) for step in steps):
            checks.append((Slot.RECALL, self._invite_body))
        checks.sort(key=lambda check: (check[0], not isinstance(check[1], _enter)))  # a slot is entered, then run
        return Segment(checks, handler, finishes, self._shield.refuse)

    async def serve(self, request: Request) -> Outcome:
        """Answer `request`: run the steps, send what they gave, release, tell the observers. Never raises but
        CancelledError, when the client has left or the service ends."""
        clock = self._clock
        began_at = clock.now()
        began = clock.monotonic()
        self._receive(request)
        status, sent = CLIENT_CLOSED_REQUEST, 0
        answer: Outcome | None = None
        try:
            trip = self._segment.trip(request)
            try:
                awaited = next(trip)
            except StopIteration as end:
                answer = end.value
            else:
                answer = await self._resume(request, trip, awaited)
            try:
                if isinstance(answer, Answer):
                    sent = await self._send(request, answer)
                else:
                    answer, sent = await self._stream(request, answer)
                status = answer.status
            except ConnectionError:
                pass  # the client left while it was answered
            return answer
        finally:
            for slot, release in self._releases:
                if slot <= request.get(_ENTERED, 0):
                    self._let_go(release, request)
            if self._observers:
                self._tell(request, answer, status, sent, began_at, clock.monotonic() - began)

    def _receive(self, request: Request) -> None:
        """The core's own RECEIVE: id, client, version."""
        headers = request.headers
        caller_id = headers.get(REQUEST_ID_HEADER)
        if caller_id is None or not _WELL_FORMED_ID.fullmatch(caller_id):
            caller_id = f"{_OWN_ID}{next(_SERIAL):08x}"
        request[REQUEST_ID] = caller_id
        request[CLIENT] = Client(request.remote or "", request.scheme, headers.get("Host", ""))
        request[VERSION] = self.version
        request[PRINCIPAL] = ANONYMOUS

    @staticmethod
    def _invite_body(request: Request) -> Awaitable[None] | None:
        """Send `100 Continue` to a client that waits for it, once only the handler is left (RFC 9110, 10.1.1)."""
        if request.body_exists and "Expect" in request.headers:
            return _continue(request)
        return None

    def _check_size(self, request: Request) -> None:
        """Refuse a body that says it is too large; one that does not say so is cut off while it is read."""
        if request.body_exists and (request.content_length or 0) > self._body_limit:
            raise PayloadTooLarge(f"The body is larger than the {self._body_limit:,} bytes that this service takes.")

    async def _resume(self, request: Request, trip: Trip, awaited: Awaitable[object]) -> Outcome:
        """`resume` under the handler's deadline: when that passes, the trip is told so and still finishes."""
        deadline_s = self._handler_s
        while True:
            failure: BaseException | None = None
            value: object = None
            try:
                async with asyncio.timeout(deadline_s) as deadline:
                    request[_DEADLINE] = deadline
                    value = await awaited
            except TimeoutError as error:
                failure = error
                if deadline.expired():
                    deadline_s = FINISH_GRACE_S
                    failure = Timeout("The request took longer than it may.")
            except BaseException as error:
                failure = error
            try:
                awaited = trip.send(value) if failure is None else trip.throw(failure)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    async def _send(self, request: Request, answer: Answer) -> int:
        if request.writer.output_size:
            # Part of a stream is out, so no other answer can follow it: the client must see it end early.
            request.protocol.force_close()
            raise ConnectionResetError("A stream broke off.")
        answer.add(REQUEST_ID_HEADER, request[REQUEST_ID])
        answer.keep_alive = (
            answer.keep_alive
            and request.keep_alive
            and not self._closing()
            and not (answer.status >= 400 and request.can_read_body)  # an unread body would be read for nothing
        )
        return await answer.send(request)

    async def _stream(self, request: Request, response: StreamResponse) -> tuple[Outcome, int]:
        """Send a response of aiohttp's own, begun by its handler or not."""
        if not response.prepared:
            try:
                await response.prepare(request)
            except ConnectionError:
                raise
            except Exception as error:
                answer = self._shield.refuse(request, error)
                return answer, await self._send(request, answer)
        await response.write_eof()
        return response, response.body_length

    async def finish_stream(self, request: Request, response: StreamResponse) -> None:
        """Run the Finishes on a stream that is about to begin, and lift the handler's deadline."""
        head = StreamHead(response)
        for finish in self._finishes:
            pending = finish(request, head)  # type: ignore[arg-type]
            if pending is not None and not isinstance(pending, Answer):
                await pending
        head.add(REQUEST_ID_HEADER, request[REQUEST_ID])
        response.headers.setdefault("Server", "pegboard")
        if self._closing():
            response.force_close()
        deadline = request.get(_DEADLINE)
        if deadline is not None and not deadline.expired():
            deadline.reschedule(None)

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
    ) -> None:
        """Hand the one Exchange of this request to every observer."""
        error_code, failure = (answer.error_code, answer.failure) if type(answer) is Answer else (None, None)
        exchange = Exchange(
            request[REQUEST_ID],
            request.method,
            request.raw_path if self._parsed else "-",
            self.name,
            self._template,
            request[VERSION],
            status,
            began_at,
            duration_s,
            sent,
            request[CLIENT].address,
            request[PRINCIPAL].subject,
            request.headers,
            error_code,
            failure,
        )
        for observe in self._observers:
            try:
                observe(exchange)
            except Exception:
                log.exception("An observer failed on route %s.", self.name)


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


def _around(wrap: Wrap, inner: Segment) -> Handler:
    async def proceeding(request: Request) -> Outcome:
        return await wrap.fn(request, lambda: inner.run(request))

    return proceeding

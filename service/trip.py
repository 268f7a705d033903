"""The way of one request through the steps: `Segment.trip`, a plain generator, and `resume`, which waits for it.

A trip yields only what has to be waited for, so that a request whose steps and handler answer at once costs no
coroutine of its own. It looks at what came back, never at how a function was defined.

    checks, inward → handler → finishes, outward from the slot where the answer arose
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import Any, Final, TypeAlias

from aiohttp.web import HTTPException, Request, RequestKey, StreamResponse

from service.answers import Answer
from service.errors import RequestTimeout, Timeout
from service.parts import CheckFn, FinishFn, Handler, Wrap
from service.slots import Slot

Outcome: TypeAlias = Answer | StreamResponse
Trip: TypeAlias = Generator[Awaitable[object], object, Outcome]
Begin: TypeAlias = Callable[[Request, StreamResponse], Awaitable[None]]

CRASHES: Final = (Exception, SystemExit)
"""What a step or handler may fail with and the service goes on: sys.exit() in one is its fault, not an end."""

HANDLER: Final = Slot.RECALL + 1
"""Level of the handler: inside every slot."""

FINISH_GRACE_S: Final = 5.0
"""What the Finishes of a request get after its handler ran into the deadline (chosen)."""

DEADLINE: RequestKey[asyncio.Timeout] = RequestKey("deadline", asyncio.Timeout)
"""The running deadline of what is waited for; lifted (rescheduled to None) once a stream has begun."""

LATE_BODY: Final = "The body of the request did not arrive in time."

BODY_AWAITED: RequestKey[bool] = RequestKey("body_awaited", bool)
"""Set where the deadline came while a piece of the body was waited for: then it was the client that was too slow."""


class Segment:
    """Checks, a handler and Finishes with no Wrap among them. A Wrap makes the segment inside it a handler."""

    __slots__ = ("_begin", "_checks", "_finishes", "_handler", "_refuse")

    def __init__(
        self,
        checks: Iterable[tuple[int, CheckFn]],
        handler: Handler,
        finishes: Sequence[tuple[int, FinishFn]],
        *,
        refuse: Callable[[Request, Exception | SystemExit], Answer],
        begin: Begin | None,
    ) -> None:
        """`refuse` makes an error an answer and never raises. `begin` sends the head of a stream; None in a segment
        inside a Wrap, which may still add to it."""
        self._checks = tuple(checks)
        self._handler = handler
        self._refuse = refuse
        self._begin = begin
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
                        result = yield _waited_for(result)
                    if result is not None:
                        break
            else:
                level = HANDLER
                result = self._handler(request)
                if type(result) is not Answer and not isinstance(result, StreamResponse):
                    result = yield _waited_for(result)
            if type(result) is not Answer:
                if isinstance(result, HTTPException):
                    raise result
                if not isinstance(result, StreamResponse):
                    raise _not_an_answer(result)
                if self._begin is not None:
                    yield self._begin(request, result)
                return result  # its finishes ran when it was prepared
            answer = result.take(request)
        except CRASHES as error:
            answer = self._refuse(request, error)
        for finish in self._finishes[level]:
            try:
                result = finish(request, answer)
                if result is not None:
                    if type(result) is not Answer:
                        result = yield _waited_for(result)
                        if result is None:
                            continue
                        if type(result) is not Answer:
                            raise _not_an_answer(result)
                    answer = _in_place_of(answer, result.take(request))
            except CRASHES as error:
                answer = _in_place_of(answer, self._refuse(request, error))
        return answer

    async def run(self, request: Request) -> Outcome:
        """The trip from inside a Wrap. The deadline moves inward with it, so that the Finishes in here run too."""
        trip = self.trip(request)
        try:
            awaited = next(trip)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        outer = request[DEADLINE]
        cut_at = outer.when()
        if not outer.expired():
            outer.reschedule(None)
        try:
            return await resume(request, trip, awaited, cut_at)
        finally:
            cut_at = request[DEADLINE].when()
            request[DEADLINE] = outer
            if cut_at is not None and not outer.expired():
                outer.reschedule(max(cut_at, asyncio.get_running_loop().time() + FINISH_GRACE_S))


async def resume(request: Request, trip: Trip, awaited: Awaitable[object], cut_at: float | None) -> Outcome:
    """Wait for what the trip yields until it ends, in the task that serves the request.

    At `cut_at` (seconds of the loop's clock; None is never) what it waits for is cancelled; the trip is told so and
    still finishes. Raises CancelledError when the task itself is cancelled: then nobody waits for an answer.
    """
    while True:
        failure: BaseException | None = None
        value: object = None
        deadline = asyncio.timeout_at(cut_at)
        request[DEADLINE] = deadline
        try:
            async with deadline:
                value = await awaited
        except BaseException as error:
            failure = _told(request, error, deadline)
        cut_at = deadline.when()
        if cut_at is not None and deadline.expired():
            cut_at = asyncio.get_running_loop().time() + FINISH_GRACE_S
        try:
            awaited = trip.send(value) if failure is None else trip.throw(failure)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            failure = None  # its traceback holds this frame: a cycle


def around(wrap: Wrap, inner: Segment) -> Handler:
    """The handler that a Wrap makes of the segment inside it."""

    async def proceeding(request: Request) -> Outcome:
        inside: Outcome | None = None

        async def proceed() -> Outcome:
            nonlocal inside
            inside = await inner.run(request)
            return inside

        outcome = await wrap.fn(request, proceed)
        if type(inside) is Answer and type(outcome) is Answer:
            return _in_place_of(inside, outcome)
        return outcome

    return proceeding


def _told(request: Request, error: BaseException, deadline: asyncio.Timeout) -> BaseException:
    """What a trip is told of an error in what it waited for."""
    if isinstance(error, TimeoutError) and deadline.expired():
        if BODY_AWAITED in request:
            return RequestTimeout(LATE_BODY)
        return Timeout("The request took longer than it may.")
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or not task.cancelling():  # not this request was cancelled, but something that it waited for
            crash = RuntimeError("Something that the request waited for was cancelled.")
            crash.__cause__ = error
            return crash
    return error


def _waited_for(result: Any) -> Awaitable[object]:
    if not hasattr(result, "__await__"):
        raise _not_an_answer(result)
    return result  # type: ignore[no-any-return]


def _not_an_answer(result: object) -> TypeError:
    return TypeError(
        f"A handler answers with an Answer or a StreamResponse, and a step with an Answer or None: "
        f"{type(result).__name__} is neither."
    )


def _in_place_of(old: Answer, new: Answer) -> Answer:
    """`new`, which replaces `old`; a crash that it covers is still for the log."""
    if old.failure is not None and new.failure is None:
        new.failure = old.failure
    return new

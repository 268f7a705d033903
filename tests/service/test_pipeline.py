"""`Plan` and `Segment`: order of steps, what ends a request, who is told of it, and that everything is given back."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import re
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from service.answers import Answer, StreamHead
from service.errors import Forbidden, NotFound, Unavailable
from service.events import CLIENT_CLOSED_REQUEST
from service.keys import CLIENT, PRINCIPAL, REQUEST_ID, VERSION
from service.parts import Check, Finish, Proceed, Release, Step, Wrap
from service.ports import Principal
from service.slots import Slot

Call = Callable[..., Any]

PATIENCE_S = 10.0


class Diary:
    """Steps that write down when they ran."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def handler(self, *, sync: bool = True, answer: Any = None) -> Call:
        def handle(request: web.Request) -> Any:
            self.lines.append("handler")
            if isinstance(answer, Exception):
                raise answer
            return Answer() if answer is None else answer

        return handle if sync else later(handle)

    def check(self, slot: Slot, name: str = "", *, sync: bool = True, gives: Any = None) -> Check:
        def check(request: web.Request) -> Any:
            self.lines.append(f"check {slot.name}{name}")
            if isinstance(gives, Exception):
                raise gives
            return gives

        return Check(slot, check if sync else later(check))

    def finish(self, slot: Slot, name: str = "", *, sync: bool = True, gives: Any = None) -> Finish:
        def finish(request: web.Request, answer: Answer) -> Any:
            self.lines.append(f"finish {slot.name}{name}")
            if isinstance(gives, Exception):
                raise gives
            return gives

        return Finish(slot, finish if sync else later(finish))

    def release(self, slot: Slot, name: str = "") -> Release:
        return Release(slot, lambda request: self.lines.append(f"release {slot.name}{name}"))

    def wrap(self, slot: Slot, name: str = "", *, around: Call | None = None) -> Wrap:
        async def wrap(request: web.Request, proceed: Proceed) -> Any:
            self.lines.append(f"in {slot.name}{name}")
            try:
                return await (around(request, proceed) if around else proceed())
            finally:
                self.lines.append(f"out {slot.name}{name}")

        return Wrap(slot, wrap)

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


def later(fn: Call) -> Call:
    """`fn` as a coroutine function that really waits."""

    async def waiting(*args: Any) -> Any:
        await asyncio.sleep(0)
        return fn(*args)

    return waiting


@pytest.fixture
def diary() -> Diary:
    return Diary()


# --- order


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_steps_run_inward_then_outward_over_all_slots_and_stable_within_one(
    serving: Any, placed: Any, diary: Diary, sync: bool
) -> None:
    steps: list[Step] = []
    for name in ("1", "2"):  # two plugins
        for slot in Slot:
            steps.append(diary.check(slot, name, sync=sync))
            steps.append(diary.finish(slot, name, sync=sync))
            steps.append(diary.release(slot, name))
    plugin_one, plugin_two = steps[23::-1], steps[24:]
    async with serving(placed("/", diary.handler(sync=sync), *plugin_one, *plugin_two)) as house:
        assert (await house.ask()).status == 200
        await house.told()
    inward = [f"check {slot.name}{name}" for slot in Slot for name in "12"]
    outward = [f"finish {slot.name}{name}" for slot in reversed(Slot) for name in "21"]
    released = [f"release {slot.name}{name}" for slot in reversed(Slot) for name in "21"]
    assert diary.take() == [*inward, "handler", *outward, *released]


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("how", ["answers", "raises", "crashes"])
@pytest.mark.parametrize("slot", Slot)
async def test_check_that_ends_the_way_in_is_finished_outward_from_its_slot(
    serving: Any, placed: Any, diary: Diary, slot: Slot, how: str, sync: bool
) -> None:
    gives = {"answers": Answer(203), "raises": Forbidden("No."), "crashes": ZeroDivisionError()}[how]
    steps = [step for each in Slot for step in (diary.check(each), diary.finish(each), diary.release(each))]
    steps.append(diary.check(slot, " ends", sync=sync, gives=gives))
    steps.append(diary.check(slot, " after"))
    async with serving(placed("/", diary.handler(), *steps)) as house:
        reply = await house.ask()
        (exchange,) = await house.told()
    assert reply.status == {"answers": 203, "raises": 403, "crashes": 500}[how] == exchange.status
    reached = [each for each in Slot if each <= slot]
    assert diary.take() == [
        *[f"check {each.name}" for each in reached],
        f"check {slot.name} ends",
        *[f"finish {each.name}" for each in reversed(reached)],
        *[f"release {each.name}" for each in reversed(reached)],
    ]


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_finish_that_fails_becomes_the_error_answer_and_the_others_still_run(
    serving: Any, placed: Any, diary: Diary, sync: bool
) -> None:
    crash = ZeroDivisionError("finish")
    steps = [
        diary.finish(Slot.RECEIVE),
        Finish(Slot.RECEIVE, lambda request, answer: answer.add("X-Seen", str(answer.status))),
        diary.finish(Slot.RATION, sync=sync, gives=crash),
        diary.finish(Slot.RECALL),
    ]
    async with serving(placed("/", diary.handler(sync=sync), *steps)) as house:
        reply = await house.ask()
        (exchange,) = await house.told()
    assert diary.take() == ["handler", "finish RECALL", "finish RATION", "finish RECEIVE"]
    assert (reply.status, reply.error["code"], reply.header("X-Seen")) == (500, "INTERNAL_ERROR", "500")
    assert (exchange.status, exchange.error_code, exchange.failure) == (500, "INTERNAL_ERROR", crash)


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_finish_that_answers_replaces_the_answer(serving: Any, placed: Any, diary: Diary, sync: bool) -> None:
    steps = [
        diary.finish(Slot.CONDITION, sync=sync, gives=Answer(304)),
        Finish(Slot.RECEIVE, lambda request, answer: answer.add("X-Seen", str(answer.status))),
    ]
    async with serving(placed("/", lambda request: Answer(200, b"body"), *steps)) as house:
        for _ in range(2):  # one that it keeps serves again
            reply = await house.ask()
            assert (reply.status, reply.body, reply.header("X-Seen")) == (304, b"", "304")


async def test_finish_that_covers_a_crash_leaves_it_to_the_log(serving: Any, placed: Any, diary: Diary) -> None:
    crash = ZeroDivisionError()
    steps = [diary.finish(Slot.RECALL, gives=Answer(200, b"stale")), diary.finish(Slot.ADMIT, gives=NotFound("x"))]
    async with serving(
        placed("/stale", diary.handler(answer=crash), steps[0]), placed("/both", diary.handler(answer=crash), *steps)
    ) as house:
        assert (await house.ask("/stale")).body == b"stale"
        assert (await house.ask("/both")).status == 404
        stale, both = await house.told(2)
    assert (stale.status, stale.failure, stale.error_code) == (200, crash, None)
    assert (both.status, both.failure, both.error_code) == (404, crash, "NOT_FOUND")


# --- Wrap


async def test_wraps_nest_between_the_slots(serving: Any, placed: Any, diary: Diary) -> None:
    steps = [
        diary.wrap(Slot.RATION),
        diary.wrap(Slot.ADMIT),
        *[step for slot in Slot for step in (diary.check(slot), diary.finish(slot), diary.release(slot))],
    ]
    async with serving(placed("/", diary.handler(), *steps)) as house:
        await house.ask()
        await house.told()
    inner = [Slot.RATION, Slot.CONDITION, Slot.RECALL]
    middle = [Slot.ADMIT, Slot.IDENTIFY, Slot.AUTHORIZE]
    outer = [Slot.RECEIVE, Slot.NEGOTIATE]
    assert diary.take() == [
        *[f"check {slot.name}" for slot in outer],
        "in ADMIT",
        *[f"check {slot.name}" for slot in middle],
        "in RATION",
        *[f"check {slot.name}" for slot in inner],
        "handler",
        *[f"finish {slot.name}" for slot in reversed(inner)],
        "out RATION",
        *[f"finish {slot.name}" for slot in reversed(middle)],
        "out ADMIT",
        *[f"finish {slot.name}" for slot in reversed(outer)],
        *[f"release {slot.name}" for slot in reversed(Slot)],
    ]


@pytest.mark.parametrize("error", [Forbidden("No."), ZeroDivisionError()], ids=["refusal", "crash"])
async def test_wrap_gets_the_shields_answer_for_an_error_inside(
    serving: Any, placed: Any, diary: Diary, error: Exception
) -> None:
    seen: list[Any] = []

    async def look(request: web.Request, proceed: Proceed) -> Any:
        seen.append(await proceed())
        return seen[0]

    async with serving(placed("/", diary.handler(answer=error), diary.wrap(Slot.ADMIT, around=look))) as house:
        reply = await house.ask()
        (exchange,) = await house.told()
    assert seen[0].status == reply.status == exchange.status == (403 if isinstance(error, Forbidden) else 500)
    assert exchange.failure is (None if isinstance(error, Forbidden) else error)


async def test_wrap_that_covers_a_crash_leaves_it_to_the_log(serving: Any, placed: Any, diary: Diary) -> None:
    crash = ZeroDivisionError()

    async def cover(request: web.Request, proceed: Proceed) -> Answer:
        await proceed()
        return Answer(200, b"cover")

    async with serving(placed("/", diary.handler(answer=crash), diary.wrap(Slot.ADMIT, around=cover))) as house:
        assert (await house.ask()).body == b"cover"
        (exchange,) = await house.told()
    assert exchange.failure is crash


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_wrap_that_raises_is_answered_by_the_shield(
    serving: Any, placed: Any, diary: Diary, before: bool
) -> None:
    async def fail(request: web.Request, proceed: Proceed) -> Any:
        if not before:
            await proceed()
        raise Unavailable("Later.")

    inside = [diary.finish(Slot.RECALL), diary.release(Slot.RECALL)]
    outside = [diary.finish(Slot.RECEIVE), diary.release(Slot.RECEIVE)]
    async with serving(placed("/", diary.handler(), *inside, *outside, diary.wrap(Slot.ADMIT, around=fail))) as house:
        assert (await house.ask()).error["code"] == "SERVICE_UNAVAILABLE"
        await house.told()
    reached = [] if before else ["handler", "finish RECALL"]
    released = [] if before else ["release RECALL"]
    assert diary.take() == ["in ADMIT", *reached, "out ADMIT", "finish RECEIVE", *released, "release RECEIVE"]


async def test_wrap_may_answer_without_proceeding_or_proceed_twice(serving: Any, placed: Any, diary: Diary) -> None:
    async def refuse(request: web.Request, proceed: Proceed) -> Answer:
        return Answer(202)

    async def retry(request: web.Request, proceed: Proceed) -> Any:
        await proceed()
        return await proceed()

    async with serving(
        placed("/none", diary.handler(), diary.wrap(Slot.ADMIT, around=refuse), diary.finish(Slot.RECALL)),
        placed(
            "/twice",
            diary.handler(sync=False),
            diary.wrap(Slot.ADMIT, around=retry),
            diary.check(Slot.RECALL, sync=False),
            diary.release(Slot.RECALL),
        ),
    ) as house:
        assert (await house.ask("/none")).status == 202
        assert diary.take() == ["in ADMIT", "out ADMIT"]
        assert (await house.ask("/twice")).status == 200
        await house.told(2)
        assert diary.take() == ["in ADMIT", *["check RECALL", "handler"] * 2, "out ADMIT", "release RECALL"]


async def test_check_inside_a_wrap_ends_only_what_is_inside(serving: Any, placed: Any, diary: Diary) -> None:
    steps = [
        diary.finish(Slot.RECEIVE),
        diary.wrap(Slot.ADMIT),
        diary.check(Slot.RATION, gives=Answer(429)),
        diary.finish(Slot.RATION),
        diary.finish(Slot.RECALL),
        diary.finish(Slot.ADMIT),
    ]
    async with serving(placed("/", diary.handler(), *steps)) as house:
        assert (await house.ask()).status == 429
    assert diary.take() == [
        "in ADMIT",
        "check RATION",
        "finish RATION",
        "finish ADMIT",
        "out ADMIT",
        "finish RECEIVE",
    ]


async def test_wrap_hands_on_a_stream_unsent(serving: Any, placed: Any, diary: Diary) -> None:
    async def mark(request: web.Request, proceed: Proceed) -> Any:
        response = await proceed()
        assert isinstance(response, web.Response)
        assert not response.prepared
        response.headers["X-Wrapped"] = "1"
        return response

    finish = Finish(Slot.RECALL, lambda request, answer: answer.add("X-Finished", "1"))
    handler = diary.handler(answer=web.Response(text="stream"), sync=False)
    async with serving(placed("/", handler, diary.wrap(Slot.ADMIT, around=mark), finish)) as house:
        reply = await house.ask()
    assert (reply.body, reply.header("X-Wrapped"), reply.header("X-Finished")) == (b"stream", "1", "1")


# --- junk


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("junk", [None, "text", b"bytes", 7, True, {"a": 1}, ("a",)], ids=repr)
@pytest.mark.parametrize("where", ["handler", "check", "finish", "wrap"])
async def test_junk_from_a_handler_or_a_step_is_a_crash_of_its_author(
    serving: Any, placed: Any, diary: Diary, where: str, junk: Any, sync: bool
) -> None:
    if junk is None and where in ("check", "finish"):
        pytest.skip("None goes on")

    def give(*_: Any) -> Any:
        return junk

    fn = give if sync and where != "wrap" else later(give)
    steps: dict[str, Step] = {
        "check": Check(Slot.ADMIT, fn),
        "finish": Finish(Slot.ADMIT, fn),
        "wrap": Wrap(Slot.ADMIT, fn),
    }
    handler = fn if where == "handler" else diary.handler(sync=sync)
    inner = [steps[where]] if where in steps else []
    async with serving(placed("/", handler, *inner, diary.finish(Slot.RECEIVE))) as house:
        reply = await house.ask()
        (exchange,) = await house.told()
    assert (reply.status, reply.error["code"]) == (500, "INTERNAL_ERROR")
    assert isinstance(exchange.failure, TypeError)
    assert "Answer" in str(exchange.failure)
    assert diary.take()[-1] == "finish RECEIVE"


async def test_answer_spoilt_by_a_step_is_a_crash_and_is_answered(serving: Any, placed: Any) -> None:
    def spoil(request: web.Request, answer: Answer) -> None:
        answer.body = "text"  # type: ignore[misc]

    async with serving(placed("/", lambda request: Answer(200, b"{}"), Finish(Slot.RECEIVE, spoil))) as house:
        assert (await house.ask()).error["code"] == "INTERNAL_ERROR"
        (exchange,) = await house.told()
    assert isinstance(exchange.failure, AttributeError)


async def test_exit_in_a_handler_is_a_crash_and_no_end_of_the_service(serving: Any, placed: Any) -> None:
    def handler(request: web.Request) -> Answer:
        sys.exit(5)

    async with serving(placed("/sync", handler), placed("/async", later(handler))) as house:
        for path in ("/sync", "/async", "/sync"):
            assert (await house.ask(path)).status == 500


async def test_what_is_rendered_into_the_head_cannot_be_changed() -> None:
    answer = Answer(200, b"{}")
    for name, other in (("status", 404), ("body", b"[]"), ("content_type", "text/plain")):
        with pytest.raises(AttributeError):
            setattr(answer, name, other)


async def test_stop_iteration_from_a_handler_is_a_crash(serving: Any, placed: Any) -> None:
    def handler(request: web.Request) -> Answer:
        return next(iter([]))

    async with serving(placed("/sync", handler), placed("/async", later(handler))) as house:
        for path in ("/sync", "/async"):
            assert (await house.ask(path)).status == 500


async def test_handler_may_return_any_awaitable(serving: Any, placed: Any) -> None:
    def future(request: web.Request) -> Awaitable[Answer]:
        result = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(result.set_result, Answer(200, b"future"))
        return result

    def task(request: web.Request) -> Awaitable[Answer]:
        return asyncio.ensure_future(later(lambda: Answer(200, b"task"))())

    class Own:
        def __await__(self) -> Iterator[Any]:
            yield from asyncio.sleep(0).__await__()
            return Answer(200, b"own")

    routes = [placed("/future", future), placed("/task", task), placed("/own", lambda request: Own())]
    async with serving(*routes) as house:
        for name in ("future", "task", "own"):
            assert (await house.ask(f"/{name}")).body == name.encode()


# --- what a request carries


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("abcdefgh", True),
        ("A.b_c-0123", True),
        ("x" * 128, True),
        ("abcdefg", False),
        ("x" * 129, False),
        ("with space", False),
        ("semi;colon", False),
        ("ünïcödé-ünïcödé", False),
        ("", False),
    ],
)
async def test_request_id_is_taken_from_the_caller_only_if_well_formed(
    serving: Any, placed: Any, given: str, taken: bool
) -> None:
    async with serving(placed("/", lambda request: Answer(200, request[REQUEST_ID].encode()))) as house:
        reply = await house.ask(headers=[f"X-Request-Id: {given}"])
        (exchange,) = await house.told()
    used = reply.header("X-Request-Id")
    assert reply.body.decode() == used == exchange.request_id
    assert (used == given) is taken
    if not taken:
        assert re.fullmatch(r"req_[0-9a-f]{20}", used)


async def test_request_ids_are_unique(serving: Any, placed: Any) -> None:
    async with serving(placed("/", lambda request: Answer())) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n" * 300)
        ids = {(await peer.reply()).header("X-Request-Id") for _ in range(300)}
    assert len(ids) == 300


async def test_request_carries_client_version_and_an_anonymous_principal(serving: Any, placed: Any) -> None:
    seen: list[Any] = []

    def handler(request: web.Request) -> Answer:
        seen.extend((request[CLIENT], request[VERSION], request[PRINCIPAL]))
        return Answer()

    def identify(request: web.Request) -> None:
        if "who" in request.query:
            request[PRINCIPAL] = Principal(subject="ada")

    async with serving(placed("/", handler, Check(Slot.IDENTIFY, identify), version="v7")) as house:
        await house.ask("/?x=%20")
        await house.ask("/?who")
        anonymous, ada = await house.told(2)
    client, version, principal = seen[:3]
    assert (client.address, client.scheme, client.host) == ("127.0.0.1", "http", "test")
    assert (version, principal.subject) == ("v7", None)
    assert (anonymous.remote, anonymous.version, anonymous.subject) == ("127.0.0.1", "v7", None)
    assert (anonymous.target, anonymous.template, anonymous.route, anonymous.method) == ("/?x=%20", "/", "r._", "GET")
    assert ada.subject == "ada"


async def test_exchange_times_come_from_the_clock(serving: Any, placed: Any) -> None:
    class Moving:
        now_s, monotonic_s = 1_000.0, 5.0

        def now(self) -> float:
            return self.now_s

        def monotonic(self) -> float:
            return self.monotonic_s

    moving = Moving()

    async def handler(request: web.Request) -> Answer:
        moving.now_s += 60
        moving.monotonic_s += 2.5
        return Answer()

    async with serving(placed("/", handler), clock=moving) as house:
        await house.ask()
        (exchange,) = await house.told()
    assert (exchange.started_at, exchange.duration_s) == (1_000.0, 2.5)


async def test_async_handlers_have_timeouts_task_groups_and_context_variables(serving: Any, placed: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def handler(request: web.Request) -> Answer:
        before = variable.get()
        token = variable.set("set")
        task = asyncio.current_task()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(PATIENCE_S)
        async with asyncio.TaskGroup() as group:
            child = group.create_task(later(variable.get)())
        assert child.result() == "set"
        assert asyncio.current_task() is task
        variable.reset(token)
        return Answer(200, before.encode())

    async with serving(placed("/", handler, Check(Slot.ADMIT, later(lambda request: None)))) as house:
        peer = await house.connect()
        for _ in range(3):
            peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            assert (await peer.reply()).body == b"unset"


# --- deadline


@pytest.mark.parametrize("has_begun", [False, True])
async def test_request_that_the_end_of_the_service_cuts_is_told_as_what_was_sent(
    serving: Any, placed: Any, has_begun: bool
) -> None:
    """503 where nothing was, else the status of the stream: never 499, since its client has not left."""

    async def handler(request: web.Request) -> Answer:
        if has_begun:
            stream = web.StreamResponse(headers={"Content-Length": "10"})
            await stream.prepare(request)
            await stream.write(b"four")
        return await forever()  # type: ignore[no-any-return]

    async with serving(placed("/", handler)) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        if has_begun:
            await peer.reader.readuntil(b"four")
        else:
            await house.until(lambda: bool(house.front.connections) and peer_is_served(house))
        house.draining = True
        await house.front.cut(within_s=PATIENCE_S)
        if not has_begun:
            reply = await peer.reply()
            assert (reply.status, reply.error["code"]) == (503, "SERVICE_UNAVAILABLE")
            assert (reply.header("Retry-After"), reply.header("Connection")) == ("1", "close")
        assert await peer.rest() == b""
        (exchange,) = await house.told()
    sent = (200, 4) if has_begun else (503, len(reply.body))
    assert (exchange.status, exchange.bytes_sent, exchange.failure) == (*sent, None)


def peer_is_served(house: Any) -> bool:
    return any(connection._current_request is not None for connection in house.front.connections)


async def forever(*_: Any) -> Any:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("where", ["handler", "check", "wrap", "inside a wrap"])
async def test_deadline_answers_504_and_finishes_still_run(serving: Any, placed: Any, diary: Diary, where: str) -> None:
    steps: list[Step] = [
        diary.finish(Slot.RECEIVE, sync=False),
        diary.finish(Slot.RECALL, sync=False),
        diary.release(Slot.RECALL),
    ]
    if where == "check":
        steps.append(Check(Slot.RECALL, forever))
    if where == "wrap":
        steps.append(Wrap(Slot.NEGOTIATE, forever))
    if where == "inside a wrap":
        steps += [diary.wrap(Slot.NEGOTIATE), diary.wrap(Slot.ADMIT)]
    handler = forever if where in ("handler", "inside a wrap") else diary.handler()
    async with serving(placed("/", handler, *steps), handler_s=0.02) as house:
        reply = await house.ask()
        (exchange,) = await house.told()
    assert (reply.status, reply.error["code"]) == (504, "TIMEOUT")
    assert (exchange.status, exchange.error_code, exchange.failure) == (504, "TIMEOUT", None)
    lines = diary.take()
    assert "finish RECEIVE" in lines
    assert ("finish RECALL" in lines) is (where != "wrap")
    assert ("release RECALL" in lines) is (where != "wrap")
    if where == "inside a wrap":
        assert lines == [
            "in NEGOTIATE",
            "in ADMIT",
            "finish RECALL",
            "out ADMIT",
            "out NEGOTIATE",
            "finish RECEIVE",
            "release RECALL",
        ]


async def test_deadline_is_one_for_the_whole_request(serving: Any, placed: Any) -> None:
    checks = [Check(Slot.ADMIT, lambda request: asyncio.sleep(0.02)) for _ in range(20)]
    async with serving(placed("/", lambda request: Answer(), *checks), handler_s=0.1) as house:
        assert (await house.ask()).status == 504  # each check alone is well within it


async def test_deadline_that_a_handler_swallows_leaves_its_answer(serving: Any, placed: Any) -> None:
    async def handler(request: web.Request) -> Answer:
        try:
            await forever()
        except asyncio.CancelledError:
            return Answer(200, b"partial")
        raise AssertionError

    async with serving(placed("/", handler), handler_s=0.02) as house:
        assert (await house.ask()).body == b"partial"


async def test_finish_that_hangs_after_the_deadline_is_cut_too(
    serving: Any, placed: Any, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.trip.FINISH_GRACE_S", 0.02)
    steps = [Finish(Slot.RECALL, forever), diary.finish(Slot.RECEIVE, sync=False)]
    async with serving(placed("/", forever, *steps), handler_s=0.02) as house:
        assert (await house.ask()).status == 504
    assert diary.take() == ["finish RECEIVE"]


async def test_deadline_is_lifted_once_a_stream_has_begun(serving: Any, placed: Any, diary: Diary) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(0.1)
        await response.write(b"late")
        return response

    async with serving(
        placed("/plain", handler), placed("/wrapped", handler, diary.wrap(Slot.ADMIT)), handler_s=0.03
    ) as house:
        for path in ("/plain", "/wrapped"):
            assert (await house.ask(path)).body == b"late"


async def test_timeout_of_something_else_is_a_504_with_its_cause_for_the_log(serving: Any, placed: Any) -> None:
    cause = TimeoutError("driver")

    async def handler(request: web.Request) -> Answer:
        raise cause

    async with serving(placed("/", handler)) as house:
        assert (await house.ask()).error["code"] == "TIMEOUT"
        (exchange,) = await house.told()
    assert (exchange.status, exchange.failure) == (504, cause)


# --- cancellation


async def test_client_that_leaves_cancels_its_handler(serving: Any, placed: Any, diary: Diary) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> Answer:
        began.set()
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    steps = [diary.finish(Slot.RECALL), diary.release(Slot.RECALL), diary.release(Slot.ADMIT), diary.wrap(Slot.RATION)]
    async with serving(placed("/", handler, *steps)) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        await began.wait()
        peer.leave()
        (exchange,) = await house.told()
        assert cancelled.is_set()
    assert (exchange.status, exchange.bytes_sent, exchange.failure) == (CLIENT_CLOSED_REQUEST, 0, None)
    assert diary.take() == ["in RATION", "out RATION", "release RECALL", "release ADMIT"]


def test_client_that_leaves_at_once_makes_exactly_one_exchange(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        diary = Diary()
        steps = [diary.release(Slot.ADMIT)]
        async with serving(placed("/sync", lambda _: Answer(), *steps), placed("/async", forever, *steps)) as house:
            for count, path in enumerate(("/sync", "/async") * 10, 1):
                peer = await house.connect()
                await house.until(lambda: bool(house.front.connections))
                peer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
                peer.leave()  # the request and the end of the connection may come in one read
                await house.told(count)
                await house.until(lambda: not house.front.connections)
            assert diary.take() == ["release ADMIT"] * 20

    on_loop(scenario)


def test_disconnects_in_number_leave_nothing(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        diary = Diary()
        rounds, width = 20, 50
        async with serving(placed("/", forever, diary.release(Slot.ADMIT))) as house:
            for done in range(rounds):
                peers = [await house.connect() for _ in range(width)]
                for peer in peers:
                    peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                if done % 2:
                    await house.until(lambda: house.front.requests_count >= (done + 1) * width)  # noqa: B023
                for number, peer in enumerate(peers):
                    peer.reset() if number % 2 else peer.leave()
                house.peers.clear()
            await house.until(lambda: not house.front.connections)
            assert len(diary.take()) == len(house.exchanges) >= rounds * width // 2
            assert {exchange.status for exchange in house.exchanges} == {CLIENT_CLOSED_REQUEST}
            assert len(asyncio.all_tasks()) < 5

    on_loop(scenario)


async def test_cancellation_of_something_else_is_a_crash_and_not_a_client_that_left(
    serving: Any, placed: Any, diary: Diary
) -> None:
    async def handler(request: web.Request) -> Answer:
        other = asyncio.ensure_future(forever())
        other.cancel()
        await other
        raise AssertionError

    steps = [diary.finish(Slot.RECEIVE)]
    async with serving(
        placed("/plain", handler, *steps), placed("/wrapped", handler, *steps, diary.wrap(Slot.ADMIT))
    ) as house:
        for path in ("/plain", "/wrapped"):
            assert (await house.ask(path)).error["code"] == "INTERNAL_ERROR"
            assert diary.take()[-1] == "finish RECEIVE"
        exchanges = await house.told(2)
    for exchange in exchanges:
        assert isinstance(exchange.failure, RuntimeError)
        assert isinstance(exchange.failure.__cause__, asyncio.CancelledError)


async def test_observer_and_release_that_fail_are_logged_and_harm_nobody(
    serving: Any, placed: Any, diary: Diary
) -> None:
    def fail(request: web.Request) -> None:
        raise ZeroDivisionError

    steps = [Release(Slot.ADMIT, fail), diary.release(Slot.RECEIVE), diary.release(Slot.RECALL)]
    async with serving(placed("/", lambda request: Answer(), *steps, name="frail")) as house:
        assert (await house.ask()).status == 200
        await house.told()
        assert [record.getMessage() for record in house.logged] == ["A Release step of route frail failed."]
        house.logged.clear()
    assert diary.take() == ["release RECALL", "release RECEIVE"]


# --- streams


def stream(*chunks: bytes, fail: Exception | None = None, **kwargs: Any) -> Call:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(**kwargs)
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if fail is not None:
            raise fail
        return response

    return handler


async def test_stream_gets_finishes_id_and_no_server_name(serving: Any, placed: Any, diary: Diary) -> None:
    seen: list[Any] = []

    def look(request: web.Request, answer: Any) -> None:
        seen.append(answer)
        answer.add("X-Finished", "1")

    steps = [Finish(Slot.RECALL, look), diary.finish(Slot.RECEIVE, sync=False), diary.release(Slot.RECEIVE)]
    async with serving(
        placed("/begun", stream(b"a", b"bc"), *steps),
        placed("/unbegun", lambda request: web.Response(text="abc"), *steps),
        placed("/unbegun/async", later(lambda request: web.Response(text="abc")), *steps),
    ) as house:
        for count, path in enumerate(("/begun", "/unbegun", "/unbegun/async"), 1):
            reply = await house.ask(path)
            assert (reply.status, reply.body, reply.header("X-Finished")) == (200, b"abc", "1")
            assert reply.header("Server") is None
            exchange = (await house.told(count))[-1]
            assert reply.header("X-Request-Id") == exchange.request_id
            assert (exchange.status, exchange.bytes_sent) == (200, 3)
            assert isinstance(seen[-1], StreamHead)
            assert (seen[-1].status, seen[-1].header("x-finished")) == (200, "1")
            assert (seen[-1].error_code, seen[-1].failure) == (None, None)
            assert diary.take() == ["finish RECEIVE", "release RECEIVE"]


async def test_stream_whose_finish_fails_becomes_the_error_answer(serving: Any, placed: Any, diary: Diary) -> None:
    for error in (Forbidden("No."), ConnectionRefusedError("redis"), ZeroDivisionError()):
        steps = [diary.finish(Slot.ADMIT, gives=error), diary.finish(Slot.RECEIVE)]
        async with serving(
            placed("/begun", stream(b"a"), *steps), placed("/unbegun", lambda request: web.Response(text="abc"), *steps)
        ) as house:
            for path in ("/begun", "/unbegun"):
                reply = await house.ask(path)
                assert reply.status == (403 if isinstance(error, Forbidden) else 500)
                assert reply.error
                assert diary.take()[-1] == "finish RECEIVE"
            for exchange in await house.told(2):
                assert exchange.failure is (None if isinstance(error, Forbidden) else error)


@pytest.mark.parametrize("error", [ZeroDivisionError(), Unavailable("Later.")], ids=["crash", "refusal"])
async def test_stream_that_breaks_off_ends_the_connection_and_tells_why(
    serving: Any, placed: Any, error: Exception
) -> None:
    async with serving(placed("/", stream(b"abc", fail=error))) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        raw = await peer.rest()
        (exchange,) = await house.told()
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"3\r\nabc\r\n")  # no last chunk, and no second answer behind it
    crash = isinstance(error, ZeroDivisionError)
    assert (exchange.status, exchange.bytes_sent) == (200, 3)
    assert (exchange.error_code, exchange.failure) == (
        ("INTERNAL_ERROR", error) if crash else ("SERVICE_UNAVAILABLE", None)
    )


async def test_stream_followed_by_an_answer_breaks_off(serving: Any, placed: Any) -> None:
    begin = stream(b"abc")

    async def handler(request: web.Request) -> Answer:
        await begin(request)
        return Answer(200, b"second")

    async def other(request: web.Request) -> web.StreamResponse:
        await begin(request)
        return web.Response(text="second")

    async with serving(placed("/answer", handler), placed("/stream", other)) as house:
        for path in ("/answer", "/stream"):
            peer = await house.connect()
            peer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            assert b"second" not in await peer.rest()
        await house.told(2)


async def test_response_of_another_request_is_a_crash_and_no_silence(serving: Any, placed: Any) -> None:
    kept = web.Response(text="kept")
    async with serving(placed("/", lambda request: kept)) as house:
        assert (await house.ask()).body == b"kept"
        assert (await house.ask()).error["code"] == "INTERNAL_ERROR"
        assert isinstance((await house.told(2))[1].failure, RuntimeError)


def test_stream_whose_client_leaves_is_499_without_a_failure(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 1_000)
                await asyncio.sleep(0)

        diary = Diary()
        async with serving(placed("/", handler, diary.release(Slot.ADMIT))) as house:
            for count, leave in enumerate(("leave", "reset"), 1):
                peer = await house.connect()
                peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                await peer.reader.readuntil(b"\r\n\r\n")
                getattr(peer, leave)()
                exchange = (await house.told(count))[-1]
                assert (exchange.status, exchange.failure, exchange.error_code) == (CLIENT_CLOSED_REQUEST, None, None)
                assert exchange.bytes_sent >= 1_000
            assert diary.take() == ["release ADMIT"] * 2

    on_loop(scenario)


async def test_stream_to_head_has_no_body(serving: Any, placed: Any) -> None:
    async with serving(placed("/", stream(b"abc"))) as house:
        peer = await house.connect()
        peer.write(b"HEAD / HTTP/1.1\r\nHost: t\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await peer.reply(method="HEAD")).status == 200
        assert (await peer.reply()).body == b"abc"
        assert [exchange.bytes_sent for exchange in await house.told(2)] == [0, 3]


async def test_stream_of_no_known_length_ends_with_the_connection_on_http_1_0(serving: Any, placed: Any) -> None:
    async with serving(placed("/", stream(b"abc"))) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n")
        raw = await peer.rest()
    assert raw.endswith(b"\r\n\r\nabc")
    assert b"\r\nConnection: close\r\n" in raw


async def test_stream_while_draining_closes_the_connection(serving: Any, placed: Any) -> None:
    async with serving(placed("/", stream(b"abc")), placed("/answer", lambda request: Answer())) as house:
        house.draining = True
        for path in ("/", "/answer"):
            peer = await house.connect()
            peer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            reply = await peer.reply()
            assert reply.header("Connection") == "close"
            assert await peer.rest() == b""


async def test_file_is_sent_and_counted(serving: Any, placed: Any, tmp_path: Any) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"0123456789" * 30_000)
    async with serving(placed("/", lambda request: web.FileResponse(path))) as house:
        assert (await house.ask()).body == path.read_bytes()
        assert (await house.ask(headers=["Range: bytes=5-9"])).body == b"56789"
        assert (await house.ask(method="HEAD")).header("Content-Length") == "300000"
        exchanges = await house.told(3)
    assert [(each.status, each.bytes_sent) for each in exchanges] == [(200, 300_000), (206, 5), (200, 0)]


# --- memory


def test_requests_leave_no_cycles_behind(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        seen: list[weakref.ref[web.Request]] = []

        def notice(request: web.Request) -> None:
            seen.append(weakref.ref(request))

        def crash(request: web.Request) -> Answer:
            raise ZeroDivisionError

        def refuse(request: web.Request) -> Answer:
            raise NotFound("No.")

        async def broken(request: web.Request) -> Any:
            await stream(b"a")(request)
            raise ZeroDivisionError

        handlers: dict[str, Call] = {
            "answer": lambda request: Answer(200, b"{}"),
            "later": later(lambda request: Answer(200, b"{}")),
            "crash": crash,
            "crash_later": later(crash),
            "refuse": refuse,
            "refuse_later": later(refuse),
            "stream": stream(b"a"),
            "response": lambda request: web.Response(text="a"),
            "broken": broken,
            "slow": forever,
        }
        diary = Diary()
        wrapped = [Check(Slot.RECEIVE, notice), diary.wrap(Slot.ADMIT), diary.check(Slot.RECALL, sync=False)]
        routes = [placed(f"/{name}", handler, Check(Slot.RECEIVE, notice)) for name, handler in handlers.items()]
        routes += [placed(f"/{name}/wrapped", handler, *wrapped) for name, handler in handlers.items()]
        async with serving(*routes, handler_s=0.02) as house:
            gc.collect()
            gc.disable()
            try:
                for name in handlers:
                    for path in (f"/{name}", f"/{name}/wrapped"):
                        peer = await house.connect()
                        peer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
                        await peer.rest()
                        house.exchanges.clear()  # whoever keeps them keeps the crash
                        await house.until(lambda: not house.front.connections)
                        await asyncio.sleep(0)
                        assert seen.pop()() is None, f"{path} is kept by a cycle"
            finally:
                gc.enable()

    on_loop(scenario)

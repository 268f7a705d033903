"""Slow clients: what is waited for, how long, and what they are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from service.answers import Answer
from service.parts import Check, Finish, Wrap
from service.slots import Slot
from service.table import UNMATCHED

GET = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"


class Time:
    """What the deadlines of a front go by; stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def reach(self, seconds: float, house: Any) -> None:
        """Let it be so late, and have the front look."""
        self.now_s = seconds
        house.front.look()


@pytest.fixture
def time() -> Time:
    return Time()


def ok(request: web.Request) -> Answer:
    return Answer(200, b"ok")


async def echo(request: web.Request) -> Answer:
    return Answer(200, await request.read())


async def heard(house: Any, count: int) -> None:
    """Wait until so many heads were completed, and let what came with them sink in."""
    await house.until(lambda: sum(each._request_count for each in house.front.connections) >= count)
    await asyncio.sleep(0.01)


async def arrived(house: Any, peer: Any, raw: bytes) -> None:
    """Write a piece of a head or body and wait until the one connection has it."""
    (connection,) = house.front.connections

    def progress() -> int:
        return int(connection._head_bytes + (connection._body.total_bytes if connection._body else 0))

    known = progress()
    peer.write(raw)
    await house.until(lambda: progress() == known + len(raw))


# --- heads

HALF = b"GET /x HTTP/1.1\r\nHo"
BEFORE = {
    "first": (b"", 0),
    "after a request": (GET, 1),
    "after a body": (POST + b"abcd", 1),
    "after chunks": (CHUNKED + b"1\r\na\r\n0\r\n\r\n", 1),
    "after a pipeline": (GET + POST + b"abcd" + GET, 3),
}


@pytest.mark.parametrize("in_one_read", [False, True], ids=["apart", "in one read"])
@pytest.mark.parametrize(("before", "count"), BEFORE.values(), ids=BEFORE)
def test_slow_head_gets_408_and_one_exchange(
    on_loop: Any, serving: Any, placed: Any, time: Time, before: bytes, count: int, in_one_read: bool
) -> None:
    async def scenario() -> None:
        async with serving(placed("/", ok), placed("/", echo, method="POST", name="post"), now=time) as house:
            peer = await house.connect()
            peer.write(before + HALF if in_one_read else before)
            for _ in range(count):
                assert (await peer.reply()).status == 200
            await house.until(lambda: bool(house.front.connections))
            if not in_one_read:
                time.reach(5.0, house)
                await arrived(house, peer, HALF)
            start_s = time.now_s
            (connection,) = house.front.connections
            await house.until(lambda: bool(connection._head_bytes or connection._loose_bytes))
            await house.until(lambda: connection._waiter is not None)
            time.reach(start_s, house)
            time.reach(start_s + 9.9, house)
            await asyncio.sleep(0.01)
            assert len(house.exchanges) == count
            time.reach(start_s + 10.0, house)
            reply = await peer.reply()
            assert (reply.status, reply.error["code"]) == (408, "TIMEOUT")
            assert reply.error["message"] == "The head of the request did not arrive in time."
            assert reply.header("Connection") == "close"
            assert await peer.rest() == b""
            time.reach(100.0, house)
            exchange = (await house.told(count + 1))[-1]
            assert (exchange.status, exchange.error_code, exchange.failure) == (408, "TIMEOUT", None)
            assert (exchange.method, exchange.route, exchange.remote) == ("-", UNMATCHED, "127.0.0.1")

    on_loop(scenario)


async def test_head_may_come_in_pieces_and_late_on_a_kept_connection(serving: Any, placed: Any, time: Time) -> None:
    async with serving(placed("/", ok), now=time) as house:
        peer = await house.connect()
        peer.write(GET)
        await peer.reply()
        for start_s in (60.0, 120.0):
            time.reach(start_s, house)
            peer.write(b"\r\n")
            for count, piece in enumerate((b"GET / HT", b"TP/1.1\r\nHost: t\r\n\r"), 1):
                await asyncio.sleep(0.01)
                await arrived(house, peer, piece)
                time.reach(start_s + 4.0 * count, house)
            peer.write(b"\n")
            assert (await peer.reply()).status == 200
        assert [exchange.status for exchange in await house.told(3)] == [200] * 3


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_connection_that_sends_nothing_is_closed_in_silence(
    on_loop: Any, serving: Any, placed: Any, time: Time, raw: bytes
) -> None:
    async def scenario() -> None:
        async with serving(placed("/", ok), now=time) as house:
            peer = await house.connect()
            await house.until(lambda: bool(house.front.connections))
            peer.write(raw)
            await asyncio.sleep(0.01)
            time.reach(9.9, house)
            await asyncio.sleep(0.01)
            assert house.front.connections
            time.reach(10.0, house)
            assert await peer.rest() == b""
            await house.told(0)

    on_loop(scenario)


@pytest.mark.parametrize("raw", [GET, POST + b"abcd", GET * 3, POST + b"abcd\r\n"])
def test_idle_connection_is_closed_in_silence(on_loop: Any, serving: Any, placed: Any, time: Time, raw: bytes) -> None:
    async def scenario() -> None:
        async with serving(placed("/", ok), placed("/", echo, method="POST", name="post"), now=time) as house:
            count = raw.count(b"HTTP")
            peer = await house.connect()
            for start_s in (0.0, 70.0):  # which a request puts off
                time.now_s = start_s
                peer.write(raw)
                for _ in range(count):
                    assert (await peer.reply()).status == 200
                await house.until(lambda: house.front.connections[0]._waiter is not None)
                for late_s in (0.0, 10.0, 20.0, 70.0):
                    time.reach(start_s + late_s, house)
            await asyncio.sleep(0.01)
            assert house.front.connections
            time.reach(145.0, house)
            assert await peer.rest() == b""
            await house.told(2 * count)

    on_loop(scenario)


async def test_settings_say_how_long(serving: Any, placed: Any, time: Time) -> None:
    timeouts = {"header": "3s", "body": "5s", "keep_alive": "7s"}
    async with serving(
        placed("/", ok), placed("/", echo, method="POST", name="post"), now=time, timeouts=timeouts
    ) as house:
        idle = await house.connect()
        idle.write(GET)
        await idle.reply()
        time.reach(1.0, house)
        slow = await house.connect()
        slow.write(POST)
        silent = await house.connect()
        await heard(house, 2)
        await house.until(lambda: len(house.front.connections) == 3)
        time.reach(3.9, house)
        await asyncio.sleep(0.01)
        assert len(house.front.connections) == 3
        time.reach(4.0, house)
        assert await silent.rest() == b""
        time.reach(5.9, house)
        await asyncio.sleep(0.01)
        assert len(house.exchanges) == 1
        time.reach(6.0, house)
        assert (await slow.reply()).status == 408
        time.reach(7.9, house)
        await asyncio.sleep(0.01)
        assert len(house.front.connections) == 1
        time.reach(8.0, house)
        assert await idle.rest() == b""


async def test_connections_are_looked_at_without_being_asked_to(serving: Any, placed: Any) -> None:
    timeouts = {"header": "50ms", "body": "50ms", "keep_alive": "50ms"}
    async with serving(placed("/", ok), placed("/", echo, method="POST", name="post"), timeouts=timeouts) as house:
        for _ in range(2):  # when all are gone, and again
            idle, slow, half, silent = [await house.connect() for _ in range(4)]
            idle.write(GET)
            slow.write(POST)
            half.write(HALF)
            assert (await idle.reply()).status == 200
            assert (await slow.reply()).status == (await half.reply()).status == 408
            for peer in (idle, slow, half, silent):
                assert await peer.rest() == b""
            await house.until(lambda: not house.front.connections)
        assert sorted(exchange.status for exchange in await house.told(6)) == [200, 200, 408, 408, 408, 408]


# --- bodies


async def by_read(request: web.Request) -> int:
    return len(await request.read())


async def by_chunks(request: web.Request) -> int:
    return sum([len(chunk) async for chunk in request.content.iter_chunked(2)])


async def by_any(request: web.Request) -> int:
    return sum([len(chunk) async for chunk in request.content.iter_any()])


async def by_frames(request: web.Request) -> int:
    return sum([len(chunk) async for chunk, _ in request.content.iter_chunks()])


async def by_lines(request: web.Request) -> int:
    return sum([len(line) async for line in request.content])


async def by_exact(request: web.Request) -> int:
    try:
        return len(await request.content.readexactly(1_000_000))
    except asyncio.IncompleteReadError as error:
        return len(error.partial)


async def by_all(request: web.Request) -> int:
    return len(await request.content.read())


WAYS = [by_read, by_chunks, by_any, by_frames, by_lines, by_exact, by_all]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("raw", [POST, CHUNKED + b"1\r\n"], ids=["length", "chunked"])
def test_slow_body_gets_408_however_it_is_read(
    on_loop: Any, serving: Any, placed: Any, time: Time, way: Any, raw: bytes
) -> None:
    async def handler(request: web.Request) -> Answer:
        return Answer.json(await way(request))

    async def scenario() -> None:
        finishes = [Finish(Slot.RECEIVE, lambda request, answer: answer.add("X-Finished", "1"))]
        async with serving(placed("/", handler, *finishes, method="POST"), now=time) as house:
            peer = await house.connect()
            peer.write(raw)
            await heard(house, 1)
            time.reach(20.0, house)
            await arrived(house, peer, b"a")  # which does not put it off
            time.reach(29.9, house)
            await asyncio.sleep(0.01)
            assert not house.exchanges
            time.reach(30.0, house)
            reply = await peer.reply()
            assert (reply.status, reply.error["code"]) == (408, "TIMEOUT")
            assert reply.error["message"] == "The body of the request did not arrive in time."
            assert (reply.header("Connection"), reply.header("X-Finished")) == ("close", "1")
            assert await peer.rest() == b""
            (exchange,) = await house.told()
            assert (exchange.method, exchange.route, exchange.status) == ("POST", "r._", 408)
            assert (exchange.error_code, exchange.failure) == ("TIMEOUT", None)

    on_loop(scenario)


def test_handler_that_never_reads_a_slow_body_is_not_harmed(
    on_loop: Any, serving: Any, placed: Any, time: Time
) -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def handler(request: web.Request) -> Answer:
            await go.wait()
            return Answer(200, b"done")

        async with serving(placed("/", handler, method="POST"), now=time) as house:
            peer = await house.connect()
            peer.write(POST + b"a")
            await heard(house, 1)
            time.reach(1_000.0, house)
            go.set()
            reply = await peer.reply()
            assert (reply.status, reply.body, reply.header("Connection")) == (200, b"done", "close")
            assert await peer.rest() == b""
            assert (await house.told())[0].status == 200

    on_loop(scenario)


def test_body_that_comes_in_time_is_forgotten(on_loop: Any, serving: Any, placed: Any, time: Time) -> None:
    async def scenario() -> None:
        async with serving(placed("/", echo, method="POST"), now=time) as house:
            peer = await house.connect()
            for start_s in (0.0, 70.0, 140.0):
                time.reach(start_s, house)
                for raw in (POST, b"ab"):
                    peer.write(raw)
                    await asyncio.sleep(0.01)
                time.reach(start_s + 29.0, house)
                peer.write(b"cd")
                assert (await peer.reply()).body == b"abcd"
                await house.until(lambda: house.front.connections[0]._waiter is not None)
                time.reach(start_s + 31.0, house)
            await house.told(3)

    on_loop(scenario)


async def wrapped(request: web.Request, proceed: Any) -> Any:
    return await proceed()


@pytest.mark.parametrize("steps", [[], [Wrap(Slot.ADMIT, wrapped)]], ids=["plain", "in a wrap"])
@pytest.mark.parametrize("way", WAYS)
def test_handler_that_is_cut_while_it_waits_for_the_body_gives_408(
    on_loop: Any, serving: Any, placed: Any, way: Any, steps: list[Wrap]
) -> None:
    async def handler(request: web.Request) -> Answer:
        return Answer.json(await way(request))

    async def scenario() -> None:
        async with serving(placed("/", handler, *steps, method="POST"), handler_s=0.05) as house:
            peer = await house.connect()
            peer.write(POST + b"a")
            reply = await peer.reply()
            assert (reply.status, reply.error["code"], reply.header("Connection")) == (408, "TIMEOUT", "close")
            peer.leave()
            assert (await house.told())[0].failure is None

    on_loop(scenario)


@pytest.mark.parametrize("tries", [0, 1])
async def test_handler_that_is_cut_while_it_waits_for_something_else_gives_504(
    serving: Any, placed: Any, tries: int
) -> None:
    async def handler(request: web.Request) -> Answer:
        for _ in range(tries):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(request.read(), 0.01)
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async with serving(placed("/", handler, method="POST"), handler_s=0.05) as house:
        peer = await house.connect()
        peer.write(POST + b"a")
        reply = await peer.reply()
        assert (reply.status, reply.error["code"]) == (504, "TIMEOUT")


async def test_body_that_waits_for_its_invitation_is_timed_too(serving: Any, placed: Any, time: Time) -> None:
    async with serving(placed("/", echo, method="POST"), now=time) as house:
        peer = await house.connect()
        peer.write(b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert (await peer.reply()).status == 100
        time.reach(30.0, house)
        assert (await peer.reply()).status == 408
        assert await peer.rest() == b""


async def test_body_after_an_upgrade_that_nobody_took_is_timed_and_no_head(
    serving: Any, placed: Any, time: Time
) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    large = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n"
    async with serving(
        placed("/", ok), placed("/", echo, method="POST", name="post"), now=time, body_limit=200_000
    ) as house:
        peer = await house.connect()
        peer.write(upgrade + large)
        assert (await peer.reply()).status == 200
        for _ in range(10):
            peer.write(b"x" * 10_000)
            await asyncio.sleep(0.001)
        assert len((await peer.reply()).body) == 100_000
        peer.write(upgrade + large)
        assert (await peer.reply()).status == 200
        await heard(house, 4)
        time.reach(30.0, house)
        assert (await peer.reply()).status == 408


# --- what has no deadline


async def test_streams_and_websockets_last(serving: Any, placed: Any, time: Time) -> None:
    go = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await go.wait()
        await response.write(b"late")
        return response

    async def socket(request: web.Request) -> web.StreamResponse:
        accepted = web.WebSocketResponse()
        await accepted.prepare(request)
        async for message in accepted:
            await accepted.send_str(message.data)
        return accepted

    async with serving(placed("/", stream), placed("/ws", socket), now=time) as house:
        peer = await house.connect()
        peer.write(GET)
        talker = await house.connect()
        talker.write(
            b"GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        assert (await talker.reply()).status == 101
        for seconds in (11.0, 31.0, 76.0, 1_000.0):
            time.reach(seconds, house)
            talker.write(b"\x81\x82\x00\x00\x00\x00hi")
            async with asyncio.timeout(5):
                assert await talker.reader.readexactly(4) == b"\x81\x02hi"
        go.set()
        assert (await peer.reply()).body == b"late"


# --- the end


def test_head_that_has_begun_is_answered_before_the_end(on_loop: Any, serving: Any, placed: Any, time: Time) -> None:
    async def scenario() -> None:
        async with serving(placed("/", ok), now=time) as house:
            peer, idle = await house.connect(), await house.connect()
            await house.until(lambda: len(house.front.connections) == 2)
            peer.write(GET[:10])
            await house.until(lambda: any(each._head_bytes for each in house.front.connections))
            ending = asyncio.create_task(house.front.finish())
            assert await idle.rest() == b""
            assert not ending.done()
            peer.write(GET[10:])
            reply = await peer.reply()
            assert (reply.status, reply.header("Connection")) == (200, "close")
            assert await peer.rest() == b""
            await ending
            await house.told(1)

    on_loop(scenario)


async def test_head_that_never_ends_does_not_hold_the_end_longer_than_its_deadline(
    serving: Any, placed: Any, time: Time
) -> None:
    async with serving(placed("/", ok), now=time) as house:
        peer = await house.connect()
        peer.write(GET[:10])
        await house.until(lambda: any(each._head_bytes for each in house.front.connections))
        ending = asyncio.create_task(house.front.finish())
        await asyncio.sleep(0.01)
        assert not ending.done()
        time.reach(10.0, house)
        assert (await peer.reply()).status == 408
        await ending


def test_head_that_has_begun_is_told_when_the_end_waits_no_longer(
    on_loop: Any, serving: Any, placed: Any, time: Time
) -> None:
    async def scenario() -> None:
        async with serving(placed("/", ok), now=time) as house:
            peer, idle = await house.connect(), await house.connect()
            await house.until(lambda: len(house.front.connections) == 2)
            peer.write(GET[:10])
            await house.until(lambda: any(each._head_bytes for each in house.front.connections))
            await house.front.cut(within_s=5.0)
            reply = await peer.reply()
            assert (reply.status, reply.error["code"]) == (503, "SERVICE_UNAVAILABLE")
            assert (reply.header("Connection"), reply.header("Retry-After")) == ("close", "1")
            assert await peer.rest() == await idle.rest() == b""
            assert [exchange.status for exchange in await house.told()] == [503]

    on_loop(scenario)


async def test_checks_come_before_the_body_is_waited_for(serving: Any, placed: Any, time: Time) -> None:
    steps = [Check(Slot.IDENTIFY, lambda request: Answer(401))]
    async with serving(placed("/", echo, *steps, method="POST"), now=time) as house:
        peer = await house.connect()
        peer.write(POST)
        reply = await peer.reply()
        assert (reply.status, reply.header("Connection")) == (401, "close")
        await house.told(1)
        time.reach(30.0, house)
        assert await peer.rest() == b""
        await house.told(1)

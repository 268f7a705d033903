"""`Front` and `Connection` over real sockets: malformed requests, bodies, keep-alive, pipelining, slow readers."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from service.answers import Answer
from service.errors import Unauthenticated
from service.events import CLIENT_CLOSED_REQUEST
from service.keys import CLIENT
from service.parts import Check, Finish, Release
from service.slots import Slot
from service.table import UNMATCHED

HOST = b"Host: t\r\n"


def ok(request: web.Request) -> Answer:
    return Answer(200, request.query_string.encode() or b"ok")


async def echo(request: web.Request) -> Answer:
    return Answer(200, await request.read())


# --- malformed requests

MALFORMED = {
    "method": b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown method": b"FETCH / HTTP/1.1\r\n" + HOST + b"\r\n",
    "version": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    "not http": b"GET / GOPHER/1.1\r\n" + HOST + b"\r\n",
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "header without colon": b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n",
    "header name": b"GET / HTTP/1.1\r\n" + HOST + b"X Y: z\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\n" + HOST + b"X-A : z\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\n" + HOST + b"X-A: y\r\n z\r\n\r\n",
    "nul in header": b"GET / HTTP/1.1\r\n" + HOST + b"X-A: a\0b\r\n\r\n",
    "nul in target": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "raw bytes in target": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "odd length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na",
    "unknown transfer coding": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
    "garbage": bytes(range(256)) * 4,
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 500,
    "smtp": b"EHLO there\r\nMAIL FROM:<a@b>\r\n",
    "line feeds": b"GET / HTTP/1.1\nHost: t\n\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_malformed_request_gets_the_form_and_ends_the_connection(
    on_loop: Any, serving: Any, placed: Any, raw: bytes
) -> None:
    async def scenario() -> None:
        ran: list[str] = []

        def check(slot: Slot) -> Check:
            def run(request: web.Request) -> None:
                assert request.headers.getall("X-Any", ["none"]) == ["none"]  # a real, empty mapping
                assert (request.method, request.raw_path, request.query_string) == ("-", "-", "")
                assert request[CLIENT].address == "127.0.0.1"
                assert request.app is house.app
                assert not request.match_info
                ran.append(f"check {slot.name}")

            return Check(slot, run)

        steps = [
            *[check(slot) for slot in Slot],
            *[Finish(slot, lambda request, answer, slot=slot: ran.append(f"finish {slot.name}")) for slot in Slot],
            Release(Slot.ADMIT, lambda request: ran.append("release ADMIT")),
        ]
        async with serving(placed("/", ok), around_misses=steps) as house:
            peer = await house.connect()
            peer.write(raw)
            reply = await peer.reply()
            assert (reply.status, reply.error["code"]) == (400, "VALIDATION_ERROR")
            assert reply.error["message"].startswith("This is not a valid HTTP request: ")
            assert reply.error["message"].isprintable()
            assert "b'" not in reply.error["message"]
            assert len(reply.error["message"]) < 200
            assert reply.header("Connection") == "close"
            assert await peer.rest() == b""
            (exchange,) = await house.told()
            assert ran == ["check RECEIVE", "check ADMIT", "finish ADMIT", "finish RECEIVE", "release ADMIT"]
            assert (exchange.method, exchange.target, exchange.route, exchange.status) == ("-", "-", UNMATCHED, 400)
            assert (exchange.error_code, exchange.failure) == ("VALIDATION_ERROR", None)
            assert (exchange.bytes_sent, dict(exchange.headers)) == (len(reply.body), {})

    on_loop(scenario)


async def test_garbage_after_an_answer_gets_an_answer_of_its_own(serving: Any, placed: Any) -> None:
    async with serving(placed("/", ok)) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await peer.reply()).status == 200
        peer.write(b"garbage\r\n\r\n")
        assert (await peer.reply()).status == 400
        assert await peer.rest() == b""
        assert [exchange.status for exchange in await house.told(2)] == [200, 400]


async def test_connection_without_a_request_makes_no_exchange(serving: Any, placed: Any) -> None:
    async with serving(placed("/", ok)) as house:
        for raw in (b"", b"\r\n", b"GET / HTTP/1.1\r\nHost:"):
            peer = await house.connect()
            peer.write(raw)
            await peer.writer.drain()
            peer.leave()
        await house.until(lambda: not house.front.connections)
        await house.told(0)


# --- bodies


async def test_body_within_the_limit_is_read_and_the_connection_goes_on(serving: Any, placed: Any) -> None:
    async with serving(placed("/", echo, method="POST"), body_limit=1_000) as house:
        peer = await house.connect()
        for body in (b"x" * 1_000, b"", b"y"):
            peer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert (await peer.reply()).body == body
        peer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        peer.write(b"2\r\nab\r\n1;ext=1\r\nc\r\n0\r\nTrailer: x\r\n\r\n")
        assert (await peer.reply()).body == b"abc"


def test_body_over_the_limit_is_refused_and_the_client_sees_it(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        called: list[bool] = []

        async def handler(request: web.Request) -> Answer:
            called.append(True)
            return await echo(request)

        async with serving(placed("/", handler, method="POST"), body_limit=1_000) as house:
            size = 3_000_000
            declared = await house.connect()
            declared.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
            reply = await declared.reply()
            assert (reply.status, reply.error["code"]) == (413, "PAYLOAD_TOO_LARGE")
            assert reply.header("Connection") == "close"
            assert not called
            assert await declared.rest() == b""
            chunked = await house.connect()
            chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
            chunked.write(
                b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 40 + b"0\r\n\r\n"
            )
            reply = await chunked.reply()
            assert (reply.status, reply.error["code"]) == (413, "PAYLOAD_TOO_LARGE")
            assert reply.header("Connection") == "close"
            assert called
            assert [exchange.status for exchange in await house.told(2)] == [413, 413]

    on_loop(scenario)


async def test_unread_body_that_has_arrived_keeps_the_connection(serving: Any, placed: Any) -> None:
    def refuse(request: web.Request) -> Answer:
        raise Unauthenticated("Who?")

    async with serving(placed("/", refuse, method="POST")) as house:
        peer = await house.connect()
        for _ in range(3):
            peer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc")
            reply = await peer.reply()
            assert (reply.status, reply.header("Connection")) == (401, None)


async def test_unread_body_that_is_still_coming_ends_the_connection_on_an_error(serving: Any, placed: Any) -> None:
    async with serving(placed("/", ok)) as house:
        peer = await house.connect()
        peer.write(b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 900\r\n\r\nabc")
        reply = await peer.reply()
        assert (reply.status, reply.header("Connection")) == (404, "close")
        peer.write(b"x" * 897)  # it is read, so that no reset overtakes the answer
        assert await peer.rest() == b""


async def test_bad_chunk_is_refused_and_ends_the_connection(serving: Any, placed: Any) -> None:
    async with serving(placed("/", echo, method="POST")) as house:
        for bad in (b"zz\r\nab\r\n", b"2\r\nabXX", b"-1\r\n", b"fffffffffffffffffff\r\n"):
            house.exchanges.clear()
            peer = await house.connect()
            peer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
            await house.until(lambda: house.front.connections[-1]._current_request is not None)
            peer.write(bad)
            reply = await peer.reply()
            assert (reply.status, reply.error["code"]) == (400, "VALIDATION_ERROR"), bad
            assert reply.header("Connection") == "close"
            assert await peer.rest() == b""
            (exchange,) = await house.told()
            assert (exchange.status, exchange.failure, exchange.method) == (400, None, "POST")


async def test_bad_coding_is_refused(serving: Any, placed: Any) -> None:
    async with serving(placed("/", echo, method="POST")) as house:
        reply = await house.ask(method="POST", headers=["Content-Encoding: gzip"], body=b"not gzip at all")
        assert (reply.status, reply.error["code"]) == (400, "VALIDATION_ERROR")
        (exchange,) = await house.told()
        assert exchange.failure is None


def test_body_that_never_arrives_ends_with_its_client(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        released: list[int] = []
        async with serving(
            placed("/", echo, Release(Slot.ADMIT, lambda request: released.append(1)), method="POST")
        ) as house:
            for count, framing in enumerate((b"Content-Length: 9", b"Transfer-Encoding: chunked"), 1):
                peer = await house.connect()
                peer.write(b"POST / HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n")
                await house.until(lambda: house.front.requests_count == count)  # noqa: B023
                await asyncio.sleep(0.01)
                peer.leave()
                exchange = (await house.told(count))[-1]
                assert (exchange.status, exchange.failure) == (CLIENT_CLOSED_REQUEST, None)
                assert len(released) == count

    on_loop(scenario)


# --- Expect


async def test_body_is_invited_only_when_all_checks_have_passed(serving: Any, placed: Any) -> None:
    steps = [Check(Slot.RECALL, lambda request: Answer(403) if "no" in request.query else None)]
    async with serving(placed("/", echo, *steps, method="POST")) as house:
        peer = await house.connect()
        for _ in range(2):
            peer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n")
            assert (await peer.reply()).status == 100
            peer.write(b"abc")
            reply = await peer.reply()
            assert (reply.status, reply.body, reply.header("Connection")) == (200, b"abc", None)
        peer.write(b"POST /?no HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        reply = await peer.reply()
        assert (reply.status, reply.header("Connection")) == (403, "close")
        peer.leave()
        too_large = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3000\r\nExpect: 100-continue\r\n\r\n"
        peer = await house.connect()
        peer.write(too_large)
        assert (await peer.reply()).status == 413
        assert [exchange.status for exchange in await house.told(4)] == [200, 200, 403, 413]


async def test_body_not_invited_and_not_sent_ends_the_connection_on_success_too(serving: Any, placed: Any) -> None:
    steps = [Check(Slot.RECALL, lambda request: Answer(200, b"known"))]
    async with serving(placed("/", echo, *steps, method="POST")) as house:
        peer = await house.connect()
        peer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await peer.reply()).header("Connection") == "close"


async def test_other_expectations_are_refused(serving: Any, placed: Any) -> None:
    async with serving(placed("/", echo, method="POST")) as house:
        reply = await house.ask(method="POST", headers=["Expect: the-inquisition"], body=b"abc")
        assert (reply.status, reply.error["code"]) == (417, "EXPECTATION_FAILED")
        old = await house.ask(method="POST", headers=["Expect: 100-continue"], body=b"abc", version="1.0")
        assert (old.status, old.body) == (200, b"abc")  # HTTP/1.0 knows no interim answers


# --- keep-alive


@pytest.mark.parametrize(
    ("version", "asked", "said", "kept"),
    [
        ("1.1", None, None, True),
        ("1.1", "keep-alive", None, True),
        ("1.1", "close", "close", False),
        ("1.1", "Close", "close", False),
        ("1.0", None, "close", False),
        ("1.0", "keep-alive", "keep-alive", True),
        ("1.0", "close", "close", False),
    ],
)
async def test_connection_is_kept_as_its_client_wishes(
    serving: Any, placed: Any, version: str, asked: str | None, said: str | None, kept: bool
) -> None:
    async with serving(placed("/", ok)) as house:
        for path in ("/", "/nothing"):
            peer = await house.connect()
            line = f"Connection: {asked}\r\n" if asked else ""
            raw = f"GET {path} HTTP/{version}\r\nHost: t\r\n{line}\r\n".encode()
            peer.write(raw)
            assert (await peer.reply()).header("Connection") == said
            if kept:
                peer.write(raw)
                assert (await peer.reply()).header("Connection") == said
                peer.leave()
            else:
                assert await peer.rest() == b""


async def test_request_without_a_version_is_answered_once(serving: Any, placed: Any) -> None:
    async with serving(placed("/", ok)) as house:
        peer = await house.connect()
        peer.write(b"GET /\r\n\r\n")
        assert (await peer.reply()).header("Connection") == "close"
        assert await peer.rest() == b""
        await house.told()


async def test_http_1_0_without_a_host_is_served(serving: Any, placed: Any) -> None:
    async with serving(placed("/", ok)) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await peer.reply()).body == b"ok"


async def test_error_keeps_the_connection_where_nothing_is_unread(serving: Any, placed: Any) -> None:
    async with serving(placed("/", ok)) as house:
        peer = await house.connect()
        for _ in range(3):
            peer.write(b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n")
            reply = await peer.reply()
            assert (reply.status, reply.header("Connection")) == (404, None)


# --- pipelining and slow readers


def test_pipelined_requests_are_all_answered_in_order(on_loop: Any, serving: Any, placed: Any) -> None:
    async def wait(request: web.Request) -> Answer:
        await asyncio.sleep(0)
        return ok(request)

    async def scenario() -> None:
        async with serving(placed("/sync", ok), placed("/async", wait)) as house:
            count = 150
            targets = [("/async" if number % 3 else "/sync", number) for number in range(count)]
            raw = b"".join(f"GET {path}?{number} HTTP/1.1\r\nHost: t\r\n\r\n".encode() for path, number in targets)
            whole, split = await house.connect(), await house.connect()
            whole.write(raw)
            for at in range(0, len(raw), 7):
                split.write(raw[at : at + 7])
                if at % 70 == 0:
                    await asyncio.sleep(0)
            for peer in (whole, split):
                assert [(await peer.reply()).body for _ in range(count)] == [b"%d" % n for n in range(count)]
            assert [exchange.status for exchange in await house.told(2 * count)] == [200] * 2 * count

    on_loop(scenario)


def test_slow_reader_holds_back_what_is_sent_to_it(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        body = b"x" * 1_000_000
        asked, made = 40, []

        def large(request: web.Request) -> Answer:
            made.append(1)
            return Answer(200, body)

        async with serving(placed("/large", large), placed("/small", lambda _: Answer(200, b"y" * 100))) as house:
            peer = await house.connect(receive_bytes=4_096)
            peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
            peer.write(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n" * asked)
            await house.until(lambda: bool(made))
            for _ in range(50):
                await house.ask("/small")  # others are served meanwhile
            (slow,) = [each for each in house.front.connections if each.transport.get_write_buffer_size()]
            assert slow.transport.get_write_buffer_size() < 2 * len(body)
            assert len(made) < asked
            peer.reader._transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(asked):
                assert len((await peer.reply()).body) == len(body)
            assert len(made) == asked

    on_loop(scenario)


def test_slow_reader_of_small_answers_is_held_back_too(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        served: list[int] = []

        def handler(request: web.Request) -> Answer:
            served.append(1)
            return Answer(200, b"y" * 1_000)

        async with serving(placed("/", handler)) as house:
            peer = await house.connect(receive_bytes=4_096)
            peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
            asked = 20_000
            peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n" * asked)
            last = -1
            while last != len(served):
                last = len(served)
                await asyncio.sleep(0.1)
            assert len(served) < asked
            (slow,) = house.front.connections
            assert slow.transport.get_write_buffer_size() < 1_000_000
            peer.reader._transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(asked):
                await peer.reply()
            assert len(served) == asked

    on_loop(scenario)


def test_client_that_leaves_while_it_is_sent_to_makes_one_exchange(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        released: list[int] = []
        steps = [Release(Slot.ADMIT, lambda request: released.append(1))]
        async with serving(placed("/", lambda _: Answer(200, b"x" * 20_000_000), *steps)) as house:
            for count, leave in enumerate(("leave", "reset"), 1):
                peer = await house.connect(receive_bytes=4_096)
                peer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                await peer.reader.readuntil(b"\r\n\r\n")
                getattr(peer, leave)()
                exchange = (await house.told(count))[-1]
                assert (exchange.status, exchange.bytes_sent) == (CLIENT_CLOSED_REQUEST, 0)
                await house.until(lambda: not house.front.connections)
                assert len(released) == count

    on_loop(scenario)


# --- websockets


def test_websocket_is_accepted_finished_and_told_of_once(on_loop: Any, serving: Any, placed: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data + "!")
        return socket

    async def scenario() -> None:
        released: list[int] = []
        steps = [
            Finish(Slot.RECEIVE, lambda request, answer: answer.add("X-Finished", "1")),
            Release(Slot.ADMIT, lambda request: released.append(1)),
        ]
        async with serving(placed("/ws", handler, *steps), handler_s=0.1) as house:
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(f"http://127.0.0.1:{house.port}/ws") as socket:
                    headers = socket._response.headers
                    assert headers["X-Finished"] == "1"
                    assert "X-Request-Id" in headers
                    assert "Server" not in headers
                    await asyncio.sleep(0.15)  # past the handler's deadline
                    await socket.send_str("a")
                    assert await socket.receive_str() == "a!"
                    await house.told(0)
                (exchange,) = await house.told()
                assert (exchange.status, exchange.failure) == (101, None)
                async with session.get(f"http://127.0.0.1:{house.port}/ws") as refused:
                    assert refused.status == 400
                    assert (await refused.json())["error"]["code"] == "VALIDATION_ERROR"
                    assert refused.headers["X-Finished"] == "1"
            assert len(await house.told(2)) == len(released) == 2

    on_loop(scenario)


def test_websocket_whose_client_drops_out_is_told_of_once(on_loop: Any, serving: Any, placed: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async def scenario() -> None:
        released: list[int] = []
        async with serving(placed("/ws", handler, Release(Slot.ADMIT, lambda request: released.append(1)))) as house:
            for count, leave in enumerate(("leave", "reset"), 1):
                peer = await house.connect()
                peer.write(
                    b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
                )
                assert (await peer.reply()).status == 101
                getattr(peer, leave)()
                exchange = (await house.told(count))[-1]
                assert (exchange.status, exchange.failure) == (CLIENT_CLOSED_REQUEST, None)
                assert len(released) == count

    on_loop(scenario)


async def test_upgrade_that_no_handler_takes_is_served_as_if_it_were_not_there(serving: Any, placed: Any) -> None:
    async with serving(placed("/", ok)) as house:
        peer = await house.connect()
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        peer.write(b"GET / HTTP/1.1\r\n" + HOST + upgrade + b"GET /?2 HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await peer.reply()).body == b"ok"
        assert (await peer.reply()).body == b"2"


# --- aiohttp's own client


async def test_aiohttps_client_is_served_over_one_connection(serving: Any, placed: Any) -> None:
    peers: set[Any] = set()

    async def handler(request: web.Request) -> Answer:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return Answer(200, await request.read())

    async with serving(placed("/", handler, method="POST"), body_limit=2_000_000) as house:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            for body in (b"a", b"b" * 500_000, b""):
                async with session.post(f"http://127.0.0.1:{house.port}/", data=body) as response:
                    assert (response.status, await response.read()) == (200, body)
        await house.told(3)
    assert len(peers) == 1

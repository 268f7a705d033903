"""Large requests and many connections: what is bounded, and what clients are told."""

from __future__ import annotations

import asyncio
import gzip
import logging
import resource
from typing import Any

import pytest
from aiohttp import web

from service import protocol
from service.answers import Answer
from service.slots import Door
from service.table import UNMATCHED

HOST = b"Host: t\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"


def ok(request: web.Request) -> Answer:
    return Answer(200, b"ok")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- heads


def target(length: int) -> bytes:
    """A request whose target is so long."""
    return b"GET /?" + b"a" * (length - 2) + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def header(length: int) -> bytes:
    """A request with a header line that is so long, without its end."""
    return b"GET / HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * (length - 5) + b"\r\n\r\n"


def head(length: int, *, method: bytes = b"GET") -> bytes:
    """A request whose head is so long, in lines of 1,000 bytes at most."""
    raw = method + b" / HTTP/1.1\r\n" + HOST
    while (missing := length - len(raw) - 2) > 0:
        line = b"X-A: " + b"a" * (min(missing, 1_000 if missing > 1_020 else 500 if missing > 520 else missing) - 7)
        raw += line + b"\r\n"
    return raw + b"\r\n"


LINE, HEADERS = 8 * 1024, 32 * 1024
TOO_LONG = {
    "target": (
        target(LINE + 1),
        414,
        "URI_TOO_LONG",
        "The request target is longer than the 8,192 bytes",
    ),
    "header": (
        header(LINE + 4),  # aiohttp may leave the name out of its count
        431,
        "REQUEST_HEADER_FIELDS_TOO_LARGE",
        "A header of the request is longer than the 8,192 bytes",
    ),
    "head": (
        head(HEADERS + 1),
        431,
        "REQUEST_HEADER_FIELDS_TOO_LARGE",
        "The head of the request is larger than the 32,768 bytes",
    ),
    "many headers": (
        b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: a\r\n" % n for n in range(500)) + b"\r\n",
        431,
        "REQUEST_HEADER_FIELDS_TOO_LARGE",
        "The request has more headers than the 128",
    ),
}


def test_requests_of_these_tests_are_as_long_as_they_say() -> None:
    assert len(target(LINE).split(b" ")[1]) == LINE
    assert len(header(LINE).split(b"\r\n")[2]) == LINE
    for length in range(HEADERS - 2_000, HEADERS):
        assert len(head(length)) == length


@pytest.mark.parametrize("raw", [target(LINE), header(LINE), head(HEADERS)], ids=["target", "header", "head"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_head_of_just_that_size_is_served(on_loop: Any, serving: Any, placed: Any, raw: bytes, pieces: int) -> None:
    async def scenario() -> None:
        async with serving(placed("/", ok)) as house:
            peer = await house.connect()
            for _ in range(3):
                for piece in range(pieces):
                    peer.write(raw[len(raw) * piece // pieces : len(raw) * (piece + 1) // pieces])
                    await asyncio.sleep(0.002)
                assert (await peer.reply()).status == 200
            peer.write(raw * 4)
            assert [(await peer.reply()).status for _ in range(4)] == [200] * 4

    on_loop(scenario)


@pytest.mark.parametrize("how", ["at once", "in pieces", "after a request", "with a body", "among others"])
@pytest.mark.parametrize(("raw", "status", "code", "message"), TOO_LONG.values(), ids=TOO_LONG)
def test_head_that_is_too_large_gets_the_form_and_ends_the_connection(
    on_loop: Any, serving: Any, placed: Any, raw: bytes, status: int, code: str, message: str, how: str
) -> None:
    async def scenario() -> None:
        async with serving(placed("/", ok)) as house:
            peer = await house.connect()
            before = 0
            if how == "after a request":
                peer.write(target(10))
                assert (await peer.reply()).status == 200
                before = 1
            if how == "in pieces":
                for at in range(0, len(raw), 1_000):
                    peer.write(raw[at : at + 1_000])
                    await asyncio.sleep(0.001)
            elif how == "with a body":
                peer.write(raw.replace(HOST, HOST + b"Content-Length: 5\r\n", 1) + b"abcde")
            elif how == "among others":
                peer.write(target(10) + raw + target(10))
                if raw == head(HEADERS + 1):  # else the parser forgets what it has read before: aiohttp's own doing
                    assert (await peer.reply()).status == 200
                    before = 1
            else:
                peer.write(raw)
            reply = await peer.reply()
            assert (reply.status, reply.error["code"]) == (status, code)
            assert reply.error["message"] == f"{message} that this service takes."
            assert reply.header("Connection") == "close"
            assert await peer.rest() == b""
            exchange = (await house.told(before + 1))[-1]
            assert (exchange.status, exchange.error_code, exchange.failure) == (status, code, None)
            assert (exchange.method, exchange.route) == ("-", UNMATCHED)

    on_loop(scenario)


@pytest.mark.parametrize("raw", [target(3_000_000), header(3_000_000), head(3_000_000)], ids=["line", "header", "head"])
def test_client_that_sends_far_too_much_sees_why(on_loop: Any, serving: Any, placed: Any, raw: bytes) -> None:
    async def scenario() -> None:
        async with serving(placed("/", ok)) as house:
            peer = await house.connect()
            peer.write(raw)
            await peer.writer.drain()
            assert (await peer.reply()).status in (414, 431)
            assert await peer.rest() == b""
            await house.told(1)

    on_loop(scenario)


async def test_settings_say_how_large(serving: Any, placed: Any) -> None:
    async with serving(placed("/", ok), limits={"line": "1KiB", "headers": "2KiB"}) as house:
        for raw, status in (
            (target(1_024), 200),
            (target(1_025), 414),
            (header(1_024), 200),
            (header(1_028), 431),
            (head(2_048), 200),
            (head(2_049), 431),
        ):
            peer = await house.connect()
            peer.write(raw)
            assert (await peer.reply()).status == status
            peer.leave()


# --- bodies


async def by_read(request: web.Request) -> int:
    return len(await request.read())


async def by_text(request: web.Request) -> int:
    return len(await request.text())


async def by_chunks(request: web.Request) -> int:
    return sum([len(piece) async for piece in request.content.iter_chunked(2)])


async def by_any(request: web.Request) -> int:
    return sum([len(piece) async for piece in request.content.iter_any()])


async def by_frames(request: web.Request) -> int:
    return sum([len(piece) async for piece, _ in request.content.iter_chunks()])


async def by_lines(request: web.Request) -> int:
    return sum([len(line) async for line in request.content])


async def by_all(request: web.Request) -> int:
    return len(await request.content.read())


WAYS = [by_read, by_text, by_chunks, by_any, by_frames, by_lines, by_all]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["one read", "pieces", "endless", "packed"])
def test_body_is_bounded_however_it_is_read(on_loop: Any, serving: Any, placed: Any, way: Any, how: str) -> None:
    async def handler(request: web.Request) -> Answer:
        return Answer.json(await way(request))

    async def scenario() -> None:
        async with serving(placed("/", handler, method="POST"), body_limit=1_000) as house:
            peer = await house.connect()
            if how == "one read":
                peer.write(CHUNKED + b"\r\n" + chunk(b"x" * 1_001) + b"0\r\n\r\n")
            elif how == "packed":
                packed = gzip.compress(b"x" * 1_001)
                peer.write(CHUNKED + b"Content-Encoding: gzip\r\n\r\n" + chunk(packed) + b"0\r\n\r\n")
            else:
                peer.write(CHUNKED + b"\r\n")
                for _ in range(10):
                    peer.write(chunk(b"x" * 100))
                    await asyncio.sleep(0.001)
                peer.write(chunk(b"y") + (b"" if how == "endless" else b"0\r\n\r\n"))
            reply = await peer.reply()
            assert (reply.status, reply.error["code"]) == (413, "PAYLOAD_TOO_LARGE")
            assert reply.error["message"] == "The body is larger than the 1,000 bytes that this service takes."
            peer.leave()
            (exchange,) = await house.told()
            assert (exchange.status, exchange.error_code, exchange.failure) == (413, "PAYLOAD_TOO_LARGE", None)

    on_loop(scenario)


@pytest.mark.parametrize("way", WAYS)
async def test_body_of_just_that_size_is_read(serving: Any, placed: Any, way: Any) -> None:
    async def handler(request: web.Request) -> Answer:
        return Answer.json(await way(request))

    async with serving(placed("/", handler, method="POST"), body_limit=1_000) as house:
        peer = await house.connect()
        for _ in range(2):
            peer.write(CHUNKED + b"\r\n" + chunk(b"x" * 999) + chunk(b"\n") + b"0\r\n\r\n")
            assert (await peer.reply()).body == b"1000"
            packed = gzip.compress(b"x" * 1_000)
            peer.write(CHUNKED + b"Content-Encoding: gzip\r\n\r\n" + chunk(packed) + b"0\r\n\r\n")
            assert (await peer.reply()).body == b"1000"


async def test_every_body_of_a_pipeline_is_bounded(serving: Any, placed: Any) -> None:
    async def handler(request: web.Request) -> Answer:
        return Answer(200, await request.content.read())

    async with serving(placed("/", handler, method="POST"), body_limit=4) as house:
        peer = await house.connect()
        small, large = (CHUNKED + b"\r\n" + chunk(data) + b"0\r\n\r\n" for data in (b"abcd", b"abcde"))
        peer.write(small + large + small + large)
        assert [(await peer.reply()).status for _ in range(4)] == [200, 413, 200, 413]


def test_handler_that_never_reads_a_large_body_is_not_harmed(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        async def handler(request: web.Request) -> Answer:
            await go.wait()
            return Answer(200, b"done")

        async with serving(placed("/", handler, method="POST"), body_limit=1_000) as house:
            for end in (b"", b"0\r\n\r\n"):
                go = asyncio.Event()
                peer = await house.connect()
                peer.write(CHUNKED + b"\r\n" + chunk(b"x" * 2_000) + end)
                await house.until(lambda: any(each._current_request for each in house.front.connections))
                go.set()
                reply = await peer.reply()
                assert (reply.status, reply.body, reply.header("Connection")) == (
                    200,
                    b"done",
                    None if end else "close",
                )
                peer.leave()
                await house.until(lambda: not house.front.connections)

    on_loop(scenario)


async def test_client_that_goes_on_sending_sees_why(serving: Any, placed: Any) -> None:
    async def handler(request: web.Request) -> Answer:
        return Answer.json(await by_any(request))

    async with serving(placed("/", handler, method="POST"), body_limit=1_000) as house:
        peer = await house.connect()
        peer.write(CHUNKED + b"\r\n" + chunk(b"x" * 0xFFFF) * 40 + b"0\r\n\r\n")
        await peer.writer.drain()
        reply = await peer.reply()
        assert (reply.status, reply.header("Connection")) == (413, "close")
        assert await peer.rest() == b""  # at once: the rest was read, so that no reset overtakes the answer


async def test_what_is_packed_is_not_unpacked_for_nobody(serving: Any, placed: Any) -> None:
    bodies: list[Any] = []

    async def handler(request: web.Request) -> Answer:
        bodies.append(request.content)
        return Answer.json(await by_any(request))

    bomb = gzip.compress(bytes(50_000_000), 9)
    async with serving(placed("/", handler, method="POST"), body_limit=1_000) as house:
        peer = await house.connect()
        peer.write(CHUNKED + b"Content-Encoding: gzip\r\n\r\n" + chunk(bomb) + b"0\r\n\r\n")
        assert (await peer.reply()).status == 413
        await asyncio.sleep(0.05)
        assert bodies[0].total_bytes < 2_000_000


# --- connections


async def probe(request: web.Request) -> Answer:
    return Answer(200, b"alive")


def test_connection_too_many_is_told_so_and_probes_are_answered(on_loop: Any, serving: Any, placed: Any) -> None:
    async def scenario() -> None:
        routes = (placed("/", ok), placed("/live", probe, door=Door.PROBE))
        async with serving(*routes, limits={"connections": 2}) as house:
            kept = [await house.connect() for _ in range(2)]
            for peer in kept:
                peer.write(target(10))
                assert (await peer.reply()).status == 200
            for raw in (target(10), b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n", target(10)):
                peer = await house.connect()
                peer.write(raw)
                reply = await peer.reply()
                assert (reply.status, reply.error["code"]) == (503, "SERVICE_UNAVAILABLE")
                assert reply.error["message"] == "This service has as many connections as it takes."
                assert (reply.header("Retry-After"), reply.header("Connection")) == ("1", "close")
                assert await peer.rest() == b""
            peer = await house.connect()
            peer.write(b"GET /live HTTP/1.1\r\n" + HOST + b"\r\n")
            reply = await peer.reply()
            assert (reply.status, reply.body, reply.header("Connection")) == (200, b"alive", "close")
            assert await peer.rest() == b""
            peer = await house.connect()
            peer.write(b"garbage\r\n\r\n")
            assert (await peer.reply()).status == 400
            assert await peer.rest() == b""
            for peer in kept:  # which are served as before
                peer.write(target(10))
                assert (await peer.reply()).status == 200
            kept[0].leave()
            await house.until(lambda: len(house.front.connections) == 1)
            peer = await house.connect()
            peer.write(target(10))
            reply = await peer.reply()
            assert (reply.status, reply.header("Connection")) == (200, None)
            statuses = [exchange.status for exchange in await house.told(10)]
            assert statuses == [200, 200, 503, 503, 503, 200, 400, 200, 200, 200]
            assert house.exchanges[2].route == UNMATCHED
            (said,) = house.logged
            assert (said.name, said.levelno) == ("pegboard", logging.WARNING)
            assert said.getMessage() == (
                "2 connections are open and no more are taken in: new ones get 503. Where clients need more, raise "
                "connections under [service.limits], and `ulimit -n` to 128 above it."
            )
            house.logged.clear()

    on_loop(scenario)


def test_far_too_many_connections_are_closed(
    on_loop: Any, serving: Any, placed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(protocol, "SURPLUS", 3)
        async with serving(placed("/", ok), limits={"connections": 2}) as house:
            silent = [await house.connect() for _ in range(5)]
            await house.until(lambda: len(house.front.connections) == 5)
            for _ in range(20):
                peer = await house.connect()
                assert await peer.rest() == b""
            assert len(house.front.connections) == 5
            house.front.now = lambda: asyncio.get_running_loop().time() + 1.0
            house.front.look()
            for peer in silent[2:]:  # who should have asked at once
                assert await peer.rest() == b""
            assert len(house.front.connections) == 2
            assert len(house.logged) == 1
            house.logged.clear()
            await house.told(0)

    on_loop(scenario)


@pytest.mark.parametrize(
    ("files", "wanted", "most"),
    [(1_024, 800, 800), (256, 800, 128), (100, 800, 1), (resource.RLIM_INFINITY, 5_000, 5_000), (1_024, 5, 5)],
)
async def test_connections_leave_files_for_all_else(
    serving: Any, placed: Any, monkeypatch: pytest.MonkeyPatch, files: int, wanted: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    async with serving(placed("/", ok), limits={"connections": wanted}) as house:
        assert house.front._most == most

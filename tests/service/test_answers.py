"""`Answer`: what goes over the wire for it, and what it refuses to hold."""

from __future__ import annotations

import re
import weakref
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from service.answers import JOIN_BELOW_BYTES, Answer
from service.parts import Finish
from service.slots import Slot


async def test_answer_carries_length_type_date_and_nothing_of_the_server(serving: Any, placed: Any) -> None:
    async with serving(placed("/", lambda request: Answer(200, b"{}"))) as house:
        reply = await house.ask()
    assert reply.body == b"{}"
    names = [name for name, _ in reply.headers]
    assert sorted(names) == ["Content-Length", "Content-Type", "Date", "X-Request-Id"]
    assert abs(parsedate_to_datetime(reply.header("Date")).timestamp() - time()) < 5


async def test_answer_to_head_has_the_length_and_no_body(serving: Any, placed: Any) -> None:
    for body in (b'{"a": 1}', b"\r\n", b"x" * (JOIN_BELOW_BYTES + 1)):  # the head ends with the second, too
        async with serving(placed("/", lambda request, body=body: Answer(200, body))) as house:
            peer = await house.connect()
            peer.write(b"HEAD / HTTP/1.1\r\nHost: t\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            head = await peer.reply(method="HEAD")
            got = await peer.reply()
            assert head.header("Content-Length") == str(len(body))
            assert got.body == body
            assert await peer.rest() == b""
            assert [exchange.bytes_sent for exchange in await house.told(2)] == [0, len(body)]


@pytest.mark.parametrize("status", [204, 304])
async def test_answer_without_content_has_neither_length_nor_body(serving: Any, placed: Any, status: int) -> None:
    async with serving(placed("/", lambda request: Answer(status, b"\r\n"))) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        raw = await peer.rest()
        (exchange,) = await house.told()
    assert raw.endswith(b"\r\n\r\n")
    assert raw.count(b"\r\n\r\n") == 1
    assert b"content-length" not in raw.lower()
    assert b"content-type" not in raw.lower()
    assert (exchange.status, exchange.bytes_sent) == (status, 0)


async def test_answer_without_body_says_length_zero(serving: Any, placed: Any) -> None:
    async with serving(placed("/", lambda request: Answer(201, headers=[("Location", "/7")]))) as house:
        reply = await house.ask()
    assert (reply.status, reply.header("Content-Length"), reply.header("Content-Type")) == (201, "0", None)
    assert reply.header("Location") == "/7"


@pytest.mark.parametrize("size", [1, JOIN_BELOW_BYTES - 1, JOIN_BELOW_BYTES, 3 * JOIN_BELOW_BYTES])
def test_answer_of_every_size_arrives_whole(on_loop: Any, serving: Any, placed: Any, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)

    async def scenario() -> None:
        async with serving(placed("/", lambda request: Answer(200, body[:size], content_type="x/y"))) as house:
            reply = await house.ask()
            assert reply.body == body[:size]
            assert reply.header("Content-Type") == "x/y"
            assert (await house.told())[0].bytes_sent == size

    on_loop(scenario)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "b\r\nSet-Cookie: stolen=1"),
        ("X-A", "b\nc"),
        ("X-A", "b\rc"),
        ("X-A", "b\0c"),
        ("X-A", "b\x1bc"),
        ("X-A", "\ud800"),
        ("X A", "b"),
        ("X-A:", "b"),
        ("X-A\r\nB", "b"),
        ("", "b"),
        ("Ä", "b"),
    ],
)
def test_answer_refuses_a_header_that_breaks_its_line(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"header|surrogates"):
        Answer(headers=[(name, value)])
    with pytest.raises(ValueError, match=r"header|surrogates"):
        Answer().add(name, value)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Content-Type", "Connection", "Date"])
def test_answer_refuses_a_second_header_that_frames_it(name: str) -> None:
    with pytest.raises(ValueError, match=f"The core writes the header {name}"):
        Answer(200, b"x").add(name, "1")


def test_answer_refuses_a_type_that_breaks_its_line() -> None:
    with pytest.raises(ValueError, match="control character"):
        Answer(200, b"x", content_type="text/plain\r\nX-A: b")


@pytest.mark.parametrize("status", [0, 99, 101, 199, 600, -1])
def test_answer_refuses_a_status_that_ends_no_request(status: int) -> None:
    with pytest.raises(ValueError, match="from 200 to 599"):
        Answer(status)


@pytest.mark.parametrize("body", ["text", None, 7, {"a": 1}])
def test_answer_refuses_a_body_that_is_not_bytes(body: Any) -> None:
    with pytest.raises(TypeError, match="bytes"):
        Answer(200, body)


async def test_answer_sends_header_values_beyond_ascii_as_they_are(serving: Any, placed: Any) -> None:
    def echo(request: web.Request) -> Answer:
        return Answer(headers=[("X-Echo", request.headers["X-Odd"]), ("X-A!b.c", "\tä ü")])

    async with serving(placed("/", echo)) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.1\r\nHost: t\r\nX-Odd: caf\xe9 \xc3\xa9\r\nConnection: close\r\n\r\n")
        raw = await peer.rest()
    assert b"\r\nX-Echo: caf\xe9 \xc3\xa9\r\n" in raw
    assert "\r\nX-A!b.c: \tä ü\r\n".encode() in raw


async def test_answer_with_an_unnamed_status_has_a_valid_status_line(serving: Any, placed: Any) -> None:
    async with serving(placed("/", lambda request: Answer(299))) as house:
        peer = await house.connect()
        peer.write(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 299 \r\n", await peer.rest())


def test_answer_header_finds_its_lines_in_any_case() -> None:
    answer = Answer(200, b"x", content_type="text/plain", headers=[("ETag", '"1"'), ("X-A", "1"), ("x-a", "2")])
    assert answer.header("etag") == '"1"'
    assert answer.header("X-a") == "1"
    assert answer.header("Content-TYPE") == "text/plain"
    assert answer.header("Vary") is None
    assert Answer(204).header("Content-Type") is None


async def test_answer_that_a_handler_keeps_gathers_nothing_from_its_sendings(serving: Any, placed: Any) -> None:
    kept = Answer.json({"ok": True}, headers=[("X-Own", "1")])

    def add(request: web.Request, answer: Answer) -> None:
        answer.add("X-For", request.query["who"])

    async with serving(placed("/", lambda request: kept, Finish(Slot.RECALL, add))) as house:
        first = await house.ask("/?who=a", headers=["Connection: close", "X-Request-Id: aaaaaaaa"])
        later = [await house.ask(f"/?who={who}", headers=[f"X-Request-Id: {who * 8}"]) for who in "bcd"]
        last_peer = await house.connect()
        last_peer.write(b"GET /?who=e HTTP/1.1\r\nHost: t\r\n\r\n" * 2)
        assert (await last_peer.reply()).header("Connection") is None  # closing was the first sending's own
        assert (await last_peer.reply()).header("X-For") == "e"
    assert (first.header("X-For"), first.header("X-Request-Id")) == ("a", "aaaaaaaa")
    for who, reply in zip("bcd", later, strict=True):
        assert reply.header("X-For") == who  # and only once: `header` asserts it
        assert reply.header("X-Request-Id") == who * 8
        assert reply.header("X-Own") == "1"


async def test_answer_that_is_kept_does_not_keep_the_request(serving: Any, placed: Any) -> None:
    kept = Answer.json({})
    seen: list[weakref.ref[web.Request]] = []

    def handler(request: web.Request) -> Answer:
        seen.append(weakref.ref(request))
        return kept

    async with serving(placed("/", handler)) as house:
        await house.ask()
        await house.until(lambda: seen[0]() is None)


def test_answer_taken_twice_by_one_request_stays_itself() -> None:
    request, other = make_mocked_request("GET", "/"), make_mocked_request("GET", "/")
    answer = Answer()
    assert answer.take(request) is answer
    answer.add("X-A", "1")
    assert answer.take(request) is answer
    assert answer.take(other) is not answer
    assert answer.take(other).header("X-A") is None
    again = answer.take(other)
    again.add("X-B", "1")
    assert again.take(make_mocked_request("GET", "/")).header("X-B") is None

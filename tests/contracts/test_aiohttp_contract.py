"""What the core relies on in aiohttp beyond its documentation. A version that fails here is not in setup.cfg's range.

Run it against each version that the range admits before the range is widened: `pip install aiohttp==3.14.N`.
"""

from __future__ import annotations

import asyncio
import configparser
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import BaseTimerContext, TimerNoop
from aiohttp.http import SERVER_SOFTWARE, HttpRequestParser
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.test_utils import make_mocked_request
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from service.protocol import MOST_HEADERS, TOO_MANY_HEADERS

Handler = Callable[[web.BaseRequest], Awaitable[Any]]


class Quack:
    """The least that aiohttp takes for a response."""

    def __init__(self, *, keep_alive: bool = True) -> None:
        self.keep_alive = keep_alive
        self.calls: list[str] = []

    async def prepare(self, request: web.BaseRequest) -> None:
        self.calls.append("prepare")

    async def write_eof(self) -> None:
        self.calls.append("write_eof")


class Spy(RequestHandler):
    """Notes what the parser gave up on."""

    __slots__ = ("faults",)

    def _make_error_handler(self, err_info: _ErrInfo) -> Handler:
        async def answer(request: web.BaseRequest) -> Any:
            self.faults = [err_info]
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
            return Quack(keep_alive=False)

        return answer


@asynccontextmanager
async def served(
    handler: Handler, *, factory: Any = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Spy]]:
    """One connection to a bare server with this handler."""
    loop = asyncio.get_running_loop()
    server = web.Server(handler, request_factory=factory, handler_cancellation=True)  # type: ignore[arg-type]
    made: list[Spy] = []

    def make() -> Spy:
        made.append(Spy(server, loop=loop, access_log=None))  # type: ignore[arg-type]
        return made[-1]

    listening = await loop.create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        async with asyncio.timeout(10):
            while not made:  # noqa: ASYNC110 (accepting has no event)
                await asyncio.sleep(0)
            yield reader, writer, made[0]
    finally:
        writer.close()
        listening.close()
        await server.shutdown(1)


def test_installed_version_is_in_the_range_of_setup_cfg() -> None:
    cfg = configparser.ConfigParser()
    cfg.read(Path(__file__).parents[2] / "setup.cfg")
    assert "aiohttp >=3.14.4,<3.15" in cfg["options"]["install_requires"]
    assert (3, 14, 4) <= tuple(int(part) for part in aiohttp.__version__.split(".")[:3]) < (3, 15)


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (RequestHandler, ["_make_error_handler", "_current_request", "_messages", "_task_handler", "log_exception"]),
        (RequestHandler, ["_waiter", "_request_count", "_request_handler", "_request_factory", "_parser", "_upgraded"]),
        (RequestHandler, ["data_received", "connection_made", "connection_lost", "force_close", "writing_paused"]),
        (web.Request, ["_match_info", "writer", "content", "protocol", "keep_alive", "body_exists", "raw_path"]),
        (StreamReader, ["is_eof", "exception", "set_exception", "total_bytes", "total_compressed_bytes", "_timer"]),
        (StreamWriter, ["output_size", "on_body_write", "length", "drain"]),
        (UrlMappingMatchInfo, ["add_app", "current_app", "handler"]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_names_that_the_core_uses_exist(owner: type, names: list[str]) -> None:
    for name in names:
        assert hasattr(owner, name), f"{owner.__name__}.{name}"


async def test_server_counts_a_connection_from_the_moment_when_it_is_made() -> None:
    async def handler(request: web.BaseRequest) -> Any:
        raise AssertionError

    async with served(handler) as (_, writer, spy):
        manager = spy._manager
        assert manager is not None
        assert list(manager._connections) == [spy]
        writer.close()
        while manager._connections:  # noqa: ASYNC110 (a lost connection has no event)
            await asyncio.sleep(0)


def test_fault_of_the_parser_has_the_fields_that_are_told() -> None:
    assert list(inspect.signature(_ErrInfo).parameters) == ["status", "exc", "message"]
    assert list(inspect.signature(RequestHandler._make_error_handler).parameters) == ["self", "err_info"]


def test_a_request_without_a_body_has_an_empty_payload_at_its_end() -> None:
    assert EMPTY_PAYLOAD.is_eof()
    EMPTY_PAYLOAD.set_exception(web.RequestPayloadError())
    assert EMPTY_PAYLOAD.exception() is None
    assert not make_mocked_request("GET", "/").body_exists


@pytest.mark.parametrize(
    ("raw", "safe"),
    [("/a%2Fb", "/a%2Fb"), ("/a%2fb", "/a%2Fb"), ("/a%25b", "/a%25b"), ("/%C3%A9%20", "/é ")],
)
def test_paths_are_decoded_but_for_slash_and_percent(raw: str, safe: str) -> None:
    assert make_mocked_request("GET", raw).rel_url.path_safe == safe


async def test_what_quacks_like_a_response_is_prepared_ended_and_asked_to_keep_alive() -> None:
    quacks: list[Quack] = []

    async def handler(request: web.BaseRequest) -> Any:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        quacks.append(Quack(keep_alive=not quacks))
        return quacks[-1]

    async with served(handler) as (reader, writer, _):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b""
    assert [quack.calls for quack in quacks] == [["prepare", "write_eof"]] * 2


def parser(**limits: int) -> Any:
    loop = asyncio.get_running_loop()
    return HttpRequestParser(BaseProtocol(loop), loop, 2**16, **limits)  # type: ignore[arg-type]


async def test_parser_says_what_is_too_long_by_the_limit_that_it_broke() -> None:
    limits = {"max_line_size": 102, "max_field_size": 100}
    for raw, limit in ((b"GET /" + b"a" * 102, 102), (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 101, 100)):
        with pytest.raises(LineTooLong) as refused:
            parser(**limits).feed_data(raw + b"\r\n")
        assert refused.value.args[1] == limit
    for raw in (b"GET /" + b"a" * 100, b"GET / HTTP/1.1\r\nX: " + b"a" * 98):
        parser(**limits).feed_data(raw)


async def test_parser_takes_so_many_headers() -> None:
    def head(count: int) -> bytes:
        return b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: a\r\n" * (count - 1) + b"\r\n"

    assert len(parser(max_headers=MOST_HEADERS).feed_data(head(MOST_HEADERS))[0]) == 1
    with pytest.raises(BadHttpMessage) as refused:
        parser(max_headers=MOST_HEADERS).feed_data(head(MOST_HEADERS + 1))
    assert refused.value.message == TOO_MANY_HEADERS


async def test_parser_at_its_end_says_whether_a_head_has_begun_and_else_goes_on() -> None:
    request = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"
    asked = parser()
    for raw in (b"", b"\r\n", request, request + b"\r\n", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\na"):
        messages, _, _ = asked.feed_data(raw)
        assert len(messages) == raw.count(b"HTTP")
        assert asked.feed_eof() is None
        assert len(asked.feed_data(request)[0]) == 1
    for raw in (b"G", b"GET", b"GET /a", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: t", request[:-1]):
        asked = parser()
        asked.feed_data(request + raw)
        with suppress(BadHttpMessage):
            assert asked.feed_eof() is not None


async def test_fault_put_last_while_a_request_is_waited_for_comes_to_the_error_handler() -> None:
    async def handler(request: web.BaseRequest) -> Any:
        raise AssertionError

    async with served(handler) as (reader, writer, spy):
        writer.write(b"GET / HT")
        while spy._waiter is None:  # noqa: ASYNC110 (waiting has no event)
            await asyncio.sleep(0)
        fault = _ErrInfo(408, ValueError("late"), "late")
        spy._messages.append((fault, EMPTY_PAYLOAD))
        spy._waiter.set_result(None)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad")
        assert spy.faults == [fault]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_connection_may_be_kept_without_end(new_loop: Any) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        handle = loop.call_at(math.inf, lambda: None)
        await asyncio.sleep(0.01)
        handle.cancel()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


async def test_message_made_the_last_ends_its_connection() -> None:
    messages, _, _ = parser().feed_data(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    message = messages[0][0]
    assert not message.should_close
    last = message._replace(should_close=True)
    assert (last.should_close, last.method, last.path) == (True, "GET", "/")
    assert last.headers is message.headers


async def test_each_wait_for_a_piece_of_a_body_goes_through_its_timer() -> None:
    entered: list[str] = []

    class Timer(TimerNoop):
        __slots__ = ()

        def __enter__(self) -> BaseTimerContext:
            entered.append("enter")
            return self

        def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
            entered.append("exit" if kind is None else kind.__name__)

    async def handler(request: web.BaseRequest) -> Any:
        request.content._timer = Timer()
        for read in (
            request.content.readany,
            request.content.readline,
            request.content.readchunk,
            lambda: request.content.read(1),
            lambda: request.content.readexactly(1),
        ):
            entered.clear()
            writer.write(b"1\r\n\n\r\n")
            await read()
            await request.content.readchunk() if read == request.content.readchunk else None
            assert entered[0] == "enter"
            assert set(entered) == {"enter", "exit"}
        entered.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(request.content.readany(), 0.01)
        assert entered == ["enter", "CancelledError"]
        request.content.set_exception(ValueError())
        request.content.set_exception(None)  # type: ignore[arg-type]
        writer.write(b"1\r\na\r\n")
        assert await request.content.readany() == b"a"  # what is forgotten stops nobody
        request.protocol.force_close()
        return Quack(keep_alive=False)

    async with served(handler) as (reader, writer, _):
        writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert await reader.read() == b""


async def test_malformed_requests_come_to_the_error_handler_as_the_one_error_message() -> None:
    messages: list[Any] = []

    def factory(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.Request:
        messages.append(message)
        return web.Request(message, payload, protocol, writer, task, asyncio.get_running_loop())

    async def handler(request: web.BaseRequest) -> Any:
        raise AssertionError

    async with served(handler, factory=factory) as (reader, writer, spy):
        writer.write(b"garbage\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        assert spy.faults[0].message
    assert messages == [ERROR]
    assert messages[0] is ERROR


async def test_a_body_that_cannot_be_parsed_becomes_the_last_message_while_its_request_is_handled() -> None:
    seen: list[Any] = []
    began = asyncio.Event()

    async def handler(request: web.BaseRequest) -> Any:
        began.set()
        while not request.protocol._messages:  # noqa: ASYNC110 (a read has no event)
            await asyncio.sleep(0)
        seen.append(request.protocol._messages[-1][0])
        assert request.protocol._current_request is request
        request.content.set_exception(web.RequestPayloadError())
        with pytest.raises(web.RequestPayloadError):
            await request.read()
        request.protocol.force_close()
        return Quack(keep_alive=False)

    async with served(handler) as (reader, writer, _):
        writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        await began.wait()
        writer.write(b"nonsense\r\n")
        await reader.read()
    assert isinstance(seen[0], _ErrInfo)


async def test_each_request_is_handled_in_a_task_of_its_own_that_its_client_cancels() -> None:
    tasks: list[Any] = []
    cancelled = asyncio.Event()

    async def handler(request: web.BaseRequest) -> Any:
        tasks.append(asyncio.current_task())
        assert tasks[-1] is not request.task
        if len(tasks) < 3:
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return Quack()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            assert tasks[-1].cancelling()
            cancelled.set()
            raise

    async with served(handler) as (reader, writer, _):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        while len(tasks) < 3:  # noqa: ASYNC110 (the handler's own doing)
            await asyncio.sleep(0)
        writer.close()
        await cancelled.wait()
    assert len(set(tasks)) == 3


async def test_the_signal_before_a_stream_comes_when_its_head_is_written_down_and_not_yet_sent(
    aiohttp_client: Any,
) -> None:
    async def look(request: web.Request, response: web.StreamResponse) -> None:
        assert response.headers["Server"] == SERVER_SOFTWARE
        assert response.prepared
        assert not request.writer.output_size
        del response.headers["Server"]
        response.headers["X-Late"] = "1"
        counted: list[int] = request.app[COUNTED]
        request.writer.on_body_write = lambda size, _: counted.append(size)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        assert request.writer.output_size
        await response.write(b"abc")
        await response.write(b"de")
        return response

    async def whole(request: web.Request) -> web.StreamResponse:
        return web.Response(text="abcde")

    app = web.Application()
    app[COUNTED] = []
    app.on_response_prepare.append(look)
    app.add_routes([web.get("/stream", stream), web.get("/whole", whole)])
    client = await aiohttp_client(app)
    for path in ("/stream", "/whole"):
        app[COUNTED].clear()
        response = await client.get(path)
        assert await response.text() == "abcde"
        assert "Server" not in response.headers
        assert response.headers["X-Late"] == "1"
        assert sum(app[COUNTED]) == 5
    await client.close()


COUNTED: web.AppKey[list[int]] = web.AppKey("counted", list)


async def test_a_writer_of_length_zero_sends_no_body() -> None:
    sent: list[bytes] = []

    class Transport:
        def write(self, data: bytes) -> None:
            sent.append(data)

        def is_closing(self) -> bool:
            return False

    class Protocol:
        transport = Transport()
        _paused = False

    writer = StreamWriter(Protocol(), asyncio.get_running_loop())  # type: ignore[arg-type]
    writer.length = 0
    await writer.write(b"abc")
    await writer.write_eof()
    assert sent == []


async def test_a_body_over_the_limit_is_refused_while_it_is_read() -> None:
    async def handler(request: web.BaseRequest) -> Any:
        with pytest.raises(web.HTTPRequestEntityTooLarge):
            await request.read()
        request.protocol.force_close()
        return Quack(keep_alive=False)

    def factory(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.Request:
        return web.Request(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=3)

    async with served(handler, factory=factory) as (reader, writer, _):
        writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")
        assert await reader.read() == b""


def test_the_router_takes_bound_methods_and_gives_the_plan_back() -> None:
    class Plan:
        async def serve(self, request: web.Request) -> Any: ...

    plan, app = Plan(), web.Application()
    route = app.router.add_route("GET", "/users/{id}", plan.serve, name="v1:users.read")  # warnings are errors
    match = UrlMappingMatchInfo({"id": "7"}, route)
    match.add_app(app)
    assert match.handler.__self__ is plan  # type: ignore[attr-defined]
    assert (match["id"], match.current_app) == ("7", app)

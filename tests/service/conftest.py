"""A table on a real socket without settings or plugins: routes and steps in, bytes and Exchanges out."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import uvloop
from aiohttp import web

from service.client import client_of
from service.events import Exchange
from service.parts import Handler, MountedRoute, Step
from service.pipeline import Plan
from service.protocol import Front
from service.run import SystemClock
from service.settings import Limits, Timeouts
from service.slots import Door
from service.table import MALFORMED_SLOTS, UNMATCHED_SLOTS, Table, lost, malformed, pseudo_route

PATIENCE_S = 10.0
"""How long a test waits for what must come; only a failing test waits that long."""


@dataclass
class Reply:
    """One answer as it came over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for known, value in self.headers if known.lower() == name.lower()]
        assert len(found) < 2, f"{name} came twice: {found}"
        return found[0] if found else None

    @property
    def error(self) -> dict[str, Any]:
        assert self.header("Content-Type") == "application/json"
        error = orjson.loads(self.body)["error"]
        assert set(error) == {"code", "message", "details", "timestamp", "requestId"}
        assert error["requestId"] == self.header("X-Request-Id")
        return error  # type: ignore[no-any-return]


class Peer:
    """A client that speaks bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def reply(self, *, method: str = "GET") -> Reply:
        """The next answer, framed as RFC 9112 says; `method` is what was asked with."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            start, *lines = head[:-4].decode("utf-8", "surrogateescape").split("\r\n")
            version, status, _ = start.split(" ", 2)
            assert version in ("HTTP/1.1", "HTTP/1.0")
            headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
            reply = Reply(int(status), headers, b"")
            if method == "HEAD" or reply.status in (204, 304) or reply.status < 200:
                return reply
            if reply.header("Transfer-Encoding") == "chunked":
                while size := int(await self.reader.readline(), 16):
                    reply.body += await self.reader.readexactly(size)
                    assert await self.reader.readexactly(2) == b"\r\n"
                assert await self.reader.readexactly(2) == b"\r\n"
            elif (length := reply.header("Content-Length")) is not None:
                reply.body = await self.reader.readexactly(int(length))
            else:
                reply.body = await self.reader.read()
            return reply

    async def rest(self) -> bytes:
        """What comes until the connection ends."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def leave(self) -> None:
        """End the connection, as a client that needs no more."""
        self.writer.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class House:
    """A table that serves."""

    table: Table
    app: web.Application
    front: Front
    port: int
    exchanges: list[Exchange] = field(default_factory=list)
    logged: list[logging.LogRecord] = field(default_factory=list)
    """What the core and aiohttp logged from WARNING up. A test that expects it clears it."""
    complaints: list[dict[str, Any]] = field(default_factory=list)
    """What the loop's exception handler got: tasks that nobody waited for, callbacks that raised."""
    draining: bool = False
    peers: list[Peer] = field(default_factory=list)

    async def connect(self, *, receive_bytes: int | None = None) -> Peer:
        """A connection; `receive_bytes` makes the kernel's buffer for it small."""
        sock = socket.socket()
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**16)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        return peer

    async def ask(
        self,
        target: str = "/",
        *,
        method: str = "GET",
        headers: Iterable[str] = (),
        body: bytes = b"",
        version: str = "1.1",
    ) -> Reply:
        """One request on a connection of its own."""
        peer = await self.connect()
        length = (f"Content-Length: {len(body)}",) if body else ()
        lines = (f"{method} {target} HTTP/{version}", "Host: test", *headers, *length)
        peer.write("\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body)
        reply = await peer.reply(method=method)
        peer.leave()
        return reply

    async def told(self, count: int = 1) -> list[Exchange]:
        """The Exchanges once there are `count`; more are a fault."""
        await self.until(lambda: len(self.exchanges) >= count)
        await asyncio.sleep(0)
        assert len(self.exchanges) == count, self.exchanges
        return self.exchanges

    async def until(self, condition: Callable[[], bool]) -> None:
        """Turn the loop until it holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 (what tests wait for has no event)
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    *routes: tuple[MountedRoute, Iterable[Step]],
    around_misses: Iterable[Step] = (),
    handler_s: float = PATIENCE_S,
    body_limit: int = 1_000,
    clock: Any = None,
    timeouts: Mapping[str, str] | None = None,
    limits: Mapping[str, Any] | None = None,
    now: Callable[[], float] | None = None,
    proxies: Iterable[str] = (),
) -> AsyncIterator[House]:
    """Serve these routes with their steps on a free port; leaving it checks that nothing was left behind.

    `timeouts` and `limits` as in config.toml; `now` is what deadlines go by.
    """
    exchanges: list[Exchange] = []
    house: House

    def plan(route: MountedRoute, steps: Iterable[Step]) -> Plan:
        return Plan(
            route,
            list(steps),
            observers=(exchanges.append,),
            clock=clock or SystemClock(),
            handler_s=handler_s,
            body_limit=body_limit,
            client_of=client_of(proxies),
            closing=lambda: house.draining,
        )

    around = list(around_misses)
    app = web.Application()
    table = Table(
        app,
        [plan(placed, steps) for placed, steps in routes],
        unmatched=plan(pseudo_route(lost), [step for step in around if step.slot in UNMATCHED_SLOTS]),
        malformed=plan(pseudo_route(malformed), [step for step in around if step.slot in MALFORMED_SLOTS]),
    )
    app.freeze()
    loop = asyncio.get_running_loop()
    front = Front(
        table,
        timeouts=Timeouts.model_validate(timeouts or {}),
        limits=Limits.model_validate({"body": f"{body_limit}B", **(limits or {})}),
        now=now,
    )
    server = await loop.create_server(front, "127.0.0.1", 0)
    house = House(table, app, front, server.sockets[0].getsockname()[1], exchanges)
    ear = _Ear(house.logged)
    loggers = [logging.getLogger(name) for name in ("aiohttp", "pegboard", "asyncio")]
    for logger in loggers:
        logger.addHandler(ear)
    previous = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: house.complaints.append(context))
    before = asyncio.all_tasks()
    try:
        yield house
        for peer in house.peers:
            peer.leave()
        server.close()
        async with asyncio.timeout(PATIENCE_S):
            await front.finish()
        await house.until(lambda: not (asyncio.all_tasks() - before))
        assert not [record.getMessage() for record in house.logged]
        assert not house.complaints
    finally:
        server.close()
        for peer in house.peers:
            peer.writer.transport.abort()
        loop.set_exception_handler(previous)
        for logger in loggers:
            logger.removeHandler(ear)


class _Ear(logging.Handler):
    def __init__(self, heard: list[logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record)


def placed(
    path: str,
    handler: Handler,
    *steps: Step,
    method: str = "GET",
    name: str | None = None,
    plugin: str = "plugin",
    version: str = "v1",
    door: Door = Door.API,
) -> tuple[MountedRoute, tuple[Step, ...]]:
    """A route at its place, with its steps."""
    label = name or "r." + "".join(char if char.isalnum() else "_" for char in path)
    return MountedRoute(method, path, label, plugin, version, door, handler), steps


@pytest.fixture(name="serving")
def _serving() -> Any:
    return serving


@pytest.fixture(name="placed")
def _placed() -> Any:
    return placed


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Callable[[], Coroutine[Any, Any, None]]], None]:
    """Runs a scenario on a fresh loop of each kind."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(scenario: Callable[[], Awaitable[None]]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(scenario())  # type: ignore[arg-type]

    return run

"""500 slow clients at once: each is ended at its deadline, and a probe is answered all the while."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

EACH = 125
"""Clients of each of the four kinds."""

HEADER_S, BODY_S = 10.0, 30.0
LATE_S = 2.5
"""How much later than its deadline a client may be ended: what is looked at each second, on a busy machine."""

HEAD = b"POST /take HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture(autouse=True)
def enough_files() -> Any:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, min(most, 2_048)), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


class Client:
    """One slow client: when it was ended, and with which bytes."""

    def __init__(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.kind, self.reader, self.writer = kind, reader, writer
        self.got = b""
        self.lasted_s = 0.0

    async def dribble(self, raw: bytes, *, at_once: int) -> None:
        """Send `raw` at a byte a second after its beginning, and read until the service ends it."""
        began_s = time.monotonic()
        reading = asyncio.ensure_future(self.reader.read())
        self.writer.write(raw[:at_once])
        for at in range(at_once, len(raw)):
            if (await asyncio.wait({reading}, timeout=1.0))[0]:
                break
            self.writer.write(raw[at : at + 1])
        with suppress(ConnectionError):
            self.got = await reading
        self.lasted_s = time.monotonic() - began_s


@asynccontextmanager
async def connected(port: int, kind: str, count: int) -> AsyncIterator[list[Client]]:
    clients = [Client(kind, *await asyncio.open_connection("127.0.0.1", port)) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    """The head of an answer."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
    return head


async def probe(port: int, ended: Callable[[], bool]) -> list[float]:
    """Ask for the health four times a second until `ended`; how long each answer took."""
    took_s: list[float] = []
    while not ended():
        began_s = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await ask(reader, writer, "/health/live")).startswith(b"HTTP/1.1 200 ")
        took_s.append(time.monotonic() - began_s)
        writer.close()
        await asyncio.sleep(0.25)
    return took_s


@pytest.mark.slow
async def test_500_slow_clients_are_ended_in_time_while_a_probe_is_answered(loaded: Any) -> None:
    options = [f"--set=plugins.{name}.enabled=true" for name in ("health", "logs")]
    async with loaded(*options) as service:
        port = service.load.port
        lines: list[bytes] = []

        async def drain() -> None:
            while line := await service.process.stdout.readline():
                lines.append(line)

        draining = asyncio.create_task(drain())
        async with (
            asyncio.timeout(120),
            connected(port, "silent", EACH) as silent,
            connected(port, "head", EACH) as heads,
            connected(port, "body", EACH) as bodies,
            connected(port, "idle", EACH) as idle,
        ):
            for client in idle:
                assert (await ask(client.reader, client.writer, "/quick")).startswith(b"HTTP/1.1 200 ")
            slow: list[Awaitable[None]] = [
                *[client.dribble(b"", at_once=0) for client in silent],
                *[client.dribble(HEAD, at_once=5) for client in heads],
                *[client.dribble(HEAD + b"x" * 1_000, at_once=len(HEAD)) for client in bodies],
            ]
            ending = asyncio.gather(*slow)
            took_s = await probe(port, ending.done)
            await ending
            for client in idle:  # which may still be used
                assert (await ask(client.reader, client.writer, "/quick")).startswith(b"HTTP/1.1 200 ")
        service.process.send_signal(signal.SIGTERM)
        assert await service.process.wait() == 0
        await draining
    assert len(took_s) > 60
    assert max(took_s) < 1.0
    for client in silent:
        assert client.got == b""
    for client in heads + bodies:
        assert client.got.startswith(b"HTTP/1.1 408 ")
        head, _, body = client.got.partition(b"\r\n\r\n")
        assert b"\r\nConnection: close" in head
        assert json.loads(body)["error"]["code"] == "TIMEOUT"
    for clients, deadline_s in ((silent, HEADER_S), (heads, HEADER_S), (bodies, BODY_S)):
        assert min(client.lasted_s for client in clients) > deadline_s - LATE_S  # they were made before
        assert max(client.lasted_s for client in clients) < deadline_s + LATE_S
    said = [json.loads(line) for line in lines if line.startswith(b"{")]
    told = Counter((each["route"], each["status"]) for each in said if each["kind"] == "request")
    probes = told.pop(("health.live", 200))
    assert probes == len(took_s)
    assert told == {("unmatched", 408): EACH, ("take", 408): EACH, ("quick", 200): 2 * EACH}

"""The redis plugin without an application: its hooks driven by hand, against real servers."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plugins.redis import Plugin, Settings
from service.api import Probe, Redis, Run
from service.run import SystemClock, Tasks
from service.testing.redis import RedisServer
from tests.plugins import waiting
from tests.plugins.one_port import OnePort
from tests.plugins.waiting import Eventually

GENEROUS = {"command": "10s", "connect": "10s"}
"""For tests that are not about time: a busy machine is no fault."""


@dataclass
class Opened:
    """The port as other plugins have it, and what the plugin said and rang meanwhile."""

    redis: Redis
    plugin: Plugin
    probe: Probe
    said: list[str]
    rung: list[bool]

    @property
    def is_away(self) -> bool:
        assert self.plugin._breaker is not None
        return self.plugin._breaker.is_open


Faults = list[tuple[tuple[str | int, ...], str, object]]
"""Path, message and value to write of each fault that was told."""


def make_run(said: list[str], tasks: Tasks, faults: Faults | None = None) -> Run:
    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("Redis asks for no reload.")

    def tell(path: tuple[str | int, ...], message: str, *, write: object = None, rename: str | None = None) -> None:
        assert faults is not None, message
        faults.append((path, message, write))

    return Run(
        strict=True,
        workers=1,
        state_dir=Path("/nonexistent"),
        clock=SystemClock(),
        household=None,
        say=said.append,
        request_reload=refuse,
        spawn=tasks.spawn,
        name="redis",
        fault=tell,
    )


Open = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture
def open_redis() -> Open:
    """`async with open_redis(url, connections=1) as opened`; deadlines are generous unless `timeouts` are given."""

    @asynccontextmanager
    async def opening(
        url: str, said: list[str] | None = None, *, faults: Faults | None = None, **settings: Any
    ) -> AsyncIterator[Opened]:
        said = [] if said is None else said
        settings = {"url": url, "timeouts": GENEROUS, **settings}
        tasks = Tasks()
        plugin = Plugin(Settings.model_validate(settings), make_run(said, tasks, faults))
        ports = OnePort()
        async with plugin.lifespan(ports):
            [probe] = plugin.probes()
            rung: list[bool] = []
            assert probe.alarm is not None
            probe.alarm.listen(lambda: rung.append(True))
            yield Opened(ports.provided[0], plugin, probe, said, rung)
        assert not tasks._running

    return opening


@pytest.fixture
def private_server() -> Iterator[RedisServer]:
    """A server that the test may stop, kill and freeze."""
    with RedisServer() as server:
        yield server


Say = Callable[..., str]


@pytest.fixture
def say() -> Say:
    """`say(server, command)`: all that it answers, over a connection that has nothing to do with the plugin."""
    return answer_of


def answer_of(server: RedisServer, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(server.socket)
        sock.sendall(f"{command}\r\nQUIT\r\n".encode())
        told = b""
        while chunk := sock.recv(65_536):
            told += chunk
    return told.decode().removesuffix("+OK\r\n")


@pytest.fixture
def eventually() -> Eventually:
    """`tests.plugins.waiting.eventually`."""
    return partial(waiting.eventually, within_s=20.0)


@pytest.fixture(scope="session")
def cluster() -> Iterator[list[RedisServer]]:
    """Three servers that share the slots, as one cluster."""
    with ExitStack() as stack:
        servers = [stack.enter_context(RedisServer({"cluster-enabled": "yes"}, has_port=True)) for _ in range(3)]
        join(servers)
        yield servers


def join(servers: list[RedisServer]) -> None:
    """Make one cluster of them, an equal part of the slots each."""
    share = [16_384 * n // len(servers) for n in range(len(servers) + 1)]
    for n, server in enumerate(servers):
        assert answer_of(server, f"CLUSTER ADDSLOTS {' '.join(map(str, range(share[n], share[n + 1])))}") == "+OK\r\n"
        assert answer_of(servers[0], f"CLUSTER MEET 127.0.0.1 {server.port}") == "+OK\r\n"
    deadline_s = time.monotonic() + 30
    for server in servers:
        while (
            "cluster_state:ok" not in (told := answer_of(server, "CLUSTER INFO"))
            or f"nodes:{len(servers)}\r" not in told
        ):
            assert time.monotonic() < deadline_s, told
            time.sleep(0.01)


@pytest.fixture
def cluster_url(cluster: list[RedisServer]) -> str:
    for server in cluster:
        server.clear()
    return f"redis+cluster://127.0.0.1:{cluster[0].port}"

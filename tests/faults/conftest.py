"""A service as a process under load: clients that keep their connections, clients that do not, and what became of each
request."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""How long a test waits for what must come; only a failing test waits that long."""

PLUGIN = """
import asyncio, os
from contextlib import asynccontextmanager
from aiohttp import web
from service.api import Answer, Check, Route, Slot, hookimpl

VERSION = 1
TEXT = "x" * 2000

class Plugin:
    count = 0

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports):
        yield
        print(f"read {self.count} requests", flush=True)

    @hookimpl
    def routes(self):
        for handler in (self.quick, self.slow, self.long, self.stream):
            yield Route("GET", f"/{handler.__name__}", handler, name=handler.__name__)
        yield Route("POST", "/take", self.take, name="take")

    @hookimpl
    def steps(self, route):
        yield Check(Slot.RECEIVE, self.note)

    def note(self, request):
        self.count += 1

    def answer(self):
        return Answer.json({"version": VERSION, "pid": os.getpid(), "text": TEXT})

    def quick(self, request):
        return self.answer()

    async def slow(self, request):
        await asyncio.sleep(0.02)
        return self.answer()

    async def long(self, request):
        await asyncio.sleep(3)
        return self.answer()

    async def take(self, request):
        return Answer.json(len(await request.read()))

    async def stream(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(50):
            await response.write(b"tick\\n")
            await asyncio.sleep(0.05)
        await response.write(b"end\\n")
        return response
"""


class Load:
    """Clients, and what became of each of their requests."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: Counter[str] = Counter()
        """answered, refused (nothing was read), dropped (no byte of an answer), cut in the middle."""
        self.dropped_of: Counter[int] = Counter()
        """Dropped and cut ones by the worker that had answered before on that connection; 0 where none had."""
        self.pids: set[int] = set()
        self.stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._clients: list[asyncio.Task[None]] = []

    def begin(self, *, kept_alive: int, fresh: int) -> None:
        self._clients += [asyncio.create_task(self._ask_again("/slow", once=False)) for _ in range(kept_alive)]
        self._clients += [asyncio.create_task(self._ask_again("/quick", once=True)) for _ in range(fresh)]

    async def end(self) -> None:
        """Once every client has ended: by `stopping`, or because it was refused."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._clients)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def _ask_again(self, path: str, *, once: bool) -> None:
        """One request after another, on a connection for each or on one until the service closes it."""
        while not self.stopping.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionError:
                self.seen["refused"] += 1
                return
            pid = 0
            try:
                while not self.stopping.is_set():
                    pid, may_go_on = await self.ask(reader, writer, path, pid=pid)
                    if once or not may_go_on:
                        break
            finally:
                writer.close()

    async def ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, *, pid: int = 0
    ) -> tuple[int, bool]:
        """One request on a connection that worker `pid` has answered on; who answered, and whether it may be used
        again."""
        got = b""
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            while b"\r\n\r\n" not in got:
                if not (chunk := await reader.read(65_536)):
                    raise ConnectionResetError("ended")
                got += chunk
            head, _, body = got.partition(b"\r\n\r\n")
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
            body += await reader.readexactly(length - len(body))
        except (ConnectionError, asyncio.IncompleteReadError):
            self.seen["cut in the middle" if got else "dropped"] += 1
            self.dropped_of[pid] += 1
            return pid, False
        assert head.startswith(b"HTTP/1.1 200 OK"), head
        pid = int(re.search(rb'"pid":(\d+)', body)[1])  # type: ignore[index]
        self.pids.add(pid)
        self.seen["answered"] += 1
        self._changed.set()
        return pid, b"Connection: close" not in head

    async def whole(self, path: str) -> bytes:
        """A whole answer that takes long, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
            async with asyncio.timeout(PATIENCE_S):
                return await reader.read()
        finally:
            writer.close()


def kill_all(supervisor: int) -> None:
    """Kill a supervisor and its workers."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for pid in (*map(int, children), supervisor):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Loaded:
    """A service in a process of its own, and the load on it."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, environ: dict[str, str]) -> None:
        self.process = process
        self.folder = folder
        self._environ = environ
        self.load: Load

    async def served(self) -> Loaded:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while not (match := re.search(rb"127\.0\.0\.1:(\d+)", await self.process.stdout.readline())):
                pass
        self.load = Load(int(match[1]))
        return self

    async def reload(self) -> str:
        """`pegboard reload`; what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", "reload"),
            cwd=self.folder,
            env=self._environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        return out.decode()

    async def ended(self) -> tuple[int | None, str]:
        """Its exit code, and all that it printed since it served."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            out = (await self.process.stdout.read()).decode()
            return await self.process.wait(), out


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    """`async with loaded("--workers", "2", drain="0s") as service`"""

    @asynccontextmanager
    async def run(*options: str, drain: str = "0s") -> AsyncIterator[Loaded]:
        (tmp_path / "plugins").mkdir()
        (tmp_path / "plugins" / "counted.py").write_text(PLUGIN)
        (tmp_path / "config.toml").write_text(
            f'[service]\nport = 0\nworkers = 1\ntimeouts = {{ drain = "{drain}" }}\n[plugins.counted]\nenabled = true\n'
        )
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", "run", *options),
            cwd=tmp_path,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        service = Loaded(process, tmp_path, environ)
        try:
            yield await service.served()
        finally:
            if process.returncode is None:
                kill_all(process.pid)
            await process.communicate()

    return run

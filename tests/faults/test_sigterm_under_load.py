"""SIGTERM under load: kept-alive and fresh connections, and no request that was read is dropped."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 30.0
KEPT_ALIVE, FRESH = 8, 4
BEFORE = 300

PLUGIN = """
import asyncio
from contextlib import asynccontextmanager
from service.api import Answer, Check, Route, Slot, hookimpl

class Plugin:
    count = 0

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports):
        yield
        print(f"read {self.count} requests", flush=True)

    @hookimpl
    def routes(self):
        yield Route("GET", "/quick", self.quick, name="quick")
        yield Route("GET", "/slow", self.slow, name="slow")

    @hookimpl
    def steps(self, route):
        yield Check(Slot.RECEIVE, self.note)

    def note(self, request):
        self.count += 1

    def quick(self, request):
        return Answer.json({"text": "x" * 2000})

    async def slow(self, request):
        await asyncio.sleep(0.02)
        return Answer.json({"text": "x" * 2000})
"""


class Load:
    """Clients, and what became of each of their requests."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: Counter[str] = Counter()
        self.stopping = asyncio.Event()
        self.warm = asyncio.Event()

    async def client(self, path: str, *, keeps_alive: bool) -> None:
        """Requests one after another, on one connection until the service closes it or each on its own."""
        while not self.stopping.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionError:
                self.seen["refused"] += 1
                return
            try:
                while not self.stopping.is_set() and await self.ask(reader, writer, path) and keeps_alive:
                    pass
            finally:
                writer.close()

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bool:
        """One request; true where the connection may be used again."""
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
            return False
        assert head.startswith(b"HTTP/1.1 200 OK")
        self.seen["answered"] += 1
        if self.seen["answered"] >= BEFORE:
            self.warm.set()
        return b"Connection: close" not in head


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("drain", ["0s", "300ms"])
@pytest.mark.parametrize("turn", range(3))
async def test_sigterm_under_load_drops_nothing(tmp_path: Path, number: signal.Signals, drain: str, turn: int) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counted.py").write_text(PLUGIN)
    (tmp_path / "config.toml").write_text(
        f'[service]\nport = 0\ntimeouts = {{ drain = "{drain}" }}\n[plugins.counted]\nenabled = true\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "run"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (match := re.search(rb"127\.0\.0\.1:(\d+)", await process.stdout.readline())):
                pass
            load = Load(int(match[1]))
            clients = [asyncio.create_task(load.client("/slow", keeps_alive=True)) for _ in range(KEPT_ALIVE)]
            clients += [asyncio.create_task(load.client("/quick", keeps_alive=False)) for _ in range(FRESH)]
            await load.warm.wait()
            process.send_signal(number)
            out = (await process.stdout.read()).decode()
            code = await process.wait()
            await asyncio.gather(*clients)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert code == 0
    read = int(re.search(r"read (\d+) requests", out)[1])  # type: ignore[index]
    # Whoever is refused knows that nothing was read and may ask again; all else was answered in full.
    assert load.seen["cut in the middle"] == 0
    assert read == load.seen["answered"]
    assert load.seen["dropped"] == 0
    assert load.seen["refused"] == KEPT_ALIVE + FRESH

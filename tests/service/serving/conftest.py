"""The real command with a plugin of the test's own, as a process: `start()` runs it, `served()` once it listens."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest

REPOSITORY = Path(__file__).parents[3]
NOISE = ("Traceback", "Exception in callback", "never retrieved", "Background task", "Fatal Python error")
"""What no service says, however it is treated."""

UNANSWERED_S = 0.1
"""After which a connection on this machine is one that is not answered."""

PATIENCE_S = 30.0
"""How long a test waits for what must come; only a failing test waits that long."""

HELLO = """
    import asyncio, os, pathlib, time
    from contextlib import asynccontextmanager, suppress
    from service.api import SERVING, Answer, Route, hookimpl

    class Plugin:
        def __init__(self):
            self.running = 0

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            self.serving = ports.need(SERVING)
            yield
            print("hello closed", flush=True)

        @hookimpl
        def routes(self):
            quick, lasting = (self.hello, self.state, self.big), (self.slow, self.gate, self.hang)
            for handler in (*quick, *lasting, self.stubborn, self.block):
                yield Route("GET", f"/{handler.__name__}", handler, name=handler.__name__)

        def hello(self, request):
            return Answer.json({"hello": "world"})

        def state(self, request):
            facts = {"draining": self.serving.draining, "running": self.running, "pid": os.getpid()}
            return Answer.json(facts)

        async def slow(self, request):
            self.running += 1
            await asyncio.sleep(1)
            return Answer.json({"slow": True})

        async def gate(self, request):
            self.running += 1
            while not pathlib.Path("open").exists():
                await asyncio.sleep(0.01)
            return Answer.json({"gate": "open"})

        async def hang(self, request):
            self.running += 1
            try:
                await asyncio.Event().wait()
            finally:
                print("hang was cancelled", flush=True)

        async def stubborn(self, request):
            self.running += 1
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

        async def block(self, request):
            self.running += 1
            await asyncio.to_thread(time.sleep, 60)

        def big(self, request):
            return Answer.json("x" * 8_000_000)
    """


def is_answered(port: int) -> bool:
    """Whether a connection is taken. The kernel says so, however busy this process is and the one that listens."""
    with socket.socket() as sock:
        sock.settimeout(UNANSWERED_S)
        try:
            sock.connect(("127.0.0.1", port))
        except (ConnectionError, TimeoutError):
            return False
    return True


class Running:
    """A service in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, environ: Mapping[str, str]) -> None:
        self.process = process
        self.folder = folder
        self.environ = environ
        self.port = 0
        self.out = ""

    async def line(self, pattern: str) -> re.Match[str]:
        """Read what it prints until a line matches."""
        assert self.process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while line := (await self.process.stdout.readline()).decode():
                    self.out += line
                    if match := re.search(pattern, line):
                        return match
        raise AssertionError(f"it did not say {pattern!r}: {self.out}")

    async def served(self) -> Running:
        self.port = int((await self.line(r"http://127\.0\.0\.1:(\d+)"))[1])
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> tuple[int | None, float]:
        """Its exit code, and how many seconds it took from now on."""
        began_s = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            assert self.process.stdout is not None
            self.out += (await self.process.stdout.read()).decode()
            return await self.process.wait(), time.monotonic() - began_s

    async def get(self, path: str) -> str:
        """A whole answer, head and body, on a connection of its own."""
        reader, writer = await self.asked(path)
        try:
            async with asyncio.timeout(PATIENCE_S):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(re.search(r"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
                return head + (await reader.readexactly(length)).decode()
        finally:
            writer.close()

    async def asked(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        return reader, writer

    async def begun(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A request whose handler runs."""
        asked = await self.asked(path)
        await self.until(lambda answer: '"running":1' in answer)
        return asked

    async def until(self, holds: Callable[[str], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds(await self.get("/state")):
                pass

    async def pids(self, count: int) -> set[int]:
        """The workers that answer, once there are so many."""
        seen: set[int] = set()
        async with asyncio.timeout(PATIENCE_S):
            while len(seen) < count:
                seen.add(int(re.search(r'"pid":(\d+)', await self.get("/state"))[1]))  # type: ignore[index]
        return seen

    async def until_pids(self, holds: Callable[[set[int]], bool], *, count: int = 1) -> set[int]:
        """The same, once they are such."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(seen := await self.pids(count)):
                pass
        return seen

    def workers(self) -> set[int]:
        """Every worker that there is, whether or not it serves."""
        pid = self.process.pid
        try:
            return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
        except FileNotFoundError:
            return set()  # it has ended

    def shown(self, worker: int) -> str:
        """Its command line, which everyone on the machine can read."""
        return Path(f"/proc/{worker}/cmdline").read_text()

    async def command(self, *words: str) -> tuple[int | None, str]:
        """Another command of ours in the same folder: its exit code and all that it prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", *words),
            cwd=self.folder,
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    async def stopped_listening(self) -> None:
        """Once nobody can connect: refused, or not answered by a socket that is about to be closed."""
        async with asyncio.timeout(PATIENCE_S):
            while await asyncio.to_thread(is_answered, self.port):  # noqa: ASYNC110 (another process has no event)
                await asyncio.sleep(0.005)


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts services with files of plugins; whatever still runs after the test is killed."""
    services: list[Running] = []

    async def start(
        *options: str,
        drain: str = "0s",
        shutdown: str = "10s",
        config: str = "",
        hello: str = HELLO,
        environ: Mapping[str, str] | None = None,
        **plugins: str,
    ) -> Running:
        """`config` are further lines of [service]; of `plugins`, one without code is built in. With `hello=""` the
        plugin of that name is left out."""
        lines = f'[service]\nport = 0\ntimeouts = {{ drain = "{drain}", shutdown = "{shutdown}" }}\n{config}\n'
        (tmp_path / "plugins").mkdir(exist_ok=True)
        for name, code in (({"hello": hello} if hello else {}) | plugins).items():
            lines += f"[plugins.{name}]\nenabled = true\n"
            if code:
                (tmp_path / "plugins" / f"{name}.py").write_text(dedent(code))
        (tmp_path / "config.toml").write_text(lines)
        # buffered, whatever the machine says: then lines of two processes stay whole
        ours = {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", "PYTHONUNBUFFERED": ""}
        environ = {**os.environ, **ours, **(environ or {})}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "service", "run", *options),
            cwd=tmp_path,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        services.append(Running(process, tmp_path, environ))
        return services[-1]

    yield start
    for service in services:
        if service.process.returncode is None:
            for pid in (*service.workers(), service.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        rest, _ = await service.process.communicate()
        told = service.out + rest.decode()
        assert not [noise for noise in NOISE if noise in told], told

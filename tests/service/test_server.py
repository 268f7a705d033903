"""One worker as a process: signals, what is finished and what is cut, addresses that cannot be listened on."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest

from service.listening import Address, ListenError, _why_not, bind

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 30.0
"""How long a test waits for what must come; only a failing test waits that long."""

HELLO = """
    import asyncio, time
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
            for handler in (self.hello, self.state, self.slow, self.hang, self.stubborn, self.block, self.big):
                yield Route("GET", f"/{handler.__name__}", handler, name=handler.__name__)

        def hello(self, request):
            return Answer.json({"hello": "world"})

        def state(self, request):
            return Answer.json({"draining": self.serving.draining, "running": self.running})

        async def slow(self, request):
            self.running += 1
            await asyncio.sleep(1)
            return Answer.json({"slow": True})

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


class Worker:
    """A service in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0
        self.out = ""

    async def line(self, pattern: str) -> re.Match[str]:
        """Read what it prints until a line matches."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self.process.stdout.readline()).decode():
                self.out += line
                if match := re.search(pattern, line):
                    return match
        raise AssertionError(f"it ended before it said {pattern!r}: {self.out}")

    async def served(self) -> Worker:
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

    async def stopped_listening(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                while True:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    await asyncio.sleep(0.005)


Start = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts services with files of plugins; whatever still runs after the test is killed."""
    workers: list[Worker] = []

    async def start(*options: str, drain: str = "0s", shutdown: str = "10s", **plugins: str) -> Worker:
        config = f'[service]\nport = 0\ntimeouts = {{ drain = "{drain}", shutdown = "{shutdown}" }}\n'
        (tmp_path / "plugins").mkdir()
        for name, code in plugins.items():
            config += f"[plugins.{name}]\nenabled = true\n"
            if code:
                (tmp_path / "plugins" / f"{name}.py").write_text(dedent(code))
        (tmp_path / "config.toml").write_text(config)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "service", "run", *options),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        workers.append(Worker(process))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.returncode is None:
            worker.process.kill()
        await worker.process.communicate()


# --- the first signal


async def test_sigterm_fails_readiness_serves_on_finishes_what_runs_and_exits_with_0(start: Start) -> None:
    worker = await (await start(drain="700ms", hello=HELLO, health="")).served()
    assert "200 OK" in await worker.get("/health/ready")
    assert "Connection: close" not in await worker.get("/hello")
    reader, writer = await worker.begun("/slow")
    worker.send(signal.SIGTERM)
    await worker.until(lambda answer: '"draining":true' in answer)
    ready, hello = await worker.get("/health/ready"), await worker.get("/hello")
    assert "503 Service Unavailable" in ready
    assert "draining" in ready
    assert "200 OK" in hello
    assert "Connection: close" in hello
    await worker.stopped_listening()
    slow = (await reader.read()).decode()  # to the end of the connection
    writer.close()
    assert "200 OK" in slow
    assert "Connection: close" in slow
    assert slow.endswith('{"slow":true}')
    code, _ = await worker.ended()
    assert code == 0
    assert "hello closed" in worker.out


async def test_sigint_does_not_drain_and_feels_instant(start: Start) -> None:
    worker = await (await start(drain="60s", shutdown="60s", hello=HELLO)).served()
    reader, writer = await worker.asked("/hello")  # a connection that stays open
    assert b"200 OK" in await reader.readuntil(b"}")
    worker.send(signal.SIGINT)
    code, took_s = await worker.ended()
    assert code == 0
    assert took_s < 3
    assert await reader.read() == b""
    writer.close()
    assert "Traceback" not in worker.out


async def test_request_that_is_sent_as_listening_stops_is_answered(start: Start) -> None:
    worker = await (await start(hello=HELLO)).served()
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    await worker.get("/hello")  # by now the other connection is accepted
    worker.send(signal.SIGTERM)
    await worker.stopped_listening()
    writer.write(b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    assert "200 OK" in answer
    assert "Connection: close" in answer
    assert (await worker.ended())[0] == 0


async def test_client_that_reads_slowly_gets_all_of_its_answer(start: Start) -> None:
    worker = await (await start(hello=HELLO)).served()
    reader, writer = await worker.asked("/big")
    head = await reader.readuntil(b"\r\n\r\n")
    worker.send(signal.SIGTERM)
    await worker.stopped_listening()
    size = 0
    while chunk := await reader.read(200_000):
        size += len(chunk)
        await asyncio.sleep(0.01)
    writer.close()
    assert f"Content-Length: {size}".encode() in head
    assert size == 8_000_002
    assert (await worker.ended())[0] == 0


# --- what does not end


@pytest.mark.parametrize("path", ["/hang", "/stubborn", "/block"])
@pytest.mark.parametrize("shutdown", ["0s", "500ms"])
async def test_request_that_does_not_end_is_cut_after_shutdown(start: Start, path: str, shutdown: str) -> None:
    """Its client gets 503, unless the handler ignores its cancellation: then nothing but the end of the connection."""
    worker = await (await start(shutdown=shutdown, hello=HELLO)).served()
    reader, writer = await worker.begun(path)
    worker.send(signal.SIGTERM)
    answer = (await reader.read()).decode()
    code, took_s = await worker.ended()
    writer.close()
    if path == "/stubborn":
        assert answer == ""
    else:
        assert answer.startswith("HTTP/1.1 503 Service Unavailable")
        assert "Connection: close" in answer
        assert "Retry-After: 1" in answer
        assert '"code":"SERVICE_UNAVAILABLE"' in answer
    assert code == 0
    assert took_s < 8  # 0.5 s, and a second each for what ignores its cancellation
    assert ("hang was cancelled" in worker.out) == (path == "/hang")
    assert "hello closed" in worker.out


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGINT, 130),
    ],
)
async def test_second_signal_ends_a_hanging_request_at_once(
    start: Start, first: signal.Signals, second: signal.Signals, code: int
) -> None:
    worker = await (await start(shutdown="60s", hello=HELLO)).served()
    _, writer = await worker.begun("/hang")
    worker.send(first)
    await worker.stopped_listening()
    worker.send(second)
    ended, took_s = await worker.ended()
    writer.close()
    assert (ended, took_s < 4) == (code, True)
    assert "hang was cancelled" in worker.out
    assert "hello closed" in worker.out


async def test_second_signal_ends_the_drain_at_once(start: Start) -> None:
    worker = await (await start(drain="60s", hello=HELLO)).served()
    worker.send(signal.SIGTERM)
    await worker.until(lambda answer: '"draining":true' in answer)
    worker.send(signal.SIGTERM)
    code, took_s = await worker.ended()
    assert (code, took_s < 4) == (143, True)


STUCK = """
    import asyncio
    from contextlib import asynccontextmanager
    from service.api import hookimpl

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            yield
            print("stuck closes", flush=True)
            await asyncio.Event().wait()
    """


async def test_second_signal_gives_up_a_plugin_that_does_not_close(start: Start) -> None:
    worker = await (await start(hello=HELLO, stuck=STUCK)).served()
    worker.send(signal.SIGTERM)
    await worker.line("stuck closes")
    worker.send(signal.SIGTERM)
    code, took_s = await worker.ended()
    assert (code, took_s < 4) == (143, True)
    assert "hello closed" in worker.out
    assert "Traceback" not in worker.out


# --- a signal while it starts


OPENING = """
    import asyncio
    from contextlib import asynccontextmanager
    from service.api import hookimpl

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            print("opening", flush=True)
            try:
                await asyncio.Event().wait()
            {clause}
            yield
    """


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "clause", ["finally: print('given up', flush=True)", "except asyncio.CancelledError: raise OSError('given up')"]
)
async def test_signal_while_a_plugin_opens_gives_the_start_up(
    start: Start, number: signal.Signals, clause: str
) -> None:
    worker = await start(hello=HELLO, opening=OPENING.replace("{clause}", clause))
    await worker.line("opening")
    worker.send(number)
    code, took_s = await worker.ended()
    assert (code, took_s < 4) == (0, True)
    assert worker.out.count("hello closed") == 1
    assert "Traceback" not in worker.out


async def test_signal_that_a_plugin_swallows_while_it_opens_is_not_lost(start: Start) -> None:
    clause = "except asyncio.CancelledError: pass"
    worker = await start(hello=HELLO, opening=OPENING.replace("{clause}", clause))
    await worker.line("opening")
    worker.send(signal.SIGTERM)
    code, took_s = await worker.ended()
    assert (code, took_s < 4) == (0, True)
    assert "hello closed" in worker.out


# --- addresses


@pytest.fixture
def taken() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    yield sock  # type: ignore[misc]
    sock.close()


async def test_busy_port_is_one_sentence_and_closes_nothing_twice(start: Start, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    worker = await start("--port", str(port), hello=HELLO)
    code, _ = await worker.ended()
    assert code == os.EX_UNAVAILABLE
    assert worker.out.strip() == (
        f"pegboard: port {port} on 127.0.0.1 is taken by another process; stop it, or choose another: --port {port + 1}"
    )


WAITING = """
    import asyncio, pathlib
    from contextlib import asynccontextmanager
    from service.api import hookimpl

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports):
            print("opening", flush=True)
            while not pathlib.Path("go").exists():
                await asyncio.sleep(0.01)
            yield
    """


async def test_port_that_another_begins_to_listen_on_meanwhile_is_one_sentence(start: Start, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))  # by both, since neither listens yet
        port = other.getsockname()[1]
        worker = await start("--port", str(port), hello=HELLO, waiting=WAITING)
        await worker.line("opening")
        other.listen()
        (tmp_path / "go").touch()
        code, _ = await worker.ended()
    assert code == os.EX_UNAVAILABLE, worker.out
    assert f"pegboard: port {port} on 127.0.0.1 is taken by another process" in worker.out
    assert "hello closed" in worker.out
    assert "Traceback" not in worker.out


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "service.host: '192.0.2.1' is no address of this machine; write: host = \"127.0.0.1\""),
        ("a..b", "service.host: 'a..b' is no address of this machine (not a host name); write: host = \"127.0.0.1\""),
        ("a" * 70, "is no address of this machine (not a host name); write: host"),
    ],
)
def test_host_that_is_none_of_ours_is_one_sentence(host: str, said: str) -> None:
    with pytest.raises(ListenError) as caught:
        bind(Address("service.host", host, 0))
    assert said in str(caught.value)
    assert caught.value.exit_code == os.EX_UNAVAILABLE


def test_host_that_does_not_resolve_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ListenError) as caught:
        bind(Address("service.host", "nowhere.example", 80))
    assert str(caught.value) == (
        "service.host: 'nowhere.example' is no address of this machine (Name or service not known); "
        'write: host = "127.0.0.1"'
    )


@pytest.mark.parametrize(
    ("code", "port", "said"),
    [
        (errno.EACCES, 80, "port 80 needs privileges that this user lacks; choose one above 1023: --port 3000"),
        (errno.EADDRINUSE, 65_535, "stop it, or choose another: --port 3000"),
        (errno.ENOBUFS, 80, "cannot listen on ::1 port 80: No buffer space available; choose another with --host"),
    ],
)
def test_address_that_the_system_refuses_is_one_sentence(code: int, port: int, said: str) -> None:
    assert said in _why_not(OSError(code, os.strerror(code)), Address("service.host", "::1", port))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::", "::1"])
def test_host_may_be_a_name_or_an_address_of_either_kind(host: str) -> None:
    try:
        sock = bind(Address("service.host", host, 0))
    except ListenError:
        assert ":" in host, "only IPv6 may be missing here"
        pytest.skip("this machine has no IPv6")
    with sock:
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()

"""The end of a service: signals, what is finished and what is cut, and signals while it starts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

# --- the first signal


async def test_sigterm_fails_readiness_serves_on_finishes_what_runs_and_exits_with_0(
    start: Any, tmp_path: Path
) -> None:
    worker = await (await start(drain="3s", health="")).served()
    assert "200 OK" in await worker.get("/health/ready")
    assert "Connection: close" not in await worker.get("/hello")
    reader, writer = await worker.begun("/gate")
    worker.send(signal.SIGTERM)
    await worker.until(lambda answer: '"draining":true' in answer)
    ready, hello = await worker.get("/health/ready"), await worker.get("/hello")
    assert "503 Service Unavailable" in ready
    assert "draining" in ready
    assert "200 OK" in hello
    assert "Connection: close" in hello
    await worker.stopped_listening()
    (tmp_path / "open").touch()
    answer = (await reader.read()).decode()  # to the end of the connection
    writer.close()
    assert "200 OK" in answer
    assert "Connection: close" in answer
    assert answer.endswith('{"gate":"open"}')
    code, _ = await worker.ended()
    assert code == 0
    assert "hello closed" in worker.out


async def test_sigint_does_not_drain_and_feels_instant(start: Any) -> None:
    worker = await (await start(drain="60s", shutdown="60s")).served()
    reader, writer = await worker.asked("/hello")  # a connection that stays open
    assert b"200 OK" in await reader.readuntil(b"}")
    worker.send(signal.SIGINT)
    code, took_s = await worker.ended()
    assert code == 0
    assert took_s < 3
    assert await reader.read() == b""
    writer.close()
    assert "Traceback" not in worker.out


async def test_request_that_is_sent_as_listening_stops_is_answered(start: Any) -> None:
    worker = await (await start()).served()
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


async def test_client_that_reads_slowly_gets_all_of_its_answer(start: Any) -> None:
    worker = await (await start()).served()
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
async def test_request_that_does_not_end_is_cut_after_shutdown(start: Any, path: str, shutdown: str) -> None:
    """Its client gets 503, unless the handler ignores its cancellation: then nothing but the end of the connection."""
    worker = await (await start(shutdown=shutdown)).served()
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
    start: Any, first: signal.Signals, second: signal.Signals, code: int
) -> None:
    worker = await (await start(shutdown="60s")).served()
    _, writer = await worker.begun("/hang")
    worker.send(first)
    await worker.stopped_listening()
    worker.send(second)
    ended, took_s = await worker.ended()
    writer.close()
    assert (ended, took_s < 4) == (code, True)
    assert "hang was cancelled" in worker.out
    assert "hello closed" in worker.out


async def test_second_signal_ends_the_drain_at_once(start: Any) -> None:
    worker = await (await start(drain="60s")).served()
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


async def test_second_signal_gives_up_a_plugin_that_does_not_close(start: Any) -> None:
    worker = await (await start(stuck=STUCK)).served()
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
async def test_signal_while_a_plugin_opens_gives_the_start_up(start: Any, number: signal.Signals, clause: str) -> None:
    worker = await start(opening=OPENING.replace("{clause}", clause))
    await worker.line("opening")
    worker.send(number)
    code, took_s = await worker.ended()
    assert (code, took_s < 4) == (0, True)
    assert worker.out.count("hello closed") == 1
    assert "Traceback" not in worker.out


async def test_signal_that_a_plugin_swallows_while_it_opens_is_not_lost(start: Any) -> None:
    clause = "except asyncio.CancelledError: pass"
    worker = await start(opening=OPENING.replace("{clause}", clause))
    await worker.line("opening")
    worker.send(signal.SIGTERM)
    code, took_s = await worker.ended()
    assert (code, took_s < 4) == (0, True)
    assert "hello closed" in worker.out


# --- who is told what by whom


async def test_sigterm_to_the_whole_process_group_is_asked_once(start: Any) -> None:
    """systemd's and a shell's way: the worker hears it itself, before its supervisor says so."""
    service = await (await start()).served()
    reader, writer = await service.begun("/slow")
    for pid in (*service.workers(), service.process.pid):
        os.kill(pid, signal.SIGTERM)
    assert b"200 OK" in await reader.read()
    writer.close()
    assert (await service.ended())[0] == 0


SLOW_START = """
    import pathlib, time
    from service.api import hookimpl

    class Plugin:
        @hookimpl
        def routes(self):
            print("opening", flush=True)
            while pathlib.Path("hold").exists():
                time.sleep(0.01)
            return []
    """


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_end_during_a_reload_lets_running_requests_finish(
    start: Any, tmp_path: Path, number: signal.Signals
) -> None:
    service = await (await start(slow_start=SLOW_START)).served()
    reader, writer = await service.begun("/gate")
    (tmp_path / "hold").touch()
    service.send(signal.SIGHUP)
    await service.line("opening")
    service.send(number)
    await service.stopped_listening()
    (tmp_path / "hold").unlink()
    (tmp_path / "open").touch()
    assert b"200 OK" in await reader.read()
    writer.close()
    assert (await service.ended())[0] == 0
    assert service.workers() == set()


async def test_closed_standard_streams_do_no_harm(start: Any, tmp_path: Path) -> None:
    await (await start()).served()  # for its config.toml, which it has read by then
    (tmp_path / "config.toml").write_text(
        (tmp_path / "config.toml").read_text().replace("port = 0", 'listen = "unix:s"')
    )
    command = f'exec "{sys.executable}" -m service run <&- >&- 2>&-'
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", command, cwd=tmp_path, env=environ)
    try:
        async with asyncio.timeout(30):
            while True:
                with suppress(OSError):
                    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
                    break
                await asyncio.sleep(0.01)
            writer.write(b"GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in await reader.read()
            writer.close()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

"""Addresses to listen on: what is bound, what is refused and how that is said."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from service.listening import Address, ListenError, _why_not, bind

# --- addresses


@pytest.fixture
def taken() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    yield sock  # type: ignore[misc]
    sock.close()


async def test_busy_port_is_one_sentence_and_closes_nothing_twice(start: Any, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    worker = await start("--port", str(port))
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


async def test_port_that_another_begins_to_listen_on_meanwhile_is_one_sentence(start: Any, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))  # by both, since neither listens yet
        port = other.getsockname()[1]
        worker = await start("--port", str(port), waiting=WAITING)
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

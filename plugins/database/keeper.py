"""Keep one PostgreSQL server running for as long as whoever started it lives: a process of its own.

    python -I -S keeper.py BIN FOLDER [--temporary] [-c NAME=VALUE ...]

Run by path, never imported by the service, and made of the standard library alone: it starts in some 30 ms, and both
the embedded server and the test kit use it as the command it is. FOLDER gets `data`, `log`, `lock` and the socket.

    stdin    closed: its starter has gone, so the server is stopped (with `--temporary`, FOLDER is removed too)
    SIGTERM  stop the server, keep FOLDER
    stdout   `say SENTENCE`, then `ready PID SOCKET_FOLDER` or `failed SENTENCE`

PostgreSQL refuses to run as root. As root, the keeper therefore (a) enters a user namespace in which root has an
ordinary number: no file changes its owner or mode; (b) where namespaces are not allowed, becomes `nobody` and gives
it FOLDER; (c) opens the folders above FOLDER and BIN for passing through, where that is missing, and says so.
Source: user_namespaces(7), PostgreSQL "Shutting Down the Server".
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import pwd
import re
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PORT = 5432
"""Only part of the socket's name: nothing listens on TCP unless asked to."""

SOCKET_PATH_MAX_BYTES = 103
"""What fits into sockaddr_un on every platform (macOS: 104 with the closing NUL)."""

LOG_MAX_BYTES = 1024 * 1024
"""The log is turned over at this size and one older log is kept (chosen)."""

LEFTOVER_WAIT_S = 20
"""How long a server that was left behind may take to end (chosen: longer than a fast shutdown may)."""

READY = b"database system is ready to accept"
"""What follows is `connections`, or with a standby `read-only connections`."""

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """One sentence for the operator."""


def report(word: str, text: str) -> None:
    """One line for the starter; if that has gone, stdin tells soon enough."""
    with suppress(OSError):
        sys.stdout.write(f"{word} {' '.join(text.split())}\n")
        sys.stdout.flush()


# --- alone in the folder


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError out of a blocking call."""

    def ring(signum: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def take_folder(folder: Path) -> int:
    """The folder's lock, as a descriptor that the server inherits: held until its last process has ended.

    A server that was left behind is stopped first. With the lock, a postmaster.pid is known to be stale, even if its
    number belongs to another process now, as it easily does in a container.
    """
    data = folder / "data"
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        left = server_in(data)
        if left is not None:
            os.kill(left, signal.SIGINT)
        try:
            with deadline(LEFTOVER_WAIT_S):
                fcntl.flock(lock, fcntl.LOCK_EX)
        except TimeoutError:
            raise Failed(
                f"A PostgreSQL server that was left behind in {folder} does not end: stop it by hand."
            ) from None
    stranger = server_in(data)
    if stranger is not None:
        raise Failed(f"A PostgreSQL server that was started by hand, process {stranger}, uses {data}: stop it.")
    (data / "postmaster.pid").unlink(missing_ok=True)
    return lock


def server_in(data: Path) -> int | None:
    """The process that postmaster.pid names, if it is a server in `data` and not one that got its number since."""
    with suppress(OSError, ValueError, IndexError):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        if os.fsencode(data) in traces_of(pid):
            return pid
    return None


def traces_of(pid: int) -> bytes:
    """The command line of a process and, where that may be seen, its folder."""
    process = Path(f"/proc/{pid}")
    if not Path("/proc/self").exists():  # macOS
        return subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False).stdout  # noqa: S603, S607
    traces = (process / "cmdline").read_bytes()
    with suppress(OSError):
        traces += os.fsencode((process / "cwd").readlink())
    return traces


# --- an ordinary user


def become_ordinary(folder: Path, binaries: Path) -> None:
    """Where this process is root, make it a user that PostgreSQL accepts."""
    if os.geteuid() != 0:
        return
    account = pwd.getpwnam("nobody")
    if namespace_works(account, folder, binaries):
        give(folder, os.geteuid(), os.getegid())
        enter_namespace(account)
        return
    give(folder, account.pw_uid, account.pw_gid)
    open_way(account, folder, binaries)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if not (os.access(folder, os.W_OK | os.X_OK) and os.access(binaries / "postgres", os.R_OK | os.X_OK)):
        raise Failed(
            f"PostgreSQL does not run as root, and the user nobody may not use {binaries} and {folder}: "
            "install Pegboard where every user can read it, or start it as an ordinary user."
        )


def give(folder: Path, uid: int, gid: int) -> None:
    """Make everything in `folder`, then itself, belong to that user: its owner tells who owns all of it."""
    if folder.stat().st_uid == uid:
        return
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(path, name), uid, gid, follow_symlinks=False)
    os.chown(folder, uid, gid)


def namespace_works(account: pwd.struct_passwd, folder: Path, binaries: Path) -> bool:
    """Try it in a child: there is no way back out of a namespace."""
    child = os.fork()
    if child == 0:
        works = False
        with suppress(OSError, AttributeError):
            enter_namespace(account)
            works = os.access(folder.parent, os.X_OK) and os.access(binaries / "postgres", os.R_OK | os.X_OK)
        os._exit(0 if works else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def enter_namespace(account: pwd.struct_passwd) -> None:
    """Enter a user namespace where root has the account's number. OSError or AttributeError where that is not possible.

    The account must be one that exists, since initdb looks its name up.
    """
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{account.pw_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{account.pw_gid} {gid} 1")


def open_way(account: pwd.struct_passwd, folder: Path, binaries: Path) -> None:
    """Let the account pass through every folder on the way to `folder` and `binaries`; say where that was missing."""
    opened = []
    for path in (*reversed(folder.resolve().parents), *reversed((binaries.resolve() / "postgres").parents)):
        status = path.stat()
        if not may_pass(account, status):
            path.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
            opened.append(f"{path} (mode was {stat.S_IMODE(status.st_mode):04o})")
    if opened:
        report(
            "say",
            f"Other users may now pass through {', '.join(opened)}, because PostgreSQL does not run as root and the "
            "user nobody has to reach its files there; starting the service as an ordinary user needs none of this.",
        )


def may_pass(account: pwd.struct_passwd, status: os.stat_result) -> bool:
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


# --- the server


def environment() -> dict[str, str]:
    """Nothing of the starter's PostgreSQL settings, and messages that can be read here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C"}


def make_data(binaries: Path, data: Path, lock: int, *, temporary: bool) -> None:
    """Make the data folder where there is none: under another name, so that what was interrupted never looks done."""
    if (data / "PG_VERSION").exists():
        return
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command: list[str | Path] = [
        binaries / "initdb",
        *("--pgdata", unfinished, "--username", "postgres", "--encoding", "UTF8"),
        *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"),
        *("--auth-local", "trust", "--auth-host", "scram-sha-256", "--no-instructions"),
        *(["--no-sync"] if temporary else []),
    ]
    made = subprocess.run(command, env=environment(), capture_output=True, text=True, pass_fds=(lock,), check=False)  # noqa: S603  # the wheel's own
    if made.returncode != 0:
        raise Failed(f"PostgreSQL's data folder could not be made in {data.parent}: {reason(made.stderr)}.")
    unfinished.rename(data)


def reason(text: str) -> str:
    """What PostgreSQL itself calls the cause, without its prefixes."""
    told = re.findall(r"(?:FATAL|PANIC|error|ERROR):\s+(.+)", text) or text.split("\n")[-2:]
    return str(told[0]).rstrip(".") or "it gave no reason"


def socket_folder(folder: Path) -> Path:
    """`folder`, or where the socket's path would be too long a short one that `main` removes."""
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_MAX_BYTES:
        return folder
    return Path(tempfile.mkdtemp(prefix="pegboard-", dir="/tmp"))


def end_with_keeper() -> None:
    """Linux: a fast shutdown even if the keeper is killed. Elsewhere the next start ends what was left."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


class Log:
    """What the server writes, in a file of bounded size; a full disk costs lines, nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab")
        self._size_bytes = path.stat().st_size
        self.recent = b""
        """The last lines, to look for the reason of an end."""

    def write(self, lines: bytes) -> None:
        self.recent = (self.recent + lines)[-8192:]
        with suppress(OSError):
            if self._size_bytes > LOG_MAX_BYTES:
                self._file.close()
                self._path.replace(self._path.with_name("log.older"))
                self._file = self._path.open("ab")
                self._size_bytes = 0
            self._file.write(lines)
            self._file.flush()
            self._size_bytes += len(lines)

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()


class Server:
    """The running postmaster, seen through its messages: their end is the end of its last process."""

    def __init__(self, binaries: Path, data: Path, socket: Path, settings: list[str], lock: int) -> None:
        command: list[str | Path] = [binaries / "postgres", "-D", data, "-k", socket, "-p", str(PORT), "-h", ""]
        for setting in settings:
            command += ["-c", setting]
        self.log = Log(data.with_name("log"))
        self._process = subprocess.Popen(  # noqa: S603  # the wheel's own
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(lock,),
            preexec_fn=end_with_keeper,  # safe: one thread only
        )
        assert self._process.stderr is not None  # noqa: S101  # for the type checker
        self.messages = self._process.stderr.fileno()
        self.pid = self._process.pid

    def read(self) -> bytes:
        """The next messages; empty at the end."""
        lines = os.read(self.messages, 65536)
        self.log.write(lines)
        return lines

    def stop(self, *, at_once: bool) -> None:
        """Fast shutdown, then an immediate one, then by force: whatever it takes."""
        for signum, patience_s in ((signal.SIGINT, 10), (signal.SIGQUIT, 10), (signal.SIGKILL, 5)):
            if at_once and signum == signal.SIGINT:
                continue
            self._process.send_signal(signum)
            self._process.send_signal(signal.SIGCONT)
            with suppress(TimeoutError), deadline(patience_s):
                while self.read():
                    pass
                self._process.wait()
                return


def serve(server: Server, socket: Path) -> bool:
    """Wait for an end; True if the starter has gone, False if the server ended by itself.

    Raises Failed if it ended before it was ready.
    """
    ready = False
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        selector.register(server.messages, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd != server.messages:
                    if not os.read(key.fd, 1024):
                        return True
                elif not server.read():
                    if not ready:
                        raise Failed(f"PostgreSQL did not start: {reason(server.log.recent.decode(errors='replace'))}.")
                    return False
                elif not ready and READY in server.log.recent:
                    ready = True
                    report("ready", f"{server.pid} {socket}")


def keep(folder: Path, binaries: Path, settings: list[str], *, temporary: bool) -> None:
    """Everything, from the lock to the end."""
    lock = take_folder(folder)
    become_ordinary(folder, binaries)
    make_data(binaries, folder / "data", lock, temporary=temporary)
    socket = socket_folder(folder)
    abandoned = True
    try:
        server = Server(binaries, folder / "data", socket, settings, lock)
        try:
            abandoned = serve(server, socket)
        except SystemExit:
            abandoned = False
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            server.stop(at_once=temporary and abandoned)
    finally:
        if socket != folder:
            shutil.rmtree(socket, ignore_errors=True)
        if temporary and abandoned:
            shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Keep one PostgreSQL server while stdin is open.")
    parser.add_argument("binaries", type=Path, metavar="BIN")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--temporary", action="store_true", help="remove FOLDER when stdin closes")
    parser.add_argument("-c", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)

    def leave(signum: int, frame: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    try:
        keep(options.folder, options.binaries, options.settings, temporary=options.temporary)
    except Failed as failed:
        report("failed", str(failed))
        return 1
    except OSError as error:
        report("failed", f"PostgreSQL's folder {options.folder} cannot be used: {error.strerror} ({error.filename}).")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

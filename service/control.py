"""How a command reaches a running service: a unix socket for each, `{state_dir}/control/PID.sock`.

One line of JSON each way: `{"do": "reload"}`, `{"do": "addresses"}` or `{"do": "ask", "question": "..."}`, then
`{"ok": true, "text": "...", "answers": []}`. Only the user whose service it is may connect: the folder is theirs alone
(mode 700).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
import shlex
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

from service.channel import Told
from service.errors import StartError
from service.settings import ServiceSettings, Settings

log = logging.getLogger("pegboard")

FOLDER: Final = "control"
SUFFIX: Final = ".sock"

LONGEST_PATH_BYTES: Final = 103
"""What fits into sockaddr_un on every platform (macOS: 104 with the closing NUL)."""


class Controlled(Protocol):
    """What can be asked of a running service."""

    async def reload(self) -> str:
        """Returns what came of it; raises StartError where nothing did."""

    def addresses(self) -> Iterable[str]:
        """Where it listens."""

    async def ask(self, question: str) -> Mapping[int, Told]:
        """What its workers tell to a question, by process id."""


class ControlError(StartError):
    """What a running service was asked for has not come about: it cannot be reached, or it has refused."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request."""

    ok: bool
    text: str
    answers: tuple[str, ...] = ()
    """To a question: what each worker answers, as JSON; `text` then says, line by line, who does not, and why."""


def control_folder(settings: Settings) -> Path:
    """Where the sockets of running services are."""
    return settings.config_path.parent.absolute() / settings.service.state_dir / FOLDER


def usual_folder(config: Path) -> Path:
    """Where they are unless config.toml says otherwise."""
    return config.parent.absolute() / ServiceSettings().state_dir / FOLDER


@asynccontextmanager
async def controlled(service: Controlled, settings: Settings) -> AsyncIterator[None]:
    """Answer commands as long as the block; where that cannot be, say so once: SIGHUP is always there."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(await reader.readline() or b"{}")
            reply = await _obey(service, asked)
            writer.write(json.dumps(asdict(reply)).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass  # nobody there who speaks our language, or the service ends: either way nobody waits for this task
        finally:
            writer.close()

    path = control_folder(settings) / f"{os.getpid()}{SUFFIX}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a process that had our number
        with _short(path) as short:
            server = await asyncio.start_unix_server(converse, short)
    except OSError as error:
        log.warning(
            "`pegboard reload` cannot reach this service, since %s cannot be used (%s); SIGHUP to process %d reloads.",
            path.parent,
            error.strerror or error,
            os.getpid(),
        )
        yield
        return
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):
            path.unlink()


async def _obey(service: Controlled, asked: object) -> Reply:
    match asked:
        case {"do": "addresses"}:
            return Reply(True, "\n".join(service.addresses()))
        case {"do": "ask", "question": str(question)}:
            return _told(await service.ask(question))
        case {"do": "reload"}:
            pass
        case _:
            return Reply(False, f"there is no such request: {asked!r}")
    try:
        return Reply(True, await service.reload())
    except StartError as error:
        return Reply(False, str(error))
    except asyncio.CancelledError:
        return Reply(False, "the service has ended meanwhile.")


def _told(told: Mapping[int, Told]) -> Reply:
    problems = [f"worker {pid}: {each.problem}" for pid, each in told.items() if each.answer is None]
    return Reply(True, "\n".join(problems), tuple([each.answer for each in told.values() if each.answer is not None]))


def running(folder: Path) -> dict[int, socket.socket]:
    """A connection to each service whose socket is in this folder, by process id. Others' remains are removed. Raises
    ControlError where the folder is another user's: then nobody but that user knows."""
    found: dict[int, socket.socket] = {}
    try:
        paths = sorted([path for path in folder.iterdir() if path.suffix == SUFFIX])
    except (FileNotFoundError, NotADirectoryError):
        return found
    except PermissionError:
        raise ControlError(_not_ours(folder)) from None
    for path in paths:
        sock = socket.socket(socket.AF_UNIX)
        try:
            with _short(path) as short:
                sock.connect(short)
            found[int(path.stem)] = sock
        except (ConnectionRefusedError, ValueError):
            sock.close()
            path.unlink(missing_ok=True)
        except PermissionError:
            for each in (sock, *found.values()):
                each.close()
            raise ControlError(_not_ours(folder)) from None
        except OSError:
            sock.close()
    return found


def _not_ours(folder: Path) -> str:
    """Why services in this folder cannot be reached."""
    try:
        number = folder.stat().st_uid
    except OSError:
        return (
            "whether a service runs with this state_dir is for its own user and root to know: run this as one of them, "
            "as in sudo -u USER."
        )
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"#{number}"
    return (
        f"services with this state_dir are those of user {name}, and only that user and root may reach them: run this "
        f"as one of them, as in sudo -u {shlex.quote(name)}."
    )


def ask(sock: socket.socket, request: dict[str, str]) -> Reply:
    """Ask a running service and wait for what comes of it. Raises ControlError where it ends before it says."""
    with sock, sock.makefile("rwb") as stream:
        try:
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()
            answer = json.loads(stream.readline())
        except (OSError, ValueError):
            raise ControlError(
                "the service ended before it could say what came of it; its log has the reason."
            ) from None
    return Reply(bool(answer["ok"]), str(answer["text"]), tuple(map(str, answer["answers"])))


class _short:  # noqa: N801 (reads as a statement)
    """A name for `path` that fits into an address: the path itself, or through a descriptor of its folder (Linux)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) <= LONGEST_PATH_BYTES:
            return str(self._path)
        self._folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._folder >= 0:
            os.close(self._folder)

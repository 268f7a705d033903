"""What the supervisor and a worker tell each other, and the pair of sockets on which they do.

    supervisor → worker     Start    here is what the households yielded: open
                            Serve    all of your generation are ready: serve on these sockets
                            Retire   a newer generation serves: finish what runs and end
                            End      the service ends; said twice: at once
                            Record   write this into the log
    worker → supervisor     Ready    everything is open; what to tell of it
                            Failed   it cannot be opened, and why
                            Reload   a plugin asks for a new generation

A line of JSON each; sockets travel beside it (SCM_RIGHTS, unix(7)). Either side sees the other's end as the end of the
channel: no process outlives the one that it was for.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

READ_BYTES: Final = 65_536
MOST_SOCKETS: Final = 8
"""That travel with one message: a listener for each door, and room."""


@dataclass(frozen=True, slots=True)
class Start:
    """Open, with what the households yielded: plain data, by instance name."""

    household: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Serve:
    """Serve, on the sockets that come with it, one for each listener named here."""

    listeners: Sequence[str]


@dataclass(frozen=True, slots=True)
class Retire:
    """Take no more connections, finish what runs within so many seconds, end."""

    within_s: float


@dataclass(frozen=True, slots=True)
class End:
    """The service ends: with `drain`, readiness fails first for as long as the settings say."""

    drain: bool


@dataclass(frozen=True, slots=True)
class Record:
    """A sentence of the supervisor's, for the log that the worker's plugins write."""

    level: int
    """As in `logging`."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Ready:
    """All is open. What the supervisor tells the operator of it."""

    plugins: Sequence[str]
    off: Sequence[str]
    notes: Sequence[str]
    """Sentences of plugins and warnings about settings."""
    route_count: int
    examples: Sequence[str]
    """Paths to try."""
    watched: Sequence[str]
    """Folders with code of plugins that may be being written."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker cannot serve, and ends."""

    text: str
    exit_code: int
    is_report: bool
    """True for a report of settings, which begins with its places."""


@dataclass(frozen=True, slots=True)
class Reload:
    """A plugin asks for a new generation."""

    reason: str


Message: TypeAlias = Start | Serve | Retire | End | Record | Ready | Failed | Reload

KINDS: Final[Mapping[str, type[Message]]] = {
    kind.__name__: kind for kind in (Start, Serve, Retire, End, Record, Ready, Failed, Reload)
}


class Channel:
    """One end. Messages that came before the end of the other side are all handed over before `lost` is called."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        receive: Callable[[Message, Sequence[socket.socket]], None],
        lost: Callable[[], None],
    ) -> None:
        """Takes over `sock`, one of a socketpair; needs a running loop. `lost` is called once."""
        self._sock = sock
        self._receive = receive
        self._lost = lost
        self._buffer = b""
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, message: Message, sockets: Sequence[socket.socket] = ()) -> bool:
        """Send it; False where nobody is there any more to hear it."""
        line = json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"
        if self._sock.fileno() < 0:
            return False
        self._sock.setblocking(True)  # both sides read at once whatever comes, so that this never waits long
        try:
            if sockets:
                sent = socket.send_fds(self._sock, [line], [sock.fileno() for sock in sockets])
                line = line[sent:]
            self._sock.sendall(line)
        except OSError:
            return False
        finally:
            self._sock.setblocking(False)
        return True

    def close(self) -> None:
        """Say no more and hear no more."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, READ_BYTES, MOST_SOCKETS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._sockets += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if not data:
            self.close()
            self._lost()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            facts = json.loads(line)
            message = KINDS[facts.pop("kind")](**facts)
            taken, self._sockets = (self._sockets, []) if isinstance(message, Serve) else ([], self._sockets)
            self._receive(message, taken)

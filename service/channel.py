"""What the supervisor and a worker tell each other, and the pair of sockets on which they do.

    supervisor → worker     Start    here is what the households yielded: open
                            Serve    all of your generation are ready: serve on these sockets
                            Retire   a newer generation serves: finish what runs and end
                            End      the service ends, in good order or at once
                            Record   write this into the log
                            Ask      what does your plugin answer to this question?
    worker → supervisor     Ready    everything is open; what to tell of it
                            Failed   it cannot be opened, and why
                            Reload   a plugin asks for a new generation
                            Told     what there is to tell to a question

A line of JSON each; sockets travel beside it (SCM_RIGHTS, unix(7)). Either side sees the other's end as the end of the
channel: no process outlives the one that it was for.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from threading import Thread
from typing import Final, TypeAlias

READ_BYTES: Final = 65_536
SEND_WITHIN: Final = struct.pack("@ll", 1, 0)
"""How long the other side may leave its buffer full (chosen): struct timeval, 1 s."""

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
    kept: Sequence[str]
    """Listeners that the newer generation has too: what waits there is theirs."""

    def is_last(self, listener: str) -> bool:
        """Whether nobody listens there any more afterwards."""
        return listener not in self.kept


@dataclass(frozen=True, slots=True)
class End:
    """The service ends: with `drain`, readiness fails first for as long as the settings say."""

    drain: bool
    at_once: bool = False
    """Nothing is waited for any more."""
    others_listen: bool = False
    """True where only this worker ends."""

    def is_last(self, listener: str) -> bool:
        """Whether nobody listens there any more afterwards."""
        return not self.others_listen


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


@dataclass(frozen=True, slots=True)
class Ask:
    """A question that a plugin may answer."""

    number: int
    """Which Told belongs to it."""
    question: str


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell to the question of that number."""

    number: int
    answer: str | None
    """As JSON."""
    problem: str = ""
    """Why there is no answer, as what follows the name of who was asked: without a full stop."""


Message: TypeAlias = Start | Serve | Retire | End | Record | Ask | Ready | Failed | Reload | Told

KINDS: Final[Mapping[str, type[Message]]] = {
    kind.__name__: kind for kind in (Start, Serve, Retire, End, Record, Ask, Ready, Failed, Reload, Told)
}


class Channel:
    """One end. What came before the end of the other side is handed over before `lost` is called.

    A thread reads: uvloop's `add_reader` says nothing of a peer that closes with messages unread (seen in 0.22: the
    kernel reports an error then, and no end).
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        receive: Callable[[Message, Sequence[socket.socket]], None],
        lost: Callable[[], None],
    ) -> None:
        """Takes over `sock`, one of a socketpair. Both functions are called in the running loop, `lost` once, and
        neither after `close`."""
        self._sock = sock
        self._receive = receive
        self._lost = lost
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_WITHIN)
        Thread(target=self._read, name="channel", daemon=True).start()

    def send(self, message: Message, sockets: Sequence[socket.socket] = ()) -> bool:
        """Send it; False where nobody is there any more to hear it, or one who does not listen: a stopped process."""
        line = json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"
        try:
            if sockets:
                line = line[socket.send_fds(self._sock, [line], [sock.fileno() for sock in sockets]) :]
            self._sock.sendall(line)
        except BlockingIOError:
            self.close()  # in the middle of a message
            return False
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Say no more and hear no more."""
        self._is_closed = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # which ends the thread

    def _read(self) -> None:
        try:
            self._hand_over()
        finally:
            self._call(self._lost)
            self._sock.close()

    def _hand_over(self) -> None:
        """Read until the other side ends."""
        buffer = b""
        sockets: list[socket.socket] = []
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._sock, READ_BYTES, MOST_SOCKETS)
            except OSError:
                data, descriptors = b"", []
            if not data:
                break
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
                sockets.append(socket.socket(fileno=descriptor))
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                facts = json.loads(line)
                message = KINDS[facts.pop("kind")](**facts)
                taken, sockets = (sockets, []) if isinstance(message, Serve) else ([], sockets)
                self._call(self._receive, message, taken)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._unless_closed, function, *arguments)

    def _unless_closed(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._is_closed:
            function(*arguments)

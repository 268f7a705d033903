"""One worker's serving: connections on its listeners, and an end that drops nothing.

End      readiness fails → `drain` passes → listening stops → running requests finish within `shutdown`
         without `drain`: Ctrl-C feels instant; `at_once`: nothing is waited for
Retire   a newer generation serves: listening stops → running requests finish

Where nobody goes on listening, nobody else may connect before the socket is closed (`listening.turn_away`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from service.app import Application
from service.channel import End, Retire
from service.listening import BACKLOG, turn_away
from service.protocol import Connection, Front

HANDSHAKE_S: Final = 0.2
"""How long who has begun to connect may take, once nobody else may begin (chosen: a round trip between continents)."""

CUT_S: Final = 1.0
"""What cancelled requests get to clean up (chosen)."""


class Stop:
    """Asks what the current task runs to end."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.urged = asyncio.Event()
        """Asked to end at once: no more waiting."""
        self.how: End | Retire = End(drain=False)
        """What the first who asked said."""
        self._told: list[End | Retire] = []
        self._task = asyncio.current_task()
        self._patience = 0

    def ask(self, how: End | Retire) -> None:
        """End; the first who asks says how, and whoever asks `at_once` that nothing is waited for any more."""
        is_first, is_urgent = not self.asked.is_set(), isinstance(how, End) and how.at_once
        if is_first:
            self.how = how
            self.asked.set()
        if is_urgent:
            self.urged.set()
        self._told.append(how)
        if (is_first or is_urgent) and not self._patience and self._task is not None:
            self._task.cancel()

    def is_last(self, listener: str) -> bool:
        """Whether nobody listens there any more afterwards, as far as anyone has said."""
        return any(how.is_last(listener) for how in self._told)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """In here, asking only sets the events; before, it gives up the start; after, asking again gives up whatever a
        plugin waits for while it closes. Several tasks may be in here."""
        self._patience += 1
        try:
            yield
        finally:
            self._patience -= 1

    async def pause(self, seconds: float) -> None:
        """Wait, unless asked to end at once."""
        try:
            async with asyncio.timeout(seconds):
                await self.urged.wait()
        except TimeoutError:
            pass

    async def wait_for(self, done: asyncio.Future[list[None]], seconds: float) -> None:
        """Wait until it is done, for so long at most, unless asked to end at once. It is not cancelled."""
        waiting = asyncio.ensure_future(self.pause(seconds))
        done.add_done_callback(lambda _: waiting.cancel())
        await asyncio.wait({waiting})


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and what answers on it."""

    name: str
    sock: socket.socket
    front: Front
    tls: ssl.SSLContext | None

    @property
    def made(self) -> Callable[[], Connection]:
        """What makes a connection."""
        return self.front if self.tls is None else self.front.agree

    @property
    def handshake_s(self) -> float | None:
        """How long a client may take to agree on TLS: as long as for a head."""
        return None if self.tls is None else self.front.header_s

    @property
    def goodbye_s(self) -> float | None:
        """How long a client may take to agree on the end of TLS: many never do."""
        return None if self.tls is None else CUT_S


async def serve(application: Application, listeners: Sequence[Listener], stop: Stop) -> None:
    """Serve on the listeners until `stop`, then end as the head of this module says; they are closed then."""
    timeouts = application.loaded.settings.service.timeouts
    waiting = [(listener, listener.sock.dup()) for listener in listeners]  # keeps queues when the loop closes its own
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(
            listener.made,
            sock=listener.sock,
            backlog=BACKLOG,
            ssl=listener.tls,
            ssl_handshake_timeout=listener.handshake_s,
            ssl_shutdown_timeout=listener.goodbye_s,
        )
        for listener in listeners
    ]
    try:
        await stop.asked.wait()
        match stop.how:
            case Retire(within_s=within_s):
                application.state.retiring = True
            case End(drain=drain):
                application.state.draining = True
                within_s = timeouts.shutdown.seconds
                if drain:
                    await stop.pause(timeouts.drain.seconds)
        if last := [sock for listener, sock in waiting if stop.is_last(listener.name)]:
            for sock in last:
                turn_away(sock)
            if stop.how != End(drain=False):  # Ctrl-C
                await stop.pause(HANDSHAKE_S)
    finally:
        for server in servers:
            server.close()
        ours = [each for each in waiting if isinstance(stop.how, End) or stop.is_last(each[0].name)]
        for each in waiting:
            if each not in ours:
                each[1].close()
        await _accept_rest(ours)
    await _finish([listener.front for listener in listeners], stop, within_s)


async def _accept_rest(waiting: Sequence[tuple[Listener, socket.socket]]) -> None:
    """Take in who has connected and was not accepted yet, and close: that alone would reset them, if no one else
    listens."""
    loop = asyncio.get_running_loop()
    arriving: set[asyncio.Task[object]] = set()
    for listener, sock in waiting:
        for _ in range(BACKLOG):
            try:
                connection, _ = sock.accept()
            except ConnectionAbortedError:
                continue  # this one has left
            except OSError:
                break  # nobody waits
            connection.setblocking(False)
            arriving.add(
                loop.create_task(
                    loop.connect_accepted_socket(
                        listener.made,
                        connection,
                        ssl=listener.tls,
                        ssl_handshake_timeout=listener.handshake_s,
                        ssl_shutdown_timeout=listener.goodbye_s,
                    )
                )
            )
        sock.close()
    if arriving:
        await asyncio.wait(arriving, timeout=CUT_S)  # a client may never agree on TLS, or not speak it at all
    for task in arriving:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.cancel()


async def _finish(fronts: Sequence[Front], stop: Stop, seconds: float) -> None:
    """Let running requests finish, cut those that do not, close every connection."""
    finishing = asyncio.gather(*[front.finish() for front in fronts])
    await stop.wait_for(finishing, seconds)
    if not finishing.done():
        finishing.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, whatever it is
        finishing.cancel()
        await asyncio.gather(*[front.cut(within_s=CUT_S) for front in fronts])

"""One worker's serving: connections on its listeners, and an end that drops nothing.

END       readiness fails → `drain` passes → listening stops → running requests finish within `shutdown`
          without `drain`: Ctrl-C feels instant
RETIRE    a newer generation serves: listening stops → running requests finish
AT ONCE   nothing is waited for
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from service.app import Application
from service.listening import BACKLOG
from service.protocol import Front

LAST_WORDS_S: Final = 0.2
"""How long open connections are kept once listening has stopped: what their clients have just sent is still on its way
(chosen: a round trip between continents)."""

CUT_S: Final = 1.0
"""What cancelled requests get to clean up (chosen)."""


class Stop:
    """Asks what the current task runs to end."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.urged = asyncio.Event()
        """Asked to end at once: no more waiting."""
        self.drains = False
        """Whether readiness should fail for a while first."""
        self.retires_within_s: float | None = None
        """Set where a newer generation takes over: what running requests get to finish."""
        self.is_succeeded = False
        """Whether others listen at the same addresses, and take what waits there."""
        self._task = asyncio.current_task()
        self._patience = 0

    def ask(
        self,
        *,
        drain: bool = False,
        retire_within_s: float | None = None,
        is_succeeded: bool = False,
        at_once: bool = False,
    ) -> None:
        """End; the first who asks says how, and whoever asks `at_once` that nothing is waited for any more."""
        is_first = not self.asked.is_set()
        if is_first:
            self.drains, self.retires_within_s, self.is_succeeded = drain, retire_within_s, is_succeeded
            self.asked.set()
        if at_once:
            self.urged.set()
        if (is_first or at_once) and not self._patience and self._task is not None:
            self._task.cancel()

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

    sock: socket.socket
    front: Front
    tls: ssl.SSLContext | None

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
    fronts = [listener.front for listener in listeners]
    waiting = [listener.sock.dup() for listener in listeners]  # keeps the queues alive when the loop has closed its own
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(
            listener.front,
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
        if stop.retires_within_s is None:
            application.state.draining = True
            if stop.drains:
                await stop.pause(timeouts.drain.seconds)
        else:
            application.state.retiring = True
    finally:
        for server in servers:
            server.close()
        for listener, sock in zip(listeners, waiting, strict=True):
            if stop.is_succeeded:
                sock.close()
            else:
                await _accept_rest(sock, listener)
    within_s = stop.retires_within_s if stop.retires_within_s is not None else timeouts.shutdown.seconds
    await _finish(fronts, stop, within_s)


async def _accept_rest(sock: socket.socket, listener: Listener) -> None:
    """Take in who has connected and was not accepted yet, and close: that alone would reset them, if no one else
    listens."""
    loop = asyncio.get_running_loop()
    arriving: set[asyncio.Task[object]] = set()
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
                    listener.front,
                    connection,
                    ssl=listener.tls,
                    ssl_handshake_timeout=listener.handshake_s,
                    ssl_shutdown_timeout=listener.goodbye_s,
                )
            )
        )
    sock.close()  # at once: whoever connects after the last look would be reset
    if arriving:
        await asyncio.wait(arriving, timeout=CUT_S)  # a client may never agree on TLS, or not speak it at all
    for task in arriving:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.cancel()


async def _finish(fronts: Sequence[Front], stop: Stop, seconds: float) -> None:
    """Let running requests finish, cut those that do not, close every connection."""
    if any(front.connections for front in fronts):
        await stop.pause(LAST_WORDS_S)
    finishing = asyncio.gather(*[front.finish() for front in fronts])
    await stop.wait_for(finishing, seconds)
    if not finishing.done():
        finishing.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, whatever it is
        finishing.cancel()
        await asyncio.gather(*[front.cut(within_s=CUT_S) for front in fronts])

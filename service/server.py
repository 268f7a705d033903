"""One worker: a socket, an application behind it, and an end that drops nothing.

SIGTERM   readiness fails → `drain` passes → listening stops → running requests finish within `shutdown` → exit 0
SIGINT    the same without `drain` (Ctrl-C feels instant)
again     ends at once
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Final

from service.app import Application, build, household
from service.errors import StartError
from service.loader import Loaded
from service.protocol import Front
from service.run import Tasks

BACKLOG: Final = 1_024
"""Connections that may wait to be accepted (chosen; the kernel caps it at net.core.somaxconn)."""


class ListenError(StartError):
    """The address cannot be listened on."""

    exit_code = os.EX_UNAVAILABLE


class Stop:
    """The signals that end a worker."""

    def __init__(self) -> None:
        """Take over SIGTERM and SIGINT of the running loop, on behalf of the current task."""
        self.first: signal.Signals | None = None
        self.asked = asyncio.Event()
        self.urged = asyncio.Event()
        """A second signal came: no more waiting."""
        self._opening = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive, number)

    def _receive(self, number: signal.Signals) -> None:
        if self.first is not None:
            self.urged.set()
            return
        self.first = number
        self.asked.set()
        if self._opening is not None:
            self._opening.cancel()

    def opened(self) -> None:
        """From here on a signal drains the service; before, it gives the start up."""
        self._opening = None

    async def pause(self, seconds: float) -> None:
        """Wait, unless a second signal comes."""
        try:
            async with asyncio.timeout(seconds):
                await self.urged.wait()
        except TimeoutError:
            pass


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not yet listening. Raises ListenError with the way out."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ListenError(
            f'service.host: {host!r} is no address of this machine ({error.strerror}); write: host = "127.0.0.1"'
        ) from error
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise ListenError(_why_not(error, host, port)) from error
    sock.setblocking(False)
    return sock


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another process; stop it, or choose another: --port {port + 1}"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges that this user lacks; choose one above 1023: --port 3000"
    if error.errno == errno.EADDRNOTAVAIL:
        return f'service.host: {host!r} is no address of this machine; write: host = "127.0.0.1"'
    reason = os.strerror(error.errno or 0)
    return f"cannot listen on {host} port {port}: {reason}; choose another with --host and --port"


async def run(
    load: Callable[[Mapping[str, object]], Loaded],
    *,
    tasks: Tasks,
    listen: Callable[[Loaded], socket.socket],
    announce: Callable[[Application, socket.socket], None],
) -> int:
    """Load, open, serve until a signal, close. Returns the exit code: 0, or 128 + the signal that urged it.

    `load` makes the plugins, given what the households yielded; `listen` binds; `announce` tells the operator.
    """
    stop = Stop()
    try:
        loaded = load({})
        with listen(loaded) as sock:
            async with household(loaded) as yielded:
                if yielded:
                    loaded = load(yielded)
                async with build(loaded, tasks=tasks) as application:
                    stop.opened()
                    await serve(application, sock, stop, ready=lambda: announce(application, sock))
    except asyncio.CancelledError:
        if stop.first is None:
            raise
        return 0  # asked to end before it was open; all is closed again
    return 128 + stop.first if stop.first is not None and stop.urged.is_set() else 0


async def serve(application: Application, sock: socket.socket, stop: Stop, *, ready: Callable[[], None]) -> None:
    """Serve on `sock` until `stop`, then end as the head of this module says. `ready` is called once it listens."""
    timeouts = application.loaded.settings.service.timeouts
    front = application.front()
    waiting = sock.dup()  # keeps the queue of connections alive when the loop has closed its own
    try:
        server = await asyncio.get_running_loop().create_server(front, sock=sock, backlog=BACKLOG)
    except OSError as error:  # another process bound it first and listens now
        waiting.close()
        raise ListenError(_why_not(error, *sock.getsockname()[:2])) from error
    try:
        ready()
        await stop.asked.wait()
        application.state.draining = True
        if stop.first is signal.SIGTERM and timeouts.drain.seconds:
            await stop.pause(timeouts.drain.seconds)
    finally:
        server.close()
        await _accept_rest(waiting, front)
        waiting.close()
    await _finish(front, stop, timeouts.shutdown.seconds)


async def _accept_rest(sock: socket.socket, front: Front) -> None:
    """Take in who has connected and was not accepted yet: closing would reset them."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection, _ = sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        connection.setblocking(False)
        await loop.connect_accepted_socket(front, connection)


async def _finish(front: Front, stop: Stop, seconds: float) -> None:
    """Let running requests finish, cut those that do not, close every connection."""
    await asyncio.sleep(0)  # what has arrived is handed to its connection first
    front.pre_shutdown()
    finishing = asyncio.ensure_future(front.shutdown(seconds))
    urged = asyncio.ensure_future(stop.urged.wait())
    await asyncio.wait({finishing, urged}, return_when=asyncio.FIRST_COMPLETED)
    urged.cancel()
    if not finishing.done():
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        await front.shutdown(0)

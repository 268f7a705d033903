"""One worker: a socket, an application behind it, and an end that drops nothing.

SIGTERM   readiness fails → `drain` passes → listening stops → running requests finish within `shutdown` → exit 0
SIGINT    the same without `drain` (Ctrl-C feels instant)
again     ends at once
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import uvloop

from service.app import Application, build, household
from service.errors import StartError
from service.loader import Loaded
from service.protocol import Front
from service.run import Tasks

log = logging.getLogger("pegboard")

BACKLOG: Final = 1_024
"""Connections that may wait to be accepted (chosen; the kernel caps it at net.core.somaxconn)."""


LAST_WORDS_S: Final = 0.2
"""How long open connections are kept once listening has stopped: what their clients have just sent is still on its way
(chosen: a round trip between continents)."""

CUT_S: Final = 1.0
"""What cancelled requests get to clean up (chosen)."""


class ListenError(StartError):
    """The address cannot be listened on."""

    exit_code = os.EX_UNAVAILABLE


class Stop:
    """The signals that end a worker."""

    def __init__(self) -> None:
        """Take over SIGTERM and SIGINT of the running loop, on behalf of the current task."""
        self.first: signal.Signals | None = None
        self.second: signal.Signals | None = None
        self.asked = asyncio.Event()
        self.urged = asyncio.Event()
        """A second signal came: no more waiting."""
        self._task = asyncio.current_task()
        self._is_serving = False
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive, number)

    def _receive(self, number: signal.Signals) -> None:
        if self.first is None:
            self.first = number
            self.asked.set()
        else:
            self.second = number
            self.urged.set()
        if not self._is_serving and self._task is not None:
            self._task.cancel()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """In here a signal ends the service in good order; before, it gives the start up; after, a second one gives up
        whatever a plugin waits for while it closes."""
        self._is_serving = True
        try:
            yield
        finally:
            self._is_serving = False

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
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        raise ListenError(
            f'service.host: {host!r} is no address of this machine ({reason}); write: host = "127.0.0.1"'
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
        other = port + 1 if port < 65_535 else 3000
        return f"port {port} on {host} is taken by another process; stop it, or choose another: --port {other}"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges that this user lacks; choose one above 1023: --port 3000"
    if error.errno == errno.EADDRNOTAVAIL:
        return f'service.host: {host!r} is no address of this machine; write: host = "127.0.0.1"'
    reason = os.strerror(error.errno or 0)
    return f"cannot listen on {host} port {port}: {reason}; choose another with --host and --port"


def work(
    load: Callable[[Mapping[str, object]], Loaded],
    *,
    tasks: Tasks,
    listen: Callable[[Loaded], socket.socket],
    announce: Callable[[Application, socket.socket], None],
) -> int:
    """`run` in a loop of its own, as all that this process does: what ignores its cancellation does not hold it."""
    loop = uvloop.new_event_loop()
    executor = ThreadPoolExecutor(thread_name_prefix="pegboard")
    loop.set_default_executor(executor)
    try:
        code = loop.run_until_complete(run(load, tasks=tasks, listen=listen, announce=announce))
    finally:
        loop.run_until_complete(_cancel_strays())
        loop.run_until_complete(loop.shutdown_asyncgens())
        executor.shutdown(wait=False, cancel_futures=True)
        loop.close()
    if _have_ended([thread for thread in threading.enumerate() if thread.name.startswith("pegboard")]):
        return code
    log.error("A thread that does not end is left behind: a handler blocks in it.")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Python itself would wait for the thread


async def _cancel_strays() -> None:
    """Cancel what plugins have started without `run.spawn`."""
    strays = asyncio.all_tasks() - {asyncio.current_task()}
    for task in strays:
        task.cancel()
    if strays:
        await asyncio.wait(strays, timeout=CUT_S)


def _have_ended(threads: Sequence[threading.Thread]) -> bool:
    deadline_s = time.monotonic() + CUT_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


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
        async with household(loaded) as yielded:  # first: what a live service holds says more than its port
            with listen(loaded) as sock:
                if yielded:
                    loaded = load(yielded)
                async with build(loaded, tasks=tasks) as application:
                    with stop.serving():
                        await serve(application, sock, stop, ready=lambda: announce(application, sock))
    except (asyncio.CancelledError, StartError):
        if stop.first is None:
            raise
        # asked to end before it was open, or urged while it closed: all is closed again
    return 0 if stop.second is None else 128 + stop.second


async def serve(application: Application, sock: socket.socket, stop: Stop, *, ready: Callable[[], None]) -> None:
    """Serve on `sock` until `stop`, then end as the head of this module says. `ready` is called once it listens."""
    timeouts = application.loaded.settings.service.timeouts
    front = application.front()
    waiting = sock.dup()  # keeps the queue of connections alive when the loop has closed its own
    try:
        sock.listen(BACKLOG)  # uvloop would keep quiet about a failure
        server = await asyncio.get_running_loop().create_server(front, sock=sock, backlog=BACKLOG)
    except OSError as error:  # another process bound it as well and listens now
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
        except ConnectionAbortedError:
            continue  # this one has left
        except OSError:
            return  # nobody waits
        connection.setblocking(False)
        await loop.connect_accepted_socket(front, connection)


async def _finish(front: Front, stop: Stop, seconds: float) -> None:
    """Let running requests finish, cut those that do not, close every connection."""
    if front.connections:
        await stop.pause(LAST_WORDS_S)
    finishing = asyncio.ensure_future(front.finish())
    urged = asyncio.ensure_future(stop.urged.wait())
    await asyncio.wait({finishing, urged}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    urged.cancel()
    if not finishing.done():
        finishing.cancel()
        await front.cut(within_s=CUT_S)

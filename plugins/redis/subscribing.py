"""Publish and subscribe: one connection for all who listen, which comes back by itself.

What is published while it is gone is lost, so whoever listens is told when that begins and when it is over.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from redis.asyncio.connection import AbstractConnection

from plugins.redis.breaker import Breaker
from plugins.redis.opening import DRIVER_ERRORS, Connect, Unusable, drop, reason, transport_of

PING_EVERY_S = 1.0
"""How long a connection may be silent before it is asked whether it is there (chosen)."""

ANSWER_S = 1.0
"""How long it may take to say so (chosen)."""

RETRY_S = 0.25
"""Between attempts to connect while commands are answered, jittered by half (chosen)."""

log = logging.getLogger("pegboard.redis")


class Listener:
    """One who listens, and whether it hears."""

    def __init__(self, receive: Callable[[bytes], None], begun: Callable[[], None], lost: Callable[[], None]) -> None:
        self.receive = receive
        self._begun = begun
        self._lost = lost
        self.hears = False
        self.first = asyncio.Event()
        """Set once it has heard anything at all."""

    def begin(self) -> None:
        if not self.hears:
            self.hears = True
            self.first.set()
            _told(self._begun)

    def lose(self) -> None:
        if self.hears:
            self.hears = False
            _told(self._lost)


class Subscriptions:
    """`run` is its task."""

    def __init__(
        self,
        connect: Connect,
        breaker: Breaker,
        *,
        patience_s: float,
        ping_every_s: float = PING_EVERY_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        """`patience_s` is how long whoever comes waits to hear, at most."""
        self._connect = connect
        self._breaker = breaker
        self._patience_s = patience_s
        self._ping_every_s = ping_every_s
        self._answer_s = answer_s
        self._listeners: dict[str, list[Listener]] = {}
        self._wanted = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._asked: Counter[str] = Counter()
        """By channel, SUBSCRIBEs that are not confirmed yet."""
        self._confirmed: set[str] = set()
        self._ping: asyncio.TimerHandle | None = None
        self._last_reason = ""
        breaker.on_open.append(self.doubt)

    @asynccontextmanager
    async def subscribe(
        self, channel: str, receive: Callable[[bytes], None], begun: Callable[[], None], lost: Callable[[], None]
    ) -> AsyncIterator[None]:
        listener = Listener(receive, begun, lost)
        await self._add(channel, listener)
        try:
            if not self._breaker.is_open:
                try:
                    async with asyncio.timeout(self._patience_s):
                        await listener.first.wait()
                except TimeoutError:
                    pass  # it is told once it hears
            yield
        finally:
            await self._remove(channel, listener)

    async def run(self) -> None:
        await self._wanted.wait()
        while True:
            await self._breaker.until_closed()
            try:
                self._connection = await self._connect()
                await self._send("SUBSCRIBE", *self._listeners)
                while True:
                    await self._hear(self._connection)
            except (*DRIVER_ERRORS, Unusable) as error:
                self._tell(reason(error))
            finally:
                await self._close()
            self._breaker.doubt()
            await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def doubt(self) -> None:
        """Ask whether it is there: something else has failed."""
        if self._connection is not None and self._ping is None:
            self._ping = asyncio.get_running_loop().call_later(self._answer_s, self._cut)
            await self._send("PING")

    async def leave(self) -> None:
        """Let go of the connection for another one: it leads to where nobody publishes any more."""
        self._cut()

    # --- who listens

    async def _add(self, channel: str, listener: Listener) -> None:
        there = self._listeners.setdefault(channel, [])
        there.append(listener)
        self._wanted.set()
        if channel in self._confirmed:
            listener.begin()
        elif len(there) == 1 and self._connection is not None:
            await self._send("SUBSCRIBE", channel)

    async def _remove(self, channel: str, listener: Listener) -> None:
        there = self._listeners[channel]
        there.remove(listener)
        if not there:
            del self._listeners[channel]
            self._confirmed.discard(channel)
            if self._connection is not None:
                await self._send("UNSUBSCRIBE", channel)

    # --- the connection

    async def _send(self, command: str, *channels: str) -> None:
        """What cannot be sent shows where the connection is read."""
        if command == "SUBSCRIBE":
            if not channels:
                return
            self._asked.update(channels)
        if self._connection is not None:
            try:
                await self._connection.send_command(command, *channels)
            except DRIVER_ERRORS:
                self._cut()

    async def _hear(self, connection: AbstractConnection) -> None:
        """The next message, or a question after a silence. Raises `DRIVER_ERRORS` once it has ended."""
        told = await connection.read_response(timeout=self._ping_every_s)
        if told is None:
            await self.doubt()
            return
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None
        if not isinstance(told, list):  # the answer to a PING while no channel is subscribed
            return
        kind, name, content = told[0], told[1].decode(), told[-1]
        if kind == b"message":
            for listener in tuple(self._listeners.get(name, ())):
                if listener.hears:
                    _told(listener.receive, content)
        elif kind == b"subscribe":
            self._confirm(name)

    def _confirm(self, channel: str) -> None:
        self._asked[channel] -= 1
        if self._asked[channel] > 0:
            return  # it was given up and asked for anew in between: only the last one counts
        del self._asked[channel]
        if channel in self._listeners:
            self._confirmed.add(channel)
            self._last_reason = ""
            for listener in tuple(self._listeners[channel]):
                listener.begin()

    def _tell(self, why: str) -> None:
        if why != self._last_reason:
            log.warning("Subscriptions are lost (%s): what is published is not heard until they are back.", why)
        self._last_reason = why

    def _cut(self) -> None:
        if self._connection is not None and (transport := transport_of(self._connection)) is not None:
            transport.abort()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None
        self._asked.clear()
        self._confirmed.clear()
        if connection is not None:
            await drop(connection)
        for listener in [each for there in self._listeners.values() for each in there]:
            listener.lose()


def _told(function: Callable[..., None], *args: object) -> None:
    """Whoever fails to listen harms nobody else."""
    try:
        function(*args)
    except Exception:
        log.exception("A subscriber failed.")

"""LISTEN over one connection of its own that comes back by itself. What is notified while it is gone is lost, so
whoever listens is told when that begins and when it is over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from plugins.database.opening import FIRST_DELAY_S, LONGEST_DELAY_S, Connector
from plugins.database.sqlstate import DRIVER_ERRORS, LOST, RETRY_AFTER

NAME = "pegboard listen"
"""What PostgreSQL calls the connection (application_name), so that operators find it."""

PING_EVERY_S = 1.0
"""How often the connection is asked whether it is still there (chosen)."""

ANSWER_S = 2.0
"""How long that may take (chosen): one that has died without a word is given up after both."""


@dataclass(frozen=True, slots=True, eq=False)
class _Listener:
    channel: str
    receive: Callable[[str], None]
    begun: Callable[[], None]
    lost: Callable[[], None]


class Subscriptions:
    """All that one worker listens to: there is a connection while anybody does."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._listeners: list[_Listener] = []
        self._connection: asyncpg.Connection | None = None
        self._ended = asyncio.Event()
        """Set once the connection has ended; each has one of its own."""
        self._staying: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        """A connection does one thing at a time."""

    @asynccontextmanager
    async def listening(
        self, channel: str, receive: Callable[[str], None], *, begun: Callable[[], None], lost: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Call `receive(payload)` for every NOTIFY on `channel` while the block runs. To leave asks PostgreSQL nothing,
        which may not answer: what comes on a channel that nobody listens to any more is passed over.

        Once the block is entered, nothing is missed unless the connection is lost. Raises Unavailable if none can be
        had then.
        """
        listener = _Listener(channel, receive, begun, lost)
        try:
            async with self._turn:
                await self._join(listener)
        except DRIVER_ERRORS as error:
            raise LOST.error(LOST.message, headers=RETRY_AFTER) from error
        try:
            yield
        finally:
            await self._leave(listener)

    async def _join(self, listener: _Listener) -> None:
        if self._connection is None:
            await self._open([*self._listeners, listener])
        else:
            await self._connection.add_listener(listener.channel, self._hear)  # LISTENs once for each channel
            listener.begun()
        self._listeners.append(listener)
        if self._staying is None:
            self._staying = asyncio.create_task(self._stay(), name="listen")

    async def _leave(self, listener: _Listener) -> None:
        self._listeners.remove(listener)
        if not self._listeners:
            await self._close()

    # --- the connection

    async def _open(self, listeners: list[_Listener]) -> None:
        connection = await self._connector.connect(NAME)
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        try:
            for listener in listeners:
                await connection.add_listener(listener.channel, self._hear)
        except BaseException:
            connection.terminate()
            raise
        self._connection, self._ended = connection, ended
        for listener in listeners:
            listener.begun()

    async def _close(self) -> None:
        staying, self._staying = self._staying, None
        self._drop()
        if staying is not None:
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _stay(self) -> None:
        """Notice the end of the connection, and open another, until cancelled."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                async with self._turn:
                    if self._connection is None:
                        await self._open(self._listeners)
                delay_s = FIRST_DELAY_S
                await self._until_silent()
                self._lose()
            except DRIVER_ERRORS:
                self._lose()
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _until_silent(self) -> None:
        """Return when the connection has ended; raise an error of the driver's if it does not answer any more."""
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(PING_EVERY_S):
                    await self._ended.wait()
            except TimeoutError:
                async with self._turn:
                    if self._connection is not None:
                        await self._connection.execute("SELECT 1", timeout=ANSWER_S)

    def _lose(self) -> None:
        if self._connection is not None:
            self._drop()
            for listener in self._listeners:
                listener.lost()

    def _hear(self, connection: object, pid: int, channel: str, payload: object) -> None:
        for listener in [each for each in self._listeners if each.channel == channel]:
            listener.receive(str(payload))

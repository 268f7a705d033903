"""LISTEN over a connection of its own that comes back by itself. What is notified while it is gone is lost, so whoever
listens is told when that begins and when it is over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg

from plugins.database.opening import FIRST_DELAY_S, LONGEST_DELAY_S, Connector
from plugins.database.sqlstate import DRIVER_ERRORS, LOST, RETRY_AFTER

PING_EVERY_S = 5.0
"""How long a connection that has died without a word goes unnoticed (chosen)."""


@asynccontextmanager
async def listening(
    connector: Connector,
    channel: str,
    receive: Callable[[str], None],
    *,
    begun: Callable[[], None],
    lost: Callable[[], None],
) -> AsyncIterator[None]:
    """Call `receive(payload)` for every NOTIFY on `channel` while the block runs.

    Once the block is entered, nothing is missed unless the connection is lost. Raises Unavailable if the first one
    cannot be had.
    """
    ear = _Ear(connector, channel, receive, begun, lost)
    try:
        await ear.open()
    except DRIVER_ERRORS as error:
        raise LOST.error(LOST.message, headers=RETRY_AFTER) from error
    staying = asyncio.create_task(ear.stay(), name=f"listen {channel}")
    try:
        yield
    finally:
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)
        ear.close()


class _Ear:
    def __init__(
        self,
        connector: Connector,
        channel: str,
        receive: Callable[[str], None],
        begun: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._connector = connector
        self._channel = channel
        self._receive = receive
        self._begun = begun
        self._lost = lost
        self._connection: asyncpg.Connection | None = None
        self._ended = asyncio.Event()

    async def open(self) -> None:
        connection = await self._connector.connect()
        self._connection = connection
        self._ended.clear()
        connection.add_termination_listener(lambda _: self._ended.set())
        try:
            await connection.add_listener(self._channel, self._hear)
        except BaseException:
            self.close()
            raise
        self._begun()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def stay(self) -> None:
        """Notice the end of the connection, and open another, until cancelled."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                if self._connection is None:
                    await self.open()
                    delay_s = FIRST_DELAY_S
                await self._until_silent(self._connection)
                self._lose()
            except DRIVER_ERRORS:
                self._lose()
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    def _lose(self) -> None:
        if self._connection is not None:
            self.close()
            self._lost()

    async def _until_silent(self, connection: asyncpg.Connection | None) -> None:
        """Return when the connection has ended; raise an error of the driver's if it does not answer any more."""
        while connection is not None:
            try:
                async with asyncio.timeout(PING_EVERY_S):
                    await self._ended.wait()
                    return
            except TimeoutError:
                await connection.execute("SELECT 1")

    def _hear(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self._receive(str(payload))

"""Connections of an asyncpg pool, lent to one borrower at a time: first come, first served, without a round trip.

    lent out ── give_back ──▶ warm, lent again at once ── not needed for `WARM_S` ──▶ asyncpg's pool, which closes it
        └────── clean_up ───▶ asyncpg's pool, with nothing running and no transaction open       after `pool.idle`

A connection is lent without any setting up and taken back without a reset, so it must never carry session state:
statements that set any run with SET LOCAL in a transaction, and LISTEN has a connection of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from plugins.database.sqlstate import DRIVER_ERRORS

RELEASE_S = 2.0
"""How long the cancelling of a statement may take before its connection is dropped (chosen)."""

WARM_S = 1.0
"""How long a connection that nobody needs is kept here (chosen). asyncpg's own way to lend and to take back costs
17 us, a task among it, and a deadline 5; this way 1 (measured), of 130 us that a small read takes."""

Lent = PoolConnectionProxy


class AllLent(TimeoutError):
    """No connection came back in time."""


class Lender:
    """Lends at most `max_size` connections of `pool`, which nobody else may use."""

    def __init__(self, pool: asyncpg.Pool, *, max_size: int, acquire_s: float) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(max_size)
        self._acquire_s = acquire_s
        self._warm: list[Lent] = []
        self._unneeded = 0  # how few were warm at any moment since the last cooling: the oldest ones, which nobody took
        self._cooling: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._cleaning: set[asyncio.Task[None]] = set()

    async def borrow(self) -> Lent:
        """A live connection. Raises AllLent after `acquire_s`, DRIVER_ERRORS where connecting fails.

        Turns are taken here: asyncpg's own queue lets a newcomer overtake those who wait, and its slowest requests
        took ten times as long (measured: p99 of 32 clients on 10 connections).
        """
        has_turn = False
        if self._warm and not self._turns.locked():
            has_turn = await self._turns.acquire()  # does not wait
            if (connection := self._warmest()) is not None:
                return connection
        try:
            async with asyncio.timeout(self._acquire_s):
                has_turn = has_turn or await self._turns.acquire()
                return self._warmest() or await self._pool.acquire()
        except BaseException as error:
            if has_turn:
                self._turns.release()
            elif isinstance(error, TimeoutError):
                raise AllLent from None
            raise

    def give_back(self, connection: Lent) -> None:
        """Take back a connection with nothing running and no transaction open."""
        self._turns.release()
        if self._is_closing:
            self._track(self._release(connection))
            return
        self._warm.append(connection)
        if self._cooling is None:
            self._unneeded = 0
            self._cooling = asyncio.get_running_loop().call_later(WARM_S, self._cool)

    async def clean_up(self, connection: Lent) -> None:
        """Take one back after an error: with nothing running and no transaction open, or closed.

        A second cancellation of the caller leaves this to end by itself.
        """
        await asyncio.shield(self._track(self._cleaned_up(connection)))

    async def close(self) -> None:
        """Leave every connection to the pool, those too that come back later."""
        self._is_closing = True
        if self._cooling is not None:
            self._cooling.cancel()
        self._unneeded = len(self._warm)
        self._release_unneeded()
        while self._cleaning:
            await asyncio.wait(self._cleaning)

    # --- steps of these

    def _warmest(self) -> Lent | None:
        """The one that was used last, if any is alive."""
        while self._warm:
            connection = self._warm.pop()
            self._unneeded = min(self._unneeded, len(self._warm))
            if not is_closed(connection):
                return connection
            drop(connection)
        return None

    def _cool(self) -> None:
        self._release_unneeded()
        self._unneeded = len(self._warm)
        self._cooling = asyncio.get_running_loop().call_later(WARM_S, self._cool) if self._warm else None

    def _release_unneeded(self) -> None:
        unneeded, self._warm = self._warm[: self._unneeded], self._warm[self._unneeded :]
        for connection in unneeded:
            self._track(self._release(connection))

    async def _cleaned_up(self, connection: Lent) -> None:
        try:
            if not is_closed(connection) and connection.is_in_transaction():
                await connection.execute("ROLLBACK", timeout=RELEASE_S)
        except DRIVER_ERRORS:
            drop(connection)
        try:
            await self._release(connection)
        finally:
            self._turns.release()

    async def _release(self, connection: Lent) -> None:
        with suppress(*DRIVER_ERRORS):  # a statement that cannot be cancelled in time: dropped by asyncpg
            await self._pool.release(connection, timeout=RELEASE_S)

    def _track(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="clean up a database connection")
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)
        return task


def is_closed(connection: Lent) -> bool:
    """asyncpg takes a connection that was closed away from its borrower, who then may not even ask."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


def drop(connection: Lent) -> None:
    with suppress(asyncpg.InterfaceError):
        connection.terminate()

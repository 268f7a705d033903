"""Connections to one server, lent to one command at a time.

    no answer in time      the connection is dropped: its reply would come to whoever had it next
    caller cancelled       the same
    closed meanwhile       noticed before it is lent, and another one is opened
    all of them lent       whoever comes waits, first come, first served, for as long as answers keep coming
    none open              one is opened in a task of its own: whoever cannot wait for it leaves it to the next

What counts is time in which our loop ran: an answer that lies there unread, since something kept the loop from reading,
is read.
"""

from __future__ import annotations

import asyncio
import time

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from plugins.redis.opening import DRIVER_ERRORS, Connect, Unusable, drop, transport_of
from service.api import Reply

LATE_S = 0.01
"""A timer that is so late shows that the loop did not run meanwhile (chosen)."""

Command = tuple[str | bytes | int, ...]


class Lender:
    def __init__(self, connect: Connect, *, size: int, command_s: float) -> None:
        """`size` is how many there are at most; `command_s` how long one command may take."""
        self._connect = connect
        self._turns = asyncio.Semaphore(size)
        self._command_s = command_s
        self._free: list[AbstractConnection] = []
        self._opening: set[asyncio.Task[AbstractConnection]] = set()
        self._heard_s = 0.0
        self._is_closed = False

    async def ask(self, command: Command, *, before: Command | None = None) -> Reply:
        """What Redis answers to `command`; `before` is sent ahead of it, and its answer dropped.

        Raises `DRIVER_ERRORS`: ResponseError where Redis refuses; TimeoutError, another OSError or ConnectionError
        where it does not answer. Nothing is tried twice.
        """
        connection = await self._borrow()
        deadline = Deadline(connection, self._command_s)
        is_clean = False
        try:
            if before is not None:
                await connection.send_command(*before)
            await connection.send_command(*command)
            if before is not None:
                await connection.read_response()
            reply: Reply = await connection.read_response()
            is_clean = True
            return reply
        except exceptions.ResponseError as error:
            is_clean = before is None
            if isinstance(error, exceptions.ReadOnlyError):  # another one is the master by now
                is_clean = False
                await self.drop_free()
            raise
        except DRIVER_ERRORS:
            if deadline.has_passed:
                raise TimeoutError from None
            raise
        finally:
            deadline.cancel()
            self._turns.release()
            if is_clean and not self._is_closed and connection.is_connected:
                self._heard_s = time.monotonic()
                self._free.append(connection)
            else:
                deadline.cut()
                await drop(connection)

    async def drop_free(self) -> None:
        """Those that are not lent; those that are, their commands drop when they fail."""
        free, self._free = self._free, []
        for connection in free:
            await drop(connection)

    async def close(self) -> None:
        self._is_closed = True
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        await self.drop_free()

    # --- lending

    async def _borrow(self) -> AbstractConnection:
        """A live connection, with a turn that goes with it."""
        if self._turns.locked():
            await self._wait_for_turn()
        else:
            await self._turns.acquire()
        try:
            while self._free:
                connection = self._free.pop()
                if not await _was_closed(connection):
                    return connection
                await drop(connection)
        except BaseException:
            self._turns.release()
            raise
        return await self._open()

    async def _wait_for_turn(self) -> None:
        """Raises TimeoutError once nothing was heard for the time that one command may take."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle
        async with asyncio.timeout(None) as patience:

            def look() -> None:
                nonlocal timer
                if time.monotonic() - self._heard_s < self._command_s:
                    timer = loop.call_later(self._command_s, look)
                else:
                    patience.reschedule(loop.time())

            timer = loop.call_later(self._command_s, look)
            try:
                await self._turns.acquire()
            finally:
                timer.cancel()

    async def _open(self) -> AbstractConnection:
        """A new connection. Where there is no time to wait for it, it is there for the next, and keeps the turn until
        it is."""
        task = asyncio.create_task(self._connect(), name="connect to Redis")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        try:
            async with asyncio.timeout(self._command_s):
                return await asyncio.shield(task)
        except BaseException as error:
            task.add_done_callback(self._keep)  # called soon, where the task is done already
            if isinstance(error, Unusable):
                raise exceptions.ConnectionError from error
            raise

    def _keep(self, task: asyncio.Task[AbstractConnection]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._free.append(task.result())
        self._turns.release()


class Deadline:
    """Cuts a connection that gives no answer in time, whatever waits for it."""

    __slots__ = ("_due_s", "_loop", "_seconds", "_timer", "_transport", "has_passed")

    def __init__(self, connection: AbstractConnection, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.has_passed = False
        self._transport = transport_of(connection)  # now: the driver lets go of it when something fails
        self._seconds = seconds
        self._due_s = time.monotonic() + seconds  # uvloop's own time stands still while a callback runs
        self._timer = self._loop.call_later(seconds, self._expire)

    def cancel(self) -> None:
        self._timer.cancel()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _expire(self) -> None:
        now_s = time.monotonic()
        if now_s - self._due_s > LATE_S:
            self._due_s = now_s + self._seconds
            self._timer = self._loop.call_later(self._seconds, self._expire)
            return
        self.has_passed = True
        self.cut()


async def _was_closed(connection: AbstractConnection) -> bool:
    """Whether it ended, or was sent what nobody has asked for, while it was not lent."""
    try:
        return not connection.is_connected or await connection.can_read()
    except DRIVER_ERRORS:
        return True

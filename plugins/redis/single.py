"""One server at a time: that of the URL, or the master that Sentinels name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from plugins.redis.lending import Command, Deadline, Lender
from plugins.redis.opening import DRIVER_ERRORS, WRITE, Connect, Dialer, Unusable, ask, drop, first_of
from plugins.redis.urls import Address
from service.api import Reply


class Pulse:
    """Looks at one server, over a connection of its own, so that one in full use does not look dead."""

    def __init__(self, dialer: Dialer, connect: Connect, *, command_s: float) -> None:
        self._dialer = dialer
        self._connect = connect
        self._command_s = command_s
        self._connection: AbstractConnection | None = None

    async def check(self) -> None:
        """Whether commands would be answered, and in time. Raises `DRIVER_ERRORS`, Unusable.

        A connection that has broken is no evidence: a new one is.
        """
        if self._connection is not None:
            with suppress(*DRIVER_ERRORS, Unusable):
                await self._greet(self._connection)
                return
        self._connection = await self._connect()
        await self._greet(self._connection)

    async def _greet(self, connection: AbstractConnection) -> None:
        deadline = Deadline(connection, 2 * self._command_s)  # a greeting is two commands
        try:
            await self._dialer.greet(connection)
        except BaseException:
            await self.close()
            if deadline.has_passed:
                raise TimeoutError from None
            raise
        finally:
            deadline.cancel()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await drop(connection)


class Single:
    """What commands are sent to, where all keys are in one place."""

    def __init__(
        self, dialer: Dialer, connect: Connect, *, size: int, command_s: float, sentinels: Sentinels | None = None
    ) -> None:
        self.connect = connect
        self._lender = Lender(connect, size=size, command_s=command_s)
        self._pulse = Pulse(dialer, connect, command_s=command_s)
        self._sentinels = sentinels
        if sentinels is not None:
            sentinels.on_move += [self.drop_idle, self._pulse.close]

    async def ask(self, key: str, command: Command) -> Reply:
        return await self._lender.ask(command)

    def grouped(self, keys: Sequence[str]) -> list[list[int]]:
        """Which of `keys` one command may have together."""
        return [list(range(len(keys)))]

    async def check(self) -> None:
        if self._sentinels is not None:
            with suppress(*DRIVER_ERRORS, Unusable):  # the master may be well without them
                await self._sentinels.find()
        await self._pulse.check()

    async def drop_idle(self) -> None:
        await self._lender.drop_free()

    async def close(self) -> None:
        await self._pulse.close()
        await self._lender.close()


class Sentinels:
    """Who is the master: the first answer of any of them that knows."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._master: Address | None = None
        self.on_move: list[Callable[[], Awaitable[None]]] = []
        """Called, in order, once another one is the master: what is connected to the one before must not stay so."""

    async def connect(self) -> AbstractConnection:
        """To the master; to the one that was it, if it still says so, where no Sentinel answers."""
        try:
            master = await self.find()
        except (*DRIVER_ERRORS, Unusable):
            if self._master is None:
                raise
            master = self._master
        return await self._dialer.dial(master)

    async def find(self) -> Address:
        """Raises `DRIVER_ERRORS`, Unusable."""
        found = await first_of([self._ask(address) for address in self._dialer.target.addresses])
        before, self._master = self._master, found
        if before not in (None, found):
            for call in self.on_move:
                await call()
        return found

    async def _ask(self, sentinel: Address) -> Address:
        connection = await self._dialer.dial_sentinel(sentinel)
        service = self._dialer.target.service
        try:
            async with asyncio.timeout(self._dialer.connect_s):
                told = await ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        except exceptions.ResponseError as error:
            if "unknown command" in str(error):
                raise Unusable("it is no Sentinel", write=WRITE["standalone"]) from None
            raise
        finally:
            await drop(connection)
        if not isinstance(told, list):
            raise Unusable(f"the Sentinels know no master called {service}", write=WRITE["sentinel"])
        host, port = told
        return host.decode(), int(port)

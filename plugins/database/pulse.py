"""The health check: one statement over a connection of its own, so that a pool in full use does not look dead."""

from __future__ import annotations

import asyncpg

from plugins.database.opening import Connector


class Pulse:
    def __init__(self, connector: Connector, connection: asyncpg.Connection) -> None:
        """`connection` is made by `connector`, which makes the next ones."""
        self._connector = connector
        self._connection: asyncpg.Connection | None = connection

    async def check(self) -> None:
        """Raises what the driver raises. Whoever calls sets the time that it may take, and cancels."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connector.connect()
            await self._connection.execute("SELECT 1")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

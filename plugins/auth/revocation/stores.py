"""Where revocations are kept, and how all who follow hear of a new one.

with Redis alone        Redis keeps them, and a message of its own tells of each
with PostgreSQL alone   the table `revocations` keeps them, and NOTIFY tells of each, in one transaction
with both               PostgreSQL keeps them, for it forgets nothing when it restarts, and Redis tells of them. Where
                        the schema has not been made, it is as with Redis alone

Each worker holds all of them, and what its store lacks it keeps there anew. So a Redis that has lost its data, or a
database put back from a backup, forgets nothing as long as one worker runs. There is no way to take a revocation back:
it ends by itself, and new tokens are not hit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from plugins.auth.revocation.held import Revoked
from plugins.auth.revocation.in_redis import InRedis
from plugins.auth.revocation.messages import ANEW, encoded
from plugins.auth.store.revocations import InDatabase
from service.api import Database, Redis, Unavailable


class Store(Protocol):
    """Its methods raise ServiceErrors only."""

    async def read(self, now_s: float) -> Sequence[Revoked]:
        """All that have not ended."""

    async def keep(self, revoked: Revoked, now_s: float) -> None:
        """Keep one, and tell of it. What a subject that is revoked could renew tokens with is gone, too."""

    async def restore(self, lacking: Sequence[Revoked]) -> object:
        """Keep those that were there once. Where one was not there already, all who hear are told `ANEW`."""

    def hear(
        self, receive: Callable[[bytes | str], None], *, begun: Callable[[], None], lost: Callable[[], None]
    ) -> AbstractAsyncContextManager[None]:
        """As `service.api.Redis.subscribe`; raises Unavailable where there is nothing to hear just now."""


class InBoth:
    """PostgreSQL keeps them, Redis tells of them."""

    def __init__(self, database: InDatabase, redis: InRedis) -> None:
        self._database = database
        self._redis = redis

    async def read(self, now_s: float) -> Sequence[Revoked]:
        return await (self._database if await self._database.is_ready() else self._redis).read(now_s)

    async def keep(self, revoked: Revoked, now_s: float) -> None:
        if not await self._database.is_ready():
            await self._redis.keep(revoked, now_s)
            return
        await self._database.keep(revoked, now_s)
        try:
            await self._redis.tell(encoded(revoked))
        except Unavailable as error:
            raise Unavailable(
                "The revocation is kept, and Redis, which should tell of it, cannot be reached: workers that reach it "
                "learn of it within half a minute, others within a second.",
                headers=error.headers,
            ) from error

    async def restore(self, lacking: Sequence[Revoked]) -> None:
        if not await self._database.is_ready():
            await self._redis.restore(lacking)
        elif await self._database.restore(lacking):
            await self._redis.tell(ANEW)

    def hear(
        self, receive: Callable[[bytes | str], None], *, begun: Callable[[], None], lost: Callable[[], None]
    ) -> AbstractAsyncContextManager[None]:
        return self._redis.hear(receive, begun=begun, lost=lost)


def store_of(database: Database | None, redis: Redis | None) -> Store | None:
    """None where there is neither, and nothing can be revoked."""
    if redis is None:
        return None if database is None else InDatabase(database)
    return InRedis(redis) if database is None else InBoth(InDatabase(database), InRedis(redis))

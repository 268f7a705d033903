"""The port: commands by way of the breaker, with the service's prefix; and what goes wrong, as errors of ours.

away, no answer in time, or refusing all that it is asked   503 with Retry-After; the breaker has it looked at
out of memory, or taking no changes just now                503 with Retry-After, and the log says which, once a minute
any other refusal                                           500: whoever asked has asked for something impossible
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from plugins.redis.breaker import Breaker
from plugins.redis.lending import Command
from plugins.redis.opening import DRIVER_ERRORS, code_of, reason
from plugins.redis.subscribing import Subscriptions
from service.api import InternalError, Reply, Script, ServiceError, Unavailable

RETRY_AFTER = {"Retry-After": "1"}
"""One second: one that has returned is found within two (chosen)."""

AWAY = "The store that servers share cannot be reached just now."
REFUSING = "The store that servers share takes no changes just now."
IMPOSSIBLE = "The store that servers share refused this request for a reason that is not the caller's."

DOWN = frozenset({"READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "LOADING", "BUSY", "MOVED", "ASK"})
"""Redis answers, and would answer so to others too: worth a look."""

FULL = frozenset({"OOM", "MISCONF", "NOREPLICAS"})
"""It takes no changes, and may be read."""

TELL_EVERY_S = 60.0
"""How often the log repeats why changes are refused (chosen)."""

log = logging.getLogger("pegboard.redis")


class Backend(Protocol):
    """One server, or a cluster."""

    async def ask(self, key: str, command: Command) -> Reply:
        """Raises `DRIVER_ERRORS`."""

    def grouped(self, keys: Sequence[str]) -> list[list[int]]: ...

    async def connect(self) -> AbstractConnection: ...

    async def check(self) -> None: ...

    async def drop_idle(self) -> None: ...

    async def close(self) -> None: ...


class Store:
    """`service.api.Redis`."""

    def __init__(self, backend: Backend, breaker: Breaker, subscriptions: Subscriptions, *, prefix: str) -> None:
        self._backend = backend
        self._breaker = breaker
        self._subscriptions = subscriptions
        self._prefix = prefix
        self._told_s: dict[str, float] = {}

    async def get(self, key: str) -> bytes | None:
        key = self._prefix + key
        return await self._ask(key, ("GET", key))  # type: ignore[return-value]  # so GET answers

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        named = [self._prefix + key for key in keys]
        found: list[bytes | None] = [None] * len(named)

        async def get(group: list[int]) -> None:
            values = await self._ask(named[group[0]], ("MGET", *[named[index] for index in group]))
            for index, value in zip(group, values, strict=True):  # type: ignore[arg-type]  # so MGET answers
                found[index] = value  # type: ignore[assignment]

        await self._by_group(named, get)
        return found

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        key = self._prefix + key
        await self._ask(key, ("SET", key, value, "PX", max(1, round(ttl_s * 1000))))

    async def delete(self, *keys: str) -> None:
        named = [self._prefix + key for key in keys]

        async def unlink(group: list[int]) -> None:
            await self._ask(named[group[0]], ("UNLINK", *[named[index] for index in group]))

        await self._by_group(named, unlink)

    async def script(self, script: Script, *, keys: Sequence[str], args: Sequence[str | bytes | int] = ()) -> Reply:
        named = [self._prefix + key for key in keys]
        rest = (len(named), *named, *args)
        first = named[0] if named else ""
        try:
            return await self._ask(first, ("EVALSHA", script.digest, *rest))
        except InternalError as error:
            if not isinstance(error.__cause__, exceptions.NoScriptError):
                raise
        return await self._ask(first, ("EVAL", script.source, *rest))

    async def publish(self, channel: str, message: bytes) -> None:
        channel = self._prefix + channel
        await self._ask(channel, ("PUBLISH", channel, message))

    def subscribe(
        self,
        channel: str,
        receive: Callable[[bytes], None],
        *,
        begun: Callable[[], None],
        lost: Callable[[], None],
    ) -> AbstractAsyncContextManager[None]:
        return self._subscriptions.subscribe(self._prefix + channel, receive, begun, lost)

    # --- asking

    async def _ask(self, key: str, command: Command) -> Reply:
        if self._breaker.is_open:
            raise Unavailable(AWAY, headers=RETRY_AFTER)
        try:
            return await self._backend.ask(key, command)
        except DRIVER_ERRORS as error:
            raise self._answer(error) from error

    async def _by_group(
        self, named: Sequence[str], run: Callable[[list[int]], Coroutine[object, object, None]]
    ) -> None:
        """`run` for all that one command may have together: one after the other there, side by side in a cluster."""
        groups = self._backend.grouped(named) if named else []
        if len(groups) == 1:
            await run(groups[0])
        else:
            await asyncio.gather(*map(run, groups))

    def _answer(self, error: BaseException) -> ServiceError:
        """What to raise in place of the driver's error."""
        if not isinstance(error, exceptions.ResponseError) or (code := code_of(error)) in DOWN:
            self._breaker.doubt()
            return Unavailable(AWAY, headers=RETRY_AFTER)
        if code in FULL:
            self._tell(code, error)
            return Unavailable(REFUSING, headers=RETRY_AFTER)
        return InternalError(IMPOSSIBLE)

    def _tell(self, code: str, error: BaseException) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s.get(code, -TELL_EVERY_S) >= TELL_EVERY_S:
            self._told_s[code] = now_s
            log.warning("Redis takes no changes: %s.", reason(error))

"""Revocations in Redis: one hash for all of them, so that a cluster has it in one place, and a channel.

The hash has no lifetime, as else Redis might evict it when memory is short (`volatile-*`), and what is revoked would be
forgotten. Its fields end by what is written in them, and whoever reads removes those that have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar, cast

from plugins.auth.revocation.held import REMOVED_AFTER_S, Revoked
from plugins.auth.revocation.messages import ANEW, encoded, revoked_of
from service.api import Redis, Script

T = TypeVar("T")

KEY: Final = "auth:revocations"
CHANNEL: Final = "auth:revocations"

AT_ONCE: Final = 500
"""Fields in one command (chosen): a fraction of a millisecond of Redis."""

KEEP: Final = Script("""
local changed = 0
for i = 1, #ARGV, 3 do
  local before, ends = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  if known then
    local known_before, known_ends = string.match(known, '^(%d+) (%d+)$')
    before = math.max(before, tonumber(known_before or 0))
    ends = math.max(ends, tonumber(known_ends or 0))
  end
  local value = string.format('%d %d', before, ends)
  if value ~= known then
    redis.call('HSET', KEYS[1], ARGV[i], value)
    changed = changed + 1
  end
end
redis.call('PERSIST', KEYS[1])
return changed
""")
"""Field, issued_before and ends_at, any number of them. Returns how many were not there already."""

READ: Final = Script("return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])")

REMOVE: Final = Script("""
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 1
""")
"""Field and the value that it had when it was found to have ended, any number of them."""


class InRedis:
    """`Store`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, now_s: float) -> Sequence[Revoked]:
        found: dict[str, Revoked] = {}
        ended: list[bytes] = []
        cursor = b"0"
        while True:
            reply = await self._redis.script(READ, keys=[KEY], args=[cursor, AT_ONCE])
            cursor, flat = cast(tuple[bytes, Sequence[bytes]], reply)
            for field, value in zip(flat[::2], flat[1::2], strict=True):
                revoked = _read(field, value)
                if revoked is None or revoked.ends_at <= now_s - REMOVED_AFTER_S:
                    ended += (field, value)
                elif revoked.ends_at > now_s:
                    found[field.decode()] = revoked
            if cursor == b"0":
                break
        for part in _parts(ended, 2 * AT_ONCE):
            await self._redis.script(REMOVE, keys=[KEY], args=part)
        return list(found.values())

    async def keep(self, revoked: Revoked, now_s: float) -> None:
        await self._put([revoked])
        await self.tell(encoded(revoked))

    async def restore(self, lacking: Sequence[Revoked]) -> None:
        if await self._put(lacking):
            await self.tell(ANEW)

    async def tell(self, message: bytes) -> None:
        await self._redis.publish(CHANNEL, message)

    async def _put(self, revoked: Sequence[Revoked]) -> int:
        """How many were not there already."""
        changed = 0
        for part in _parts(revoked, AT_ONCE):
            words = [word for each in part for word in (f"{each.kind} {each.value}", each.issued_before, each.ends_at)]
            changed += cast(int, await self._redis.script(KEEP, keys=[KEY], args=words))
        return changed

    def hear(
        self, receive: Callable[[bytes | str], None], *, begun: Callable[[], None], lost: Callable[[], None]
    ) -> AbstractAsyncContextManager[None]:
        return self._redis.subscribe(CHANNEL, receive, begun=begun, lost=lost)


def _read(field: bytes, value: bytes) -> Revoked | None:
    """None for what was not written here."""
    try:
        kind, _, name = field.decode().partition(" ")
        issued_before, ends_at = map(int, value.decode().split(" "))
    except ValueError:
        return None
    return revoked_of(kind, name, issued_before, ends_at)


def _parts(all_of_them: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    for begin in range(0, len(all_of_them), size):
        yield all_of_them[begin : begin + size]

"""Passwords and their hashes: argon2, in threads of its own, so that the loop goes on.

One look at a password costs one hash, whether there is an account or not and whatever its column holds: where that is
nothing to compare with, a hash that no password has is compared instead.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError

from service.api import Unavailable

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_BYTES: Final = 1024
"""Of a password, in UTF-8 (chosen): none is that long, and hashing begins with reading it."""

WAITING_PER_THREAD: Final = 16
"""How many may wait (chosen): with 100 ms for each, the last one waits for less than two seconds."""

RETRY_AFTER: Final = {"Retry-After": "1"}

MOST_MEMORY_KIB: Final = 1024 * 1024
"""Of a stored hash (chosen): more would take the machine down for one login."""

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """What a new hash costs; RFC 9106, section 4."""

    time: int
    memory_kib: int
    parallelism: int


_HASH = re.compile(
    r"\$argon2(?:id|i)\$(?:v=[0-9]+\$)?m=([0-9]{1,9}),t=[0-9]{1,3},p=[0-9]{1,3}\$[\w+/]+\$[\w+/]+", re.ASCII
)
"""One that can be compared: argon2id or argon2i, in PHC string format."""

Verdict = Literal["right", "outdated", "wrong", "unreadable"]
"""Of a password: right, also by a hash of another cost; wrong; wrong because the hash is none of argon2."""


class Passwords:
    """Compares and makes hashes, `threads` at a time. `close()` when done."""

    def __init__(self, cost: Cost, *, threads: int, name: str) -> None:
        self._hasher = hasher_of(cost)
        self._nobodys = nobodys_hash(cost)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = threads * (1 + WAITING_PER_THREAD)

    async def look(self, stored: str, password: str) -> Verdict:
        """Whether `password` is the one of the hash that is stored. Raises Unavailable where too many wait."""
        return await self._within(self._look, stored, password)

    async def hash(self, password: str) -> str:
        """A new hash, with a salt of its own. Raises Unavailable where too many wait."""
        return await self._within(self._hasher.hash, password)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _within(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if not self._room:
            raise Unavailable("Too many people log in just now.", headers=RETRY_AFTER)
        self._room -= 1
        loop = asyncio.get_running_loop()

        def done(future: Future[R]) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._leave)

        future = self._threads.submit(function, *args, **kwargs)
        future.add_done_callback(done)  # also where who waited has gone: the thread goes on
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self._room += 1

    def _look(self, stored: str, password: str) -> Verdict:
        found = _HASH.fullmatch(stored)
        if found is None or int(found[1]) > MOST_MEMORY_KIB:
            return self._look_at_nobodys(password, verdict="unreadable" if stored else "wrong")
        try:
            self._hasher.verify(stored, password)
        except VerifyMismatchError:
            return "wrong"
        except VerificationError:  # found to be none before any work was done
            return self._look_at_nobodys(password, verdict="unreadable")
        return "outdated" if self._hasher.check_needs_rehash(stored) else "right"

    def _look_at_nobodys(self, password: str, *, verdict: Verdict) -> Verdict:
        with suppress(VerificationError):
            self._hasher.verify(self._nobodys, password)
        return verdict


def hasher_of(cost: Cost) -> PasswordHasher:
    return PasswordHasher(
        time_cost=cost.time,
        memory_cost=cost.memory_kib,
        parallelism=cost.parallelism,
        hash_len=HASH_BYTES,
        salt_len=SALT_BYTES,
    )


def nobodys_hash(cost: Cost) -> str:
    """A hash that costs as much as any other, and that nobody knows a password of: random bytes."""
    salt, tag = (b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (SALT_BYTES, HASH_BYTES))
    return f"$argon2id$v=19$m={cost.memory_kib},t={cost.time},p={cost.parallelism}${salt}${tag}"

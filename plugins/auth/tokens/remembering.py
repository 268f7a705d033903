"""What was verified once: the same text again costs a digest, and no signature check or question, until it ends.

Kept by digest (BLAKE2b, RFC 7693), so that no token or API key lies in memory for longer than its request. Bounded: of
too many, the one goes that was used the longest ago.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

from service.api import Principal


class Ending(Protocol):
    """Whom something was found to be of, and until when that may be believed."""

    @property
    def principal(self) -> Principal: ...

    @property
    def ends_at(self) -> float:
        """Seconds since the epoch."""


T = TypeVar("T", bound=Ending)


class Memory(Generic[T]):
    """At most `size` of them, in the memory of one worker, by the texts that said it."""

    __slots__ = ("_size", "_verified")

    def __init__(self, size: int) -> None:
        self._size = size
        self._verified: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._verified)

    def recall(self, text: str, now_s: float) -> Principal | None:
        """Who asks with it; None where it is unknown, or expired by now."""
        digest = blake2b(text.encode("utf-8", "surrogateescape")).digest()  # as header values are decoded
        verified = self._verified.get(digest)
        if verified is None:
            return None
        if now_s >= verified.ends_at:
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return verified.principal

    def keep(self, text: str, verified: T) -> None:
        """For a text that can be believed, so one in ASCII."""
        self._verified[blake2b(text.encode()).digest()] = verified
        if len(self._verified) > self._size:
            self._verified.popitem(last=False)

    def forget(self, is_meant: Callable[[T], bool]) -> None:
        """Those that are meant: of a key that is no longer the issuer's, of a subject, of a `jti`."""
        for digest in [digest for digest, verified in self._verified.items() if is_meant(verified)]:
            del self._verified[digest]

    def clear(self) -> None:
        self._verified.clear()

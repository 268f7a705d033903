"""Tokens that were verified once: the same text again costs a digest, and no signature check, until it expires.

Kept by digest, so that no token lies in memory for longer than its request. Bounded: of too many, the one goes that was
used the longest ago.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from plugins.auth.tokens.verifying import Verified
from service.api import Principal


def digest_of(token: str) -> bytes:
    """What `token`, which is ASCII, is remembered by."""
    return hashlib.sha256(token.encode()).digest()


class Memory:
    """At most `size` of them, in the memory of one worker."""

    __slots__ = ("_size", "_verified")

    def __init__(self, size: int) -> None:
        self._size = size
        self._verified: OrderedDict[bytes, Verified] = OrderedDict()

    def __len__(self) -> int:
        return len(self._verified)

    def recall(self, digest: bytes, now_s: float) -> Principal | None:
        """Who asks with it; None where it is unknown, or expired by now."""
        verified = self._verified.get(digest)
        if verified is None:
            return None
        if now_s >= verified.ends_at:
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return verified.principal

    def keep(self, digest: bytes, verified: Verified) -> None:
        self._verified[digest] = verified
        if len(self._verified) > self._size:
            self._verified.popitem(last=False)

    def forget(self, is_meant: Callable[[Verified], bool]) -> None:
        """Those that are meant: of a key that is no longer the issuer's, of a subject, of a `jti`."""
        for digest in [digest for digest, verified in self._verified.items() if is_meant(verified)]:
            del self._verified[digest]

"""A revocation as text: what workers and commands tell each other. Whoever may reach the store may say anything."""

from __future__ import annotations

from typing import Final

import orjson

from plugins.auth.revocation.held import DIGEST, KINDS, LONGEST_NAME, Kind, Revoked
from plugins.auth.tokens.verifying import LAST_SECOND

ANEW: Final = b"anew"
"""The message that says that many were kept, and all who hear it should read."""

LONGEST_MESSAGE: Final = 4 * 1024
"""Bytes (chosen): twice what the longest of them may be."""


def encoded(revoked: Revoked) -> bytes:
    return orjson.dumps([revoked.kind, revoked.value, revoked.issued_before, revoked.ends_at])


def decoded(message: bytes | str) -> Revoked | None:
    """None for what is no revocation."""
    if len(message) > LONGEST_MESSAGE:
        return None
    try:
        said = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    match said:
        case [str(kind), str(value), int(issued_before), int(ends_at)]:
            return revoked_of(kind, value, issued_before, ends_at)
    return None


def revoked_of(kind: str, value: str, issued_before: int, ends_at: int) -> Revoked | None:
    """None where these are not of a revocation that was made here."""
    if isinstance(issued_before, bool) or isinstance(ends_at, bool):
        return None
    if not (0 <= issued_before <= LAST_SECOND and 0 <= ends_at <= LAST_SECOND):
        return None
    known: Kind | None = next((each for each in KINDS if each == kind), None)
    if known is None or len(value) > max(LONGEST_NAME, len(DIGEST) + 64) or (known == "everyone") != (not value):
        return None
    return Revoked(known, value, issued_before, ends_at)

"""Doubt: while nobody can say whether a token has been revoked, each door accepts it or refuses it, as was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from service.api import Principal, Unavailable, timestamp

RETRY_AFTER: Final = {"Retry-After": "1"}
"""One second: a store that is back is found within that."""


class Doubt:
    """Of one worker: whether it lasts, and how many requests have met it."""

    __slots__ = ("allowed_count", "lasts", "refused_count", "since_s")

    def __init__(self) -> None:
        self.lasts = False
        """What is looked at in the way of a request, and all while all is well."""
        self.since_s: float | None = None
        """Seconds since the epoch."""
        self.allowed_count = 0
        """Requests let through with a token, since this worker started."""
        self.refused_count = 0

    def begin(self, now_s: float) -> None:
        self.lasts = True
        self.since_s = now_s

    def end(self) -> None:
        self.lasts = False
        self.since_s = None

    def facts(self) -> Mapping[str, object]:
        """What `/health` shows."""
        since = None if self.since_s is None else timestamp(self.since_s)
        return {"doubtSince": since, "allowed": self.allowed_count, "refused": self.refused_count}


@dataclass(frozen=True, slots=True)
class Guard:
    """Of one door."""

    doubt: Doubt
    refuses: bool

    def weigh(self, principal: Principal) -> None:
        """While the doubt lasts. Raises Unavailable where this door refuses; others than bearers have no tokens."""
        if principal.scheme != "bearer":
            return
        if self.refuses:
            self.doubt.refused_count += 1
            raise Unavailable("Whether the token has been revoked cannot be found out just now.", headers=RETRY_AFTER)
        self.doubt.allowed_count += 1

"""What is revoked, in the memory of one worker. Plain data and a time: nothing here waits or asks.

All times are whole seconds since the epoch, as `iat` is. A revocation ends when the last token that it hits has
expired, so what is held is bounded by the lifetime of tokens. What is held twice is held for longer and hits more,
never less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from plugins.auth.tokens.verifying import Verified

Kind = Literal["token", "session", "subject", "everyone"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

LONGEST_NAME: Final = 256
"""Characters of a jti or subject that are kept as they are (chosen; a row of an index and a NOTIFY have to take it)."""

REMOVED_AFTER_S: Final = 24 * 3600
"""How long after its end stores remove one (chosen), so that a clock that is ahead removes none that is needed."""

DIGEST: Final = "sha256:"
"""What the name of any other begins with."""


def name_of(text: str) -> str:
    """A jti, sid or subject as it is kept: itself, or its digest where it is long or may not be printed or stored."""
    if len(text) <= LONGEST_NAME and text.isprintable() and not text.startswith(DIGEST):
        return text
    return DIGEST + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Revoked:
    """One revocation."""

    kind: Kind
    value: str
    """The `name_of` its jti, sid or subject; nothing for everyone."""
    issued_before: int
    """The last second whose tokens it hits. Those of a token or session are hit whenever they were issued."""
    ends_at: int
    """From this second on it hits nothing."""

    def hits(self, verified: Verified) -> bool:
        if self.kind == "token":
            return verified.jti is not None and name_of(verified.jti) == self.value
        if self.kind == "session":
            return verified.session is not None and name_of(verified.session) == self.value
        if self.kind == "subject" and name_of(verified.principal.subject or "") != self.value:
            return False
        return _is_issued_until(self.issued_before, verified)


def _is_issued_until(second: int, verified: Verified) -> bool:
    """True also for one that does not say when it was issued."""
    return verified.issued_at is None or verified.issued_at < second + 1


class Held:
    """All revocations that have not ended."""

    __slots__ = ("_by_kind",)

    def __init__(self) -> None:
        self._by_kind: dict[Kind, dict[str, Revoked]] = {kind: {} for kind in KINDS}

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))

    def __iter__(self) -> Iterator[Revoked]:
        for each in self._by_kind.values():
            yield from each.values()

    def add(self, revoked: Revoked, now_s: float) -> bool:
        """True where it hits more, or for longer, than what is held."""
        if revoked.ends_at <= now_s:
            return False
        there = self._by_kind[revoked.kind]
        known = there.get(revoked.value)
        if known is not None:
            before = max(known.issued_before, revoked.issued_before)
            ends_at = max(known.ends_at, revoked.ends_at)
            revoked = Revoked(revoked.kind, revoked.value, before, ends_at)
            if revoked == known:
                return False
        there[revoked.value] = revoked
        return True

    def drop_ended(self, now_s: float) -> None:
        for there in self._by_kind.values():
            for value in [value for value, revoked in there.items() if revoked.ends_at <= now_s]:
                del there[value]

    def hits(self, verified: Verified) -> bool:
        by_kind = self._by_kind
        names: tuple[tuple[Kind, str | None], ...] = (
            ("token", verified.jti), ("session", verified.session), ("subject", verified.principal.subject or "")
        )  # fmt: skip
        for kind, name in names:
            if by_kind[kind] and name is not None:
                revoked = by_kind[kind].get(name_of(name))
                if revoked is not None and revoked.hits(verified):
                    return True
        return any(revoked.hits(verified) for revoked in by_kind["everyone"].values())

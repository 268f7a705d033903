"""A new revocation, as commands and other parts of this plugin ask for it."""

from __future__ import annotations

import math
from collections.abc import Callable

from plugins.auth.revocation.held import Kind, Revoked, name_of
from plugins.auth.revocation.stores import Store
from service.api import Clock

Take = Callable[[Revoked], None]


class Revocations:
    """Makes them. All methods raise Unavailable where the store does not take it, and may then be called again."""

    def __init__(
        self, store: Store, clock: Clock, *, kept_s: float, expires_s: float, leeway_s: float, take: Take
    ) -> None:
        """`kept_s` is how long one lasts that does not say, `expires_s` how long tokens live that are made here; `take`
        holds it in this worker at once."""
        self._expires_s = expires_s
        self._leeway_s = leeway_s
        self._store = store
        self._clock = clock
        self._kept_s = kept_s
        self._take = take

    def ends_at(self, kept_s: float | None, *, expires: float = 0.0) -> float:
        """When one ends that is kept for so long from now on, or as long as usual, and until a token has expired."""
        return max(self._clock.now() + (self._kept_s if kept_s is None else kept_s), expires + self._leeway_s)

    async def revoke_token(self, jti: str, *, ends_at: float | None = None) -> Revoked:
        """The one token with this `jti`, which is not empty. `ends_at` is when it has expired, leeway included."""
        return await self._keep("token", jti, issued_before=None, ends_at=ends_at)

    async def revoke_session(self, session: str) -> Revoked:
        """All tokens that were made here for one login: what `sid` says. Kept until the last of them has expired."""
        ends_at = self.ends_at(self._expires_s + self._leeway_s)
        return await self._keep("session", session, issued_before=None, ends_at=ends_at)

    async def revoke_subject(
        self, subject: str, *, issued_before: float | None = None, ends_at: float | None = None
    ) -> Revoked:
        """All tokens of a subject that were issued until now, or `issued_before`, that second included."""
        return await self._keep("subject", subject, issued_before=issued_before, ends_at=ends_at)

    async def revoke_everyone(self, *, issued_before: float | None = None, ends_at: float | None = None) -> Revoked:
        """All tokens that were issued until then."""
        return await self._keep("everyone", "", issued_before=issued_before, ends_at=ends_at)

    async def _keep(self, kind: Kind, text: str, *, issued_before: float | None, ends_at: float | None) -> Revoked:
        if not text and kind != "everyone":
            raise ValueError(f"a {kind} has a name")
        now_s = self._clock.now()
        before = now_s if issued_before is None else issued_before
        ends = self.ends_at(None) if ends_at is None else ends_at
        revoked = Revoked(kind, name_of(text), math.floor(before), math.ceil(ends))
        await self._store.keep(revoked, now_s)
        self._take(revoked)
        return revoked

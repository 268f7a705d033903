"""The table `revocations`: which tokens are not to be accepted any more. Who is revoked cannot renew tokens either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import orjson

from plugins.auth.revocation.held import DIGEST, REMOVED_AFTER_S, Revoked
from plugins.auth.revocation.messages import ANEW, encoded, revoked_of
from plugins.auth.store.channel import CHANNEL, Message, heard, tell
from plugins.auth.store.schema import SCHEMA, has_schema, make_schema
from service.api import Database, PluginError

KIND: Final = "revocation"
"""Of its messages."""

_READ: Final = """
    SELECT coalesce(json_agg(json_build_array(
        kind, value,
        floor(extract(epoch FROM least(greatest(issued_before, 'epoch'), '9999-12-31T00:00:00Z')))::bigint,
        ceil(extract(epoch FROM least(ends_at, '9999-12-31T00:00:00Z')))::bigint
    )), '[]') FROM pegboard.revocations WHERE ends_at > to_timestamp($1)"""
"""Times that somebody has written by hand may be infinite."""

_KEEP: Final = """
    INSERT INTO pegboard.revocations AS known (kind, value, issued_before, ends_at)
    SELECT kind, value, to_timestamp(issued_before), to_timestamp(ends_at)
    FROM unnest($1::text[], $2::text[], $3::double precision[], $4::double precision[])
        AS new (kind, value, issued_before, ends_at)
    ORDER BY kind, value
    ON CONFLICT (kind, value) DO UPDATE SET
        issued_before = greatest(known.issued_before, excluded.issued_before),
        ends_at = greatest(known.ends_at, excluded.ends_at)
    WHERE known.issued_before < excluded.issued_before OR known.ends_at < excluded.ends_at
    RETURNING 1"""
"""Gives a row for each that was not there already."""

_REMOVE: Final = "DELETE FROM pegboard.revocations WHERE ends_at < to_timestamp($1)"

_END_LOGINS: Final = "DELETE FROM pegboard.refresh_tokens WHERE subject = $1"

_END_LOGINS_BY_DIGEST: Final = """
    DELETE FROM pegboard.refresh_tokens
    WHERE 'sha256:' || encode(sha256(convert_to(subject, 'UTF8')), 'hex') = $1"""

_END_ALL_LOGINS: Final = "DELETE FROM pegboard.refresh_tokens"


class InDatabase:
    """`plugins.auth.revocation.stores.Store`. Until the schema is made, nothing is revoked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_ready = False

    async def is_ready(self) -> bool:
        """True once the schema is there. It does not go away again."""
        self._is_ready = self._is_ready or await has_schema(self._database)
        return self._is_ready

    async def read(self, now_s: float) -> Sequence[Revoked]:
        if not await self.is_ready():
            return []
        rows = orjson.loads(await self._database.fetch_json(_READ, now_s) or b"[]")
        found = [revoked_of(*row) for row in rows]
        return [revoked for revoked in found if revoked is not None]

    async def keep(self, revoked: Revoked, now_s: float) -> None:
        """In one transaction. Whoever is revoked has to log in again: what they renew tokens with is removed. Raises
        PluginError where the schema is not there."""
        if not await self.is_ready():
            if not self._database.is_own:
                raise PluginError(f"the schema {SCHEMA} is not in the database; run: pegboard auth init.")
            await make_schema(self._database)
        async with self._database.transaction() as transaction:
            await transaction.execute(_REMOVE, now_s - REMOVED_AFTER_S)
            await transaction.execute(_KEEP, *_columns([revoked]))
            if revoked.kind == "everyone":
                await transaction.execute(_END_ALL_LOGINS)
            elif revoked.kind == "subject":
                by_digest = revoked.value.startswith(DIGEST)
                await transaction.execute(_END_LOGINS_BY_DIGEST if by_digest else _END_LOGINS, revoked.value)
            await tell(transaction, Message(KIND, encoded(revoked).decode()))

    async def restore(self, lacking: Sequence[Revoked]) -> bool:
        """True where there were some that were not there already."""
        if not await self.is_ready():
            return False
        async with self._database.transaction() as transaction:
            has_changed = bool(await transaction.fetch(_KEEP, *_columns(lacking)))
            if has_changed:
                await tell(transaction, Message(KIND, ANEW.decode()))
        return has_changed

    def hear(
        self, receive: Callable[[bytes | str], None], *, begun: Callable[[], None], lost: Callable[[], None]
    ) -> AbstractAsyncContextManager[None]:
        def pick(payload: str) -> None:
            """What is about something else is for others who listen; what is no message at all is told."""
            message = heard(payload)
            if message is None or message.kind == KIND:
                receive(payload if message is None else message.value)

        return self._database.listen(CHANNEL, pick, begun=begun, lost=lost)


def _columns(revoked: Sequence[Revoked]) -> tuple[list[str], list[str], list[float], list[float]]:
    return (
        [each.kind for each in revoked],
        [each.value for each in revoked],
        [float(each.issued_before) for each in revoked],
        [float(each.ends_at) for each in revoked],
    )

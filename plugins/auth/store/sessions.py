"""Refresh tokens in `pegboard.refresh_tokens`, as digests: each is good once, and gives the next one of its family.

A family is one login. Whoever shows a token of it that is used up has a copy of it, or is who was copied: nobody can
tell, so the family ends, and both have to log in again (RFC 9700, section 4.14.2). Of two who show the same token at
once, one is the first. With a family end the access tokens that were made for it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

import orjson

from plugins.auth.store.schema import SCHEMA
from service.api import Database, Transaction

TOKEN_BYTES: Final = 32
"""256 random bits: nothing to be guessed, so a plain digest is enough."""

OLD_ROWS: Final = 100
"""How many that have expired are removed in passing, at most (chosen)."""

TABLE: Final = f"{SCHEMA}.refresh_tokens"

BEGIN: Final = f"""INSERT INTO {TABLE} (digest, family, subject, issued_at, expires_at)
VALUES ($1, $2::text::uuid, $3, to_timestamp($4), to_timestamp($5))"""  # noqa: S608  # a name of our own

ROTATE: Final = f"""WITH used AS (
    UPDATE {TABLE} SET used_at = to_timestamp($3)
    WHERE digest = $1 AND used_at IS NULL AND expires_at > to_timestamp($3)
    RETURNING family, subject
), made AS (
    INSERT INTO {TABLE} (digest, family, subject, issued_at, expires_at)
    SELECT $2, family, subject, to_timestamp($3), to_timestamp($4) FROM used
)
SELECT json_build_array(subject, family) FROM used"""  # noqa: S608

FAMILY: Final = f"SELECT to_json(family) FROM {TABLE} WHERE digest = $1"  # noqa: S608

LOCK: Final = f"SELECT FROM {TABLE} WHERE family = $1::text::uuid FOR UPDATE"
"""Waits for a renewal that is under way, whose new token the next statement then finds."""

END: Final = f"DELETE FROM {TABLE} WHERE family = $1::text::uuid"  # noqa: S608

CLEAN: Final = f"""DELETE FROM {TABLE} WHERE digest IN (
    SELECT digest FROM {TABLE} WHERE expires_at <= to_timestamp($1) LIMIT {OLD_ROWS} FOR UPDATE SKIP LOCKED
)"""  # noqa: S608

T = TypeVar("T")

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class Refresh(NamedTuple):
    """A refresh token, and the family that it is of."""

    token: str
    family: str


class Sessions:
    """Tokens that live for `lives_s` seconds each, from when they were given."""

    def __init__(self, database: Database, *, lives_s: float, revoke: Callable[[str], Awaitable[object]]) -> None:
        """`revoke` has the access tokens of a family refused."""
        self._database = database
        self._lives_s = lives_s
        self._revoke = revoke

    async def begin(self, subject: str, now_s: float) -> Refresh:
        """The first token of a new family."""
        made = Refresh(_new(), str(uuid.uuid4()))
        async with self._database.transaction() as transaction:
            await transaction.execute(BEGIN, _digest(made.token), made.family, subject, now_s, now_s + self._lives_s)
            await transaction.execute(CLEAN, now_s)
        return made

    async def renew(
        self, token: str, now_s: float, read: Callable[[Transaction, str], Awaitable[T | None]]
    ) -> tuple[Refresh, T] | None:
        """The next token, and what `read(transaction, subject)` gives, which is None where the subject may not go on.

        None where the token is not good any more, or never was; its family has ended then.
        """
        if not _TOKEN.fullmatch(token):
            return None
        made = _new()
        async with self._database.transaction() as transaction:
            used = await transaction.fetch_json(ROTATE, _digest(token), _digest(made), now_s, now_s + self._lives_s)
            if used is not None:
                subject, family = orjson.loads(used)
                found = await read(transaction, subject)
                if found is not None:
                    return Refresh(made, family), found
        await self.end(token)
        return None

    async def end(self, token: str) -> None:
        """End the family of a token, whether that is still good or not; an unknown one has none. Where this fails it
        may be tried again: the family is gone last."""
        if not _TOKEN.fullmatch(token):
            return
        family = await self._database.fetch_json(FAMILY, _digest(token))
        if family is not None:
            await self._end_family(orjson.loads(family))

    async def _end_family(self, family: str) -> None:
        await self._revoke(family)
        async with self._database.transaction() as transaction:
            await transaction.execute(LOCK, family)
            await transaction.execute(END, family)


def _new() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

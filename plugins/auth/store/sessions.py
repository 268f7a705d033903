"""Refresh tokens in `pegboard.refresh_tokens`, as digests: each is good once, and gives the next one of its family.

A family is one login. Whoever shows a token of it that is used up has a copy of it, or is who was copied: nobody can
tell, so the family ends, and both have to log in again (RFC 9700, section 4.14.2). Of two who show the same token at
once, one is the first.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import orjson

from plugins.auth.store.schema import SCHEMA
from service.api import Database, Transaction

TOKEN_BYTES: Final = 32
"""256 random bits: nothing to be guessed, so a plain digest is enough."""

OLD_ROWS: Final = 100
"""How many that have expired are removed in passing, at most (chosen)."""

TABLE: Final = f"{SCHEMA}.refresh_tokens"

BEGIN: Final = f"""INSERT INTO {TABLE} (digest, family, subject, issued_at, expires_at)
VALUES ($1, $2, $3, to_timestamp($4), to_timestamp($5))"""  # noqa: S608  # a name of our own

ROTATE: Final = f"""WITH used AS (
    UPDATE {TABLE} SET used_at = to_timestamp($3)
    WHERE digest = $1 AND used_at IS NULL AND expires_at > to_timestamp($3)
    RETURNING family, subject
), made AS (
    INSERT INTO {TABLE} (digest, family, subject, issued_at, expires_at)
    SELECT $2, family, subject, to_timestamp($3), to_timestamp($4) FROM used
)
SELECT to_json(subject) FROM used"""  # noqa: S608

END: Final = f"DELETE FROM {TABLE} WHERE family = (SELECT family FROM {TABLE} WHERE digest = $1)"  # noqa: S608

CLEAN: Final = f"""DELETE FROM {TABLE} WHERE digest IN (
    SELECT digest FROM {TABLE} WHERE expires_at <= to_timestamp($1) LIMIT {OLD_ROWS} FOR UPDATE SKIP LOCKED
)"""  # noqa: S608

T = TypeVar("T")

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class Sessions:
    """Tokens that live for `lives_s` seconds each, from when they were given."""

    def __init__(self, database: Database, *, lives_s: float) -> None:
        self._database = database
        self._lives_s = lives_s

    async def begin(self, subject: str, now_s: float) -> str:
        """The first token of a new family."""
        token = _new()
        async with self._database.transaction() as transaction:
            await transaction.execute(BEGIN, _digest(token), uuid.uuid4(), subject, now_s, now_s + self._lives_s)
            await transaction.execute(CLEAN, now_s)
        return token

    async def renew(
        self, token: str, now_s: float, read: Callable[[Transaction, str], Awaitable[T | None]]
    ) -> tuple[str, T] | None:
        """The next token, and what `read(transaction, subject)` gives, which is None where the subject may not go on.

        None where the token is not good any more, or never was; its family has ended then.
        """
        if not _TOKEN.fullmatch(token):
            return None
        made = _new()
        async with self._database.transaction() as transaction:
            subject = await transaction.fetch_json(ROTATE, _digest(token), _digest(made), now_s, now_s + self._lives_s)
            if subject is not None:
                found = await read(transaction, orjson.loads(subject))
                if found is not None:
                    return made, found
            await transaction.execute(END, _digest(token))
        return None

    async def end(self, token: str) -> None:
        """End the family of a token, whether that is still good or not; an unknown one has none."""
        if _TOKEN.fullmatch(token):
            await self._database.write(END, _digest(token))


def _new() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

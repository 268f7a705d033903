"""API keys as PostgreSQL has them: found by id, made, listed, revoked and rotated; secrets as digests only.

A name has one key at a time, and those that it had before: revoked, or going to be at a time to come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Final, Literal, cast

from plugins.auth.api_keys.text import ApiKey
from plugins.auth.store.channel import Message, tell
from plugins.auth.store.schema import SCHEMA
from service.api import Database, Transaction

KIND: Final = "key"
"""Of the message that a key ends sooner than was known; its value is the id."""

State = Literal["active", "expired", "revoked"]

_TABLE: Final = f"{SCHEMA}.api_keys"
_COLUMNS: Final = "id, name, digest, roles, scopes, created_at, expires_at, revoked_at"
_FIND: Final = f"""
    SELECT {_COLUMNS} FROM {_TABLE} WHERE id = $1
    UNION ALL
    SELECT '', 'nobody', decode(repeat('00', 32), 'hex'), ARRAY['nobody'], ARRAY[]::text[], now(), now(), NULL
    WHERE NOT EXISTS (SELECT FROM {_TABLE} WHERE id = $1)
"""  # noqa: S608  # constants, here and below
"""One row always, which takes as long to send and to read where there is no such key."""
_LIST: Final = f"SELECT {_COLUMNS} FROM {_TABLE} ORDER BY name, created_at, id"  # noqa: S608
_LOCK: Final = f"LOCK TABLE {_TABLE} IN SHARE ROW EXCLUSIVE MODE"
"""So that of two commands at once the second sees what the first has done. It keeps nobody from reading."""
_ADD: Final = f"""
    INSERT INTO {_TABLE} (id, name, digest, roles, scopes, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, to_timestamp($6), to_timestamp($7))
    ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
    RETURNING {_COLUMNS}
"""  # noqa: S608
_CURRENT: Final = f"SELECT {_COLUMNS} FROM {_TABLE} WHERE name = $1 AND revoked_at IS NULL"  # noqa: S608
_REVOKE: Final = f"""
    UPDATE {_TABLE} SET revoked_at = to_timestamp($3)
    WHERE (id = $1 OR name = $2) AND (revoked_at IS NULL OR revoked_at > to_timestamp($3))
    RETURNING {_COLUMNS}
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of the table."""

    id: str
    name: str
    digest: bytes = field(repr=False)
    """Of the secret."""
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    """From when on it is refused, which may be a time to come."""

    @property
    def ends_at(self) -> float:
        """Until when it is good, in seconds since the epoch."""
        return min([each.timestamp() for each in (self.expires_at, self.revoked_at) if each is not None], default=inf)

    def state(self, now_s: float) -> State:
        if self.revoked_at is not None and self.revoked_at.timestamp() <= now_s:
            return "revoked"
        return "active" if now_s < self.ends_at else "expired"


async def find_key(database: Database, identity: str) -> StoredKey | None:
    (row,) = await database.fetch(_FIND, identity)
    stored = _stored(row)
    return stored if stored.id == identity else None


async def every_key(database: Database) -> list[StoredKey]:
    """Of each name the oldest first."""
    return [_stored(row) for row in await database.fetch(_LIST)]


async def add_key(
    database: Database,
    key: ApiKey,
    *,
    name: str,
    roles: Sequence[str],
    scopes: Sequence[str],
    now_s: float,
    ends_at: float | None,
) -> StoredKey | None:
    """None where the name has a key that is not revoked."""
    async with database.transaction() as transaction:
        return await _add(transaction, key, name, roles, scopes, now_s, ends_at)


async def revoke_keys(
    database: Database, *, identity: str | None = None, name: str | None = None, now_s: float
) -> list[StoredKey]:
    """The one of that id or those of that name, as far as they were not revoked yet. All workers are told."""
    async with database.transaction() as transaction:
        await transaction.execute(_LOCK)
        return await _revoke(transaction, identity, name, now_s)


async def rotate_key(
    database: Database,
    key: ApiKey,
    *,
    name: str,
    now_s: float,
    overlap_s: float,
    lives_s: float | None,
) -> tuple[StoredKey, StoredKey] | None:
    """`key` in place of the one that the name has, with the same roles and scopes: the old one, which lives on for
    `overlap_s` at most, and the new one. None where the name has no key that is not revoked.

    `lives_s` is how long the new one lives: `inf` for ever, None as long as the old one was to. All workers are told.
    """
    async with database.transaction() as transaction:
        await transaction.execute(_LOCK)
        rows = await transaction.fetch(_CURRENT, name)
        if not rows:
            return None
        old = _stored(rows[0])
        if lives_s is None:
            lives_s = inf if old.expires_at is None else (old.expires_at - old.created_at).total_seconds()
        (ended,) = await _revoke(transaction, old.id, None, now_s + overlap_s)
        ends_at = None if lives_s == inf else now_s + lives_s
        new = await _add(transaction, key, name, old.roles, old.scopes, now_s, ends_at)
        assert new is not None  # noqa: S101  # the lock
        return ended, new


async def _add(
    transaction: Transaction,
    key: ApiKey,
    name: str,
    roles: Sequence[str],
    scopes: Sequence[str],
    now_s: float,
    ends_at: float | None,
) -> StoredKey | None:
    rows = await transaction.fetch(_ADD, key.id, name, key.digest, list(roles), list(scopes), now_s, ends_at)
    return _stored(rows[0]) if rows else None


async def _revoke(transaction: Transaction, identity: str | None, name: str | None, at_s: float) -> list[StoredKey]:
    revoked = [_stored(row) for row in await transaction.fetch(_REVOKE, identity, name, at_s)]
    for key in revoked:
        await tell(transaction, Message(KIND, key.id))
    return revoked


def _stored(row: Mapping[str, object]) -> StoredKey:
    return StoredKey(
        id=cast(str, row["id"]),
        name=cast(str, row["name"]),
        digest=cast(bytes, row["digest"]),
        roles=tuple(cast("Sequence[str]", row["roles"])),
        scopes=tuple(cast("Sequence[str]", row["scopes"])),
        created_at=cast(datetime, row["created_at"]),
        expires_at=cast("datetime | None", row["expires_at"]),
        revoked_at=cast("datetime | None", row["revoked_at"]),
    )

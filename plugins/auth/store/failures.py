"""Failed logins in `pegboard.login_failures`: when each was, by a digest of who failed, counted over all workers.

An attempt is counted before its password is looked at, and taken back where that was right: else as many could be tried
at once as fit between the look and the count. The moments of the last ones are kept, not their number, so a limit holds
for every window, wherever that begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from plugins.auth.store.schema import SCHEMA
from service.api import Database

OLD_ROWS: Final = 100
"""How many that nothing counts any more are removed in passing, at most (chosen)."""

TABLE: Final = f"{SCHEMA}.login_failures"

_RECENT: Final = "SELECT at FROM unnest(known.failed_at) AS at WHERE at > to_timestamp($2) - make_interval(secs => $3)"

COUNT: Final = f"""INSERT INTO {TABLE} AS known (who, failed_at, ends_at)
VALUES ($1, ARRAY[to_timestamp($2)], to_timestamp($2) + make_interval(secs => $3))
ON CONFLICT (who) DO UPDATE SET
    failed_at = ARRAY({_RECENT} ORDER BY at DESC LIMIT $4 - 1) || excluded.failed_at,
    ends_at = greatest(known.ends_at, excluded.ends_at)
WHERE $5 OR (SELECT count(*) FROM ({_RECENT}) AS recent) < $4
RETURNING to_json(cardinality(failed_at))"""  # noqa: S608  # a name of our own
"""Of who ($1), at a moment ($2), in a window ($3): no more than $4, or the last $4 where it may go on ($5)."""

FREE_AT: Final = f"""SELECT to_json(extract(epoch FROM at)::float8)
FROM {TABLE} AS known, unnest(known.failed_at) AS at WHERE who = $1 ORDER BY at DESC OFFSET $2 - 1 LIMIT 1"""  # noqa: S608
"""When the oldest failed of those that fill the limit $2."""

TAKE_BACK: Final = f"""UPDATE {TABLE} SET failed_at =
    failed_at[:array_position(failed_at, to_timestamp($2)) - 1]
    || failed_at[array_position(failed_at, to_timestamp($2)) + 1:]
WHERE who = $1 AND to_timestamp($2) = ANY(failed_at)"""  # noqa: S608

CLEAR: Final = f"DELETE FROM {TABLE} WHERE who = $1"  # noqa: S608

CLEAN: Final = f"""DELETE FROM {TABLE} WHERE who IN (
    SELECT who FROM {TABLE} WHERE ends_at <= to_timestamp($1) LIMIT {OLD_ROWS} FOR UPDATE SKIP LOCKED
)"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Tally:
    """One count that an attempt goes into."""

    who: bytes
    limit: int
    refuses: bool = True
    """False where only the last `limit` are counted, and more are let through."""


class Full(Exception):
    """A tally has as many as its limit allows."""

    def __init__(self, retry_s: int) -> None:
        super().__init__()
        self.retry_s = retry_s
        """In how many seconds there is room again."""


class Failures:
    """All who count name their tallies in one order, so that none waits for another in a circle."""

    def __init__(self, database: Database, *, window_s: float) -> None:
        self._database = database
        self._window_s = window_s

    async def count(self, tallies: Sequence[Tally], at_s: float) -> list[int]:
        """Count an attempt in all of them, or, where one is full, in none: raises Full. Returns what each has now."""
        counts: list[int] = []
        async with self._database.transaction() as transaction:
            for tally in tallies:
                told = await transaction.fetch_json(
                    COUNT, tally.who, at_s, self._window_s, tally.limit, not tally.refuses
                )
                if told is None:
                    oldest = await transaction.fetch_json(FREE_AT, tally.who, tally.limit)
                    since_s = float(oldest or at_s)
                    raise Full(min(ceil(self._window_s), max(1, ceil(since_s + self._window_s - at_s))))
                counts.append(int(told))
            await transaction.execute(CLEAN, at_s)
        return counts

    async def take_back(self, tallies: Sequence[Tally], at_s: float, *, cleared: Tally | None = None) -> None:
        """Count the attempt of that moment no longer; `cleared`, which is one of them, is empty then."""
        async with self._database.transaction() as transaction:
            for tally in tallies:
                if tally is cleared:
                    await transaction.execute(CLEAR, tally.who)
                else:
                    await transaction.execute(TAKE_BACK, tally.who, at_s)

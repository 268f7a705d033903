"""The time that an answer takes does not tell whether there is such an account.

200 pairs, one of each in turn, with hashes that cost next to nothing, so that all else shows. The statistic is the
area under the curve (Mann-Whitney U over both counts): how often one of the first takes longer than one of the second.
0.5 is no difference at all; of 200 pairs without one, it is outside 0.4 to 0.6 once in 2,000 runs.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

PAIRS = 200


def area(first: list[float], second: list[float]) -> float:
    """How often one of `first` is above one of `second`; a tie counts half."""
    above = sum((one > other) + (one == other) / 2 for one in first for other in second)
    return above / (len(first) * len(second))


class Watch:
    """Takes the time of attempts, each of another account and address, so that none is refused or slowed."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self._count = 0

    async def took(self, email: str, status: int) -> float:
        self._count += 1
        address = f"10.{self._count >> 8 & 255}.{self._count & 255}.1"
        started = time.perf_counter()
        answered, _ = await self._desk.log_in(email, "wrong", address=address)
        spent = time.perf_counter() - started
        assert answered == status
        return spent

    async def pairs(self, first: tuple[str, int], second: tuple[str, int], count: int = PAIRS) -> float:
        """The area for two kinds of names, each with a number in it, and the status that they give."""
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(count):
            order = [0, 1]
            random.shuffle(order)
            for kind in order:
                name, status = (first, second)[kind]
                times[kind].append(await self.took(name.format(number), status))
        return area(*times)


@pytest.mark.slow
async def test_unknown_name_takes_as_long_as_a_wrong_password(open_desk: Any) -> None:
    sql = """INSERT INTO users (email, role, is_active, password_hash)
        SELECT kind || at || '@example.com', 'user', kind = 'known', CASE WHEN kind <> 'bare' THEN password_hash END
        FROM users, generate_series(0, 399) AS at, unnest('{known,left,bare}'::text[]) AS kind WHERE id = 1;
        ANALYZE users;"""
    desk = await open_desk({"active": "is_active"}, sql=sql)
    watch = Watch(desk)
    await watch.pairs(("warm{}@example.com", 401), ("known3{:02}@example.com", 401), 50)
    known = ("known{}@example.com", 401)
    for other in ("nobody{}@example.com", "left{}@example.com", "bare{}@example.com"):
        found = await watch.pairs((other, 401), known)
        assert 0.4 < found < 0.6, f"{other}: {found:.3f}"
    found = await watch.pairs(("x" * 1100 + "{}", 422), ("sight{}@example.com", 401), 50)
    assert found < 0.1, "a difference would not be seen"

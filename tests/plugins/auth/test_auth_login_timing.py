"""The time that an answer takes does not tell whether there is such an account: 200 pairs, one of each in turn, with
hashes that cost next to nothing, so that all else shows."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.plugins.timing import ALIKE, Ask, area


class Watch:
    """Attempts, each of another account and address, so that none is refused or slowed."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self._count = count(1)

    def attempts(self, names: str, status: int = 401) -> Ask:
        """With the wrong password of names with a number in them; they give that status."""

        async def attempt(number: int) -> None:
            place = next(self._count)
            address = f"10.{place >> 8 & 255}.{place & 255}.1"
            answered, _ = await self._desk.log_in(names.format(number), "wrong", address=address)
            assert answered == status

        return attempt


@pytest.mark.slow
async def test_unknown_name_takes_as_long_as_a_wrong_password(open_desk: Any) -> None:
    sql = """INSERT INTO users (email, role, is_active, password_hash)
        SELECT kind || at || '@example.com', 'user', kind = 'known', CASE WHEN kind <> 'bare' THEN password_hash END
        FROM users, generate_series(0, 399) AS at, unnest('{known,left,bare}'::text[]) AS kind WHERE id = 1;
        ANALYZE users;"""
    watch = Watch(await open_desk({"active": "is_active"}, sql=sql))
    await area(watch.attempts("warm{}@example.com"), watch.attempts("known3{:02}@example.com"), 50)
    known = watch.attempts("known{}@example.com")
    low, high = ALIKE
    for other in ("nobody{}@example.com", "left{}@example.com", "bare{}@example.com"):
        found = await area(watch.attempts(other), known)
        assert low < found < high, f"{other}: {found:.3f}"
    found = await area(watch.attempts("x" * 1100 + "{}", 422), watch.attempts("sight{}@example.com"), 50)
    assert found < 0.1, "a difference would not be seen"

"""A clock for tests: it stands still until the test moves it."""

from __future__ import annotations

import pytest


class FakeClock:
    """A clock that stands still until the test moves it."""

    def __init__(self, now_s: float = 1_767_225_600.0) -> None:
        """Begins at `now_s` seconds since the epoch: 2026-01-01T00:00:00Z."""
        self._now_s = now_s
        self._monotonic_s = 0.0

    def now(self) -> float:
        return self._now_s

    def monotonic(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds
        self._monotonic_s += seconds


@pytest.fixture
def clock() -> FakeClock:
    """A clock to hand to `make_service` and to move; it begins on 2026-01-01."""
    return FakeClock()

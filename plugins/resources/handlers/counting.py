"""The total of a list, where its own statement does not say it: counted in a statement of its own, or estimated."""

from __future__ import annotations

from typing import Final

from plugins.resources.handlers.healing import Healing
from plugins.resources.parse.query import Count
from plugins.resources.plan import counts
from plugins.resources.plan.lists import Chosen
from service.api import Clock

REMEMBERED_S: Final = 10.0
"""How long an estimate is good enough (chosen). A list that has one is not counted meanwhile."""

MAX_REMEMBERED: Final = 200
"""Estimates of one list, by conditions and values (chosen: at most 2 MB, usually a hundredth of it)."""


class Totals:
    """The totals of one list, whatever is chosen of it."""

    def __init__(self, source: str, database: Healing, clock: Clock) -> None:
        self._source = source
        self._database = database
        self._now = clock.monotonic
        self._estimates: dict[tuple[Chosen, Count], tuple[float, int]] = {}
        """By what is chosen and how it was asked for: until when it holds, and the estimate. The oldest first."""

    def is_known_large(self, chosen: Chosen) -> bool:
        """Whether counting was in vain a moment ago."""
        return bool(self._estimates) and self._remembered((chosen, "auto")) is not None

    async def find(self, chosen: Chosen, count: Count) -> tuple[int, bool]:
        """The total, and whether it is an estimate."""
        rows = chosen.rows(self._source)
        if count == "exact":
            total = await self._database.count(counts.exact(rows), *chosen.arguments)
            if total is not None:
                return total, False
        estimate = self._remembered((chosen, count))
        if estimate is None:
            body = await self._database.fetch_json(counts.estimate(rows), *chosen.arguments)
            estimate = counts.read_estimate(body)
            if count == "auto":
                estimate = max(estimate, counts.MAX_COUNTED + 1)
            self._remember((chosen, count), estimate)
        return estimate, True

    def _remembered(self, key: tuple[Chosen, Count]) -> int | None:
        until_s, estimate = self._estimates.get(key, (0.0, 0))
        return estimate if self._now() < until_s else None

    def _remember(self, key: tuple[Chosen, Count], estimate: int) -> None:
        self._estimates.pop(key, None)
        while len(self._estimates) >= MAX_REMEMBERED:
            del self._estimates[next(iter(self._estimates))]
        self._estimates[key] = self._now() + REMEMBERED_S, estimate

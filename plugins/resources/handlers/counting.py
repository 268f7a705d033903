"""The total of a list, where its own statement does not say it: counted in a statement of its own, or estimated."""

from __future__ import annotations

from typing import Final

from plugins.resources.handlers.healing import Healing
from plugins.resources.parse.query import Count, ListQuery
from plugins.resources.plan import counts
from plugins.resources.plan.lists import Chosen, ListStatement
from plugins.resources.shapes import Watch
from service.api import Clock, InvalidRequest

REMEMBERED_S: Final = 10.0
"""How long an estimate is good enough (chosen). A list that has one is not counted meanwhile."""

MAX_REMEMBERED: Final = 200
"""Estimates of one list, by conditions and values (chosen: at most 2 MB, usually a hundredth of it)."""


class Totals:
    """The totals of one list, whatever is chosen of it."""

    def __init__(self, statement: ListStatement, database: Healing, clock: Clock, watch: Watch) -> None:
        self._statement = statement
        self._database = database
        self._watch = watch
        self._now = clock.monotonic
        self._estimates: dict[tuple[Chosen, Count], tuple[float, int | None]] = {}
        """By what is chosen and how it was asked for: until when it holds, and the estimate. Oldest first."""

    def is_known_large(self, chosen: Chosen) -> bool:
        """Whether counting was in vain a moment ago."""
        return bool(self._estimates) and self._is_remembered((chosen, "auto"))

    async def find(self, chosen: Chosen, query: ListQuery) -> tuple[int | None, bool]:
        """The total, and whether it is an estimate; None where nobody knows."""
        count = query.count
        if count == "exact":
            total = await self._count(chosen, query)
            if total is not None or self._statement.is_restricted:
                return total, False
        if not self._is_remembered((chosen, count)):
            estimate = await self._estimate(chosen, query)
            if count == "auto" and estimate is not None:
                estimate = max(estimate, counts.MAX_COUNTED + 1)
            self._remember((chosen, count), estimate)
        _, estimate = self._estimates[chosen, count]
        return estimate, estimate is not None

    async def _estimate(self, chosen: Chosen, query: ListQuery) -> int | None:
        """The planner's; where only some rows are granted they are counted, since it knows of the others too, and what
        it expects of a filter would tell of their values."""
        if self._statement.is_restricted:
            return await self._count(chosen, query)
        sql = counts.estimate(chosen.rows(self._statement.source))
        return counts.read_estimate(await self._database.fetch_json(sql, *chosen.arguments))

    async def _count(self, chosen: Chosen, query: ListQuery) -> int | None:
        """All rows; None where counting them takes too long."""
        sql, began_s = self._statement.count_all(query, chosen), self._watch.now_s()
        try:
            return await self._database.count(sql, *chosen.arguments)
        except InvalidRequest as refused:
            raise await self._database.fault(refused, sql, *chosen.arguments) from refused.__cause__
        finally:
            self._watch.note(query, "exact", began_s)

    def _is_remembered(self, key: tuple[Chosen, Count]) -> bool:
        until_s, _ = self._estimates.get(key, (0.0, None))
        return self._now() < until_s

    def _remember(self, key: tuple[Chosen, Count], estimate: int | None) -> None:
        self._estimates.pop(key, None)
        while len(self._estimates) >= MAX_REMEMBERED:
            del self._estimates[next(iter(self._estimates))]
        self._estimates[key] = self._now() + REMEMBERED_S, estimate

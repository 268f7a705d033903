"""What is known of one probe, and what that means: a state machine of plain numbers, without a clock or a loop.

A pass makes it healthy. The first failure after a pass only makes it suspect, and asks again soon: one lost probe is
no outage. The second in a row makes it unhealthy. So does an alarm, at once, until a probe that began after the alarm
passes. A result older than `STALE_AFTER` intervals is no evidence of anything: unhealthy.

All times are monotonic seconds.
"""

from __future__ import annotations

from enum import StrEnum

STALE_AFTER = 3
"""Intervals after which a result no longer counts."""

RECHECK_RATIO = 0.2
"""Part of an interval after which a doubt is looked into: a failed probe, an alarm. No probe runs more often.

With a probe's timeout of up to two fifths of the interval, an outage shows within two intervals.
"""


class Health(StrEnum):
    """As answered under `status`."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    """Not probed yet; counts as failing."""


class Standing:
    """One probe's record."""

    __slots__ = (
        "_alarmed",
        "_alarmed_while_running",
        "_ended_s",
        "_interval_s",
        "_recheck_s",
        "_running",
        "_started_s",
        "_suspect",
        "_verdict",
        "critical",
        "latency_s",
        "name",
    )

    def __init__(self, name: str, *, critical: bool, interval_s: float) -> None:
        self.name = name
        self.critical = critical
        self.latency_s: float | None = None
        """How long the last probe took, or None before the first has ended."""
        self._interval_s = interval_s
        self._recheck_s = interval_s * RECHECK_RATIO
        self._started_s = self._ended_s = 0.0
        self._running = False
        self._verdict = Health.UNKNOWN
        self._suspect = False
        self._alarmed = False
        self._alarmed_while_running = False

    def begin(self, now_s: float) -> None:
        """A probe starts."""
        self._started_s = now_s
        self._running = True
        self._alarmed_while_running = False

    def end(self, now_s: float, *, passed: bool) -> None:
        """It has ended."""
        self._ended_s = now_s
        self._running = False
        self.latency_s = now_s - self._started_s
        if self._alarmed_while_running:
            return  # it may have passed before things went wrong
        self._alarmed = False
        self._suspect = not passed and self._verdict is Health.HEALTHY and not self._suspect
        if not self._suspect:
            self._verdict = Health.HEALTHY if passed else Health.UNHEALTHY

    def alarm(self) -> None:
        """Someone has just seen it fail."""
        self._verdict = Health.UNHEALTHY
        self._suspect = False
        self._alarmed = True
        self._alarmed_while_running = self._running

    def health(self, now_s: float) -> Health:
        if self._verdict is Health.HEALTHY and now_s - self._ended_s > STALE_AFTER * self._interval_s:
            return Health.UNHEALTHY
        return self._verdict

    def age_s(self, now_s: float) -> float | None:
        """How old the last result is, or None before the first."""
        return None if self.latency_s is None else now_s - self._ended_s

    def due_s(self) -> float:
        """When to probe next; in the past means now."""
        soon_s = self._ended_s + self._recheck_s
        return soon_s if self._suspect or self._alarmed else max(soon_s, self._started_s + self._interval_s)


def overall(standings: list[Standing], now_s: float) -> Health:
    """The service's health: unhealthy where a critical probe fails, degraded where another does."""
    failing = [standing.critical for standing in standings if standing.health(now_s) is not Health.HEALTHY]
    if any(failing):
        return Health.UNHEALTHY
    return Health.DEGRADED if failing else Health.HEALTHY

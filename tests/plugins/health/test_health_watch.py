"""Probes in the background: each within its timeout, none delayed by another, doubts looked into at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager

import pytest

from plugins.health.standing import Health, Standing
from plugins.health.watch import Watch
from service.api import Alarm, Probe

WAIT_S = 10.0
"""A bound for conditions that hold within milliseconds."""


class HandClock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now_s = 0.0

    def now(self):
        return self.now_s

    def monotonic(self):
        return self.now_s


class Check:
    """A probe's function that a test turns off, and that says when it has run."""

    def __init__(self):
        self.failure = None
        self.count = 0
        self._ran = asyncio.Event()

    async def __call__(self):
        self.count += 1
        self._ran.set()
        if self.failure is not None:
            raise self.failure

    async def runs(self, count):
        """Wait until it has run so often."""
        async with asyncio.timeout(WAIT_S):
            while self.count < count:
                self._ran.clear()
                await self._ran.wait()


async def turn():
    """Let everything that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def following(*probes, clock=None, interval_s=5.0):
    """A watch on these probes, ended afterwards."""
    watch = Watch(clock or HandClock(), interval_s=interval_s)
    task = asyncio.create_task(watch.follow(probes))
    await turn()
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_watch_probes_at_once_when_it_begins():
    up, down = Check(), Check()
    down.failure = OSError("refused")
    async with following(Probe("up", up), Probe("down", down)) as watch:
        assert [standing.health(0.0) for standing in watch.standings] == [Health.HEALTHY, Health.UNHEALTHY]


async def test_watch_is_unhealthy_and_starting_until_it_has_begun():
    watch = Watch(HandClock(), interval_s=5.0)
    assert watch.overall() is Health.UNHEALTHY
    assert watch.reason_to_wait() == "starting"


async def test_watch_without_probes_is_healthy_and_ready():
    async with following() as watch:
        assert watch.overall() is Health.HEALTHY
        assert watch.reason_to_wait() is None


async def test_watch_is_starting_while_a_critical_probe_has_not_ended():
    async with following(Probe("slow", asyncio.Event().wait)) as watch:
        assert watch.reason_to_wait() == "starting"
        assert watch.overall() is Health.UNHEALTHY


async def test_watch_is_ready_while_another_probe_has_not_ended():
    async with following(Probe("slow", asyncio.Event().wait, critical=False), Probe("up", Check())) as watch:
        assert watch.reason_to_wait() is None
        assert watch.overall() is Health.DEGRADED


async def test_watch_is_not_held_up_by_a_probe_that_hangs():
    quick = Check()
    async with following(
        Probe("hangs", asyncio.Event().wait, timeout_s=60.0), Probe("quick", quick), interval_s=0.01, clock=LoopClock()
    ):
        await quick.runs(3)


class LoopClock:
    """The loop's own time, for the few tests in which it passes."""

    def now(self):
        return 0.0

    def monotonic(self):
        return asyncio.get_running_loop().time()


async def test_watch_fails_a_probe_at_its_timeout(caplog):
    probe = Probe("slow", asyncio.Event().wait, timeout_s=0.01)
    assert await health_after_one(probe) is Health.UNHEALTHY
    assert "slow is unhealthy: TimeoutError: no answer within 0.01 s" in caplog.text


async def test_watch_fails_a_probe_that_passes_only_after_its_timeout():
    async def stubborn():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    assert await health_after_one(Probe("stubborn", stubborn, timeout_s=0.01)) is Health.UNHEALTHY


async def health_after_one(probe):
    """What a single run of the probe makes of it."""
    standing = standing_of(probe)
    await Watch(HandClock(), interval_s=5.0).attempt(probe, standing)
    return standing.health(0.0)


def standing_of(probe):
    return Standing(probe.name, critical=probe.critical, interval_s=5.0)


async def test_watch_takes_a_cancellation_inside_a_probe_for_its_failure():
    check = Check()
    check.failure = asyncio.CancelledError()
    async with following(Probe("cancelled", check)) as watch:
        assert watch.standings[0].health(0.0) is Health.UNHEALTHY


async def test_watch_hears_an_alarm_and_looks_again_only_when_due():
    clock, check, alarm = HandClock(), Check(), Alarm()
    async with following(Probe("database", check, alarm=alarm), clock=clock, interval_s=500.0) as watch:
        (standing,) = watch.standings
        for _ in range(1_000):
            alarm.ring()
        await turn()
        assert watch.reason_to_wait() == "unhealthy"
        assert check.count == 1
        clock.now_s = 100.0
        alarm.ring()
        await check.runs(2)
        await turn()
        assert standing.health(clock.now_s) is Health.HEALTHY
        assert check.count == 2


async def test_watch_says_once_that_something_went_down_and_once_that_it_came_back(caplog):
    caplog.set_level(logging.INFO, logger="pegboard.health")
    clock, check = HandClock(), Check()
    probe = Probe("database", check)
    standing = standing_of(probe)
    watch = Watch(clock, interval_s=5.0)
    for failure in (None, *[OSError("connection refused")] * 4, None, None):
        check.failure = failure
        await watch.attempt(probe, standing)
        clock.now_s += 5.0
    assert [record.getMessage() for record in caplog.records] == [
        "database is unhealthy: OSError: connection refused",
        "database is healthy again.",
    ]


async def test_watch_says_of_an_alarm_that_it_was_raised_while_in_use(caplog):
    alarm = Alarm()
    async with following(Probe("database", Check(), alarm=alarm)):
        alarm.ring()
        alarm.ring()
    assert [record.getMessage() for record in caplog.records] == ["database is unhealthy: it failed while it was used."]


@pytest.mark.parametrize("count", [0, 3])
async def test_watch_ends_when_it_is_cancelled(count):
    before = asyncio.all_tasks()
    async with following(*[Probe(f"p{number}", Check()) for number in range(count)]):
        pass
    assert asyncio.all_tasks() == before

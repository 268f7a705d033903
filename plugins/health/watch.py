"""Probes in the background: each in a loop of its own, so that one that hangs delays no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from plugins.health.standing import Health, Standing, overall
from service.api import Clock, Probe, Serving

log = logging.getLogger("pegboard.health")


class Watch:
    """Keeps a `Standing` for every probe, from `run` until it is cancelled."""

    def __init__(self, clock: Clock, *, interval_s: float) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._began = False
        self.standings: list[Standing] = []
        """In the order of declaration; empty until all is declared."""

    def overall(self) -> Health:
        """The service's health: unhealthy where a critical probe fails, degraded where another does."""
        if not self._began:
            return Health.UNHEALTHY
        return overall(self.standings, self._clock.monotonic())

    def reason_to_wait(self) -> str | None:
        """What keeps the service from being ready, in a word, or None."""
        now_s = self._clock.monotonic()
        critical = [standing.health(now_s) for standing in self.standings if standing.critical]
        if not self._began or Health.UNKNOWN in critical:
            return "starting"
        return "unhealthy" if Health.UNHEALTHY in critical else None

    async def run(self, serving: Serving) -> None:
        """Probe for as long as the service lives."""
        await serving.wait_declared()
        await self.follow(serving.probes)

    async def follow(self, probes: Sequence[Probe]) -> None:
        async with asyncio.TaskGroup() as group:
            for probe in probes:
                standing = Standing(probe.name, critical=probe.critical, interval_s=self._interval_s)
                self.standings.append(standing)
                group.create_task(self._follow(probe, standing), name=f"probe {probe.name}")
            self._began = True

    async def _follow(self, probe: Probe, standing: Standing) -> None:
        doubt = asyncio.Event()

        def on_alarm() -> None:
            if standing.health(self._clock.monotonic()) is not Health.UNHEALTHY:
                log.warning("%s is unhealthy: it failed while it was used.", probe.name)
            standing.alarm()
            doubt.set()

        if probe.alarm is not None:
            probe.alarm.listen(on_alarm)
        while True:
            await self.attempt(probe, standing)
            while (wait_s := standing.due_s() - self._clock.monotonic()) > 0:
                doubt.clear()
                try:
                    async with asyncio.timeout(wait_s):
                        await doubt.wait()
                except TimeoutError:
                    pass

    async def attempt(self, probe: Probe, standing: Standing) -> None:
        """Run the probe once, within its timeout, and note what came of it."""
        failure: BaseException | None = None
        before = standing.health(self._clock.monotonic())
        standing.begin(self._clock.monotonic())
        deadline = asyncio.timeout(probe.timeout_s)
        try:
            async with deadline:
                await probe.check()
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the service ends; any other cancellation is the probe's own failure
            failure = error
        if deadline.expired():
            failure = TimeoutError(f"no answer within {probe.timeout_s:g} s")
        now_s = self._clock.monotonic()
        standing.end(now_s, passed=failure is None)
        after = standing.health(now_s)
        if after is Health.UNHEALTHY and before is not Health.UNHEALTHY:
            log.warning("%s is unhealthy: %s: %s", probe.name, type(failure).__name__, failure)
        elif after is Health.HEALTHY and before is Health.UNHEALTHY:
            log.info("%s is healthy again.", probe.name)

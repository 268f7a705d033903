"""Say whether the service and what it depends on are well: `/health`, `/health/live` and `/health/ready`.

Table   [plugins.health]
Slot    none: three routes behind the PROBE door, answered from memory; probes run in the background
Raises  nothing: 503 carries the same body as 200, since that is what asks for it
Source  Kubernetes' probes (live, ready); draft-inadarei-api-health-check, section 3.1 (pass and warn 2xx, fail 5xx)

    /health         200 healthy or degraded, 503 unhealthy: status, timestamp, services (status, latencyMs, ageMs, facts
                    of the probe)
    /health/live    200 as long as the process answers; looks at no dependency, since a restart would mend none
    /health/ready   200 ready; 503 starting (a critical probe has not ended yet), unhealthy, draining

A service not probed yet is `unknown` and counts as failing. No answer has an error's text, a host or a version.
Inside: `standing` decides what results mean, `watch` runs the probes, `urls` is the probe of a URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Annotated

from aiohttp.web import Request
from pydantic import AfterValidator, Field, StringConstraints

from plugins.health.standing import Health, Standing
from plugins.health.urls import checked_url, open_session, probe_url
from plugins.health.watch import Watch
from service.api import SERVING, Answer, Door, Duration, PluginSettings, Ports, Probe, Route, Run, hookimpl, timestamp

NO_STORE = (("Cache-Control", "no-store"),)

CLOSE_WITHIN_S = 1.0
"""How long the end of the service waits for a probe that ignores its cancellation (chosen)."""


def _at_least_a_second(interval: Duration) -> Duration:
    if interval.seconds < 1:
        raise ValueError('an interval of probes is at least "1s": they cost what they probe')
    return interval


def _above_zero(timeout: Duration) -> Duration:
    if not timeout.seconds:
        raise ValueError('a timeout is above zero, like "2s"')
    return timeout


class Dependency(PluginSettings):
    """[plugins.health.http.NAME]: something else that this service needs, asked over HTTP."""

    url: Annotated[str, AfterValidator(checked_url)]
    """Where a GET shows that it is well. Redirects are not followed."""

    timeout: Annotated[Duration, AfterValidator(_above_zero)] = Duration("2s")
    """How long its answer may take."""

    critical: bool = False
    """True where this service is of no use without it: its failure is a 503. Otherwise this service is degraded."""

    expect: tuple[Annotated[int, Field(ge=200, le=599)], ...] = ()
    """Statuses that mean it is well; any 2xx where none is named."""


class Settings(PluginSettings):
    interval: Annotated[Duration, AfterValidator(_at_least_a_second)] = Duration("5s")
    """How often each probe runs, at least "1s". A result older than three of them counts as unhealthy."""

    http: Mapping[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], Dependency] = Field(
        default_factory=dict
    )
    """Dependencies by URL, each under the name that /health shows."""


class Plugin:
    def __init__(self, settings: Settings, run: Run) -> None:
        self._dependencies = settings.http
        self._run = run
        self._watch = Watch(run.clock, interval_s=settings.interval.seconds)
        self._probes: list[Probe] = []

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        self._serving = ports.need(SERVING)
        async with AsyncExitStack() as stack:
            if self._dependencies:
                session = await stack.enter_async_context(open_session())
                for name, dependency in self._dependencies.items():
                    check = partial(probe_url, session, dependency.url, expect=frozenset(dependency.expect))
                    timeout_s = dependency.timeout.seconds
                    self._probes.append(Probe(name, check, timeout_s=timeout_s, critical=dependency.critical))
            if not self._run.serves:  # nobody asks, and whoever looks may run the probes
                yield
                return
            watching = self._run.spawn(self._watch.run(self._serving), name="health")
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.wait([watching], timeout=CLOSE_WITHIN_S)

    @hookimpl
    def routes(self) -> Iterable[Route]:
        for name, path, handler, summary in (
            ("health.read", "/health", self._health, "The health of the service and of what it depends on."),
            ("health.live", "/health/live", self._live, "Whether the process answers."),
            ("health.ready", "/health/ready", self._ready, "Whether requests should be sent here."),
        ):
            yield Route("GET", path, handler, name=name, door=Door.PROBE, tags=("health",), summary=summary)

    @hookimpl
    def probes(self) -> Iterable[Probe]:
        return self._probes

    def _health(self, request: Request) -> Answer:
        health = self._watch.overall()
        facts = {probe.name: probe.facts for probe in self._serving.probes}
        services = {
            standing.name: self._entry(standing, facts.get(standing.name)) for standing in self._watch.standings
        }
        return self._answer(503 if health is Health.UNHEALTHY else 200, health, services=services)

    def _live(self, request: Request) -> Answer:
        return self._answer(200, "alive")

    def _ready(self, request: Request) -> Answer:
        reason = "draining" if self._serving.draining else self._watch.reason_to_wait()
        return self._answer(503 if reason else 200, reason or "ready")

    def _entry(self, standing: Standing, facts: Callable[[], Mapping[str, object]] | None) -> Mapping[str, object]:
        now_s = self._run.clock.monotonic()
        age_s, latency_s = standing.age_s(now_s), standing.latency_s
        return {
            "status": standing.health(now_s),
            "latencyMs": None if latency_s is None else round(latency_s * 1000, 1),
            "ageMs": None if age_s is None else round(age_s * 1000),
            **(facts() if facts is not None else {}),
        }

    def _answer(self, code: int, status: str, **facts: object) -> Answer:
        body = {"status": status, "timestamp": timestamp(self._run.clock.now()), **facts}
        return Answer.json(body, code, headers=NO_STORE)

"""Redis, for what several servers share: one of it, a master that Sentinels know, or a cluster, by URL.

Table    [plugins.redis]
Provides REDIS; a probe by the name of the instance, which is not critical unless you say so
Raises   Unavailable 503 with Retry-After (away, no answer in time, takes no changes), InternalError 500: `store.py`
Source   redis-py 8, redis.io "Redis serialization protocol", "Sentinel client spec", "Cluster specification"; Redis 6.2

- `urls.py`         what a URL names
- `opening.py`      connections that are all alike, greeted before use; why there is none, in plain words
- `lending.py`      connections to one server, lent to one command at a time
- `single.py`       one server, or the master that Sentinels name; `cluster.py` many, and which has which key
- `breaker.py`      the circuit breaker, which looks for itself; the health check is its look
- `subscribing.py`  one connection for all who listen
- `store.py`        the port: prefix, breaker, errors of ours
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field, field_validator
from redis.asyncio.connection import AbstractConnection

from plugins.redis.breaker import Breaker
from plugins.redis.cluster import Cluster
from plugins.redis.opening import Dialer, Unusable, is_mistake, reason
from plugins.redis.single import Sentinels, Single
from plugins.redis.store import Backend, Store
from plugins.redis.subscribing import Subscriptions
from plugins.redis.urls import EXAMPLE, Kind, target_of
from service.api import REDIS, Alarm, Duration, PluginError, PluginSettings, Ports, Probe, Run, Secret, hookimpl


class Timeouts(PluginSettings):
    """How long Redis may take."""

    command: Duration = Duration("50ms")
    """One command; what takes longer fails, and its connection is closed."""

    connect: Duration = Duration("250ms")
    """Opening a connection, TLS and greeting included. Commands do not wait for it longer than for an answer."""

    @field_validator("command", "connect")
    @classmethod
    def _is_some_time(cls, duration: Duration) -> Duration:
        if not duration.seconds:
            raise ValueError("leaves Redis no time at all")
        return duration


class Settings(PluginSettings):
    url: Secret
    """`redis://user:password@host:6379/0`, `rediss://` for TLS, `unix:///path/redis.sock`,
    `redis+sentinel://host:26379,host:26379/NAME/0` or `redis+cluster://host:6379,host:6379`."""

    prefix: Annotated[str, Field(max_length=100)] = "pegboard:"
    """What all keys and channels begin with; services that share a Redis need one each."""

    connections: Annotated[int, Field(ge=1, le=1000)] = 10
    """For commands, of one worker to one server, at most, 1 to 1000. Two more are for its health and for listening."""

    timeouts: Timeouts = Timeouts()

    critical: bool = False
    """True: without Redis this service is unhealthy (503), not degraded."""

    @field_validator("url")
    @classmethod
    def _is_understood(cls, url: Secret) -> Secret:
        target_of(url.reveal())
        return url


class Plugin:
    provides = (REDIS,)

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._alarm = Alarm()
        self._breaker: Breaker | None = None

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        target = target_of(self._settings.url.reveal())
        try:
            dialer = Dialer(target, connect_s=self._settings.timeouts.connect.seconds)
        except Unusable as error:
            raise self._mistake(error, f"cannot connect to {target}") from None
        backend, sentinels = self._backend(dialer)
        name = f"Redis at {target}"
        breaker = self._breaker = Breaker(backend.check, name=name, alarm=self._alarm, say=self._run.say)
        breaker.on_open.append(backend.drop_idle)
        patience_s = self._settings.timeouts.command.seconds + dialer.connect_s
        subscriptions = Subscriptions(backend.connect, breaker, patience_s=patience_s)
        if sentinels is not None:
            sentinels.on_move.append(subscriptions.leave)
        tasks = []
        try:
            failure = await breaker.begin()
            if failure is None:
                self._run.say(f"Redis {dialer.version} at {target}".replace("  ", " "))
            elif is_mistake(failure):
                raise self._mistake(failure, f"cannot use {name}") from None
            else:
                self._run.say(f"{name} is away ({reason(failure)}): going on without it until it is there")
            for part, run in (("looks", breaker.run), ("subscriptions", subscriptions.run)):
                tasks.append(self._run.spawn(run(), name=f"{self._run.name} {part}"))
            ports.provide(REDIS, Store(backend, breaker, subscriptions, prefix=self._settings.prefix))
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await backend.close()

    @hookimpl
    def probes(self) -> Iterable[Probe]:
        assert self._breaker is not None  # noqa: S101  # hooks are called after lifespan
        timeouts = self._settings.timeouts
        timeout_s = 1 + 2 * (timeouts.command.seconds + timeouts.connect.seconds)
        critical = self._settings.critical
        yield Probe(self._run.name, self._breaker.confirm, timeout_s=timeout_s, critical=critical, alarm=self._alarm)

    def _backend(self, dialer: Dialer) -> tuple[Backend, Sentinels | None]:
        size, command_s = self._settings.connections, self._settings.timeouts.command.seconds
        kind, addresses = dialer.target.kind, dialer.target.addresses
        if kind is Kind.CLUSTER:
            return Cluster(dialer, size=size, command_s=command_s), None
        if kind is Kind.SENTINEL:
            sentinels = Sentinels(dialer)
            return Single(dialer, sentinels.connect, size=size, command_s=command_s, sentinels=sentinels), sentinels

        async def connect() -> AbstractConnection:
            return await dialer.dial(addresses[0])

        return Single(dialer, connect, size=size, command_s=command_s), None

    def _mistake(self, error: BaseException, what: str) -> PluginError:
        """One that waiting does not mend, told with the line of the URL."""
        message = f"{what}: {reason(error)}"
        write = error.write if isinstance(error, Unusable) else EXAMPLE
        self._run.fault(("url",), message, write=write)
        return PluginError(f"{message}; correct the url.")

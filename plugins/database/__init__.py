"""PostgreSQL: a database named by its URL, or an embedded real server that needs nothing else.

Table    [plugins.database]
Provides DATABASE; a critical probe by the name of the instance
Raises   Unavailable 503 with Retry-After (lost, or busy), Timeout 504, Conflict 409, InvalidBody 422, InvalidRequest
         400, Forbidden 403, InternalError 500: the table in `sqlstate.py`
Source   asyncpg 0.30 to 0.32; PostgreSQL, chapter "Frontend/Backend Protocol" and Appendix A

- `pool.py`         the port: reads, writes, transactions, what happens when the database is lost
- `lending.py`      its connections, lent to one borrower at a time
- `opening.py`      what a URL names, connections that are all alike, patience at start
- `sqlstate.py`     SQLSTATE to ServiceError; `constraints.py` which columns a constraint is about
- `listening.py`    LISTEN; `pulse.py` the health check: both have connections of their own
- `embedded.py`     the embedded server; `keeper.py` the process that looks after it; `demo.py` what is in it
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from plugins.database.embedded import embedded_server
from plugins.database.opening import UNDERSTOOD, Connector, Place, WrongSetting, connect_patiently
from plugins.database.pool import open_database
from plugins.database.pulse import Pulse
from service.api import DATABASE, Alarm, Duration, PluginError, PluginSettings, Ports, Probe, Run, Secret, hookimpl


class Pool(PluginSettings):
    """The connections that one worker keeps."""

    min: Annotated[int, Field(ge=0, le=1000)] = 2
    """Kept open always, 0 to 1000."""

    max: Annotated[int, Field(ge=1, le=1000)] = 10
    """Never more than this, 1 to 1000; twice the database's cores, divided by the workers, is a good start."""

    idle: Duration = Duration("30s")
    """Those above `min` are closed when unused for so long."""

    connect: Duration = Duration("2s")
    """How long opening one may take."""

    acquire: Duration = Duration("2s")
    """How long a request waits for one before its client gets 503 SERVICE_UNAVAILABLE."""

    @model_validator(mode="after")
    def _min_fits(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min = {self.min} is more than max = {self.max}")
        return self


class Timeouts(PluginSettings):
    """How long PostgreSQL may take; its own statement_timeout."""

    start: Duration = Duration("30s")
    """How long the start waits for a database that does not answer yet."""

    read: Duration = Duration("2s")
    """One statement that reads, before its client gets 504 TIMEOUT."""

    write: Duration = Duration("5s")
    """One statement that writes, or one of a transaction."""

    count: Duration = Duration("1s")
    """Counting all rows of a list, where a client asks for that; when it is over, the answer has an estimate."""


class Settings(PluginSettings):
    url: Secret | None = None
    """`postgresql://user:password@host:5432/name`, with `?sslmode=` and what else libpq knows; wins over `embedded`."""

    embedded: bool = False
    """Run a PostgreSQL of our own in `[service] state_dir`, with demo data; from `pip install 'pegboard[embedded]'`."""

    pool: Pool = Pool()
    timeouts: Timeouts = Timeouts()

    @field_validator("url")
    @classmethod
    def _is_understood(cls, url: Secret | None) -> Secret | None:
        if url:
            try:
                Place.of(url.reveal())
            except ValueError:
                raise ValueError(f"is not understood: {UNDERSTOOD}") from None
        return url

    @model_validator(mode="after")
    def _names_a_database(self) -> Self:
        if not self.url and not self.embedded:
            raise ValueError(
                "names no database: url is missing, or the variable that it refers to is not set; "
                "export DATABASE_URL=postgresql://user:password@host/name, or let us run one; write: embedded = true"
            )
        return self


class Plugin:
    provides = (DATABASE,)

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._alarm = Alarm()
        self._pulse: Pulse | None = None

    @hookimpl
    @asynccontextmanager
    async def household(self, run: Run) -> AsyncIterator[str | None]:
        """The embedded server, unless there is a URL; yields its own. A command that only looks may share it."""
        if self._settings.url:
            yield None
            return
        async with embedded_server(run.state_dir, run.say, may_share=not run.serves) as url:
            yield url

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        pool, timeouts = self._settings.pool, self._settings.timeouts
        connector = Connector(self._url(), connect_s=pool.connect.seconds, read_s=timeouts.read.seconds)
        try:
            first = await connect_patiently(connector, patience_s=timeouts.start.seconds, say=self._run.say)
            self._pulse = Pulse(connector, first)
            if self._settings.url:
                version = str(first.get_settings().server_version).split()[0]  # without the packager's addition
                self._run.say(f"PostgreSQL {version} at {connector.place}")
            async with open_database(
                connector,
                min_size=pool.min,
                max_size=pool.max,
                idle_s=pool.idle.seconds,
                acquire_s=pool.acquire.seconds,
                write_s=timeouts.write.seconds,
                count_s=timeouts.count.seconds,
                first=first,
                alarm=self._alarm,
                say=self._run.say,
                is_own=not self._settings.url,
            ) as database:
                ports.provide(DATABASE, database)
                yield
        except WrongSetting as error:
            if error.path != ("url",) or self._settings.url:  # the embedded server has no URL to correct
                self._run.fault(error.path, error.message, write=error.write)
            raise
        finally:
            if self._pulse is not None:
                self._pulse.close()

    @hookimpl
    def probes(self) -> Iterable[Probe]:
        assert self._pulse is not None  # noqa: S101  # hooks are called after lifespan
        timeout_s = self._settings.pool.connect.seconds
        yield Probe(self._run.name, self._pulse.check, timeout_s=timeout_s, alarm=self._alarm)

    def _url(self) -> str:
        if self._settings.url:
            return self._settings.url.reveal()
        if isinstance(self._run.household, str):
            return self._run.household
        raise PluginError("the embedded server was not started: its household must be entered before its lifespan.")

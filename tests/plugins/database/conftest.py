"""The database plugin without an application: its hooks driven by hand, against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest

from plugins.database import Plugin, Settings
from plugins.database.lending import Lender
from service.api import Database, Probe, Run
from service.run import SystemClock
from service.testing.postgres import PostgresServer
from tests.plugins import waiting
from tests.plugins.one_port import OnePort
from tests.plugins.waiting import Eventually


@dataclass
class Opened:
    """The port as other plugins have it, and what the plugin said and rang meanwhile."""

    database: Database
    plugin: Plugin
    probe: Probe
    said: list[str]
    rung: list[bool]

    @property
    def lender(self) -> Lender:
        return cast(Lender, self.database._lender)  # type: ignore[attr-defined]

    @property
    def pool(self) -> asyncpg.Pool:
        return cast(asyncpg.Pool, self.lender._pool)

    @property
    def resting(self) -> int:
        """Connections that are not lent: warm, or back in asyncpg's pool."""
        return len(self.lender._warm) + self.pool.get_idle_size()


Faults = list[tuple[tuple[str | int, ...], str, object]]
"""Path, message and value to write of each fault that was told."""


def make_run(
    said: list[str],
    *,
    state_dir: Path = Path("/nonexistent"),
    household: object = None,
    faults: Faults | None = None,
) -> Run:
    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("The database asks for no reload and spawns nothing.")

    def tell(path: tuple[str | int, ...], message: str, *, write: object = None, rename: str | None = None) -> None:
        assert faults is not None, message
        faults.append((path, message, write))

    return Run(
        strict=True,
        workers=1,
        state_dir=state_dir,
        clock=SystemClock(),
        household=household,
        say=said.append,
        request_reload=refuse,
        spawn=refuse,
        name="database",
        fault=tell,
    )


Open = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture
def open_database() -> Open:
    """`async with open_database(url, pool={"max": 1}) as opened`."""

    @asynccontextmanager
    async def opening(
        url: str, said: list[str] | None = None, *, faults: Faults | None = None, **settings: Any
    ) -> AsyncIterator[Opened]:
        said = [] if said is None else said
        plugin = Plugin(Settings.model_validate({"url": url, **settings}), make_run(said, faults=faults))
        ports = OnePort()
        async with plugin.lifespan(ports):
            [probe] = plugin.probes()
            rung: list[bool] = []
            assert probe.alarm is not None
            probe.alarm.listen(lambda: rung.append(True))
            yield Opened(ports.provided[0], plugin, probe, said, rung)

    return opening


@pytest.fixture
def private_server() -> Iterator[PostgresServer]:
    """A server that the test may stop, kill and freeze."""
    with PostgresServer() as server:
        yield server


Ask = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture
def ask() -> Ask:
    """`await ask(url, sql, *args)`: one value, over a connection that has nothing to do with the plugin."""

    async def one_value(url: str, sql: str, *args: object) -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql, *args)
        finally:
            await connection.close()

    return one_value


@pytest.fixture
def eventually() -> Eventually:
    """`tests.plugins.waiting.eventually`."""
    return waiting.eventually

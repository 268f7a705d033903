"""A whole service inside a test: `make_service`, with a client on a real socket and a clock that the test moves.

async def test_hello_greets(make_service):
    service = await make_service(plugins=["hello"])
    response = await service.client.get("/api/v1/hello")
    assert response.status == 200
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
import tomli_w
from aiohttp.test_utils import BaseTestServer, TestClient
from aiohttp.web import BaseRunner, Request, ServerRunner

from service.app import Application, build, household, process_run
from service.loader import load
from service.run import Clock, Tasks
from service.settings import read


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


class _Server(BaseTestServer):
    """aiohttp's test server with the connections of the service itself."""

    def __init__(self, application: Application) -> None:
        super().__init__()
        self._application = application

    async def _make_runner(self, **kwargs: Any) -> BaseRunner:
        return ServerRunner(self._application.front())


class Service:
    """One running service; closed by the fixture that made it."""

    def __init__(
        self, config: Path, modules: Mapping[str, Any], clock: Clock | None, environ: Mapping[str, str]
    ) -> None:
        self.said: list[str] = []
        """The sentences that plugins told the operator."""
        self._config = config
        self._modules = modules
        self._clock = clock
        self._environ = environ
        self._started: asyncio.Future[Application] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        # One task enters and leaves everything: a fixture's two halves may run in different ones.
        self._task = asyncio.create_task(self._live(), name="service under test")

    async def _live(self) -> None:
        try:
            tasks = Tasks()
            settings = read(self._config, environ=self._environ)
            run = process_run(settings, tasks=tasks, say=self.said.append, clock=self._clock)
            loaded = load(settings, run, modules=self._modules)
            async with household(loaded) as yielded:
                if yielded:
                    loaded = load(settings, run, household=yielded, modules=self._modules)
                async with build(loaded, tasks=tasks) as application:
                    self._started.set_result(application)
                    await self._stop.wait()
                    application.state.draining = True
                    await self.client.close()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def start(self, make_client: Callable[[BaseTestServer], Awaitable[TestClient[Request, None]]]) -> Service:
        self.application = await self._started
        self.client = await make_client(_Server(self.application))
        return self

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1, for tests that speak raw bytes."""
        return int(self.client.port or 0)

    async def stop(self) -> None:
        """End it in the order of a real end: connections first, then plugins in reverse."""
        self._stop.set()
        await self._task


class MakeService(Protocol):
    def __call__(
        self,
        plugins: Iterable[str | Any] = (),
        settings: Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Awaitable[Service]:
        """Start a service with these plugins on.

        Each is a name, as in config.toml, or something with a class `Plugin` in it (a module, or a class in its
        place), called by its own lower-case name. `settings` is what config.toml would say. Raises what stops a start.
        """


@pytest_asyncio.fixture
async def make_service(tmp_path: Path, aiohttp_client: Any) -> AsyncIterator[MakeService]:
    """Makes services; each ends with the test."""
    running: list[Service] = []

    async def make(
        plugins: Iterable[str | Any] = (),
        settings: Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Service:
        by_name = {_name_of(plugin): plugin for plugin in plugins}
        modules = {name: plugin for name, plugin in by_name.items() if not isinstance(plugin, str)}
        wanted: dict[str, Any] = {"plugins": {name: {"enabled": True} for name in by_name}}
        config = tmp_path / f"config-{len(running)}.toml"
        config.write_text(tomli_w.dumps(_merged(wanted, settings or {})))
        service = Service(config, modules, clock, environ or {})
        await service.start(aiohttp_client)
        running.append(service)
        return service

    yield make
    for service in reversed(running):
        await service.stop()


@pytest.fixture
def clock() -> FakeClock:
    """A clock to hand to `make_service` and to move."""
    return FakeClock()


def _name_of(plugin: str | Any) -> str:
    return plugin if isinstance(plugin, str) else str(plugin.__name__).rpartition(".")[2].lower()


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged

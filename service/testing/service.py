"""A whole service inside a test: `make_service`, and the fixture `client` for those who test one service.

async def test_hello_greets(make_service):
    service = await make_service(plugins=["hello"])
    response = await service.client.get("/api/v1/hello")
    assert response.status == 200
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
import tomli_w
from aiohttp.test_utils import BaseTestServer, TestClient
from aiohttp.web import BaseRunner, Request, ServerRunner

from service.app import Application, build, household, process_run
from service.loader import Loaded, load
from service.run import Clock, Tasks
from service.settings import read
from service.sources import plugin_folders


class _Server(BaseTestServer):
    """aiohttp's test server with the connections of the service itself."""

    def __init__(self, application: Application) -> None:
        super().__init__()
        self._application = application

    async def _make_runner(self, **kwargs: Any) -> BaseRunner:
        return ServerRunner(self._application.front())


class Service:
    """One service: made, then started, then stopped by the fixture that made it."""

    def __init__(
        self,
        config: Path,
        modules: Mapping[str, Any],
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.said: list[str] = []
        """The sentences that plugins told the operator."""
        self._config = config
        self._modules = modules
        self._clock = clock
        self._environ = environ or {}
        self._tasks = Tasks()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def load(self, household: Mapping[str, object] | None = None) -> Loaded:
        """The plugins, made and not opened, as `pegboard check` makes them. Raises SettingsError with every fault."""
        settings = read(self._config, environ=self._environ)
        run = process_run(settings, tasks=self._tasks, say=self.said.append, clock=self._clock)
        return load(settings, run, household=household, modules=self._modules)

    async def start(self) -> None:
        """Open it and let it listen. Raises what stops a start."""
        started: asyncio.Future[Application] = asyncio.get_running_loop().create_future()
        # One task enters and leaves everything: a fixture's two halves may run in different ones.
        self._task = asyncio.create_task(self._live(started), name="service under test")
        self.application = await started
        self.client: TestClient[Request, None] = TestClient(_Server(self.application))
        await self.client.start_server()

    async def _live(self, started: asyncio.Future[Application]) -> None:
        try:
            loaded = self.load()
            async with household(loaded) as yielded:
                if yielded:
                    loaded = self.load(yielded)
                async with build(loaded, tasks=self._tasks) as application:
                    started.set_result(application)
                    await self._stop.wait()
                    application.state.draining = True
                    await self.client.close()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1, for tests that speak raw bytes."""
        return int(self.client.port or 0)

    async def stop(self) -> None:
        """End it in the order of a real end: connections first, then plugins in reverse."""
        self._stop.set()
        if self._task is not None:
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


@cache
def _folders_named_in(config: Path) -> tuple[Path, ...]:
    return tuple(plugin_folders(read(config, environ={})))


@pytest.fixture
def plugin_dirs(request: pytest.FixtureRequest) -> tuple[Path, ...]:
    """Where plugins are looked for besides `plugins/` in the test's `tmp_path`: the plugin_dirs of the config.toml that
    is nearest above the test. Define it anew to name others."""
    found = [folder / "config.toml" for folder in request.path.parents if (folder / "config.toml").is_file()]
    return _folders_named_in(found[0]) if found else ()


@pytest.fixture
def write_config(tmp_path: Path, plugin_dirs: Iterable[Path]) -> Callable[[Mapping[str, Any]], Path]:
    """`write_config(tables)` writes them to a file of their own, plus where the plugins are."""
    numbers = count()

    def write(tables: Mapping[str, Any]) -> Path:
        path = tmp_path / f"config-{next(numbers)}.toml"
        folders = ["plugins", *[str(folder) for folder in plugin_dirs]]
        path.write_text(tomli_w.dumps(merged({"service": {"plugin_dirs": folders}}, tables)))
        return path

    return write


@pytest_asyncio.fixture
async def make_service(write_config: Callable[[Mapping[str, Any]], Path]) -> AsyncIterator[MakeService]:
    """Makes services; each ends with the test."""
    made: list[Service] = []

    async def make(
        plugins: Iterable[str | Any] = (),
        settings: Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Service:
        by_name = {_name_of(plugin): plugin for plugin in plugins}
        modules = {name: plugin for name, plugin in by_name.items() if not isinstance(plugin, str)}
        wanted = {"plugins": {name: {"enabled": True} for name in by_name}}
        made.append(Service(write_config(merged(wanted, settings or {})), modules, clock=clock, environ=environ))
        await made[-1].start()
        return made[-1]

    yield make
    for service in reversed(made):
        await service.stop()


@pytest.fixture
def service() -> Service:
    """The service that `client` asks. Define it anew, with `make_service`; a PluginContract has its own."""
    pytest.fail(
        "client needs to know the service: define a fixture, "
        "@pytest_asyncio.fixture async def service(make_service): return await make_service(['hello'])",
        pytrace=False,
    )


@pytest.fixture
def client(service: Service) -> TestClient[Request, None]:
    """A client of the fixture `service`: `await client.get("/api/v1/hello")`."""
    return service.client


def _name_of(plugin: str | Any) -> str:
    return plugin if isinstance(plugin, str) else str(plugin.__name__).rpartition(".")[2].lower()


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, table by table; where they differ, `over` has the last word."""
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result

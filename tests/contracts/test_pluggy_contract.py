"""What we rely on in pluggy, and that it is never called while a request is served."""

from __future__ import annotations

import pkgutil
import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
from aiohttp import web

import plugins as own_plugins
from service.api import Answer, Change, Check, Exchange, Finish, MountedRoute, Release, Route, Slot, Wrap, hookimpl
from service.hooks import PROJECT, Hooks
from service.specs import SPECS
from service.testing.tokens import make_token
from service.testing.unhooked import unhooked

TESTS = Path(__file__).parents[1]
BUILT_IN = sorted(module.name for module in pkgutil.iter_modules(own_plugins.__path__))


class Everything:
    """A plugin that takes part in every way."""

    class Plugin:
        @hookimpl
        def routes(self) -> Iterable[Route]:
            yield Route("GET", "/plain", self._plain, name="plain")
            yield Route("GET", "/waits", self._waits, name="waits")
            yield Route("GET", "/crash", self._crash, name="crash")

        @hookimpl
        def steps(self, route: MountedRoute) -> Iterable[object]:
            yield Check(Slot.ADMIT, lambda request: None)
            yield Finish(Slot.ADMIT, lambda request, answer: answer.add("X-Seen", "yes"))
            yield Release(Slot.RATION, lambda request: None)
            if route.name == "waits":
                yield Wrap(Slot.RECALL, self._wrap)

        @hookimpl
        def observers(self) -> Iterable[Callable[[Exchange], None]]:
            return [lambda exchange: None]

        @hookimpl
        def changes(self) -> Iterable[Callable[[Change], None]]:
            return [lambda change: None]

        def _plain(self, request: web.Request) -> Answer:
            return Answer.json({})

        async def _waits(self, request: web.Request) -> Answer:
            return Answer.json({})

        def _crash(self, request: web.Request) -> Answer:
            raise RuntimeError("crash")

        async def _wrap(self, request: web.Request, proceed: Any) -> Any:
            return await proceed()


@pytest.mark.filterwarnings("default")
async def test_pluggy_is_not_called_while_requests_are_served(
    make_service: Any, make_database: Callable[[str], str], redis_url: str
) -> None:
    tables: dict[str, Any] = {"everything": {"enabled": True}}
    for name in BUILT_IN:
        file = TESTS / "plugins" / name / "minimal.toml"
        tables[name] = {"enabled": True, **(tomllib.loads(file.read_text()) if file.exists() else {})}
    tables["resources"]["tables"] = ["*"]
    service = await make_service(
        plugins=[Everything],
        settings={"plugins": tables},
        environ={
            "DATABASE_URL": make_database("CREATE TABLE things (id int PRIMARY KEY); INSERT INTO things VALUES (1)"),
            "REDIS_URL": redis_url,
        },
    )
    asked, headers = {}, {"Authorization": f"Bearer {make_token()}"}
    with unhooked(service) as called:
        for route in service.application.state.routes:
            path = route.path.replace("{id}", "1")
            for method in (route.method, "OPTIONS", "DELETE"):
                response = await service.client.request(method, path, headers=headers)
                await response.read()
                asked[method, path] = response.status
        for path in ("/nowhere", "/api/v1/things/404", "/api/v1/things?nonsense=1"):
            asked["GET", path] = (await service.client.get(path, headers=headers)).status
    assert asked["GET", "/api/v1/things"] == 200
    assert asked["GET", "/api/v1/things/1"] == 200
    assert asked["GET", "/health"] in (200, 503)
    assert asked["GET", "/waits"] == 200
    assert asked["GET", "/crash"] == 500
    assert asked["DELETE", "/plain"] == 405
    assert asked["GET", "/nowhere"] == 404
    assert called == []


# --- what registering.py and loader.py rely on


def test_marks_are_attributes_named_after_the_project() -> None:
    @hookimpl
    def routes(self: object) -> None: ...

    options = getattr(routes, f"{PROJECT}_impl")
    assert {"wrapper", "hookwrapper"} <= set(options)
    assert hasattr(Hooks.routes, f"{PROJECT}_spec")


def test_every_spec_is_known_with_its_arguments() -> None:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    known = {name: tuple(caller.spec.argnames) for name, caller in vars(manager.hook).items() if caller.spec}
    assert {name: tuple(name for name in names if name != "self") for name, names in known.items()} == dict(SPECS)


def test_implementation_tells_its_plugin_its_function_and_its_arguments() -> None:
    class Plugin:
        @hookimpl
        def steps(self, route: object) -> object:
            return route

    plugin = Plugin()
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    manager.register(plugin, name="hello")
    (impl,) = manager.hook.steps.get_hookimpls()
    assert impl.plugin is plugin
    assert impl.argnames == ("route",)
    assert impl.function("users.list") == "users.list"


def test_managers_share_nothing(make_service: Any) -> None:
    one, other = pluggy.PluginManager(PROJECT), pluggy.PluginManager(PROJECT)
    one.add_hookspecs(Hooks)
    one.register(SimpleNamespace(), name="only here")
    assert other.list_name_plugin() == []


def test_pluggy_is_a_version_that_setup_cfg_admits() -> None:
    assert version("pluggy").startswith("1.")
    assert "pluggy >=1.5,<2" in (TESTS.parent / "setup.cfg").read_text()

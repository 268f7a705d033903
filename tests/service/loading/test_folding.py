"""Declare and fold: settings for routes, doors and places, and what reaches whom."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from service import app
from service.api import (
    CHANGES,
    Answer,
    Change,
    Check,
    Door,
    Exchange,
    Finish,
    MountedRoute,
    PluginError,
    PluginSettings,
    Ports,
    Probe,
    Release,
    Route,
    Slot,
    hookimpl,
)
from service.errors import SettingsError
from service.specs import SPECS


def ok(request: web.Request) -> Answer:
    return Answer.json({})


async def passes() -> None:
    """A probe that always passes."""


def plugin(name: str, **hooks: Any) -> Any:
    """A module with a plugin that has these hooks."""
    marked = {key: hookimpl(hook) for key, hook in hooks.items()}
    return SimpleNamespace(__name__=name, Plugin=type("Plugin", (), marked))


# --- settings for single routes


class Shout:
    """A plugin with settings for routes."""

    class RouteSettings(PluginSettings):
        word: str = "plain"
        times: int = 1

    class Plugin:
        def __init__(self) -> None:
            self.seen: dict[str, tuple[str, int]] = {}

        @hookimpl
        def steps(self, route: MountedRoute) -> Iterable[Finish]:
            own = route.settings(Shout.RouteSettings)
            self.seen[route.name] = (own.word, own.times)
            return ()


def with_routes(name: str = "users", **authored: object) -> Any:
    return plugin(
        name,
        routes=lambda self: [
            Route("GET", each, ok, name=f"{name}.{each}", settings=authored) for each in ("list", "read")
        ],
    )


async def seen(make_service: Any, routes: dict[str, Any], **authored: object) -> dict[str, tuple[str, int]]:
    service = await make_service(
        plugins=[Shout, with_routes(**authored)], settings={"routes": routes} if routes else {}
    )
    found: dict[str, tuple[str, int]] = service.application.loaded["shout"].plugin.seen
    return found


async def test_route_settings_are_the_defaults_where_nobody_says_a_word(make_service: Any) -> None:
    assert await seen(make_service, {}) == dict.fromkeys(("users.list", "users.read", "unmatched"), ("plain", 1))


async def test_route_settings_of_the_operator_stand_over_the_authors(make_service: Any) -> None:
    found = await seen(make_service, {"users.list": {"shout": {"times": 3}}}, shout={"word": "author", "times": 2})
    assert (found["users.list"], found["users.read"]) == (("author", 3), ("author", 2))


async def test_route_settings_of_a_later_glob_win_key_by_key(make_service: Any) -> None:
    globs = {
        "users.*": {"shout": {"word": "all", "times": 2}},
        "*.list": {"shout": {"word": "lists"}},
        "*": {"shout": {"times": 9}},
    }
    found = await seen(make_service, globs)
    assert (found["users.list"], found["users.read"]) == (("lists", 9), ("all", 9))


async def test_route_settings_for_what_matches_no_route_are_written_by_its_name(make_service: Any) -> None:
    found = await seen(make_service, {"unmatched": {"shout": "lost"}})
    assert found["unmatched"] == ("lost", 1)


async def test_route_settings_for_every_route_are_for_what_matches_none_too(make_service: Any) -> None:
    found = await seen(make_service, {"*": {"shout": {"times": 9}}})
    assert {times for _, times in found.values()} == {9}
    assert "unmatched" in found


async def test_route_settings_may_be_one_value_for_the_first_field(make_service: Any) -> None:
    found = await seen(make_service, {"users.list": {"shout": "short"}}, shout="author")
    assert (found["users.list"], found["users.read"]) == (("short", 1), ("author", 1))


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ({"shout": {"wrod": "x"}}, 'routes."users.list".shout.wrod: there is no such setting; did you mean "word"?'),
        ({"shout": {"times": "x"}}, 'routes."users.list".shout.times: must be a whole number'),
        ({"shout": 3}, 'routes."users.list".shout: must be text'),
        ({"users": 3}, 'routes."users.list".users: '),
        ({"users": {"a": 1}}, 'routes."users.list".users.a: there is no such setting'),
    ],
)
async def test_route_settings_that_are_wrong_are_a_fault_with_a_line(
    make_service: Any, routes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        await make_service(plugins=[Shout, with_routes()], settings={"routes": {"users.list": routes}})
    assert said in str(caught.value)
    assert "config-0.toml:" in str(caught.value)


async def test_route_settings_of_a_plugin_without_steps_are_checked_too(make_service: Any) -> None:
    silent = SimpleNamespace(__name__="silent", Plugin=type("Plugin", (), {}), RouteSettings=Shout.RouteSettings)
    with pytest.raises(SettingsError, match=r"silent\.times: must be a whole number"):
        await make_service(
            plugins=[silent, with_routes()], settings={"routes": {"users.list": {"silent": {"times": "x"}}}}
        )


async def test_route_settings_of_the_author_for_a_plugin_that_is_not_there_are_left_unread(make_service: Any) -> None:
    await seen(make_service, {}, cache="1h", users={"anything": 1})


async def test_route_settings_of_another_class_are_one_sentence(make_service: Any) -> None:
    class Other(PluginSettings): ...

    def steps(self: object, route: MountedRoute) -> Iterable[Check]:
        route.settings(Other)
        return ()

    with pytest.raises(PluginError) as caught:
        await make_service(plugins=[plugin("wrong", steps=steps)])
    assert str(caught.value) == "plugin wrong: route.settings() takes the plugin's own RouteSettings class, not Other."


# --- doors and places


@pytest.mark.parametrize(
    ("api_root", "path", "served"),
    [
        ("/", "r", "/v1/r"),
        ("/", "", "/v1"),
        ("/api", "r", "/api/v1/r"),
        ("/api", "", "/api/v1"),
        ("/a/b", "r/{id}/s", "/a/b/v1/r/7/s"),
        ("/a/b", "/r", "/r"),
        ("/", "/", "/"),
    ],
)
async def test_route_is_served_below_root_and_version_or_as_it_stands(
    make_service: Any, api_root: str, path: str, served: str
) -> None:
    root = plugin("root", routes=lambda self: [Route("GET", path, ok, name="r")])
    service = await make_service(plugins=[root], settings={"service": {"api_root": api_root}})
    assert (await service.client.get(served)).status == 200
    assert (await service.client.get(f"{served.rstrip('/')}/nothing")).status == 404


@pytest.mark.parametrize(("version", "served"), [("v2", "/api/v2/r"), ("", "/api/r")])
async def test_route_has_its_version_in_its_path(make_service: Any, version: str, served: str) -> None:
    versioned = plugin("versioned", routes=lambda self: [Route("GET", "r", ok, name="r", version=version)])
    service = await make_service(plugins=[versioned])
    assert (await service.client.get(served)).status == 200


async def test_route_cannot_be_called_as_what_matches_none(make_service: Any) -> None:
    with pytest.raises(PluginError) as caught:
        await make_service(plugins=[plugin("p", routes=lambda self: [Route("GET", "r", ok, name="unmatched")])])
    assert str(caught.value) == (
        "plugin p calls a route unmatched, the name of what matches no route; give it another."
    )


async def test_one_name_in_two_versions_is_two_routes(make_service: Any) -> None:
    def routes(self: object) -> Iterable[Route]:
        for version in ("v1", "v2"):
            yield Route("GET", "r", ok, name="r", version=version)

    service = await make_service(plugins=[plugin("both", routes=routes)])
    assert [(await service.client.get(f"/api/{version}/r")).status for version in ("v1", "v2")] == [200, 200]


async def test_probe_door_keeps_the_steps_of_receive_only(make_service: Any) -> None:
    ran: list[str] = []

    def steps(self: object, route: MountedRoute) -> Iterable[Check | Finish | Release]:
        for slot in Slot:
            yield Check(slot, lambda request, slot=slot: ran.append(slot.name))  # type: ignore[misc]

    def routes(self: object) -> Iterable[Route]:
        yield Route("GET", "/probe", ok, name="probe", door=Door.PROBE)
        yield Route("GET", "/api", ok, name="api")

    service = await make_service(plugins=[plugin("all", steps=steps, routes=routes)])
    await service.client.get("/probe")
    assert ran == ["RECEIVE"]
    ran.clear()
    await service.client.get("/api")
    assert ran == [slot.name for slot in Slot]
    ran.clear()
    await service.client.get("/nowhere")
    assert ran == ["RECEIVE", "NEGOTIATE", "ADMIT"]


@pytest.mark.parametrize("strict", [True, False])
async def test_operator_routes_are_not_served_when_strict_and_the_start_says_so(
    make_service: Any, strict: bool
) -> None:
    console = plugin("console", routes=lambda self: [Route("GET", "/admin", ok, name="admin", door=Door.OPERATOR)])
    service = await make_service(
        plugins=[console, Shout],
        settings={"service": {"strict": strict}, "routes": {"admin": {"shout": "loud"}}},
    )
    assert (await service.client.get("/admin")).status == (404 if strict else 200)
    assert service.said == (
        [
            "GET /admin (console) is for operators and not served, since nothing guards it here; "
            "give operators a listener of their own: operator = { port = 3001 } under [service]."
        ]
        if strict
        else []
    )


async def test_plugins_sharing_a_slot_stand_in_the_order_of_the_file(make_service: Any) -> None:
    ran: list[str] = []

    def stepping(name: str) -> Any:
        return plugin(name, steps=lambda self: [Check(Slot.ADMIT, lambda request: ran.append(name))])

    service = await make_service(
        plugins=[stepping("a"), stepping("b"), stepping("c")], settings={"plugins": {"c": {"before": ["a"]}}}
    )
    await service.client.get("/")
    assert ran == ["b", "c", "a"]


# --- what reaches whom


async def test_changes_reach_every_listener_and_one_that_raises_is_logged(
    make_service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Change] = []

    def broken(change: Change) -> None:
        raise RuntimeError("no")

    class Writer:
        class Plugin:
            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                self._changes = ports.need(CHANGES)
                yield

            @hookimpl
            def routes(self) -> Iterable[Route]:
                yield Route("POST", "/write", self._write, name="write")

            def _write(self, request: web.Request) -> Answer:
                self._changes.announce(Change("users", ("7",)))
                assert heard == [Change("users", ("7",))]  # before the writer's answer leaves
                return Answer.json({})

    service = await make_service(
        plugins=[
            plugin("first", changes=lambda self: [broken]),
            plugin("second", changes=lambda self: [heard.append]),
            Writer,
        ]
    )
    assert (await service.client.post("/write")).status == 200
    assert "A listener for changes failed on users." in caplog.text


async def test_observers_get_one_exchange_per_request_and_one_that_raises_is_logged(
    make_service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    told: dict[str, list[Exchange]] = {"first": [], "last": []}

    def broken(exchange: Exchange) -> None:
        raise RuntimeError("no")

    def crash(request: web.Request) -> Answer:
        raise RuntimeError("crash")

    service = await make_service(
        plugins=[
            plugin("first", observers=lambda self: [told["first"].append]),
            plugin("broken", observers=lambda self: [broken]),
            plugin("last", observers=lambda self: [told["last"].append]),
            plugin(
                "routes",
                routes=lambda self: [Route("GET", "/ok", ok, name="ok"), Route("GET", "/crash", crash, name="crash")],
            ),
        ]
    )
    for path, status in (("/ok", 200), ("/crash", 500), ("/nowhere", 404)):
        assert (await service.client.get(path)).status == status
    assert (await service.client.post("/ok")).status == 405
    await service.client.close()
    await asyncio.sleep(0)
    assert [(each.route, each.status) for each in told["first"]] == [
        ("ok", 200),
        ("crash", 500),
        ("unmatched", 404),
        ("unmatched", 405),
    ]
    assert told["last"] == told["first"]
    assert caplog.text.count("An observer failed on route") == 4


async def test_serving_knows_routes_and_probes_once_they_are_declared(make_service: Any) -> None:
    service = await make_service(plugins=[with_routes(), plugin("probing", probes=lambda self: [Probe("p", passes)])])
    state = service.application.state
    await state.wait_declared()
    assert [route.name for route in state.routes] == ["users.list", "users.read"]
    assert [probe.name for probe in state.probes] == ["p"]


def test_every_hook_but_commands_is_used() -> None:
    """A hook that is declared and never called would be a promise that nobody keeps."""
    source = inspect.getsource(app)
    assert {name for name in SPECS if f'"{name}"' not in source} == {"commands"}

"""Open, declare, fold, close: in which order, what is closed after a fault, and what reaches whom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

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
    PortKey,
    Ports,
    Probe,
    Release,
    Route,
    Run,
    Slot,
    hookimpl,
)
from service.app import build
from service.errors import SettingsError, StartError

Log = list[str]


def ok(request: web.Request) -> Answer:
    return Answer.json({})


async def passes() -> None:
    """A probe that always passes."""


def plugin(name: str, log: Log, **hooks: Any) -> Any:
    """A module with a plugin that writes down when it is opened and closed, and has these hooks besides."""

    @asynccontextmanager
    async def lifespan(self: Any, ports: Ports) -> AsyncIterator[None]:
        for key in getattr(self, "provides", ()):
            ports.provide(key, name)
        log.append(f"open {name}")
        try:
            yield
        finally:
            log.append(f"close {name}")

    marked = {key: hookimpl(hook) if callable(hook) else hook for key, hook in hooks.items()}
    return SimpleNamespace(__name__=name, Plugin=type("Plugin", (), {"lifespan": hookimpl(lifespan), **marked}))


def fails(self: object) -> None:
    raise RuntimeError("out of\npaper")


# --- order


async def test_plugins_open_after_those_they_require_and_close_in_reverse(make_service: Any) -> None:
    log: Log = []
    one, two = PortKey[str]("one"), PortKey[str]("two")
    service = await make_service(
        plugins=[
            plugin("top", log, requires=(two,)),
            plugin("middle", log, provides=(two,), uses=(one,)),
            plugin("free", log),
            plugin("bottom", log, provides=(one,)),
        ]
    )
    opened = ["open free", "open bottom", "open middle", "open top"]
    assert log == ["open free", "open bottom", "open middle", "open top"]
    await service.stop()
    assert log[4:] == [entry.replace("open", "close") for entry in reversed(opened)]


@pytest.mark.parametrize("error", [RuntimeError("stuck"), asyncio.CancelledError()])
async def test_plugin_whose_closing_fails_does_not_keep_the_others_open(
    house: Any, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    log: Log = []

    @asynccontextmanager
    async def lifespan(self: object, ports: Ports) -> AsyncIterator[None]:
        yield
        raise error

    broken = SimpleNamespace(Plugin=type("Plugin", (), {"lifespan": hookimpl(lifespan)}))
    modules = {"first": plugin("first", log), "broken": broken, "last": plugin("last", log)}
    loaded = house.load("".join(f"[plugins.{name}]\nenabled = true\n" for name in modules), modules)
    with suppress(asyncio.CancelledError):
        async with build(loaded, tasks=house.tasks):
            log.append("serve")
    assert log == ["open first", "open last", "serve", "close last", "close first"]
    if isinstance(error, RuntimeError):
        assert "Plugin broken failed to close what its hook lifespan had opened." in caplog.text


# --- a failed start closes what was opened, once, and is one sentence


async def refused(make_service: Any, plugins: Iterable[Any], **settings: Any) -> str:
    with pytest.raises(StartError) as caught:
        await make_service(plugins=plugins, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@asynccontextmanager
async def _fails_to_open(self: object, ports: Ports) -> AsyncIterator[None]:
    raise RuntimeError("out of\npaper")
    yield


FAILED = "failed with RuntimeError: out of paper (test_app.py, line "


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"lifespan": _fails_to_open}, f"plugin third: its hook lifespan {FAILED}"),
        ({"lifespan": lambda self: None}, "plugin third: its hook lifespan returns NoneType; return an async context"),
        ({"lifespan": fails}, f"plugin third: its hook lifespan {FAILED}"),
        ({"routes": fails}, f"plugin third: its hook routes {FAILED}"),
        ({"routes": lambda self: 3}, "plugin third: its hook routes returned 3; return a list, or yield."),
        ({"routes": lambda self: ["x"]}, "plugin third: its hook routes returned 'x'; return Routes."),
        ({"steps": fails}, f"plugin third: its hook steps for route r.read {FAILED}"),
        ({"steps": lambda self: [ok]}, "plugin third: its hook steps returned <function ok at"),
        ({"probes": fails}, f"plugin third: its hook probes {FAILED}"),
        ({"probes": lambda self: [1]}, "plugin third: its hook probes returned 1; return Probes."),
        ({"observers": fails}, f"plugin third: its hook observers {FAILED}"),
        ({"observers": lambda self: [1]}, "plugin third: its hook observers returned 1; return functions."),
        ({"changes": fails}, f"plugin third: its hook changes {FAILED}"),
        ({"changes": lambda self: (1,)}, "plugin third: its hook changes returned 1; return functions."),
        (
            {"routes": lambda self: [Route("GET", "r", ok, name="other")]},
            "plugins first and third both serve GET /api/v1/r (routes r.read and other); turn one off or give one",
        ),
        (
            {"routes": lambda self: [Route("GET", "other", ok, name="r.read")]},
            "plugins first and third both call a route r.read; names are unique, so rename one or turn its plugin off.",
        ),
        (
            {"routes": lambda self: [Route("GET", "a", ok, name="x"), Route("GET", "b", ok, name="x")]},
            "plugin third twice calls a route x; names are unique, so rename one or turn its plugin off.",
        ),
        ({"routes": lambda self: [Route("get", "x", ok, name="x")]}, "plugin third: route x has the method 'get'"),
        ({"routes": lambda self: [Route("GET", "x-{id}", ok, name="x")]}, "plugin third: route x has the path"),
        ({"routes": lambda self: [Route("GET", "{a}/{a}", ok, name="x")]}, "plugin third: route x has the path"),
        ({"probes": lambda self: [Probe("p", passes)]}, "plugins first and third both call a probe p; rename one of"),
        ({"probes": lambda self: [Probe("q", passes)] * 2}, "plugin third twice calls a probe q; rename one of them."),
    ],
)
async def test_failed_start_closes_what_was_opened_and_names_plugin_and_hook(
    make_service: Any, hooks: dict[str, Any], said: str
) -> None:
    log: Log = []
    first = plugin(
        "first",
        log,
        routes=lambda self: [Route("GET", "r", ok, name="r.read")],
        probes=lambda self: [Probe("p", passes)],
    )
    sentence = await refused(make_service, [first, plugin("second", log), plugin("third", log, **hooks)])
    assert sentence.startswith(said)
    opened = [entry.removeprefix("open ") for entry in log if entry.startswith("open")]
    assert opened[:2] == ["first", "second"]
    assert log[len(opened) :] == [f"close {name}" for name in reversed(opened)]


async def test_error_of_the_plugins_own_keeps_its_words(make_service: Any) -> None:
    @asynccontextmanager
    async def lifespan(self: object, ports: Ports) -> AsyncIterator[None]:
        raise PluginError("no answer from db:5432; is it up?")
        yield

    assert await refused(make_service, [plugin("store", [], lifespan=lifespan)]) == (
        "plugin store: no answer from db:5432; is it up?"
    )


async def test_routes_glob_that_matches_nothing_closes_what_was_opened(make_service: Any) -> None:
    log: Log = []
    first = plugin("first", log, routes=lambda self: [Route("GET", "r", ok, name="users.list")])
    with pytest.raises(SettingsError) as caught:
        await make_service(plugins=[first], settings={"routes": {"usres.*": {"first": 1}}})
    assert 'routes."usres.*": no route has a name like this; did you mean "users.*"?' in str(caught.value)
    assert log == ["open first", "close first"]


async def test_start_that_is_cancelled_closes_what_was_opened(house: Any) -> None:
    log: Log = []
    waiting = asyncio.Event()

    @asynccontextmanager
    async def lifespan(self: object, ports: Ports) -> AsyncIterator[None]:
        log.append("open slow")
        try:
            waiting.set()
            await asyncio.Event().wait()
            yield
        finally:
            log.append("close slow")

    modules = {"first": plugin("first", log), "slow": plugin("slow", log, lifespan=lifespan)}
    loaded = house.load("[plugins.first]\nenabled = true\n[plugins.slow]\nenabled = true", modules)

    async def opens() -> None:
        async with build(loaded, tasks=house.tasks):
            raise AssertionError("it cannot open")

    opening = asyncio.create_task(opens())
    await waiting.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert log == ["open first", "open slow", "close slow", "close first"]


# --- background tasks


async def test_background_tasks_end_before_plugins_close(make_service: Any) -> None:
    log: Log = []

    class Worker:
        class Plugin:
            def __init__(self, settings: object, run: Run) -> None:
                self._run = run

            @hookimpl
            @asynccontextmanager
            async def lifespan(self) -> AsyncIterator[None]:
                self._run.spawn(self._work(), name="work")
                try:
                    yield
                finally:
                    log.append("close")
                    self._run.spawn(self._late(), name="late")
                    await asyncio.sleep(0)

            async def _work(self) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    self._run.spawn(self._last(), name="last")
                    await asyncio.sleep(0)
                    log.append("work ended")

            async def _last(self) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    log.append("last ended")

            async def _late(self) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    log.append("late ended")

    service = await make_service(plugins=[Worker])
    await asyncio.sleep(0)
    await service.stop()
    assert log == ["work ended", "last ended", "close", "late ended"]


async def test_background_task_that_crashes_is_logged_and_stops_nothing(
    make_service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Worker:
        class Plugin:
            def __init__(self, settings: object, run: Run) -> None:
                self._run = run

            @hookimpl
            @asynccontextmanager
            async def lifespan(self) -> AsyncIterator[None]:
                self._run.spawn(self._work(), name="work")
                yield

            async def _work(self) -> None:
                raise RuntimeError("no")

    service = await make_service(plugins=[Worker])
    await asyncio.sleep(0)
    assert "Background task work crashed." in caplog.text
    assert (await service.client.get("/")).status == 404


async def test_background_tasks_end_after_a_failed_start(make_service: Any) -> None:
    log: Log = []

    class Worker:
        class Plugin:
            def __init__(self, settings: object, run: Run) -> None:
                self._run = run

            @hookimpl
            @asynccontextmanager
            async def lifespan(self) -> AsyncIterator[None]:
                self._run.spawn(self._work(), name="work")
                await asyncio.sleep(0)
                yield
                log.append("close")

            async def _work(self) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    log.append("work ended")

    await refused(make_service, [Worker, plugin("bad", [], routes=fails)])
    assert log == ["work ended", "close"]


async def test_background_task_that_ignores_its_end_is_left_behind(
    house: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.run.PATIENCE_S", 0.01)
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()

    task = house.tasks.spawn(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    await house.tasks.end()
    assert "Background tasks that ignore their cancellation are left behind: stubborn." in caplog.text
    released.set()
    await task


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
        [],
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

    sentence = await refused(make_service, [plugin("wrong", [], steps=steps)])
    assert sentence == "plugin wrong: route.settings() takes the plugin's own RouteSettings class, not Other."


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
    root = plugin("root", [], routes=lambda self: [Route("GET", path, ok, name="r")])
    service = await make_service(plugins=[root], settings={"service": {"api_root": api_root}})
    assert (await service.client.get(served)).status == 200
    assert (await service.client.get(f"{served.rstrip('/')}/nothing")).status == 404


@pytest.mark.parametrize(("version", "served"), [("v2", "/api/v2/r"), ("", "/api/r")])
async def test_route_has_its_version_in_its_path(make_service: Any, version: str, served: str) -> None:
    versioned = plugin("versioned", [], routes=lambda self: [Route("GET", "r", ok, name="r", version=version)])
    service = await make_service(plugins=[versioned])
    assert (await service.client.get(served)).status == 200


async def test_one_name_in_two_versions_is_two_routes(make_service: Any) -> None:
    def routes(self: object) -> Iterable[Route]:
        for version in ("v1", "v2"):
            yield Route("GET", "r", ok, name="r", version=version)

    service = await make_service(plugins=[plugin("both", [], routes=routes)])
    assert [(await service.client.get(f"/api/{version}/r")).status for version in ("v1", "v2")] == [200, 200]


async def test_probe_door_keeps_the_steps_of_receive_only(make_service: Any) -> None:
    ran: Log = []

    def steps(self: object, route: MountedRoute) -> Iterable[Check | Finish | Release]:
        for slot in Slot:
            yield Check(slot, lambda request, slot=slot: ran.append(slot.name))  # type: ignore[misc]

    def routes(self: object) -> Iterable[Route]:
        yield Route("GET", "/probe", ok, name="probe", door=Door.PROBE)
        yield Route("GET", "/api", ok, name="api")

    service = await make_service(plugins=[plugin("all", [], steps=steps, routes=routes)])
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
    console = plugin("console", [], routes=lambda self: [Route("GET", "/admin", ok, name="admin", door=Door.OPERATOR)])
    service = await make_service(
        plugins=[console, Shout],
        settings={"service": {"strict": strict}, "routes": {"admin": {"shout": "loud"}}},
    )
    assert (await service.client.get("/admin")).status == (404 if strict else 200)
    assert service.said == (
        [
            "GET /admin (console) is for operators and not served, since nothing guards it here; "
            "strict = false under [service] serves it all the same."
        ]
        if strict
        else []
    )


async def test_plugins_sharing_a_slot_stand_in_the_order_of_the_file(make_service: Any) -> None:
    ran: Log = []

    def stepping(name: str) -> Any:
        return plugin(name, [], steps=lambda self: [Check(Slot.ADMIT, lambda request: ran.append(name))])

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
            plugin("first", [], changes=lambda self: [broken]),
            plugin("second", [], changes=lambda self: [heard.append]),
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
            plugin("first", [], observers=lambda self: [told["first"].append]),
            plugin("broken", [], observers=lambda self: [broken]),
            plugin("last", [], observers=lambda self: [told["last"].append]),
            plugin(
                "routes",
                [],
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
    service = await make_service(
        plugins=[with_routes(), plugin("probing", [], probes=lambda self: [Probe("p", passes)])]
    )
    state = service.application.state
    await state.wait_declared()
    assert [route.name for route in state.routes] == ["users.list", "users.read"]
    assert [probe.name for probe in state.probes] == ["p"]


async def test_household_is_entered_around_all_and_reaches_its_plugin(make_service: Any) -> None:
    log: Log = []

    class Home:
        class Plugin:
            def __init__(self, settings: object, run: Run) -> None:
                self.household_ = run.household

            @hookimpl
            @asynccontextmanager
            async def household(self, run: Run) -> AsyncIterator[str]:
                log.append("home opens")
                yield f"of {run.name}"
                log.append("home closes")

    service = await make_service(plugins=[plugin("first", log), Home])
    assert service.application.loaded["home"].plugin.household_ == "of home"
    await service.stop()
    assert log == ["home opens", "open first", "close first", "home closes"]


async def test_household_that_fails_names_its_plugin(make_service: Any) -> None:
    @asynccontextmanager
    async def home(self: object, run: Run) -> AsyncIterator[None]:
        raise RuntimeError("out of\npaper")
        yield

    assert (await refused(make_service, [plugin("broken", [], household=home)])).startswith(
        f"plugin broken: its hook household {FAILED}"
    )


def test_every_hook_but_commands_is_used(house: Any) -> None:
    """A hook that is declared and never called would be a promise that nobody keeps."""
    import inspect

    from service import app
    from service.registering import SPECS

    source = inspect.getsource(app)
    assert {name for name in SPECS if f'"{name}"' not in source} == {"commands"}

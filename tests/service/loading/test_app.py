"""Open and close: in which order, what is closed after a fault in each phase, and what becomes of background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from service.api import Answer, PluginError, PortKey, Ports, Probe, Route, Run, hookimpl
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
        await make_service(plugins=[first], settings={"routes": {"usres.*": {}}})
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


def worker(
    log: Log, work: Callable[[Run], Coroutine[Any, Any, None]], *, closing: Callable[[Run], None] = lambda run: None
) -> Any:
    """A plugin that has `work` done in the background."""

    class Plugin:
        def __init__(self, settings: object, run: Run) -> None:
            self._run = run

        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            self._run.spawn(work(self._run), name="work")
            await asyncio.sleep(0)
            try:
                yield
            finally:
                log.append("close")
                closing(self._run)
                await asyncio.sleep(0)

    return SimpleNamespace(__name__="worker", Plugin=Plugin)


async def until_ended(log: Log, name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        log.append(f"{name} ended")


async def test_background_tasks_end_before_plugins_close(make_service: Any) -> None:
    log: Log = []

    async def work(run: Run) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            run.spawn(until_ended(log, "last"), name="last")
            await asyncio.sleep(0)
            log.append("work ended")

    def closing(run: Run) -> None:
        run.spawn(until_ended(log, "late"), name="late")

    service = await make_service(plugins=[worker(log, work, closing=closing)])
    await service.stop()
    assert log == ["work ended", "last ended", "close", "late ended"]


async def test_background_task_that_crashes_is_logged_and_stops_nothing(
    make_service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(run: Run) -> None:
        raise RuntimeError("no")

    service = await make_service(plugins=[worker([], work)])
    assert "Background task work crashed." in caplog.text
    assert (await service.client.get("/")).status == 404


async def test_background_tasks_end_after_a_failed_start(make_service: Any) -> None:
    log: Log = []
    working = worker(log, lambda run: until_ended(log, "work"))
    await refused(make_service, [working, plugin("bad", [], routes=fails)])
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


# --- households


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

"""Ports: what a plugin may take and give, what it has to list, and who gets whose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from service.api import CHANGES, SERVING, Change, PluginError, PortKey, Ports, Run, hookimpl
from service.ports import CORE

CACHE: PortKey[str] = PortKey("cache")
SINKS: PortKey[str] = PortKey("sinks", many=True)


def ports(
    *,
    requires: tuple[PortKey[Any], ...] = (),
    uses: tuple[PortKey[Any], ...] = (),
    provides: tuple[PortKey[Any], ...] = (),
    shelf: dict[str, list[tuple[str, object]]] | None = None,
    providers: dict[str, tuple[str, ...]] | None = None,
) -> Ports:
    return Ports(
        "hello",
        {} if shelf is None else shelf,
        requires=requires,
        uses=uses,
        provides=provides,
        providers=providers,
    )


def test_need_gives_what_the_chosen_one_provided() -> None:
    shelf: dict[str, list[tuple[str, object]]] = {"cache": [("a", "A"), ("b", "B")]}
    assert ports(requires=(CACHE,), shelf=shelf, providers={"cache": ("b",)}).need(CACHE) == "B"


def test_need_of_what_is_not_there_is_one_sentence() -> None:
    with pytest.raises(PluginError, match=r"^plugin hello needs the port cache, and nobody has provided it yet\.$"):
        ports(requires=(CACHE,)).need(CACHE)


def test_need_wants_requires() -> None:
    said = r"^plugin hello takes the port cache without saying so; write requires = \(CACHE,\) in its class Plugin\.$"
    for listed in (ports(), ports(uses=(CACHE,)), ports(provides=(CACHE,))):
        with pytest.raises(PluginError, match=said):
            listed.need(CACHE)


@pytest.mark.parametrize("take", [Ports.find, Ports.every])
def test_find_and_every_want_uses_or_requires(take: Callable[[Ports, PortKey[str]], object]) -> None:
    said = r"takes the port cache without saying so; write uses = \(CACHE,\) in its class Plugin"
    with pytest.raises(PluginError, match=said):
        take(ports(), CACHE)
    take(ports(uses=(CACHE,)), CACHE)
    take(ports(requires=(CACHE,)), CACHE)


def test_find_gives_none_where_nobody_provides() -> None:
    assert ports(uses=(CACHE,)).find(CACHE) is None


def test_every_gives_all_in_the_order_in_which_they_were_opened() -> None:
    shelf: dict[str, list[tuple[str, object]]] = {"sinks": [("b", "B"), ("other", "no"), ("a", "A")]}
    assert ports(uses=(SINKS,), shelf=shelf, providers={"sinks": ("a", "b")}).every(SINKS) == ["B", "A"]
    assert ports(uses=(SINKS,)).every(SINKS) == []


def test_provide_wants_provides() -> None:
    said = (
        r"^plugin hello provides the port cache without saying so; write provides = \(CACHE,\) in its class Plugin\.$"
    )
    with pytest.raises(PluginError, match=said):
        ports(uses=(CACHE,)).provide(CACHE, "mine")


def test_provide_twice_is_refused() -> None:
    own = ports(provides=(CACHE, SINKS))
    own.provide(CACHE, "mine")
    with pytest.raises(PluginError, match=r"^plugin hello provides the port cache twice; provide it once"):
        own.provide(CACHE, "again")
    own.provide(SINKS, "one")
    own.provide(SINKS, "two")


def test_key_may_be_written_with_its_type() -> None:
    assert PortKey[str]("cache") == CACHE
    assert hash(PortKey[str]("cache")) == hash(CACHE)


@pytest.mark.parametrize("listed", [True, False])
async def test_core_ports_need_no_listing(make_service: Any, listed: bool) -> None:
    class Hello:
        class Plugin:
            requires = (SERVING,) if listed else ()
            uses = (CHANGES,) if listed else ()

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                self.serving, self.changes = ports.need(SERVING), ports.find(CHANGES)
                assert self.serving.routes == ()
                yield

    service = await make_service(plugins=[Hello])
    plugin = service.application.loaded["hello"].plugin
    assert plugin.serving is service.application.state
    assert plugin.serving.draining is False
    plugin.changes.announce(Change("users"))


async def test_question_has_one_who_answers_and_no_coroutine(make_service: Any) -> None:
    async def later() -> object:
        return None

    class Hello:
        class Plugin:
            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                serving = ports.need(SERVING)
                serving.answer("hello.name", lambda: "Ada")
                with pytest.raises(
                    PluginError, match=r"^the question hello\.name is answered already; put the plugin's"
                ):
                    serving.answer("hello.name", lambda: "Bob")
                with pytest.raises(
                    PluginError, match=r"^the question hello\.later is answered by a coroutine; write a"
                ):
                    serving.answer("hello.later", later)
                yield

    service = await make_service(plugins=[Hello])
    assert {name: fn() for name, fn in service.application.state.answering.items()} == {"hello.name": "Ada"}


def test_core_port_cannot_be_provided_by_a_plugin() -> None:
    shelf: dict[str, list[tuple[str, object]]] = {"serving": [(CORE, "the core's")]}
    with pytest.raises(PluginError, match="the port serving is the core's own"):
        ports(provides=(SERVING,), shelf=shelf).provide(SERVING, "mine")  # type: ignore[arg-type]


async def test_two_databases_reach_those_who_chose_them(make_service: Any) -> None:
    class Store:
        class Plugin:
            provides = (CACHE,)

            def __init__(self, settings: object, run: Run) -> None:
                self._name = run.name

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                ports.provide(CACHE, f"the port of {self._name}")
                yield

    class Reader:
        class Plugin:
            requires = (CACHE,)

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                self.got = (ports.need(CACHE), ports.find(CACHE), ports.every(CACHE))
                yield

    service = await make_service(
        plugins=[Reader, Store],
        settings={
            "plugins": {
                "reader": {"ports": {"cache": "store"}},
                "late": {"use": "reader", "enabled": True, "ports": {"cache": "second"}},
                "second": {"use": "store", "enabled": True},
            }
        },
    )
    got = {name: service.application.loaded[name].plugin.got for name in ("reader", "late")}
    for name, store in (("reader", "store"), ("late", "second")):
        port = f"the port of {store}"
        assert got[name] == (port, port, [port])


@pytest.mark.parametrize("has_lifespan", [True, False])
async def test_promised_port_that_is_not_provided_stops_the_start(make_service: Any, has_lifespan: bool) -> None:
    @asynccontextmanager
    async def forgetful(self: object) -> AsyncIterator[None]:
        yield

    attributes: dict[str, object] = {"provides": (CACHE,)}
    if has_lifespan:
        attributes["lifespan"] = hookimpl(forgetful)
    hello = SimpleNamespace(Plugin=type("Plugin", (), attributes), __name__="hello")
    with pytest.raises(PluginError) as caught:
        await make_service(plugins=[hello])
    assert str(caught.value) == (
        "plugin hello lists the port cache in provides and has not provided it when its lifespan was entered; "
        "call ports.provide(CACHE, ...) there."
    )

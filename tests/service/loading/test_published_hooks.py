"""Hooks that plugins publish: who may implement them, how they are asked, and what is said where something is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.api import Answer, PluginError, PortKey, Ports, Route, hookimpl, hookspec

MENU = """
from contextlib import asynccontextmanager
from service.api import Answer, Route, hookimpl, hookspec

class Hooks:
    @hookspec
    def dishes(self, season):
        "What is on the menu."

class Plugin:
    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports):
        self._ask = ports.hook(Hooks.dishes)
        yield

    @hookimpl
    def routes(self):
        dishes = self._ask(season="winter")
        yield Route("GET", "menu", lambda request: Answer.json(dishes), name="menu")
"""

ON = "[plugins.menu]\nenabled = true\n[plugins.cook]\nenabled = true\n"


def cook(hook: str, *, mark: str = "@hookimpl", of: str = "self, season") -> str:
    return (
        f"from service.api import hookimpl\nclass Plugin:\n    {mark}\n    def {hook}({of}):\n        return ['soup']\n"
    )


class Menu:
    """A publisher at hand."""

    class Hooks:
        @hookspec
        def dishes(self, season: str) -> Iterable[str]:
            """What is on the menu."""
            raise AssertionError

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            self.ask = ports.hook(Menu.Hooks.dishes)
            self.early = self.ask("early")
            yield

        @hookimpl
        def routes(self) -> Iterable[Route]:
            told = self.ask("winter")
            yield Route("GET", "menu", lambda request: Answer.json({"told": told, "early": self.early}), name="menu")
            yield Route("GET", "late", lambda request: Answer.json(self.ask("late")), name="late")


class Cook:
    class Plugin:
        @hookimpl
        def dishes(self, season: str) -> Iterable[str]:
            yield f"{season} soup"


class Baker:
    class Plugin:
        @hookimpl
        def dishes(self) -> Iterable[str]:
            return ("bread",)


async def test_publisher_gets_what_everyone_returned_by_instance_name_in_opening_order(make_service: Any) -> None:
    service = await make_service([Cook, Menu, Baker])
    told = (await (await service.client.get("/api/v1/menu")).json())["told"]
    assert list(told.items()) == [("cook", ["winter soup"]), ("baker", ["bread"])]


async def test_publisher_may_ask_in_its_lifespan_too(make_service: Any) -> None:
    service = await make_service([Cook, Menu])
    assert (await (await service.client.get("/api/v1/menu")).json())["early"] == {"cook": ["early soup"]}


async def test_publisher_without_any_implementation_gets_nothing(make_service: Any) -> None:
    service = await make_service([Menu])
    assert await (await service.client.get("/api/v1/menu")).json() == {"told": {}, "early": {}}


async def test_publisher_may_inherit_a_hook_and_implement_it_itself(make_service: Any) -> None:
    class Canteen:
        class Hooks(Menu.Hooks):
            pass

        class Plugin(Menu.Plugin):
            @hookimpl
            def dishes(self) -> Iterable[str]:
                return ["stew"]

    service = await make_service([Canteen])
    assert (await (await service.client.get("/api/v1/menu")).json())["told"] == {"canteen": ["stew"]}


async def test_hook_called_while_requests_are_served_is_refused(make_service: Any) -> None:
    service = await make_service([Cook, Menu])
    assert (await service.client.get("/api/v1/late")).status == 500
    (late,) = [route.handler for route in service.application.state.routes if route.name == "late"]
    with pytest.raises(PluginError, match="plugin menu calls its hook dishes while requests are served; call it once"):
        late(None)


async def test_failing_implementation_names_its_plugin_and_the_hook(make_service: Any) -> None:
    class Burnt:
        class Plugin:
            @hookimpl
            def dishes(self) -> Iterable[str]:
                raise RuntimeError("too hot")

    with pytest.raises(PluginError, match=r"plugin burnt: its hook dishes failed with RuntimeError: too hot"):
        await make_service([Menu, Burnt])


async def test_hook_that_the_plugin_does_not_publish_cannot_be_taken(make_service: Any) -> None:
    class Thief:
        class Plugin:
            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                ports.hook(Menu.Hooks.dishes)
                yield

    with pytest.raises(PluginError, match="plugin thief takes the hook dishes, which it does not publish; write @hook"):
        await make_service([Menu, Thief])


async def test_arguments_that_the_hook_does_not_have_are_refused(make_service: Any) -> None:
    class Wrong(Menu):
        class Plugin:
            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                ports.hook(Menu.Hooks.dishes)(month="May")  # type: ignore[call-arg]
                yield

    with pytest.raises(PluginError, match=r"plugin wrong: its hook lifespan failed with TypeError: .*'season'"):
        await make_service([Wrong])


async def test_two_instances_of_a_publisher_ask_the_same_plugins(make_service: Any) -> None:
    class Menus:
        Hooks = Menu.Hooks

        class Plugin:
            provides = (PortKey("dishes", many=True),)

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                ports.provide(self.provides[0], ports.hook(Menu.Hooks.dishes)("summer"))
                yield

    class Reader:
        class Plugin:
            uses = Menus.Plugin.provides

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                self.told = ports.every(self.uses[0])
                yield

            @hookimpl
            def routes(self) -> Iterable[Route]:
                yield Route("GET", "told", lambda request: Answer.json(list(self.told)), name="told")

    second = {"plugins": {"second": {"enabled": True, "use": "menus"}}}
    service = await make_service([Menus, Cook, Reader], second)
    told = await (await service.client.get("/api/v1/told")).json()
    assert told == [{"cook": ["summer soup"]}, {"cook": ["summer soup"]}]


# --- what is wrong, told when loading


def test_optional_hook_of_a_publisher_that_is_off_is_no_fault(house: Any) -> None:
    house.write("plugins/menu.py", "raise SystemExit('a plugin that is off was imported')")
    house.write("plugins/cook.py", cook("dishes", mark="@hookimpl(optionalhook=True)"))
    assert [plugged.name for plugged in house.load("[plugins.cook]\nenabled = true\n").plugins] == ["cook"]


def test_optional_hook_is_checked_where_its_publisher_is_on(house: Any) -> None:
    house.write("plugins/menu.py", MENU)
    house.write("plugins/cook.py", cook("dishes", mark="@hookimpl(optionalhook=True)", of="self, month"))
    assert "the plugin's hook 'dishes' takes month; write def dishes(self, season)" in house.fault(ON)


def test_hook_of_a_publisher_that_is_off_names_it_and_both_ways_out(house: Any) -> None:
    house.write("plugins/menu.py", MENU)
    house.write("plugins/cook.py", cook("dishes"))
    assert house.fault("[plugins.cook]\nenabled = true\n").endswith(
        "the plugin has a hook 'dishes', which plugin menu publishes, and that is off; turn it on with enabled = true "
        "under [plugins.menu], or mark the hook @hookimpl(optionalhook=True)"
    )


def test_misspelt_hook_of_a_publisher_is_guessed(house: Any) -> None:
    house.write("plugins/menu.py", MENU)
    house.write("plugins/cook.py", cook("dishs"))
    assert house.fault(ON).endswith("the plugin has a hook 'dishs', which does not exist; did you mean 'dishes'?")


@pytest.mark.parametrize(
    "trouble", ["raise RuntimeError", MENU + "\n    def __init__(self):\n        raise RuntimeError"]
)
def test_publisher_with_a_fault_of_its_own_makes_none_of_its_implementations(house: Any, trouble: str) -> None:
    house.write("plugins/menu.py", trouble)
    house.write("plugins/cook.py", cook("dishes"))
    assert "plugins.menu" in house.fault(ON)


def test_plain_method_that_is_called_like_a_published_hook_is_nobodys_business(house: Any) -> None:
    house.write("plugins/menu.py", MENU)
    house.write("plugins/cook.py", cook("dishes", mark="", of="self, of, my, own"))
    assert len(house.load(ON).plugins) == 2


@pytest.mark.parametrize(
    ("hooks", "told"),
    [
        ("def dishes(self): ...", "has a method 'dishes' that is not marked as a hook; write @hookspec above"),
        ("@hookspec\n    def steps(self): ...", "publishes a hook 'steps', which is the core's own"),
        ("@hookspec\n    async def dishes(self): ...", "publishes a hook 'dishes' that is async"),
        ("@hookspec\n    def dishes(self, season=1): ...", "'dishes' whose arguments are not plain names"),
        ("@hookspec\n    def dishes(self, *seasons): ...", "'dishes' whose arguments are not plain names"),
        ("@hookspec\n    def dishes(): ...", "'dishes' whose arguments are not plain names; write def dishes(self, x)"),
    ],
)
def test_hookspec_that_is_not_written_as_one_is_told(house: Any, hooks: str, told: str) -> None:
    house.write(
        "plugins/menu.py", f"from service.api import hookspec\nclass Hooks:\n    {hooks}\nclass Plugin:\n    pass\n"
    )
    assert told in house.fault("[plugins.menu]\nenabled = true\n")


def test_hooks_that_are_no_class_are_told(house: Any) -> None:
    house.write("plugins/menu.py", "Hooks = 1\nclass Plugin:\n    pass\n")
    assert "has a Hooks that is no class" in house.fault("[plugins.menu]\nenabled = true\n")


def test_two_publishers_of_one_hook_are_both_named(house: Any) -> None:
    house.write("plugins/menu.py", MENU)
    house.write("plugins/cook.py", MENU)
    assert "plugins.cook: the plugin publishes a hook 'dishes', as menu does; call one of them" in house.fault(ON)

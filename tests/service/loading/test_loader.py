"""Names to plugin objects: what is wrong comes in one report, each fault one sentence; the orders that follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise, permutations
from types import SimpleNamespace
from typing import Annotated, Any

import pluggy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api import DATABASE, PluginSettings, PortKey, Ports, Route, Run, Unique, hookimpl
from service.errors import SettingsError
from service.wiring import Cycle, arrange

CACHE: PortKey[object] = PortKey("cache")
SINKS: PortKey[object] = PortKey("sinks", many=True)


def made(**attributes: object) -> Any:
    """A module with a plugin that has these attributes."""
    return SimpleNamespace(Plugin=type("Plugin", (), attributes))


def on(*names: str) -> str:
    return "".join(f"[plugins.{name}]\nenabled = true\n" for name in names)


# --- several instances of one plugin


class Settings(PluginSettings):
    path: Annotated[str, Unique()] = ""
    colour: str = "red"


ROOMS = {"room": SimpleNamespace(Settings=Settings, Plugin=type("Plugin", (), {}))}


def test_instances_that_share_what_is_unique_are_each_told_what_to_write(house: Any) -> None:
    config = on("north").replace("enabled", "use = 'room'\nenabled") + on("room")
    config += "[plugins.south]\nuse = 'room'\npath = ''\nenabled = true\n"
    assert house.report(config, ROOMS) == (
        "config.toml:1  plugins.north.path: is that of [plugins.room] too, and each instance needs one of its own\n"
        '    write: path = "north"\n\n'
        "config.toml:8  plugins.south.path: is that of [plugins.room] too, and each instance needs one of its own\n"
        '    write: path = "south"\n\n2 faults.'
    )


def test_instances_may_share_what_is_not_unique_and_what_another_plugin_or_one_that_is_off_has(house: Any) -> None:
    others = {"hall": SimpleNamespace(Settings=Settings, Plugin=type("Plugin", (), {}))}
    config = on("room", "hall") + "[plugins.off]\nuse = 'room'\n"
    config += "[plugins.north]\nuse = 'room'\npath = 'north'\nenabled = true\n"
    loaded = house.load(config, ROOMS | others)
    assert [plugged.name for plugged in loaded.plugins] == ["room", "hall", "north"]


# --- faults of one plugin


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class Plugin:\n    def (", "cannot be imported: SyntaxError: invalid syntax (hello.py, line 2)"),
        ("class Plugin:\nx = 1", "cannot be imported: IndentationError: expected an indented block"),
        ("import nowhere", "cannot be imported: ModuleNotFoundError: No module named 'nowhere' (hello.py, line 1)"),
        ("import json\njson.loads('{')", "(hello.py, line 2)"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero (hello.py, line 1)"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3 (hello.py, line 1)"),
        ("", "has no class called Plugin"),
        ("def Plugin(): ...", "has no class called Plugin"),
        ("class Plugin: ...\nclass Settings: ...", "has a Settings that is no subclass of service.api.PluginSettings"),
        ("class Plugin: ...\nRouteSettings = 3", "has a RouteSettings that is no subclass of"),
    ],
)
def test_module_that_is_no_plugin_is_a_fault_with_its_place(house: Any, code: str, said: str) -> None:
    house.write("plugins/hello.py", code)
    fault = house.fault("\n" + on("hello"))
    assert fault.startswith("config.toml:2  plugins.hello: the plugin (file plugins/hello.py) ")
    assert said in fault


def test_folder_with_an_error_names_the_file_inside(house: Any) -> None:
    house.write("plugins/big/__init__.py", "from .part import x")
    house.write("plugins/big/part.py", "x = 1\ny = 'a' + 1")
    assert 'TypeError: can only concatenate str (not "int") to str (part.py, line 2)' in house.fault(on("big"))


def test_unknown_plugin_is_a_fault_with_the_nearest_name(house: Any) -> None:
    house.write("plugins/hello.py")
    report = house.report("[plugins.helo]\nenabled = true")
    assert report == (
        "config.toml:1  plugins.helo: there is no plugin called 'helo' (looked: built in, installed, in plugins); "
        "did you mean 'hello'?\n    write: [plugins.hello]"
    )
    report = house.report("[plugins.a]\nuse = 'helo'\nenabled = true")
    assert report.startswith("config.toml:2  plugins.a.use: there is no plugin called 'helo'")
    assert report.endswith('write: use = "hello"')


def test_unknown_plugin_that_is_off_is_a_fault_too(house: Any) -> None:
    assert "there is no plugin called 'nonsense'" in house.fault("[plugins.nonsense]\nenabled = false")


def test_constructor_gets_what_it_takes(house: Any) -> None:
    class Neither:
        def __init__(self) -> None:
            self.got: tuple[object, ...] = ()

    class One:
        def __init__(self, settings: PluginSettings) -> None:
            self.got = (settings,)

    class Both:
        def __init__(self, settings: PluginSettings, run: Run, *, extra: int = 0) -> None:
            self.got = (settings, run)

    class Any_:  # noqa: N801
        def __init__(self, *got: object) -> None:
            self.got = got

    classes = {"bare": type("Bare", (), {"got": ()}), "neither": Neither, "one": One, "both": Both, "any": Any_}
    loaded = house.load(on(*classes), {name: SimpleNamespace(Plugin=kind) for name, kind in classes.items()})
    got = {plugged.name: [type(each).__name__ for each in plugged.plugin.got] for plugged in loaded.plugins}
    assert got == {
        "bare": [],
        "neither": [],
        "one": ["PluginSettings"],
        "both": ["PluginSettings", "Run"],
        "any": ["PluginSettings", "Run"],
    }
    assert loaded["both"].plugin.got[1].name == "both"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ValueError("no such\n  thing."),
            "the plugin cannot be made: ValueError: no such thing (test_loader.py, line ",
        ),
        (SystemExit(1), "the plugin cannot be made: SystemExit: 1 (test_loader.py, line "),
        (SettingsError("its key is short; write: key = 1"), "its key is short; write: key = 1"),
    ],
)
def test_constructor_that_raises_is_a_fault(house: Any, error: BaseException, said: str) -> None:
    class Plugin:
        def __init__(self) -> None:
            raise error

    assert f"config.toml:1  plugins.bad: {said}" in house.fault(on("bad"), {"bad": SimpleNamespace(Plugin=Plugin)})


def test_constructor_that_takes_too_much_is_a_fault(house: Any) -> None:
    class Plugin:
        def __init__(self, settings: object, run: object, more: object) -> None: ...

    fault = house.fault(on("bad"), {"bad": SimpleNamespace(Plugin=Plugin)})
    assert "the plugin cannot be made: TypeError" in fault
    assert "'more'" in fault


# --- faults of hooks


class Hooked:
    """Hooks written wrongly, one a method; each name is made into a plugin of its own."""

    class Misspelt:
        @hookimpl
        def stepz(self, route: object) -> None: ...

    class FarOff:
        @hookimpl
        def zzzzzzzz(self) -> None: ...

    class WrongArgument:
        @hookimpl
        def steps(self, rout: object) -> None: ...

    class KeywordOnly:
        @hookimpl
        def steps(self, *, route: object) -> None: ...

    class Variadic:
        @hookimpl
        def routes(self, *arguments: object) -> None: ...

    class Async:
        @hookimpl
        async def routes(self) -> list[Route]:
            return []

    class AsyncGenerator:
        @hookimpl
        async def probes(self) -> AsyncIterator[None]:
            yield

    class BareLifespan:
        @hookimpl
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            yield

    class Defaults:
        @hookimpl
        def steps(self, route: object = None) -> None: ...

    class Unmarked:
        def routes(self) -> list[Route]:
            return []

    class Wrapper:
        @pluggy.HookimplMarker("pegboard")(wrapper=True)
        def routes(self) -> Iterator[object]:
            return (yield)

    class OldWrapper:
        @pluggy.HookimplMarker("pegboard")(hookwrapper=True)
        def routes(self) -> Iterator[object]:
            yield


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Hooked.Misspelt, "has a hook 'stepz', which does not exist; did you mean 'steps'?"),
        (Hooked.FarOff, "has a hook 'zzzzzzzz', which does not exist; there are household, lifespan, routes, steps"),
        (Hooked.WrongArgument, "hook 'steps' takes rout: 'object'; write def steps(self, route)"),
        (Hooked.KeywordOnly, "hook 'steps' takes route: 'object'; write def steps(self, route)"),
        (Hooked.Variadic, "hook 'routes' takes *arguments: 'object'; write def routes(self)"),
        (Hooked.Async, "hook 'routes' is async; hooks are plain def, what they return may wait"),
        (Hooked.AsyncGenerator, "hook 'probes' is async; hooks are plain def, what they return may wait"),
        (Hooked.BareLifespan, "hook 'lifespan' is async; hooks are plain def, write @asynccontextmanager below"),
        (Hooked.Defaults, "hook 'steps' has default values; hooks have none"),
        (Hooked.Unmarked, "has a method 'routes' that is not marked as the hook of that name; write @hookimpl above"),
        (Hooked.Wrapper, "hook 'routes' is a wrapper; hooks declare, a step called Wrap wraps"),
        (Hooked.OldWrapper, "hook 'routes' is a wrapper; hooks declare, a step called Wrap wraps"),
    ],
)
def test_hook_written_wrongly_is_a_fault(house: Any, kind: type, said: str) -> None:
    fault = house.fault(on("bad"), {"bad": SimpleNamespace(Plugin=kind)})
    assert fault.startswith("config.toml:1  plugins.bad: the plugin")
    assert said in fault


def test_hook_may_leave_out_arguments_and_be_a_context_manager(house: Any) -> None:
    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            yield

        @hookimpl
        def steps(self) -> Iterable[object]:
            return map(str, [1, 2])

    loaded = house.load(on("good"), {"good": SimpleNamespace(Plugin=Plugin)})
    assert loaded.hook("steps")["good"](route=None) == ["1", "2"]
    assert loaded.hook("routes") == {}


def test_hook_that_raises_names_plugin_hook_route_and_place(house: Any) -> None:
    class Plugin:
        @hookimpl
        def steps(self, route: object) -> Iterable[object]:
            yield 1 / 0

    loaded = house.load(on("bad"), {"bad": SimpleNamespace(Plugin=Plugin)})
    with pytest.raises(Exception, match=r"plugin bad: its hook steps for route users.list failed with ") as caught:
        loaded.hook("steps")["bad"](route=SimpleNamespace(name="users.list"))
    assert "ZeroDivisionError: division by zero (test_loader.py, line " in str(caught.value)
    assert str(caught.value).endswith("correct it, or turn it off with enabled = false under [plugins.bad]")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("attribute", ["provides", "requires", "uses"])
@pytest.mark.parametrize("keys", [DATABASE, "database", ("database",), None])
def test_ports_that_are_no_tuple_of_keys_are_a_fault(house: Any, attribute: str, keys: object) -> None:
    fault = house.fault(on("bad"), {"bad": made(**{attribute: keys})})
    assert f"the plugin's {attribute} is {keys!r}; it is a tuple of port keys, as in {attribute} = (DATABASE,)" in fault


def test_ports_that_cannot_be_read_are_a_fault(house: Any) -> None:
    fault = house.fault(on("bad"), {"bad": made(provides=property(lambda self: 1 / 0))})
    assert "the plugin's provides cannot be read: ZeroDivisionError: division by zero (test_loader.py" in fault


# --- wiring


def test_required_port_that_nobody_provides_is_a_fault(house: Any) -> None:
    fault = house.fault(on("user"), {"user": made(requires=(PortKey("nowhere"),))})
    assert fault == "config.toml:1  plugins.user: plugin user requires the port nowhere, and no plugin provides it"


def test_required_port_of_a_plugin_that_is_off_names_the_line_that_turned_it_off(house: Any) -> None:
    config = "[plugins.store]\n# off for now\nenabled = false\n" + on("user")
    report = house.report(config, {"store": made(provides=(CACHE,)), "user": made(requires=(CACHE,))})
    assert report == (
        "config.toml:3  plugins.store.enabled: plugin user requires the port cache, which store provides, "
        "so it cannot be off\n    write: enabled = true"
    )


def test_required_port_names_the_plugin_that_is_not_in_the_file(house: Any) -> None:
    report = house.report(on("user"), {"store": made(provides=(CACHE,)), "user": made(requires=(CACHE,))})
    assert "requires the port cache, and no plugin provides it, though plugin store would" in report
    assert report.endswith("write: [plugins.store]\n           enabled = true")


def test_used_port_that_nobody_provides_is_none(house: Any) -> None:
    loaded = house.load(on("user"), {"user": made(uses=(CACHE,))})
    assert loaded["user"].providers == {"cache": ()}


def test_port_that_several_provide_has_to_be_chosen(house: Any) -> None:
    modules = {"a": made(provides=(CACHE,)), "b": made(provides=(CACHE,)), "user": made(requires=(CACHE,))}
    report = house.report(on("a", "b", "user"), modules)
    assert 'plugins.user: several plugins provide the port cache: a and b\n    write: ports = { cache = "a" }' in report
    loaded = house.load(on("a", "b", "user") + 'ports = { cache = "b" }', modules)
    assert loaded["user"].providers == {"cache": ("b",)}


def test_provider_called_like_its_port_is_the_usual_one(house: Any) -> None:
    modules = {"a": made(provides=(CACHE,)), "cache": made(provides=(CACHE,)), "user": made(requires=(CACHE,))}
    assert house.load(on("a", "cache", "user"), modules)["user"].providers == {"cache": ("cache",)}


def test_port_of_many_takes_every_provider_in_order(house: Any) -> None:
    modules = {"a": made(provides=(SINKS,)), "b": made(provides=(SINKS,)), "user": made(uses=(SINKS,))}
    assert house.load(on("user", "b", "a"), modules)["user"].providers == {"sinks": ("b", "a")}
    assert house.load(on("user"), {"user": made(requires=(SINKS,))})["user"].providers == {"sinks": ()}


@pytest.mark.parametrize(
    ("ports", "said", "fix"),
    [
        ('{ cache = "c" }', "'c' is no enabled plugin that provides the port cache", 'ports = { cache = "a" }'),
        ('{ cache = "user" }', "'user' is no enabled plugin that provides", 'ports = { cache = "a" }'),
        (
            '{ cahce = "a" }',
            "neither requires nor uses a port called 'cahce'; of others it takes cache",
            "ports = { ca",
        ),
    ],
)
def test_ports_that_name_nonsense_are_a_fault(house: Any, ports: str, said: str, fix: str) -> None:
    modules = {"a": made(provides=(CACHE,)), "user": made(requires=(CACHE,))}
    report = house.report(on("a", "user") + f"ports = {ports}", modules)
    assert report.startswith("config.toml:5  plugins.user.ports.")
    assert said in report
    assert f"write: {fix}" in report


def test_ports_of_a_plugin_that_takes_none_are_a_fault(house: Any) -> None:
    report = house.report(on("user") + 'ports = { cache = "a" }', {"user": made()})
    assert report.endswith("a port called 'cache'; of others it takes nothing\n    write: ports = {}")


def test_plugins_that_require_each_other_are_a_fault_that_shows_the_circle(house: Any) -> None:
    one, two, three = PortKey[object]("one"), PortKey[object]("two"), PortKey[object]("three")
    modules = {
        "outside": made(uses=(one,)),
        "a": made(provides=(one,), requires=(three,)),
        "b": made(provides=(two,), requires=(one,)),
        "c": made(provides=(three,), uses=(two,)),
    }
    fault = house.fault(on(*modules), modules)
    assert fault == "config.toml:3  plugins.a: plugins require each other in a circle: a → c → b → a"


def test_core_ports_need_no_listing_and_no_provider(house: Any) -> None:
    from service.api import CHANGES, SERVING

    loaded = house.load(on("user"), {"user": made(requires=(SERVING,), uses=(CHANGES,))})
    assert loaded["user"].providers == {}


def test_two_instances_of_one_plugin_have_settings_and_ports_of_their_own(house: Any) -> None:
    class Settings(PluginSettings):
        url: str

    class Store:
        provides = (DATABASE,)

        def __init__(self, settings: Settings, run: Run) -> None:
            self.at = (run.name, settings.url)

    store = SimpleNamespace(Plugin=Store, Settings=Settings)
    loaded = house.load(
        """
        [plugins.report]
        enabled = true
        ports = { database = "reporting" }
        [plugins.shop]
        enabled = true
        [plugins.database]
        enabled = true
        url = "one"
        [plugins.reporting]
        use = "database"
        enabled = true
        url = "two"
        """,
        {"database": store, "report": made(requires=(DATABASE,)), "shop": made(requires=(DATABASE,))},
    )
    assert loaded["database"].plugin.at == ("database", "one")
    assert loaded["reporting"].plugin.at == ("reporting", "two")
    assert loaded["report"].providers == {"database": ("reporting",)}
    assert loaded["shop"].providers == {"database": ("database",)}
    assert [plugged.name for plugged in loaded.plugins] == ["database", "shop", "reporting", "report"]


# --- the order of steps


def test_before_and_after_order_steps_and_else_the_file_does(house: Any) -> None:
    config = on("a", "b") + 'before = ["a"]\n' + on("c") + 'after = ["d"]\n' + on("d")
    assert house.load(config, {name: made() for name in "abcd"}).step_order == ("b", "a", "d", "c")


def test_before_and_after_of_a_plugin_that_is_off_say_nothing(house: Any) -> None:
    config = on("a") + 'after = ["b"]\n[plugins.b]\nafter = ["a"]\n' + on("c")
    assert house.load(config, {name: made() for name in "abc"}).step_order == ("a", "c")


def test_before_and_after_that_name_nobody_are_faults(house: Any) -> None:
    report = house.report(on("alpha") + 'before = ["alpa"]\nafter = ["quite-else"]', {"alpha": made()})
    assert "config.toml:3  plugins.alpha.before: there is no plugin 'alpa'; did you mean 'alpha'?\n" in report
    assert 'write: before = ["alpha"]' in report
    assert "config.toml:4  plugins.alpha.after: there is no plugin 'quite-else'\n    write: after = []" in report


def test_before_and_after_that_contradict_each_other_are_a_fault(house: Any) -> None:
    config = on("a", "b") + 'before = ["c"]\n' + on("c") + 'before = ["b"]\n'
    report = house.report(config, {name: made() for name in "abc"})
    assert report == (
        "config.toml:5  plugins.b.before: before and after contradict each other: b → c → b\n    write: before = []"
    )


# --- one report


def test_faults_of_every_kind_come_in_one_report(house: Any) -> None:
    house.write("plugins/broken.py", "1 / 0")
    house.write("plugins/health.py")

    class Settings(PluginSettings):
        size: int

    report = house.report(
        """
        [service]
        prot = 1
        [plugins.broken]
        enabled = true
        [plugins.helth]
        enabled = true
        [plugins.misspelt]
        enabled = true
        [plugins.sized]
        enabled = true
        size = "big"
        [plugins.lonely]
        enabled = true
        before = ["nobody-at-all"]
        [plugins.chooser]
        enabled = true
        ports = { cache = "nothing" }
        [plugins.store]
        enabled = true
        [routes."x"]
        stroe = 1
        """,
        {
            "misspelt": SimpleNamespace(Plugin=Hooked.Misspelt),
            "sized": SimpleNamespace(Plugin=type("Plugin", (), {}), Settings=Settings),
            "lonely": made(),
            "chooser": made(uses=(CACHE,)),
            "store": made(provides=(CACHE,)),
        },
    )
    for said in (
        "there is no such setting; did you mean",
        "plugins.broken: the plugin (file plugins/broken.py) cannot be imported",
        "there is no plugin called 'helth'",
        "has a hook 'stepz'",
        "plugins.sized.size:",
        "there is no plugin 'nobody-at-all'",
        "'nothing' is no enabled plugin that provides the port cache",
        "there is no such plugin instance",
        "two plugins called health",
        "9 faults.",
    ):
        assert said in report


def test_what_a_faulty_plugin_might_provide_is_not_missed_too(house: Any) -> None:
    house.write("plugins/store.py", "1 / 0")
    fault = house.fault(on("store", "user") + 'ports = { cache = "store" }', {"user": made(requires=(CACHE,))})
    assert "plugins.store: the plugin (file plugins/store.py) cannot be imported" in fault
    fault = house.fault(on("stroe", "user"), {"user": made(requires=(CACHE,))})
    assert "there is no plugin called 'stroe'" in fault


def test_what_no_faulty_plugin_would_provide_is_missed_all_the_same(house: Any) -> None:
    class Settings(PluginSettings):
        size: int

    faulty = SimpleNamespace(Plugin=type("Plugin", (), {}), Settings=Settings)
    report = house.report(on("faulty", "user"), {"faulty": faulty, "user": made(requires=(CACHE,))})
    assert "plugins.faulty.size" in report
    assert "plugin user requires the port cache, and no plugin provides it" in report


def test_several_wrong_hooks_of_one_plugin_are_all_told(house: Any) -> None:
    class Plugin(Hooked.Misspelt, Hooked.Async):
        requires = DATABASE

    assert house.report(on("bad"), {"bad": SimpleNamespace(Plugin=Plugin)}).endswith("3 faults.")


def test_tables_of_plugins_that_are_off_are_checked_when_asked_for(house: Any) -> None:
    class Settings(PluginSettings):
        size: int = 1

    modules = {"sized": SimpleNamespace(Plugin=type("Plugin", (), {}), Settings=Settings)}
    house.load("[plugins.sized]\nsize = 'big'", modules)
    with pytest.raises(SettingsError, match=r"plugins\.sized\.size"):
        house.load("[plugins.sized]\nsize = 'big'", modules, with_off=True)


# --- arrange, against a brute force


def test_arrange_refuses_a_cycle_and_shows_it() -> None:
    with pytest.raises(Cycle, match=r"^b → c → b$"):
        arrange("abcd", {"b": "c", "c": "b", "d": "c"})


def test_arrange_looks_past_itself_and_unknown_names() -> None:
    assert arrange("ab", {"a": "az"}) == ["a", "b"]


@given(
    names=st.lists(st.sampled_from("abcdef"), unique=True, max_size=6),
    edges=st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=9),
)
def test_arrange_is_the_first_order_that_a_brute_force_finds(names: list[str], edges: set[tuple[str, str]]) -> None:
    after = {name: [first for second, first in edges if second == name] for name in "abcdef"}
    real = [(second, first) for second, first in edges if second != first and {second, first} <= set(names)]

    def holds(order: Sequence[str]) -> bool:
        return all(order.index(first) < order.index(second) for second, first in real)

    # permutations() goes through the orders by the places of `names`, so its first is the one nearest to the file
    best = next((list(order) for order in permutations(names) if holds(order)), None)
    if best is not None:
        assert arrange(names, after) == best
        return
    with pytest.raises(Cycle) as caught:
        arrange(names, after)
    circle = caught.value.names
    assert circle[0] == circle[-1]
    assert all((second, first) in real for second, first in pairwise(circle))

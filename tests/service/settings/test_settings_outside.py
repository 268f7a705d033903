"""`PEGBOARD__...` variables and `--set` options: names, types, tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.settings import Duration, PluginSettings, Settings

Load = Callable[..., Settings]
Models = dict[str, type[Any]]


class Everything(PluginSettings):
    text: str = ""
    number: int = 0
    ratio: float = 0.0
    on: bool = False
    names: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    wait: Duration = Duration("1s")
    either: int | str = 0
    maybe: bool | None = None


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("text", "5", "5"),
        ("text", '"quoted"', '"quoted"'),
        ("text", "", ""),
        ("text", "a=b=c", "a=b=c"),
        ("number", "5", 5),
        ("number", "1_000", 1000),
        ("ratio", "0.5", 0.5),
        ("ratio", "1", 1.0),
        ("on", "true", True),
        ("names", '["a", "b"]', ("a", "b")),
        ("counts", "{ a = 1 }", {"a": 1}),
        ("counts.b", "2", {"b": 2}),
        ("wait", "5s", Duration("5s")),
        ("either", "5", 5),
        ("either", "five", "five"),
        ("maybe", "false", False),
    ],
)
@pytest.mark.parametrize("way", ["variable", "option", "reference"])
def test_text_becomes_what_its_type_asks(load: Load, way: str, key: str, text: str, value: object) -> None:
    toml = "[plugins.x]\nenabled = true\n"
    if way == "variable":
        name = f"PEGBOARD__PLUGINS__X__{key.upper().replace('.', '__')}"
        settings = load(toml, environ={name: text})
    elif way == "option":
        settings = load(toml, overrides=[f"plugins.x.{key}={text}"])
    else:
        settings = load(f"{toml}{key} = {{ env = 'V' }}\n", environ={"V": text})
    bound = settings.bind("x", Everything, run=None)
    settings.raise_faults()
    assert getattr(bound, key.partition(".")[0]) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [("number", "five"), ("number", "1.5"), ("on", "yes"), ("on", "1"), ("names", "a,b"), ("counts", "1")],
)
def test_text_of_the_wrong_kind_is_a_fault_at_its_variable(load: Load, key: str, text: str) -> None:
    name = f"PEGBOARD__PLUGINS__X__{key.upper()}"
    settings = load("[plugins.x]\nenabled = true\n", environ={name: text})
    assert settings.bind("x", Everything, run=None) is None
    (fault,) = settings.faults
    assert fault.place.text == name
    variable, _, fixed = fault.fix.removeprefix("export ").partition("=")
    again = load("[plugins.x]\nenabled = true\n", environ={variable: fixed.strip("'")})
    assert again.bind("x", Everything, run=None) is not None


@pytest.mark.parametrize("toml", ['number = "5"', "on = 'true'", "text = 5", "ratio = '1'", "names = 'a'", "on = 1"])
def test_toml_itself_is_strict(load: Load, toml: str) -> None:
    assert load(f"[plugins.x]\nenabled = true\n{toml}\n").bind("x", Everything, run=None) is None


def test_names_of_variables_match_keys_whatever_their_case_and_dashes(load: Load) -> None:
    settings = load('[plugins.My-X]\nenabled = true\nuse = "x"\n', environ={"PEGBOARD__PLUGINS__MY_X__NUMBER": "7"})
    bound = settings.bind("My-X", Everything, run=None)
    assert bound is not None
    assert bound.number == 7


def test_a_table_given_as_text_is_merged_into_what_is_there(load: Load) -> None:
    settings = load(
        "[plugins.x]\nenabled = true\ncounts = { a = 1 }\n",
        environ={"PEGBOARD__PLUGINS__X": "{ number = 1, counts = { b = 2 } }"},
        overrides=["plugins.x.counts={ c = 3 }"],
    )
    bound = settings.bind("x", Everything, run=None)
    assert bound is not None
    assert (bound.number, bound.counts) == (1, {"a": 1, "b": 2, "c": 3})


def test_an_option_can_turn_a_plugin_on_that_the_file_does_not_name(load: Load) -> None:
    settings = load("", overrides=["plugins.x.enabled=true"])
    assert [(instance.name, instance.enabled, instance.line) for instance in settings.instances] == [("x", True, 0)]


def test_quoted_keys_reach_route_globs(load: Load) -> None:
    settings = load("[plugins.x]\nenabled = true\n", overrides=['routes."users.*".x={ number = 5 }'])
    bound = settings.bind_route("x", "users.list", None, Everything, run=None)
    assert bound is not None
    assert bound.number == 5


@pytest.mark.parametrize("option", ["", "=", "a", "a b=1", "a\nb=1", "plugins..x=1", '"plugins=1', "x=1", "plugins.x"])
def test_malformed_options_are_one_fault_each(load: Load, option: str) -> None:
    (fault,) = load("", overrides=[option]).faults
    assert fault.fix.startswith("--set ")


def test_other_variables_are_none_of_ours(load: Load) -> None:
    load("", environ={"PEGBOARD_ENV": "development", "PEGBOARD": "x", "PORT": "x"}).raise_faults()


def test_text_that_is_not_utf_8_is_a_fault(load: Load) -> None:
    settings = load("[plugins.x]\nenabled = true\n", environ={"PEGBOARD__PLUGINS__X__TEXT": "\udcff"})
    assert settings.bind("x", Everything, run=None) is None
    assert "not UTF-8" in settings.faults[0].message

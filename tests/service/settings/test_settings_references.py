"""`{ env = ... }` and `{ file = ... }` at any depth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.settings import PluginSettings, Secret, Settings

Load = Callable[..., Settings]


class Inner(PluginSettings):
    required: str
    optional: str | None = None


class Model(PluginSettings):
    text: str = "default"
    number: int = 1
    names: tuple[str, ...] = ()
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    headers: dict[str, str] = {}
    secret: Secret | None = None
    output: dict[str, str] | None = None


class Output(PluginSettings):
    file: str
    rotate: str = "1d"


class WithOutput(PluginSettings):
    output: Output


def bound(load: Load, toml: str, **options: object) -> tuple[Model | None, Settings]:
    settings = load(f"[plugins.x]\nenabled = true\n{toml}\n", **options)
    return settings.bind("x", Model, run=None), settings


def test_variable_that_is_set_wins_over_the_default(load: Load) -> None:
    model, _ = bound(load, 'text = { env = "A", default = "b" }', environ={"A": "a"})
    assert model is not None
    assert model.text == "a"


def test_unset_variable_means_its_default(load: Load) -> None:
    model, _ = bound(load, 'text = { env = "A", default = "b" }')
    assert model is not None
    assert model.text == "b"


def test_unset_variable_behind_an_optional_field_means_absent(load: Load) -> None:
    model, settings = bound(load, 'text = { env = "A" }\nnumber = { env = "B" }\nsecret = { env = "C" }')
    settings.raise_faults()
    assert model == Model()


def test_unset_variable_behind_a_required_field_is_a_fault_that_names_it(load: Load) -> None:
    model, settings = bound(load, 'inner = { required = { env = "NEEDED" } }')
    assert model is None
    (fault,) = settings.faults
    assert "NEEDED is not set" in fault.message
    assert fault.fix.startswith("export NEEDED=")
    assert fault.place.line == 3


@pytest.mark.parametrize(
    "toml",
    [
        'names = ["a", { env = "NEEDED" }]',
        'headers = { x = { env = "NEEDED" } }',
        'inners = [{ required = { env = "NEEDED" } }]',
    ],
)
def test_unset_variable_in_a_list_or_map_is_a_fault(load: Load, toml: str) -> None:
    _, settings = bound(load, toml)
    assert ["NEEDED is not set" in fault.message for fault in settings.faults] == [True]


def test_references_work_at_any_depth(load: Load) -> None:
    toml = """
names = ["a", { env = "B" }, { file = "c.txt" }]
headers = { x = { env = "B" } }
[[plugins.x.inners]]
required = { env = "B" }
[plugins.x.inner]
required = { env = "UNSET", default = { file = "c.txt" } }
optional = { env = "UNSET" }
"""
    Path("c.txt").write_text("c\n")
    model, settings = bound(load, toml, environ={"B": "b"})
    settings.raise_faults()
    assert model is not None
    assert model.names == ("a", "b", "c")
    assert model.headers == {"x": "b"}
    assert model.inners == (Inner(required="b"),)
    assert model.inner == Inner(required="c")


def test_file_is_relative_to_config_and_loses_its_line_end(load: Load, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "secret.txt").write_bytes(b" s p a c e \r\n")
    model, _ = bound(load, 'secret = { file = "sub/secret.txt" }')
    assert model is not None
    assert model.secret == Secret(" s p a c e ")


def test_file_that_is_not_there_means_its_default_or_a_fault(load: Load) -> None:
    model, _ = bound(load, 'text = { file = "nothing", default = "d" }')
    assert model is not None
    assert model.text == "d"
    model, settings = bound(load, 'text = { file = "nothing" }')
    assert model is None
    assert "no file nothing" in settings.faults[0].message


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (1024 * 1024 + 1)], ids=["not UTF-8", "huge"])
def test_file_that_is_no_setting_is_a_fault_even_with_a_default(load: Load, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "big").write_bytes(content)
    model, settings = bound(load, 'text = { file = "big", default = "d" }')
    assert model is None
    assert len(settings.faults) == 1


def test_folder_in_place_of_a_file_is_a_fault(load: Load) -> None:
    _, settings = bound(load, 'text = { file = "." }')
    assert "cannot be read" in settings.faults[0].message


def test_default_is_as_strict_as_the_file(load: Load) -> None:
    model, settings = bound(load, 'number = { env = "N", default = "5" }')
    assert model is None
    assert settings.faults[0].fix == 'number = { env = "N", default = 5 }'


def test_plugin_that_is_off_is_not_looked_up(load: Load) -> None:
    settings = load('[plugins.x]\nenabled = false\nsecret = { file = "nothing" }\n')
    settings.raise_faults()
    assert [row.value for row in settings.effective() if row.path == "plugins.x.secret"] == ['{ file = "nothing" }']


def test_own_settings_of_a_plugin_that_is_off_are_not_taken_for_a_misspelt_enabled(load: Load) -> None:
    load('[plugins.x]\ntables = ["a"]\nnamed = 1\nrenamed = 2\n[plugins.x.table.a]\n').raise_faults()


@pytest.mark.parametrize("key", ["enable", "Enabled", "enabledd", "enalbe", "is_enabled", "ena"])
def test_misspelt_enabled_is_a_fault(load: Load, key: str) -> None:
    settings = load(f"[plugins.x]\n{key} = true\ntables = []\n")
    assert [(fault.path, fault.fix) for fault in settings.faults] == [(("plugins", "x", key), "enabled = true")]


def test_model_that_has_a_key_called_file_gets_its_table(load: Load) -> None:
    toml = '[plugins.x]\nenabled = true\noutput = { file = "access.log" }\n'
    settings = load(toml)
    assert settings.bind("x", WithOutput, run=None) == WithOutput(output=Output(file="access.log"))
    settings.raise_faults()


def test_empty_variable_is_an_empty_text(load: Load) -> None:
    model, _ = bound(load, 'text = { env = "A", default = "b" }', environ={"A": ""})
    assert model is not None
    assert model.text == ""

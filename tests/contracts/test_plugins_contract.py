"""Every built-in plugin and every example keeps the contract that plugin authors run too.

A built-in plugin joins by existing: with what tests/plugins/NAME/minimal.toml says that it cannot do without, beside
those that provide what it requires.
"""

from __future__ import annotations

import importlib
import pkgutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import plugins
from service.testing import PluginContract

ROOT = Path(__file__).parents[2]
BUILT_IN = sorted(module.name for module in pkgutil.iter_modules(plugins.__path__))

TABLES = "CREATE TABLE things (id int PRIMARY KEY); INSERT INTO things VALUES (1);"


def minimal(name: str) -> dict[str, Any]:
    """[plugins.NAME] with what it cannot do without."""
    file = ROOT / "tests" / "plugins" / name / "minimal.toml"
    return tomllib.loads(file.read_text()) if file.exists() else {}


def offered(name: str, kind: str) -> set[str]:
    """The names of the ports that a built-in plugin provides or requires."""
    plugin = importlib.import_module(f"plugins.{name}").Plugin
    return {key.name for key in getattr(plugin, kind, ())}


def needed(name: str) -> dict[str, dict[str, Any]]:
    """The tables of those that provide what it requires, and of those that these require."""
    tables: dict[str, dict[str, Any]] = {}
    for other in BUILT_IN:
        if other != name and offered(other, "provides") & offered(name, "requires"):
            tables |= {**needed(other), other: minimal(other)}
    return tables


class BuiltInContract(PluginContract):
    """With the servers that built-in plugins need."""

    readme = ROOT / "docs" / "reference" / "settings.md"

    @pytest.fixture
    def environ(self, request: pytest.FixtureRequest) -> Mapping[str, str]:
        if "database" not in {self.plugin, *self.beside}:
            return {}
        make_database: Callable[[str], str] = request.getfixturevalue("make_database")
        return {"DATABASE_URL": make_database(TABLES)}


for _name in BUILT_IN:
    _facts = {"plugin": _name, "settings": minimal(_name), "beside": needed(_name)}
    globals()[f"Test{_name.title()}"] = type(f"Test{_name.title()}", (BuiltInContract,), _facts)


class Example(PluginContract):
    """A file in examples/, found as an operator would have it found."""

    @pytest.fixture
    def plugin_dirs(self) -> tuple[Path, ...]:
        return (ROOT / "examples",)


class TestMaintenance(Example):
    plugin = "maintenance"
    settings = {"retry_after": "90s"}
    routes = {"neighbour.list": {"maintenance": True}}

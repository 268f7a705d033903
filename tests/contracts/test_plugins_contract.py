"""Every built-in plugin and every example keeps the contract that plugin authors run too.

They join by existing: a built-in plugin with what tests/plugins/NAME/minimal.toml says that it cannot do without,
beside those that provide what it requires; an example with its `FACTS`, where it has some.
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
from service.testing import PluginContract, make_token

ROOT = Path(__file__).parents[2]
BUILT_IN = sorted(module.name for module in pkgutil.iter_modules(plugins.__path__))

EXAMPLES = ROOT / "examples"
THERE = sorted(
    [
        *[path.stem for path in (*EXAMPLES.glob("*.py"), *EXAMPLES.glob("hooks/*.py"))],
        *[path.parent.name for path in EXAMPLES.glob("*/*/__init__.py")],
    ]
)
"""Every file and every package in there."""

FACTS: Mapping[str, Mapping[str, Any]] = {
    "hello": {
        "settings": {"greetings": {"de": "Hallo"}},
        "routes": {"neighbour.*": {"hello": ["en", "de"]}},
        "beside": {"database": {"url": {"env": "DATABASE_URL"}}},
    },
    "lifespan": {"settings": {"url": "http://127.0.0.1:9/"}},
    "maintenance": {"settings": {"retry_after": "90s"}, "routes": {"neighbour.list": {"maintenance": True}}},
}
"""What else examples need, or what makes them do something."""

SETTINGS = ROOT / "docs" / "reference" / "settings.md"

TABLES = """
CREATE TABLE things (id int PRIMARY KEY);
INSERT INTO things VALUES (1);
CREATE TABLE greetings (language text, text text);
"""


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


class WithServers(PluginContract):
    """With the servers that plugins of ours need."""

    @pytest.fixture
    def environ(self, request: pytest.FixtureRequest) -> Mapping[str, str]:
        environ = {}
        if "database" in {self.plugin, *self.beside}:
            make_database: Callable[[str], str] = request.getfixturevalue("make_database")
            environ["DATABASE_URL"] = make_database(TABLES)
        if "redis" in {self.plugin, *self.beside}:
            environ["REDIS_URL"] = request.getfixturevalue("redis_url")
        return environ

    @pytest.fixture
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {make_token()}"}


class Example(WithServers):
    """A file in examples/, found as an operator would have it found."""

    @pytest.fixture
    def plugin_dirs(self) -> tuple[Path, ...]:
        return (EXAMPLES, EXAMPLES / "hooks", EXAMPLES / "flags")


def named(name: str) -> str:
    return f"Test{name.title().replace('_', '')}"


for _name in BUILT_IN:
    _facts = {"plugin": _name, "settings": minimal(_name), "beside": needed(_name), "readme": SETTINGS}
    globals()[named(_name)] = type(named(_name), (WithServers,), _facts)

for _name in THERE:
    globals()[named(_name)] = type(named(_name), (Example,), {"plugin": _name, **FACTS.get(_name, {})})


def test_every_fact_is_of_an_example_that_there_is() -> None:
    assert set(FACTS) <= set(THERE)

"""The toggle matrix: every built-in plugin on alone, off alone, all on, all off.

A plugin joins by existing. One that cannot do with its defaults has what it needs in tests/plugins/NAME/minimal.toml.
"""

from __future__ import annotations

import pkgutil
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import plugins as own_plugins
from service.errors import SettingsError

TESTS = Path(__file__).parents[2]
BUILT_IN = sorted(module.name for module in pkgutil.iter_modules(own_plugins.__path__))


def minimal(name: str) -> dict[str, Any]:
    """[plugins.NAME] with what it cannot do without."""
    file = TESTS / "plugins" / name / "minimal.toml"
    return {"enabled": True, **(tomllib.loads(file.read_text()) if file.exists() else {})}


@pytest.fixture
def outside(make_database: Callable[[str], str], redis_url: str) -> Mapping[str, str]:
    """The servers that plugins need, by the variables that name them."""
    return {"DATABASE_URL": make_database("CREATE TABLE things (id int PRIMARY KEY)"), "REDIS_URL": redis_url}


@pytest.fixture
def with_plugins(make_service: Any, outside: Mapping[str, str]) -> Any:
    """Starts a service with these plugins, each with as little as it can do with, and asks it for nothing."""

    async def start(*names: str) -> Any:
        tables: dict[str, Any] = {name: minimal(name) for name in names}
        tables |= {name: {"enabled": False} for name in BUILT_IN if name not in names}
        service = await make_service(settings={"plugins": tables}, environ=outside)
        response = await service.client.get("/nothing/here")
        body = await response.json()
        assert response.status == 404
        assert response.content_type == "application/json"
        assert set(body) == {"error"}
        assert set(body["error"]) == {"code", "message", "details", "timestamp", "requestId"}
        assert body["error"]["code"] == "NOT_FOUND"
        return service

    return start


def test_every_minimal_file_is_of_a_plugin_that_there_is() -> None:
    assert {file.parent.name for file in TESTS.glob("plugins/*/minimal.toml")} <= set(BUILT_IN)


async def test_service_with_every_plugin_off_answers_404_in_the_one_error_form(with_plugins: Any) -> None:
    service = await with_plugins()
    assert service.application.loaded.plugins == ()
    assert set(service.application.loaded.off) == set(BUILT_IN)


async def test_service_with_every_plugin_on_starts(with_plugins: Any) -> None:
    service = await with_plugins(*BUILT_IN)
    assert {plugged.name for plugged in service.application.loaded.plugins} == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
async def test_plugin_starts_with_only_what_it_requires(with_plugins: Any, house: Any, name: str) -> None:
    everything = with_all(house)
    wanted = {name}
    while more := {provider for each in wanted for provider in required(everything[each])} - wanted:
        wanted |= more
    service = await with_plugins(*sorted(wanted))
    assert {plugged.name for plugged in service.application.loaded.plugins} == wanted


@pytest.mark.parametrize("name", BUILT_IN)
async def test_plugin_can_be_off_or_the_fault_names_who_needs_it(with_plugins: Any, house: Any, name: str) -> None:
    everything = with_all(house)
    others = [other for other in BUILT_IN if other != name]
    needing = [other for other in others if name in required(everything[other])]
    if not needing:
        await with_plugins(*others)
        return
    with pytest.raises(SettingsError) as caught:
        await with_plugins(*others)
    named = re.findall(
        rf"plugin (\w+) requires the port \w+, which {name} provides, so it cannot be off", str(caught.value)
    )
    assert sorted(named) == needing
    assert "write: enabled = true" in str(caught.value)


def with_all(house: Any) -> Any:
    """All of them loaded, none opened: for what they require."""
    settings = house.settings(
        tomli_w.dumps({"plugins": {name: minimal(name) for name in BUILT_IN}}),
        environ={"DATABASE_URL": "postgresql://nobody@localhost/nothing", "REDIS_URL": "redis://localhost"},
    )
    return house.loaded(settings)


def required(plugged: Any) -> set[str]:
    """The plugins that it cannot do without."""
    keys = getattr(plugged.plugin, "requires", ())
    return {provider for key in keys for provider in plugged.providers.get(key.name, ())}

"""Which environment applies, and what its tables do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.errors import SettingsError
from service.settings import Settings

Load = Callable[..., Settings]

TOML = """
[service]
port = 1
host = "base"
[plugins.resources]
enabled = true
tables = ["a", "b"]
[env.staging.service]
port = 2
host = "staging"
[env.production]
extends = "staging"
[env.production.service]
port = 3
[env.production.plugins.resources]
tables = ["c"]
"""


def test_base_alone_serves_the_default_environment(load: Load) -> None:
    settings = load(TOML)
    assert (settings.environment, settings.service.port) == ("development", 1)


def test_environment_lies_on_what_it_extends(load: Load) -> None:
    settings = load(TOML, environment="production")
    assert (settings.service.port, settings.service.host) == (3, "staging")
    settings.raise_faults()


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"environment": "staging", "environ": {"PEGBOARD_ENV": "production"}}, "staging"),
        ({"environ": {"PEGBOARD_ENV": "production"}}, "production"),
        ({"environ": {"PEGBOARD_ENV": ""}}, "development"),
        ({"environ": {"PEGBOARD__SERVICE__DEFAULT_ENV": "staging"}}, "staging"),
        ({"overrides": ["service.default_env=production"]}, "production"),
    ],
)
def test_option_wins_over_variable_over_default(load: Load, options: dict[str, object], chosen: str) -> None:
    assert load(TOML, **options).environment == chosen


def test_default_environment_may_be_a_reference_and_needs_no_table(load: Load) -> None:
    settings = load('[service]\ndefault_env = { env = "STAGE", default = "local" }\n')
    settings.raise_faults()
    assert settings.environment == "local"


def test_unknown_environment_is_the_only_fault_told_with_the_nearest(load: Load) -> None:
    with pytest.raises(SettingsError) as raised:
        load(f"{TOML}\n[service.timeouts]\nhandler = 'wrong'\n", environment="prodution")
    assert str(raised.value).splitlines() == [
        '--env prodution: there is no such environment; did you mean "production"?',
        "    write: --env production",
    ]


def test_misspelt_default_environment_is_a_fault_at_its_line(load: Load) -> None:
    with pytest.raises(SettingsError, match='there is no environment "developement"; did you mean "development"'):
        load("[service]\ndefault_env = 'developement'\n[env.development]\n")


def test_circles_end(load: Load) -> None:
    toml = "[env.a]\nextends = 'b'\n[env.b]\nextends = 'c'\n[env.c]\nextends = 'b'\n"
    faults = load(toml, environment="a").faults
    assert [fault.message for fault in faults] == ["environments extend each other in a circle: b -> c -> b"]


def test_environments_that_are_not_chosen_are_checked_in_shape_only(load: Load) -> None:
    load("[env.production.service]\nport = 'wrong'\n").raise_faults()
    assert load("[env.production.servce]\nport = 1\n").faults


def test_order_is_defaults_base_environment_variable_option(load: Load) -> None:
    environ = {"PEGBOARD__SERVICE__PORT": "4"}
    assert load("").service.port == 3000
    assert load(TOML).service.port == 1
    assert load(TOML, environment="production").service.port == 3
    assert load(TOML, environment="production", environ=environ).service.port == 4
    assert load(TOML, environment="production", environ=environ, overrides=["service.port=5"]).service.port == 5


def test_a_fault_of_an_environment_is_found_at_its_line(load: Load) -> None:
    settings = load("[service]\nport = 1\n[env.production.service]\nport = 'x'\n", environment="production")
    assert [(fault.place.line, fault.path) for fault in settings.faults] == [
        (4, ("env", "production", "service", "port"))
    ]
    assert settings.service.port == 3000, "a faulty value is its default, so that checking can go on"

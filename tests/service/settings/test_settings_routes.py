"""[routes."glob"]: the operator's keys over the author's, later globs over earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import pytest
from pydantic import model_validator

from service.settings import Duration, PluginSettings, Rate, Settings

Load = Callable[..., Settings]

ON = "[plugins.cache]\nenabled = true\n"


class Nested(PluginSettings):
    a: int = 0
    b: int = 0


class Route(PluginSettings):
    ttl: Duration = Duration("30s")
    shared: bool = False
    vary: tuple[str, ...] = ()
    nested: Nested = Nested()


class Nothing(PluginSettings):
    pass


class Span(PluginSettings):
    low: int = 0
    high: int = 10

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Limit(PluginSettings):
    rate: Rate
    span: Span = Span()
    spans: tuple[Span, ...] = ()
    names: dict[str, Span] | None = None
    cost: int = 1

    @model_validator(mode="after")
    def _costs(self) -> Self:
        if self.cost > self.rate.count:
            raise ValueError("cost is above the rate")
        return self


def route(load: Load, toml: str, author: object | None = None, name: str = "users.list") -> Route | None:
    settings = load(ON + toml)
    result = settings.bind_route("cache", name, author, Route, run=None)
    settings.raise_faults()
    return result


def test_nothing_said_means_defaults(load: Load) -> None:
    assert route(load, "") == Route()


def test_single_value_is_the_first_field(load: Load) -> None:
    assert route(load, '[routes."users.*"]\ncache = "1h"\n') == Route(ttl=Duration("1h"))
    assert route(load, "", author="1h") == Route(ttl=Duration("1h"))


def test_operator_s_keys_lie_on_the_author_s(load: Load) -> None:
    toml = '[routes."users.*"]\ncache = { shared = true, nested = { a = 1 } }\n'
    author = {"ttl": "5m", "shared": False, "vary": ("Accept",), "nested": {"a": 5, "b": 2}}
    assert route(load, toml, author) == Route(
        ttl=Duration("5m"), shared=True, vary=("Accept",), nested=Nested(a=1, b=2)
    )


def test_author_may_give_the_model_itself(load: Load) -> None:
    toml = '[routes."users.*"]\ncache = { shared = true }\n'
    assert route(load, toml, Route(ttl=Duration("5m"))) == Route(ttl=Duration("5m"), shared=True)


def test_glob_later_in_the_file_wins_key_by_key(load: Load) -> None:
    toml = """
[routes."users.list"]
cache = { ttl = "1m", shared = true }
[routes."users.*"]
cache = { ttl = "2m" }
[routes."*.read"]
cache = "3m"
"""
    assert route(load, toml) == Route(ttl=Duration("2m"), shared=True)
    assert route(load, toml, name="users.read") == Route(ttl=Duration("3m"))
    assert route(load, toml, name="orders.list") == Route()


def test_environment_changes_one_key_of_a_glob(load: Load) -> None:
    toml = ON + (
        '[routes."users.*"]\ncache = { ttl = "1m", shared = true }\n'
        '[env.production.routes."users.*".cache]\nttl = "2m"\n'
    )
    settings = load(toml, environment="production")
    bound = settings.bind_route("cache", "users.list", None, Route, run=None)
    settings.raise_faults()
    assert bound == Route(ttl=Duration("2m"), shared=True)


def test_reference_is_a_single_value_too(load: Load) -> None:
    settings = load(ON + '[routes."*"]\ncache = { env = "TTL" }\n', environ={"TTL": "9s"})
    assert settings.bind_route("cache", "x", None, Route, run=None) == Route(ttl=Duration("9s"))


def test_faulty_key_is_one_fault_however_many_routes_it_meets(load: Load) -> None:
    settings = load(ON + '[routes."*"]\ncache = { tll = "1h" }\n')
    for name in ("a", "b", "c"):
        assert settings.bind_route("cache", name, None, Route, run=None) is None
    assert len(settings.faults) == 1


def test_author_s_fault_names_the_route(load: Load) -> None:
    settings = load(ON)
    assert settings.bind_route("cache", "users.list", {"tll": "1h"}, Route, run=None) is None
    assert "users.list" in settings.faults[0].place.text


def test_plugin_without_route_settings_takes_none(load: Load) -> None:
    settings = load(ON + '[routes."*"]\ncache = true\n')
    assert settings.bind_route("cache", "x", None, Nothing, run=None) is None
    assert len(settings.faults) == 1


@pytest.mark.parametrize(
    "written",
    [
        "{ cost = 3 }",  # the author gives the rate
        '{ rate = "1/s", cost = 2 }',  # a later glob may give another
        "{ span = { low = 11 } }",
        "{ names = { a = { low = 11 } } }",
        '{ rate = { env = "RATE", default = "1/s" } }',
        "{}",
    ],
)
def test_key_that_others_may_complete_is_no_fault_by_itself(load: Load, written: str) -> None:
    settings = load(ON + f'[routes."*"]\ncache = {written}\n')
    settings.check_route_keys("cache", Limit, run=None)
    assert settings.faults == ()


@pytest.mark.parametrize(
    ("written", "path", "message"),
    [
        ('"1/y"', (), "a rate is a count and a time, both above 0, like"),
        ('{ cost = "3" }', ("cost",), 'must be a whole number, not "3"'),
        ("{ csot = 3 }", ("csot",), 'there is no such setting; did you mean "cost"?'),
        ("{ span = 3 }", ("span",), "must be a table in { }, not 3"),
        ("{ span = { low = 11, high = 10 } }", ("span",), "low is above high"),
        ("{ spans = [{ low = 11 }] }", ("spans", 0), "low is above high"),
        ("{ spans = [{ low = 1, lwo = 2 }] }", ("spans", 0, "lwo"), "there is no such setting"),
        ('{ rate = { file = "none" } }', ("rate",), "there is no file none in"),
    ],
)
def test_key_that_nobody_can_put_right_is_one_fault_before_any_route_is_known_and_after(
    load: Load, written: str, path: tuple[str | int, ...], message: str
) -> None:
    settings = load(ON + f'[routes."*"]\ncache = {written}\n')
    settings.check_route_keys("cache", Limit, run=None)
    (fault,) = settings.faults
    assert fault.path == ("routes", "*", "cache", *path)
    assert fault.message.startswith(message)
    assert settings.bind_route("cache", "users.list", {"rate": "5/s"}, Limit, run=None) is None
    assert settings.faults == (fault,)


def test_rule_over_keys_that_are_all_there_is_a_fault(load: Load) -> None:
    settings = load(ON + "[routes.a]\ncache = { low = 2, high = 1 }\n[routes.b]\ncache = { low = 11 }\n")
    settings.check_route_keys("cache", Span, run=None)
    assert [fault.path for fault in settings.faults] == [("routes", "a", "cache")]


def test_unknown_instances_are_faults_and_plugins_that_are_off_are_left_unread(load: Load) -> None:
    settings = load('[plugins.auth]\nenabled = false\n[routes."*"]\nauth = { any = "thing" }\nauht = 1\n')
    (fault,) = settings.faults
    assert fault.path == ("routes", "*", "auht")


def test_glob_that_matches_no_route_is_a_fault_with_the_nearest(load: Load) -> None:
    settings = load('[routes."user.*"]\n[routes.helth]\n[routes."orders.*"]\n')
    settings.check_routes(["users.list", "users.read", "health", "orders.list"])
    assert [fault.fix for fault in settings.faults] == ['[routes."users.*"]', "[routes.health]"]


def test_glob_that_matches_no_route_is_a_warning_where_it_is_tolerated(load: Load) -> None:
    settings = load('[routes."invoices.*"]\n[routes.invoices]\n[routes."invoices2.*"]\n')
    settings.check_routes(["users.list"], tolerated_prefixes=["invoices"])
    assert len(settings.warnings) == 2
    assert [fault.path[1] for fault in settings.faults] == ["invoices2.*"]


def test_glob_that_may_mean_a_plugin_that_is_off_is_a_warning(load: Load) -> None:
    settings = load('[plugins.resources]\nenabled = false\n[routes."users.*"]\n[routes.helth]\n')
    settings.check_routes(["health"])
    assert [str(warning) for warning in settings.warnings] == [
        'config.toml:3  routes."users.*": no route has a name like this; perhaps one of a plugin that is off: resources'
    ]
    assert [fault.path[1] for fault in settings.faults] == ["helth"]


@pytest.mark.parametrize("glob", ["users.[lr]*", "users.?ist", "*"])
def test_globs_are_shell_globs(load: Load, glob: str) -> None:
    assert route(load, f'[routes."{glob}"]\ncache = "1m"\n') == Route(ttl=Duration("1m"))

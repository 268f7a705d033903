"""What `config show`, `config diff` and `config schema` are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from service.settings import Settings, diff, json_schema

Load = Callable[..., Settings]
Models = dict[str, type[Any]]

TOML = """
[service]
port = { env = "PORT", default = 1 }
[plugins.database]
enabled = true
url = "postgres://app:hunter2@db/app"
[plugins.auth]
enabled = true
issuer = "me"
secret = { env = "AUTH_SECRET", default = "hunter2" }
keys = [{ id = "a", secret = "hunter2" }]
[plugins.unknown]
enabled = false
password = "hunter2"
nested = { api_token = "hunter2", url = "redis://:hunter2@x", fine = "shown" }
ref = { env = "X", default = "redis://:hunter2@x" }
[env.production.plugins.cache]
enabled = true
ttl = "1h"
[routes."users.*"]
unknown = { token = "hunter2" }
"""


def shown(settings: Settings) -> dict[str, tuple[str, str]]:
    return {row.path: (row.value, row.origin) for row in settings.effective()}


def test_every_value_has_the_layer_and_line_that_set_it(load: Load) -> None:
    settings = load(
        TOML,
        environment="production",
        environ={"PEGBOARD__PLUGINS__CACHE__STORE": "redis", "AUTH_SECRET": "s"},
        overrides=["plugins.cache.limit=2MiB"],
    )
    settings.raise_faults()
    rows = shown(settings)
    assert rows["service.host"] == ('"127.0.0.1"', "default")
    assert rows["service.port"] == ("1", "config.toml:3 (default, PORT is not set)")
    assert rows["plugins.auth.issuer"] == ('"me"', "config.toml:9")
    assert rows["plugins.auth.secret"] == ('"***"', "config.toml:10 (variable AUTH_SECRET)")
    assert rows["plugins.cache.ttl"] == ('"1h"', "config.toml:19")
    assert rows["plugins.cache.store"] == ('"redis"', "PEGBOARD__PLUGINS__CACHE__STORE")
    assert rows["plugins.cache.limit"] == ('"2MiB"', "--set plugins.cache.limit")
    assert rows["plugins.cache.budget"] == ("(not set)", "default")
    assert rows["plugins.database.pool.max"] == ("10", "default")
    assert rows["plugins.unknown.nested.fine"] == ('"shown"', "config.toml:15")


def test_secrets_and_what_looks_like_one_are_masked(load: Load) -> None:
    settings = load(TOML)
    everything = repr(settings.effective()) + repr(diff(settings, load(TOML, environment="production")))
    assert "hunter2" not in everything
    assert shown(settings)["plugins.database.url"][0] == '"postgres://app:***@db/app"'


def test_what_no_setting_takes_is_masked_and_what_one_takes_is_shown(load: Load) -> None:
    """In a table with faults: nobody knows what a misspelt key was to hold."""
    text = """
[plugins.auth]
enabled = true
issuer = "me"
isuer = "hunter2"
secret = { env = "AUTH_SECRET", default = "hunter2" }
more = { deep = ["hunter2"] }
other = { env = "OTHER", default = "hunter2" }
"""
    settings = load(text, overrides=["plugins.auth.keys=hunter2"])
    assert settings.faults
    rows = {path: value for path, (value, _) in shown(settings).items() if path.startswith("plugins.auth.")}
    assert rows == {
        "plugins.auth.enabled": "true",
        "plugins.auth.issuer": '"me"',
        "plugins.auth.isuer": '"***"',
        "plugins.auth.secret": '{ env = "AUTH_SECRET", default = "***" }',
        "plugins.auth.more.deep": '["***"]',
        "plugins.auth.other": '{ env = "OTHER", default = "***" }',
        "plugins.auth.keys": '"***"',
    }


def test_diff_names_what_differs_and_nothing_else(load: Load) -> None:
    first, second = load(TOML), load(TOML, environment="production")
    paths = [difference.path for difference in diff(first, second)]
    assert paths[:2] == ["plugins.cache.enabled", "plugins.cache.ttl"]
    assert all(path.startswith("plugins.cache.") for path in paths)
    assert diff(first, first) == ()


def test_diff_tells_that_a_secret_differs_without_showing_it(load: Load) -> None:
    first, second = load(TOML), load(TOML, environ={"AUTH_SECRET": "hunter2-other"})
    (difference,) = diff(first, second)
    assert (difference.path, difference.first, difference.second) == ("plugins.auth.secret", '"***"', '"***"')


def test_schema_is_json_and_has_every_key_with_its_documentation(models: Models, route_models: Models) -> None:
    schema = json.loads(json.dumps(json_schema(models, routes=route_models)))
    definitions = schema["$defs"]
    service = definitions["section-service"]["properties"]
    assert service["port"]["description"].startswith("The TCP port")
    assert service["port"]["default"] == 3000
    plugins = definitions["section-plugins"]["properties"]
    assert set(plugins) == set(models)
    assert {"enabled", "use", "before", "after", "ports", "ttl"} <= plugins["cache"]["properties"].keys()
    assert plugins["cache"]["additionalProperties"] is False
    assert "required" not in plugins["auth"], "an environment may hold what the rest of the file lacks"
    environment = schema["properties"]["env"]["additionalProperties"]["properties"]
    assert set(environment) == {"service", "plugins", "routes", "extends"}
    assert definitions["section-routes"]["additionalProperties"]["properties"].keys() == route_models.keys()


def test_schema_has_no_dangling_reference(models: Models, route_models: Models) -> None:
    schema = json_schema(models, routes=route_models)

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for inner in node.values() for found in references(inner)]
        return [found for inner in node for found in references(inner)] if isinstance(node, list) else []

    assert {reference.removeprefix("#/$defs/") for reference in references(schema)} <= schema["$defs"].keys()

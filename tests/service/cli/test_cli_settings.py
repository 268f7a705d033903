"""`check`, `config show`, `config diff`, `config schema`."""

from __future__ import annotations

import json
from typing import Any

from service.settings import PluginSettings, ServiceSettings

CONFIG = """\
[service]
port = { env = "PORT", default = 3000 }
[plugins.guarded]
enabled = true
key = { env = "GUARD_KEY" }
[plugins.idle]
level = 3
[env.staging.service]
host = "0.0.0.0"
[env.production]
extends = "staging"
[env.production.plugins.guarded]
limit = 5
"""

GUARDED = """
from service.api import PluginSettings, Secret

class Settings(PluginSettings):
    key: Secret
    limit: int = 1
    '''How many.'''

class Plugin:
    def __init__(self, settings):
        pass
"""

ROUTED = """

class RouteSettings(PluginSettings):
    label: str
    level: int = 1
"""

IDLE = """
from service.api import PluginSettings

class Settings(PluginSettings):
    level: bool = True

class Plugin:
    pass
"""


def prepare(cli: Any) -> None:
    cli.write("config.toml", CONFIG)
    cli.write("plugins/guarded.py", GUARDED)
    cli.write("plugins/idle.py", IDLE)
    cli.environ["GUARD_KEY"] = "swordfish"


def test_check_sums_up_what_is_right(cli: Any) -> None:
    prepare(cli)
    ended = cli.call("check", "--env", "staging")
    assert ended.code == 0
    assert ended.out.startswith("ok: config.toml in environment staging, 1 plugin on: guarded")
    assert ended.err.splitlines() == [
        "Not looked at: whether the tables, columns and routes that settings name are there; pegboard routes does."
    ]


def test_check_reports_every_fault_with_78(cli: Any) -> None:
    prepare(cli)
    ended = cli.call("check", "--set", "service.prot=1", "--set", "plugins.guarded.limit=many")
    assert ended.code == 78
    assert 'did you mean "port"?' in ended.err
    assert "plugins.guarded.limit: must be a whole number" in ended.err
    assert "2 faults" in ended.err
    assert not ended.out


def test_check_reports_faults_as_json_too(cli: Any) -> None:
    prepare(cli)
    ended = cli.call("check", "--json", "--set", "service.prot=1", "--set", "plugins.guarded.limit=many")
    assert ended.code == 78
    assert ended.json["ok"] is False
    assert len(ended.json["faults"]) == 2
    assert cli.call("check", "--json").json["plugins"] == ["guarded"]


def test_check_finds_what_is_wrong_in_routes_and_run_says_it_once(cli: Any) -> None:
    prepare(cli)
    cli.write("plugins/guarded.py", GUARDED + ROUTED)
    routes = '[routes."*"]\nguarded = { level = "x", lable = "a" }\n[routes."users.*"]\nguarded = "a"\nidle = 3\n'
    cli.write("config.toml", CONFIG + routes)
    ended = cli.call("check")
    assert ended.code == 78
    assert ended.err == (
        'config.toml:15  routes."*".guarded.level: must be a whole number, not "x"\n'
        "    write: level = 1\n\n"
        'config.toml:15  routes."*".guarded.lable: there is no such setting; did you mean "label"?\n'
        '    write: label = "a"\n\n'
        "2 faults.\n"
    )
    assert cli.call("run").err == ended.err
    fixed = CONFIG + routes.replace('{ level = "x", lable = "a" }', "{ level = 3 }")
    cli.write("config.toml", fixed)
    assert cli.call("check").code == 0  # its label may come from a route's author, and idle is off


def test_check_finds_settings_for_routes_that_a_plugin_does_not_take(cli: Any) -> None:
    prepare(cli)
    cli.write("config.toml", CONFIG + "[routes.unmatched]\nguarded = 3\n")
    ended = cli.call("check")
    assert (ended.code, ended.err) == (
        78,
        "config.toml:15  routes.unmatched.guarded: there is no such setting\n    remove: guarded\n",
    )


def test_check_all_looks_at_plugins_that_are_off(cli: Any) -> None:
    prepare(cli)
    assert cli.call("check").code == 0
    ended = cli.call("check", "--all")
    assert ended.code == 78
    assert "plugins.idle.level" in ended.err


def test_check_opens_nothing(cli: Any) -> None:
    cli.write("config.toml", "[plugins.database]\nenabled = true\nurl = 'postgres://nobody@127.0.0.1:1/nothing'\n")
    assert cli.call("check").code == 0


def test_environment_comes_from_option_then_variable_then_file(cli: Any) -> None:
    prepare(cli)
    environ = cli.environ
    assert cli.call("check", "--json").json["environment"] == "development"
    environ["PEGBOARD_ENV"] = "staging"
    assert cli.call("check", "--json").json["environment"] == "staging"
    assert cli.call("check", "--json", "--env", "production").json["environment"] == "production"


def test_config_file_comes_from_option_then_variable(cli: Any) -> None:
    prepare(cli)
    (cli.folder / "config.toml").rename(cli.folder / "other.toml")
    assert cli.call("check", "--config", "other.toml").code == 0
    cli.environ["PEGBOARD_CONFIG"] = "other.toml"
    assert cli.call("check").code == 0
    assert cli.call("check", "--config", "nothing.toml").code == 78


def test_show_prints_every_value_and_no_secret(cli: Any) -> None:
    prepare(cli)
    ended = cli.call("config", "show", "--env", "production")
    assert 'service.host = "0.0.0.0"\n' in ended.out
    assert 'service.state_dir = ".pegboard"\n' in ended.out
    assert "plugins.guarded.limit = 5\n" in ended.out
    assert 'plugins.guarded.key = "***"\n' in ended.out
    assert "swordfish" not in ended.out + ended.err


def test_show_origins_names_the_layer_that_set_each_value(cli: Any) -> None:
    prepare(cli)
    cli.environ["PEGBOARD__PLUGINS__GUARDED__LIMIT"] = "7"
    ended = cli.call("config", "show", "--origins", "--env", "production", "--set", "service.port=1", "--json")
    origins = {row["path"]: (row["value"], row["origin"]) for row in ended.json}
    assert origins["service.host"] == ('"0.0.0.0"', "config.toml:9")
    assert origins["service.port"] == ("1", "--set service.port")
    assert origins["service.strict"] == ("true", "default")
    assert origins["plugins.guarded.limit"] == ("7", "PEGBOARD__PLUGINS__GUARDED__LIMIT")
    assert origins["plugins.guarded.key"] == ('"***"', "config.toml:5 (variable GUARD_KEY)")
    plain = cli.call("config", "show", "--origins")
    assert any(line.split() == ["service.strict", "true", "default"] for line in plain.out.splitlines())


def test_show_explains_faulty_settings_too(cli: Any) -> None:
    prepare(cli)
    ended = cli.call("config", "show", "--set", "plugins.guarded.limit=many")
    assert ended.code == 78
    assert 'service.host = "127.0.0.1"\n' in ended.out
    assert "must be a whole number" in ended.err


def test_diff_prints_what_two_environments_do_not_share(cli: Any) -> None:
    prepare(cli)
    rows = cli.call("config", "diff", "staging", "production", "--json").json
    assert rows == [{"path": "plugins.guarded.limit", "first": "1", "second": "5"}]
    assert cli.call("config", "diff", "development", "staging").out.split() == [
        "service.host",
        '"127.0.0.1"',
        '"0.0.0.0"',
    ]
    same = cli.call("config", "diff", "staging", "staging")
    assert (same.code, same.out) == (0, "")


def test_diff_needs_no_secrets_of_production(cli: Any) -> None:
    prepare(cli)
    del cli.environ["GUARD_KEY"]
    ended = cli.call("config", "diff", "staging", "production", "--json")
    assert ended.code == 0
    assert [row["path"] for row in ended.json] == ["plugins.guarded.limit"]
    assert "as written" in ended.err


def test_schema_covers_the_core_and_every_plugin_that_is_found(cli: Any) -> None:
    prepare(cli)
    cli.write("plugins/broken.py", "import nowhere_to_be_found\n")
    ended = cli.call("config", "schema")
    schema = ended.json
    plugins = schema["$defs"]["section-plugins"]["properties"]
    assert {"guarded", "idle", "database", "resources", "health", "logs"} <= plugins.keys()
    assert plugins["guarded"]["properties"]["limit"]["description"] == "How many."
    assert set(schema["$defs"]["section-service"]["properties"]) == set(ServiceSettings.model_fields)
    assert "broken" in ended.err
    assert json.dumps(schema)
    assert issubclass(ServiceSettings, PluginSettings)

"""`pegboard plugins`, and the commands that plugins add."""

from __future__ import annotations

from typing import Any

CONFIG = """
[plugins.giver]
enabled = true
[plugins.second]
enabled = true
use = "taker"
[plugins.idle]
enabled = false
"""

GIVER = """
from service.api import DATABASE, hookimpl

class Plugin:
    provides = (DATABASE,)
"""

TAKER = """
from service.api import DATABASE, SERVING

class Plugin:
    requires = (DATABASE,)
    uses = (SERVING,)
"""

GREETER = """
import click
from service.api import PluginSettings, hookimpl

class Settings(PluginSettings):
    name: str = "you"

class Plugin:
    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def commands(self, group):
        @group.command()
        @click.option("--loud", is_flag=True)
        def greet(loud):
            "Say hello."
            text = f"hello {self.settings.name}"
            click.echo(text.upper() if loud else text)
"""


def test_plugins_says_what_is_on_and_how_to_turn_on_what_is_off(cli: Any) -> None:
    cli.write("config.toml", CONFIG)
    cli.write("plugins/giver.py", GIVER)
    cli.write("plugins/taker.py", TAKER)
    cli.write("plugins/idle/__init__.py", "raise SystemExit('a plugin that is off was imported')")
    rows = {row["name"]: row for row in cli.call("plugins", "--json").json}
    assert rows["giver"]["on"]
    assert rows["giver"]["provides"] == ["database"]
    assert rows["second"] | {"turn_on": ""} == {
        "name": "second",
        "on": True,
        "source": "file plugins/taker.py",
        "provides": [],
        "requires": ["database"],
        "uses": ["serving"],
        "turn_on": "",
    }
    assert not rows["idle"]["on"]
    assert rows["logs"]["turn_on"] == "[plugins.logs] enabled = true"
    plain = cli.call("plugins").out
    assert "idle" in plain
    assert "[plugins.idle] enabled = true" in plain
    assert "\x1b" not in plain


def test_plugins_prints_lines_that_turn_a_plugin_on(cli: Any) -> None:
    cli.write("config.toml", "")
    line = {row["name"]: row for row in cli.call("plugins", "--json").json}["health"]["turn_on"]
    cli.write("config.toml", line.replace("] ", "]\n"))
    assert "health" in [row["name"] for row in cli.call("plugins", "--json").json if row["on"]]


def test_command_of_a_plugin_runs_and_is_listed(cli: Any) -> None:
    cli.write("config.toml", "[plugins.greeter]\nenabled = true\n[env.warm.plugins.greeter]\nname = 'dear'\n")
    cli.write("plugins/greeter.py", GREETER)
    assert "Say hello." in cli("--help").out
    assert cli("greet").out == "hello you\n"
    assert "--loud" in cli("greet", "--help").out
    cli.environ["PEGBOARD_ENV"] = "warm"
    assert cli("greet", "--loud").out == "HELLO DEAR\n"


def test_command_of_a_plugin_that_is_off_is_unknown(cli: Any) -> None:
    cli.write("config.toml", "")
    cli.write("plugins/greeter.py", GREETER)
    ended = cli("greet")
    assert ended.code == 2
    assert "No such command 'greet'" in ended.err


def test_commands_of_our_own_load_no_plugin(cli: Any) -> None:
    cli.write("config.toml", "[plugins.loud]\nenabled = true\n")
    cli.write("plugins/loud.py", "print('imported')\nclass Plugin: pass\n")
    assert "imported" not in cli("--version").out
    assert "imported" not in cli("init", "--help").out
    assert "imported" in cli("check").out


def test_command_that_takes_a_name_of_ours_is_refused(cli: Any) -> None:
    cli.write("config.toml", "[plugins.greeter]\nenabled = true\n")
    cli.write("plugins/greeter.py", GREETER.replace("def greet", "def check"))
    assert cli("check").out.startswith("ok:")
    unknown = cli("greet")
    assert unknown.code == 2
    assert "call it greeter-check" in unknown.err.replace("\n", " ")

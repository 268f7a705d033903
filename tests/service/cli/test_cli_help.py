"""Help: each command's has an example, and every example runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

COMMANDS = (
    *("", "run", "check", "config", "config show", "config diff", "config schema"),
    *("plugin", "plugin new", "plugins", "routes", "doctor", "init"),
)

TABLES = "CREATE TABLE users (id int PRIMARY KEY, password_hash text, created_at timestamptz NOT NULL DEFAULT now());"
TABLES += "CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users);"


def examples(text: str) -> list[str]:
    """The commands under `Example:`, without their comments."""
    assert "Example:" in text
    block = text.partition("Example:\n")[2].partition("\n\n")[0]
    return [re.sub(r"\s+#.*", "", line).strip() for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_run(cli: Any, make_database: Callable[[str], str], command: str) -> None:
    shown = cli.call(*command.split(), "--help")
    assert shown.code == 0, shown.err
    cli.environ |= {"DATABASE_URL": make_database(TABLES), "PORT": "0", "JWT_SECRET": "s" * 64}
    for example in examples(shown.out):
        assert example.startswith(f"pegboard {command}".strip())
        if "init" not in example and not (cli.folder / "config.toml").exists():
            assert cli.call("init").code == 0
        words = shlex.split(example.partition(" > ")[0].partition(" | ")[0])[1:]
        words = ["0" if word == "8080" else word for word in words]  # may be taken where the tests run
        if words[0] == "run":
            started = cli.start(*words)
            assert started.url
            ended = started.end()
        else:
            ended = cli.call(*words)
        assert ended.code == 0, ended.err
        assert "Traceback" not in ended.err


def test_version_is_that_of_the_package(cli: Any) -> None:
    from service import __version__

    assert cli.call("--version").out.startswith(f"pegboard {__version__} ")


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("init", "--help"), ("run", "--help")])
def test_broken_config_keeps_nobody_from_help(cli: Any, arguments: tuple[str, ...]) -> None:
    cli.write("config.toml", "[service\nport = nonsense")
    shown = cli.call(*arguments)
    assert shown.code == 0
    assert "Traceback" not in shown.err


def test_help_says_that_commands_of_plugins_are_missing_only_where_something_is_wrong(cli: Any) -> None:
    assert "cannot be looked up" not in cli.call("--help").out
    cli.write("config.toml", "[service]\nport = 3000\n")
    assert "cannot be looked up" not in cli.call("--help").out
    cli.write("config.toml", '[service]\nport = "x"\n')
    assert "cannot be looked up" in cli.call("--help").out

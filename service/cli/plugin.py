"""`pegboard plugin`: begin a plugin of one's own. `new` writes its file, its test and its table in config.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

import click

from service.chosen import DEFAULT_CONFIG, Chosen
from service.cli.exits import CannotWrite
from service.cli.options import config_option
from service.errors import SettingsError, StartError
from service.settings import Settings
from service.sources import find_sources, plugin_folders

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,49}")
"""A plugin's name is a file's, a table's and part of a test's."""

CODE: Final = Template('''\
"""Say hello.

Table   [plugins.$name]

    [plugins.$name]
    enabled = true
    greeting = "Hello"
"""

from collections.abc import Iterable

from aiohttp.web import Request

from service.api import Answer, PluginSettings, Route, hookimpl


class Settings(PluginSettings):
    greeting: str = "Hello"
    """What is said."""


class Plugin:
    def __init__(self, settings: Settings) -> None:
        self._greeting = settings.greeting

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "$name", self._greet, name="$name.greet", summary="Say hello.")

    def _greet(self, request: Request) -> Answer:
        return Answer.json({"message": self._greeting})
''')

TEST: Final = Template('''\
"""The plugin $name keeps the contract of all plugins, and does what it is for."""

import pytest

from service.testing import PluginContract

pytestmark = pytest.mark.asyncio


class Test$title(PluginContract):
    plugin = "$name"
    settings = {"greeting": "Ahoy"}

    async def test_it_greets_as_configured(self, client):
        response = await client.get("/api/v1/$name")
        assert response.status == 200
        assert await response.json() == {"message": "Ahoy"}
''')

CONFTEST: Final = 'pytest_plugins = ["service.testing"]\n'

PYTEST_INI: Final = """\
[pytest]
asyncio_default_fixture_loop_scope = function
"""

PYTEST_FILES: Final = (
    *("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"),
    *("pyproject.toml", "tox.ini", "setup.cfg"),
)
"""Where an operator may have configured pytest already."""


class WrongName(StartError):
    """The command line gives a plugin a name that it cannot have."""

    exit_code = 2


@click.group()
def plugin() -> None:
    """Begin a plugin of your own: new.

    \b
    Example:
      pegboard plugin new hello
    """


@plugin.command(short_help="Write a plugin to begin with.")
@click.argument("name")
@config_option
def new(name: str, config: Path) -> None:
    """Write a plugin that answers, a test of it that passes, and its table at the end of config.toml.

    The plugin goes into the first of [service] plugin_dirs, the test into tests/ beside config.toml. No file is ever
    written over.

    \b
    Example:
      pegboard plugin new hello
    """
    settings = Chosen(config).settings()
    check_name(name, settings)
    home, folders = config.parent, plugin_folders(settings)
    if not folders:
        raise SettingsError(f'{config}  service.plugin_dirs: names no folder\n    write: plugin_dirs = ["plugins"]')
    code, test = folders[0] / f"{name}.py", home / "tests" / f"test_{name}.py"
    for path in (code, test):
        if path.exists():
            raise CannotWrite(f"there is {shown(path, home)} already, which stays as it is; choose another name.")
    words = {"name": name, "title": name.title().replace("_", "")}
    files = {code: CODE.substitute(words), test: TEST.substitute(words)}
    if not (conftest := test.with_name("conftest.py")).exists():
        files[conftest] = CONFTEST
    if not any((home / each).exists() for each in PYTEST_FILES):
        files[home / "pytest.ini"] = PYTEST_INI
    write(files, home)
    for path in files:
        click.echo(f"{shown(path, home)} is written.")
    if conftest not in files and "service.testing" not in conftest.read_text():
        click.echo(f"{shown(conftest, home)} was there: add {CONFTEST.strip()}")
    if config.name != DEFAULT_CONFIG:
        click.echo(f"The kit looks for {DEFAULT_CONFIG}: say where the plugin is in a fixture plugin_dirs.")
    click.echo(turn_on(name, config))
    root = settings.service.api_root.rstrip("/")
    click.echo(f"Next: `pytest` (pip install 'pegboard[testing]'), `pegboard run`, and GET {root}/v1/{name}")


def check_name(name: str, settings: Settings) -> None:
    """Raises WrongName for one that no plugin can have or that one has already."""
    if not NAME.fullmatch(name):
        better = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name), flags=re.ASCII).strip("_").lower()
        better = better[:50] if NAME.fullmatch(better[:50]) else "hello"
        raise WrongName(
            f"{name!r} can be no plugin's name, which is at most 50 lower-case letters, digits and underscores and "
            f"begins with a letter; call it {better}."
        )
    if (source := find_sources(settings).get(name)) is not None:
        raise WrongName(f"there is a plugin called {name} already ({source.place}); call yours my_{name}.")


def write(files: Mapping[Path, str], home: Path) -> None:
    """Write all of them or none. Raises CannotWrite."""
    written: list[Path] = []
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as stream:
                written.append(path)
                stream.write(text)
        except OSError as error:
            for each in written:
                each.unlink(missing_ok=True)
            raise CannotWrite(
                f"{shown(path, home)} cannot be written ({error.strerror}), so nothing is; make its folder yours."
            ) from None


def turn_on(name: str, config: Path) -> str:
    """Add the plugin's table to the end of config.toml, where that changes nothing else; says what was done or is left
    to do."""
    lines = [f"[plugins.{name}]", "enabled = true"]
    written = config.read_bytes().decode()
    separated = ["", *lines, ""] if written.strip() else [*lines, ""]
    if written and not written.endswith("\n"):
        separated.insert(0, "")
    added = ("\r\n" if "\r\n" in written else "\n").join(separated)
    try:
        if name in tomllib.loads(written).get("plugins", {}):
            return f"{config.name} has a table [plugins.{name}] already: see that {lines[1]} stands below it."
        tomllib.loads(written + added)
        with config.open("ab") as stream:
            stream.write(added.encode())
    except (tomllib.TOMLDecodeError, OSError):
        return f"{config.name} stays as it is: write {lines[0]} and {lines[1]} into it."
    return f"{config.name} has its table at the end: {lines[0]} {lines[1]}"


def shown(path: Path, home: Path) -> str:
    """A path as an operator would write it beside config.toml."""
    return str(path.relative_to(home) if path.is_relative_to(home) else path)

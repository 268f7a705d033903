"""`pegboard plugin new`: what it writes works at once, and nothing is ever written over."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def files(folder: Path) -> dict[str, str]:
    """Every file below the folder, with its content."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def run_pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    """pytest as it runs without any option, every warning an error."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST", "PEGBOARD"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest"],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_new_plugin_passes_its_test_and_serves_at_once(cli: Any) -> None:
    cli.call("init")
    ended = cli.call("plugin", "new", "hello")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "plugins/hello.py is written.",
        "tests/test_hello.py is written.",
        "tests/conftest.py is written.",
        "pytest.ini is written.",
        "config.toml has its table at the end: [plugins.hello] enabled = true",
        "Next: `pytest` (pip install 'pegboard[testing]'), `pegboard run`, and GET /api/v1/hello",
    ]
    ran = run_pytest(cli.folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "11 passed" in ran.stdout
    off = [f"plugins.{name}.enabled=false" for name in ("database", "resources", "logs")]
    started = cli.start("run", "--port", "0", *[word for each in off for word in ("--set", each)])
    assert started.get("/api/v1/hello") == (200, {"message": "Hello"})
    assert started.end().code == 0


def test_what_is_written_is_as_ruff_and_mypy_would_have_it(cli: Any) -> None:
    cli.write("config.toml", "")
    cli.call("plugin", "new", "hello_world")
    ruff = ("--config", str(ROOT / "pyproject.toml"), "--config", 'lint.isort.known-first-party=["service"]')
    checked = ("plugins/hello_world.py", "tests/test_hello_world.py", "tests/conftest.py")
    for command in (
        ("ruff", "check", *ruff, "--ignore", "S101,RUF012,INP001", *checked),
        ("ruff", "format", "--check", *ruff, *checked),
        ("mypy", "--strict", "--cache-dir", os.devnull, checked[0]),
    ):
        ran = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=cli.folder,
            env={**cli.environ, "MYPYPATH": str(ROOT), "RUFF_NO_CACHE": "true"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_second_plugin_adds_to_what_is_there(cli: Any) -> None:
    cli.write("config.toml", '[service]\nplugin_dirs = ["mine", "plugins"]')
    cli.call("plugin", "new", "one")
    before = files(cli.folder)
    ended = cli.call("plugin", "new", "two")
    after = files(cli.folder)
    assert ended.out.splitlines()[:2] == ["mine/two.py is written.", "tests/test_two.py is written."]
    assert after.keys() - before.keys() == {"mine/two.py", "tests/test_two.py"}
    assert {name for name in before if before[name] != after[name]} == {"config.toml"}
    assert after["config.toml"].startswith(before["config.toml"])
    assert set(tomllib.loads(after["config.toml"])["plugins"]) == {"one", "two"}
    assert cli.call("check").code == 0


@pytest.mark.parametrize("written", ["", "\n", "[plugins.logs]\nenabled = true", "[service]\r\nport = 0\r\n"])
def test_table_is_added_to_whatever_ends_the_file(cli: Any, written: str) -> None:
    (cli.folder / "config.toml").write_bytes(written.encode())
    assert cli.call("plugin", "new", "hello").code == 0
    after = (cli.folder / "config.toml").read_bytes().decode()
    assert after.startswith(written)
    assert tomllib.loads(after)["plugins"]["hello"] == {"enabled": True}
    assert ("\r\n" in after) == ("\r\n" in written)
    assert after.count("\n") == after.count("\r\n") or "\r\n" not in written


def test_file_that_cannot_take_the_table_stays_as_it_is(cli: Any) -> None:
    config = cli.write("config.toml", "plugins = { logs = { enabled = false } }\n")
    ended = cli.call("plugin", "new", "hello")
    assert ended.code == 0
    assert "config.toml stays as it is: write [plugins.hello] and enabled = true into it.\n" in ended.out
    assert config.read_text() == "plugins = { logs = { enabled = false } }\n"


def test_table_that_is_there_is_not_written_twice(cli: Any) -> None:
    config = cli.write("config.toml", '[plugins.hello]\ngreeting = "Ahoy"\n')
    ended = cli.call("plugin", "new", "hello")
    assert "config.toml has a table [plugins.hello] already: see that enabled = true stands below it." in ended.out
    assert config.read_text() == '[plugins.hello]\ngreeting = "Ahoy"\n'


def test_conftest_without_the_kit_stays_and_the_line_to_add_is_told(cli: Any) -> None:
    cli.write("config.toml", "")
    conftest = cli.write("tests/conftest.py", "pytest_plugins = []\n")
    ended = cli.call("plugin", "new", "hello")
    assert 'tests/conftest.py was there: add pytest_plugins = ["service.testing"]\n' in ended.out
    assert conftest.read_text() == "pytest_plugins = []\n"


@pytest.mark.parametrize("name", ["pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"])
def test_pytest_that_is_configured_is_left_alone(cli: Any, name: str) -> None:
    cli.write("config.toml", "")
    cli.write(name, "")
    assert "pytest.ini is written" not in cli.call("plugin", "new", "hello").out


def test_config_of_another_name_is_told_what_the_kit_needs(cli: Any) -> None:
    cli.write("other.toml", "")
    ended = cli.call("plugin", "new", "hello", "--config", "other.toml")
    assert "The kit looks for config.toml: say where the plugin is in a fixture plugin_dirs.\n" in ended.out
    assert "[plugins.hello]" in (cli.folder / "other.toml").read_text()


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("My-Plugin", "my_plugin"),
        ("myPlugin", "my_plugin"),
        ("../evil", "evil"),
        ("9lives", "hello"),
        ("", "hello"),
        ("żółw", "w"),
        ("a" * 60, "a" * 50),
        ("_private", "private"),
    ],
)
def test_name_that_no_plugin_can_have_is_refused_with_a_better_one(cli: Any, name: str, better: str) -> None:
    cli.write("config.toml", "")
    ended = cli.call("plugin", "new", name)
    assert ended.code == 2
    assert ended.err == (
        f"pegboard: {name!r} can be no plugin's name, which is at most 50 lower-case letters, digits and underscores "
        f"and begins with a letter; call it {better}.\n"
    )
    assert files(cli.folder) == {"config.toml": ""}


@pytest.mark.parametrize(("name", "place"), [("logs", "built in"), ("mine", "file plugins/mine.py")])
def test_name_that_a_plugin_has_is_refused(cli: Any, name: str, place: str) -> None:
    cli.write("config.toml", "")
    cli.write("plugins/mine.py", "")
    ended = cli.call("plugin", "new", name)
    assert ended.code == 2
    assert ended.err == f"pegboard: there is a plugin called {name} already ({place}); call yours my_{name}.\n"


def test_test_that_is_there_stays_and_nothing_is_written(cli: Any) -> None:
    cli.write("config.toml", "")
    cli.write("tests/test_hello.py", "precious")
    ended = cli.call("plugin", "new", "hello")
    assert ended.code == 73
    told = "pegboard: there is tests/test_hello.py already, which stays as it is; choose another name.\n"
    assert ended.err == told
    assert files(cli.folder) == {"config.toml": "", "tests/test_hello.py": "precious"}


def test_what_cannot_be_written_leaves_nothing_half_done(cli: Any) -> None:
    cli.write("config.toml", "")
    cli.write("tests", "a file where a folder should be")
    ended = cli.call("plugin", "new", "hello")
    assert ended.code == 73
    assert ended.err.startswith("pegboard: tests/test_hello.py cannot be written (")
    assert ended.err.endswith("), so nothing is; make its folder yours.\n")
    assert set(files(cli.folder)) == {"config.toml", "tests"}


def test_without_a_config_the_way_out_is_told(cli: Any) -> None:
    ended = cli.call("plugin", "new", "hello")
    assert ended.code == 78
    assert "pegboard init" in ended.err
    assert files(cli.folder) == {}


def test_without_a_folder_for_plugins_the_line_to_write_is_told(cli: Any) -> None:
    cli.write("config.toml", "[service]\nplugin_dirs = []\n")
    ended = cli.call("plugin", "new", "hello")
    assert ended.code == 78
    assert ended.err.endswith('service.plugin_dirs: names no folder\n    write: plugin_dirs = ["plugins"]\n')

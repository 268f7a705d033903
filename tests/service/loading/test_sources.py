"""Where plugins are found: built in, in files and folders of the operator's, installed; and what is left alone."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import plugins as own_plugins
from service.sources import find_sources

REPOSITORY = Path(__file__).parents[3]
BUILT_IN = {module.name for module in pkgutil.iter_modules(own_plugins.__path__)}


def python(code: str, *, cwd: Path, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter in `cwd`, with `first` in front of everything that can be imported."""
    search = os.pathsep.join(str(entry) for entry in (first, REPOSITORY) if entry)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(code)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_built_in_plugins_are_those_in_the_folder(house: Any) -> None:
    found = find_sources(house.settings())
    assert {name for name, source in found.items() if source.place == "built in"} == BUILT_IN
    assert {"database", "health", "logs", "resources"} <= BUILT_IN


def test_finding_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "hello.py").write_text("raise SystemExit('imported')")
    ran = python(
        """
        import sys, pathlib
        from service.settings import read
        from service.sources import find_sources
        assert "hello" in find_sources(read(pathlib.Path("config.toml"), environ={}))
        print([name for name in sys.modules if name.startswith(("plugins.", "_pegboard_plugin_", "asyncpg"))])
        """,
        cwd=tmp_path,
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


def test_file_and_folder_are_plugins_and_say_where_they_are(house: Any) -> None:
    house.write("plugins/hello.py")
    house.write("plugins/big/__init__.py")
    found = find_sources(house.settings())
    assert found["hello"].place == "file plugins/hello.py"
    assert found["big"].place == "file plugins/big"
    assert hasattr(found["hello"].load(), "Plugin")
    assert hasattr(found["big"].load(), "Plugin")


@pytest.mark.parametrize(
    "path", ["_draft.py", ".hidden.py", "notes.txt", "_parts/__init__.py", "data/table.csv", "x.pyc"]
)
def test_file_that_is_no_plugin_is_ignored(house: Any, path: str) -> None:
    house.write(f"plugins/{path}", "raise AssertionError")
    assert set(find_sources(house.settings())) == BUILT_IN


def test_installed_package_is_found_by_its_entry_point(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.write("site/pegboard_greeter.py", "class Plugin: ...\nPlugin.here = __file__")
    house.write(
        "site/pegboard_greeter-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: pegboard-greeter\nVersion: 1.2\n"
    )
    house.write(
        "site/pegboard_greeter-1.2.dist-info/entry_points.txt", "[pegboard.plugins]\ngreeter = pegboard_greeter\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    source = find_sources(house.settings())["greeter"]
    assert source.place == "package pegboard-greeter 1.2"
    assert "pegboard_greeter" not in sys.modules
    try:
        loaded = house.load("[plugins.hi]\nuse = 'greeter'\nenabled = true")
        assert loaded["hi"].plugin.here == str(tmp_path / "site/pegboard_greeter.py")
    finally:
        sys.modules.pop("pegboard_greeter", None)


def test_one_name_in_two_places_is_a_fault_that_names_both(house: Any) -> None:
    house.write("plugins/health.py")
    house.write("plugins/hello.py")
    house.write("more/hello/__init__.py")
    settings = house.settings("[service]\nplugin_dirs = ['plugins', 'more']")
    find_sources(settings)
    assert [fault.message for fault in settings.faults] == [
        "there are two plugins called health: built in and file plugins/health.py",
        "there are two plugins called hello: file plugins/hello.py and file more/hello",
    ]


def test_folder_named_twice_is_read_once(house: Any) -> None:
    house.write("plugins/hello.py")
    house.load("[service]\nplugin_dirs = ['plugins', './plugins', 'more/../plugins']\n[plugins.hello]\nenabled = true")


def test_missing_folder_is_empty(house: Any) -> None:
    assert set(find_sources(house.settings("[service]\nplugin_dirs = ['nowhere', 'plugins']"))) == BUILT_IN


def test_own_folder_as_plugin_dir_is_not_found_twice(house: Any) -> None:
    settings = house.settings(f"[service]\nplugin_dirs = ['{REPOSITORY}/plugins', '{REPOSITORY}/service/../plugins']")
    assert set(find_sources(settings)) == BUILT_IN
    assert settings.faults == ()


def test_file_loads_under_a_private_name_and_leaves_the_path_alone(house: Any) -> None:
    house.write("plugins/json.py", "import json\nclass Plugin: text = json.dumps([1])\n")
    before = list(sys.path)
    module = find_sources(house.settings())["json"].load()
    assert module.Plugin.text == "[1]"
    assert module.__name__.startswith("_pegboard_plugin_")
    assert module.__name__ in sys.modules
    assert sys.path == before
    assert sys.modules["json"].__name__ == "json"


def test_file_loads_once_however_often_it_is_asked_for(house: Any) -> None:
    house.write("plugins/hello.py")
    load = find_sources(house.settings())["hello"].load
    assert load() is load()


def test_relative_imports_inside_a_folder_work_and_do_not_meet_those_of_another(house: Any) -> None:
    for name in ("one", "two"):
        house.write(f"plugins/{name}/__init__.py", "from .words import WORD\nclass Plugin: word = WORD\n")
        house.write(f"plugins/{name}/words.py", f"from . import deeper\nWORD = '{name}' + deeper.MARK\n")
        house.write(f"plugins/{name}/deeper/__init__.py", "from ..marks import MARK\n")
        house.write(f"plugins/{name}/marks.py", "MARK = '!'\n")
    found = find_sources(house.settings())
    assert [found[name].load().Plugin.word for name in ("one", "two")] == ["one!", "two!"]
    assert "words" not in sys.modules


def test_two_files_of_one_name_in_two_folders_do_not_meet(house: Any) -> None:
    house.write("plugins/hello.py", "class Plugin: word = 'here'")
    first = find_sources(house.settings())["hello"].load()
    house.write("elsewhere/hello.py", "class Plugin: word = 'there'")
    second = find_sources(house.settings("[service]\nplugin_dirs = ['elsewhere']"))["hello"].load()
    assert (first.Plugin.word, second.Plugin.word) == ("here", "there")


def test_folder_that_fails_half_way_leaves_no_module_behind(house: Any) -> None:
    house.write("plugins/half/__init__.py", "from . import whole\nraise OSError('no')")
    house.write("plugins/half/whole.py", "")
    before = set(sys.modules)
    with pytest.raises(OSError, match="no"):
        find_sources(house.settings())["half"].load()
    assert {name for name in set(sys.modules) - before if "half" in name} == set()


@pytest.mark.parametrize("path", ["plugins/__init__.py", "plugins/other.py", "plugins.py"])
def test_another_package_called_plugins_changes_nothing(tmp_path: Path, path: str) -> None:
    intruder = tmp_path / "cwd" / path
    intruder.parent.mkdir(parents=True)
    intruder.write_text("raise SystemExit('the wrong plugins')")
    (tmp_path / "config.toml").write_text("[service]\nplugin_dirs = []\n[plugins.health]\nenabled = true\n")
    code = """
        import pathlib
        from service.app import process_run
        from service.loader import load
        from service.run import Tasks
        from service.settings import read
        settings = read(pathlib.Path("../config.toml"), environ={})
        loaded = load(settings, process_run(settings, tasks=Tasks(), say=print))
        print(type(loaded["health"].plugin).__module__)
        """
    in_cwd = python(code, cwd=tmp_path / "cwd")  # -c puts it in front
    assert (in_cwd.stdout, in_cwd.stderr) == ("plugins.health\n", "")
    on_path = python(code, cwd=tmp_path / "cwd", first=tmp_path / "cwd")
    assert (on_path.stdout, on_path.stderr) == ("plugins.health\n", "")


@pytest.mark.parametrize("path", ["plugins/__init__.py", "plugins.py"])
def test_another_package_called_plugins_that_came_first_is_one_sentence(tmp_path: Path, path: str) -> None:
    intruder = tmp_path / path
    intruder.parent.mkdir(parents=True, exist_ok=True)
    intruder.write_text("")
    ran = python(
        """
        import plugins
        from service.errors import StartError
        from service.sources import own_package
        try:
            own_package()
        except StartError as error:
            print(error)
        """,
        cwd=tmp_path,
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith("another package called plugins was imported before Pegboard's own, from ")
    assert str(tmp_path) in ran.stdout
    assert ran.stdout.count("\n") == 1


def test_plugin_that_is_off_is_not_imported_and_its_secrets_are_not_resolved(house: Any) -> None:
    house.write("plugins/bad.py", "raise AssertionError('imported')")
    house.write("plugins/worse.py", "this is no Python")
    loaded = house.load(
        """
        [plugins.bad]
        enabled = false
        token = { env = "NOT_SET" }
        key = { file = "not-there" }
        [plugins.database]
        url = { env = "NOT_SET" }
        """
    )
    assert loaded.plugins == ()
    assert {"bad", "worse", "database"} <= set(loaded.off)

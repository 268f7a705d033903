"""A plugin as an installable package: examples/flags, in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FLAGS = ROOT / "examples" / "flags"

OFF = [f"plugins.{name}.enabled=false" for name in ("database", "resources", "logs")]


def run(*command: str | Path, cwd: Path) -> str:
    """What the command prints; fails with it where the command fails."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST", "PEGBOARD", "PIP_"))}
    ran = subprocess.run(
        command,
        cwd=cwd,
        env={**environ, "PYTHONPATH": str(ROOT)},  # where Pegboard itself is not installed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, since building it writes into its folder."""
    copy = tmp_path_factory.mktemp("package") / "flags"
    return Path(shutil.copytree(FLAGS, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Path]:
    """The Python of a fresh environment that has what this one has, and the package. Nothing is downloaded."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    here = sysconfig.get_paths()["purelib"]
    there = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=folder).strip())
    (there / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *offline, package, cwd=folder)
    yield python
    shutil.rmtree(folder)


def test_package_is_found_by_its_entry_point_and_serves(cli: Any, python: Path) -> None:
    cli.command = (str(python), "-P", "-m", "service")
    cli("init")
    rows = {row["name"]: row for row in cli("plugins", "--json").json}
    assert rows["flags"]["source"] == "package pegboard-flags 1.0.0"
    assert rows["flags"]["turn_on"] == "[plugins.flags] enabled = true"
    on = [*OFF, "plugins.flags.enabled=true"]
    started = cli.start("run", "--port", "0", *[word for each in on for word in ("--set", each)])
    assert started.get("/api/v1/flags") == (200, {"data": []})
    assert started.end().code == 0


def test_settings_of_the_package_are_checked_as_those_of_any_plugin(cli: Any, python: Path) -> None:
    cli.command = (str(python), "-P", "-m", "service")
    cli.write("config.toml", '[plugins.flags]\nenabled = true\nonn = ["new-checkout"]\n')
    ended = cli("check")
    assert ended.code == 78
    assert 'did you mean "on"?' in ended.err


def test_tests_of_the_package_pass_with_the_contract_among_them(python: Path, package: Path) -> None:
    told = run(python, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", "-rA", cwd=package)
    assert "TestFlags::test_what_it_opens_is_closed" in told
    assert "17 passed" in told


def test_package_leaves_nothing_in_the_repository(python: Path) -> None:
    assert not [path for path in FLAGS.rglob("*") if path.name in ("build", "dist") or path.suffix == ".egg-info"]

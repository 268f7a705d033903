"""docs/plugin-authors.md: the plugins that it builds load, the tests that it shows pass, its tables are complete."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.slots import Door, Slot

PAGE = Path(__file__).parents[2] / "docs" / "plugin-authors.md"
FILE = re.compile(r"<!-- tested: (\S+\.\w+) -->\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every file that the guide shows."""
    for name, content in FILE.findall(PAGE.read_text()):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return tmp_path


def test_tests_of_the_guide_pass_over_its_plugins(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PAGE.parents[1])}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = (folder / "tests" / "test_plugins.py").read_text().count("async def test_")
    assert f"{told} passed" in ran.stdout


def test_configuration_of_the_guide_is_accepted(folder: Path) -> None:
    toml = "\n".join(re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL))
    (folder / "config.toml").write_text(toml)
    command = [sys.executable, "-P", "-m", "service", "check"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PAGE.parents[1])}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.endswith("2 plugins on: hello, sunset\n"), ran.stdout + ran.stderr


def test_slots_and_doors_of_the_guide_are_those_of_the_core(rows: Callable[[str, str], list[list[str]]]) -> None:
    assert [row[0] for row in rows(PAGE.name, "tested: slots")] == [slot.name for slot in Slot]
    assert [row[0] for row in rows(PAGE.name, "tested: doors")] == [door.name for door in Door]

"""What is installed: every file that the packages need is in them."""

from __future__ import annotations

import configparser
import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_file_beside_the_code_is_package_data() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    patterns = [
        f"{package.replace('.', '/')}/{pattern.strip()}"
        for package, listed in parser["options.package_data"].items()
        for pattern in listed.split(",")
    ]
    beside = [
        path.relative_to(ROOT).as_posix()
        for package in ("service", "plugins")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert "plugins/home/templates/home.html" in beside
    assert [path for path in beside if not any(fnmatch(path, pattern) for pattern in patterns)] == []


def test_what_the_container_file_copies_is_all_that_its_builder_gets() -> None:
    copied = re.findall(r"(?m)^COPY (?!--)(.+) \S+$", (ROOT / "deploy" / "Containerfile").read_text())
    wanted = {name for names in copied for name in names.split()}
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == wanted
    assert all((ROOT / name).exists() for name in wanted)

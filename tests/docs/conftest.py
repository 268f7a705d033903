"""What the guides show, as blocks that tests find: `<!-- tested: NAME -->` stands right above each; and what makes the
reference."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

Blocks = Callable[[str, str], list[str]]
Rows = Callable[[str, str], list[list[str]]]


@pytest.fixture(scope="session")
def blocks() -> Blocks:
    """`blocks("clients.md", "tested: readings")`: the fenced blocks below that mark, without their fences."""

    def find(document: str, mark: str) -> list[str]:
        text = (ROOT / "docs" / document).read_text()
        found = re.findall(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
        assert found, f"{document} has no block marked {mark}"
        return found

    return find


@pytest.fixture(scope="session")
def rows() -> Rows:
    """`rows("clients.md", "tested: types")`: the table below that mark, each row as its cells without backticks."""

    def find(document: str, mark: str) -> list[list[str]]:
        text = (ROOT / "docs" / document).read_text()
        _, _, below = text.partition(f"<!-- {mark} -->\n")
        lines = below.partition("\n\n")[0].splitlines()
        assert len(lines) > 2, f"{document} has no table marked {mark}"
        return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]

    return find


@pytest.fixture(scope="session")
def generate() -> ModuleType:
    """docs/generate.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

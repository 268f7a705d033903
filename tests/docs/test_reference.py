"""The pages that are made from the code are what the code would make of them now."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("map.md", "reference/commands.md", "reference/errors.md", "reference/hooks.md", "reference/settings.md")


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_says_what_the_code_says(generate: ModuleType, name: str) -> None:
    assert (DOCS / name).read_text() == generate.pages()[DOCS / name], "run docs/generate.py"


def test_every_generated_page_is_compared(generate: ModuleType) -> None:
    assert set(generate.pages()) == {DOCS / name for name in PAGES}


def test_map_has_every_file_of_the_core_and_no_other() -> None:
    core = DOCS.parent / "service"
    there = {path.relative_to(core).as_posix() for path in core.rglob("*.py")}
    rows = [line.split("|") for line in (DOCS / "map.md").read_text().splitlines() if line.startswith("| ")]
    assert {row[2].strip(" `") for row in rows[2:]} == there


def test_settings_page_reaches_into_nested_tables() -> None:
    told = (DOCS / "reference" / "settings.md").read_text()
    for key in ("timeouts.drain", "limits.body", "pool.acquire", "table.NAME.max_limit", "http.NAME.critical"):
        assert f"| `{key}` |" in told

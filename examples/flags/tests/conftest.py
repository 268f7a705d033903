"""The kit for plugin authors, and a plugin that has a flag: the one of the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["service.testing"]

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path) -> None:
    """plugins/checkout.py, where the kit looks for plugins."""
    block = re.search(r"<!-- tested: (\S+) -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    path = tmp_path / block[1]
    path.parent.mkdir()
    path.write_text(block[2])

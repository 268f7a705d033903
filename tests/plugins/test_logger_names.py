"""Whoever logs does so under a name that an operator can place: `pegboard`, or `pegboard.` and the plugin."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def loggers(package: str) -> Iterator[tuple[str, str]]:
    """File and argument of every `log = logging.getLogger(...)`."""
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("logging.getLogger("):
                yield path.relative_to(REPOSITORY).as_posix(), ast.unparse(node.value)


def test_core_logs_under_its_own_name() -> None:
    found = list(loggers("service"))
    assert len(found) > 3
    assert {spelled for _, spelled in found} == {"logging.getLogger('pegboard')"}


def test_plugins_log_under_theirs() -> None:
    found = list(loggers("plugins"))
    assert len(found) >= 3
    assert [spelled for _, spelled in found] == [
        f"logging.getLogger('pegboard.{path.split('/')[1].removesuffix('.py')}')" for path, _ in found
    ]

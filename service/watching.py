"""Asks for a reload when a file changes that the service is made of: `pegboard run --watch`, for authors."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import Final

from service.errors import StartError

CALM_MS: Final = 200
"""How long nothing more must change before a reload is asked for: editors write in several steps (chosen)."""


def check_watcher() -> None:
    """Raises StartError where the library that watches is not installed."""
    if importlib.util.find_spec("watchfiles") is None:
        raise StartError("--watch needs a library that is not here: pip install 'pegboard[watch]'")


async def watch_files(config: Path, folders: Iterable[str], request_reload: Callable[[str], None]) -> None:
    """Watch config.toml and all that is in these folders until cancelled; `request_reload` gets the reason."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_watch({config.parent}, config, request_reload))
        if roots := {Path(folder) for folder in folders}:
            group.create_task(_watch(roots, None, request_reload))


async def _watch(roots: Set[Path], file: Path | None, request_reload: Callable[[str], None]) -> None:
    """`file` is the only one that counts, directly in its folder: an editor puts a new one in the place of the old.
    None is every one, however deep, that is no editor's or Python's own."""
    from watchfiles import Change, DefaultFilter, awatch

    usual = DefaultFilter()

    def concerns(change: Change, path: str) -> bool:
        return usual(change, path) if file is None else Path(path) == file

    async for changes in awatch(*roots, watch_filter=concerns, step=CALM_MS, recursive=file is None):
        names = sorted({Path(path).name for _, path in changes})
        request_reload(f"{', '.join(names)} changed")

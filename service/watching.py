"""Asks for a reload when a file changes that the service is made of: `pegboard run --watch`, for authors."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from service.errors import StartError

if TYPE_CHECKING:
    from watchfiles import Change

log = logging.getLogger("pegboard")

CALM_MS: Final = 200
"""How long nothing more must change before a reload is asked for: editors write in several steps (chosen)."""


def check_watcher() -> None:
    """Raises StartError where the library that watches is not installed."""
    if importlib.util.find_spec("watchfiles") is None:
        raise StartError("--watch needs a library that is not here: pip install 'pegboard[watch]'")


class Watch:
    """Watches config.toml and, with all that is in them, the folders of plugins."""

    def __init__(self, config: Path, request_reload: Callable[[str], None]) -> None:
        """`request_reload` gets the reason."""
        self._config = config.resolve()
        self._request_reload = request_reload
        self._folders: frozenset[Path] = frozenset()
        self._have_changed = asyncio.Event()

    def follow(self, folders: Iterable[Path]) -> None:
        """Watch these instead of those before; of one that is not there yet, its coming beside config.toml."""
        self._folders = frozenset([folder.resolve() for folder in folders])
        self._have_changed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_for(self._config.parent, self._concerns, recursive=False))
            watching: dict[tuple[Path, int], asyncio.Task[None]] = {}
            while True:
                self._have_changed.clear()
                roots = _outermost(self._folders)
                for gone in watching.keys() - roots:
                    watching.pop(gone).cancel()
                for root in roots - watching.keys():
                    watching[root] = group.create_task(self._watch(root[0]))
                await self._have_changed.wait()

    async def _watch(self, folder: Path) -> None:
        from watchfiles import DefaultFilter

        try:
            await self._ask_for(folder, DefaultFilter(), recursive=True)  # nothing of an editor's or of Python's own
        except FileNotFoundError:
            pass  # it has gone meanwhile
        except OSError as error:
            log.warning("%s cannot be watched (%s); after a change there, `pegboard reload`.", folder, error)

    def _concerns(self, change: Change, path: str) -> bool:
        """Of what is directly beside it, config.toml itself (an editor puts a new one in the place of the old) and a
        folder that plugins are expected in."""
        return Path(path) == self._config or (change.name == "added" and Path(path) in self._folders)

    async def _ask_for(self, folder: Path, concerns: Callable[[Change, str], bool], *, recursive: bool) -> None:
        from watchfiles import awatch

        async for changes in awatch(folder, watch_filter=concerns, step=CALM_MS, recursive=recursive):
            names = sorted({Path(path).name for _, path in changes})
            self._request_reload(f"{', '.join(names)} changed")


def _outermost(folders: Iterable[Path]) -> set[tuple[Path, int]]:
    """Those that are there and in no other, each with its inode: one that was made anew is another."""
    there: dict[Path, int] = {}
    for folder in folders:
        with suppress(OSError):
            there[folder] = folder.stat().st_ino
    return {(folder, inode) for folder, inode in there.items() if there.keys().isdisjoint(folder.parents)}

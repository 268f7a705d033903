"""What a plugin may know of the process it is in: `Run`, the `Clock` it reads, the `Tasks` it may spawn."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

log = logging.getLogger("pegboard")

PATIENCE_S: Final = 2.0
"""How long the end waits for background tasks that it has cancelled (chosen)."""


class Clock(Protocol):
    """Where time comes from; tests pass one that they move themselves."""

    def now(self) -> float:
        """Seconds since the epoch (wall clock)."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class Spawn(Protocol):
    def __call__(self, coroutine: Coroutine[object, object, None], *, name: str) -> asyncio.Task[None]:
        """Run it in a task that the core tracks and ends when the service drains."""


class TellFault(Protocol):
    def __call__(
        self, path: tuple[str | int, ...], message: str, *, write: object = None, rename: str | None = None
    ) -> None:
        """Add a mistake in the plugin's own settings to the one report, while it is made, opened or asked what it
        declares: it comes out with file and line, and ends the start once that hook is over.

        `path` is below the plugin's own table: `("table", "users", "hidden")`. `message` says what is wrong, without a
        full stop. The way out is the whole value to `write` there, as TOML has it (the core makes the line of it, for
        the file, the variable or the option that set it), or how to `rename` the last key; with neither, to remove it.
        """


def _no_fault(path: tuple[str | int, ...], message: str, *, write: object = None, rename: str | None = None) -> None:
    raise RuntimeError("only a plugin that was loaded has settings to find faults in")


class Tasks:
    """Background tasks of one process: kept from the garbage collector, their crashes logged, ended together."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[object, object, None], *, name: str) -> asyncio.Task[None]:
        """Run it in a task of that name until it ends or the service does."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Background task %s crashed.", task.get_name(), exc_info=error)

    async def end(self) -> None:
        """Cancel what still runs, what it spawns on its way out too, and wait `PATIENCE_S` for it at most."""
        while self._running:
            for task in self._running:
                task.cancel()
            _, stubborn = await asyncio.wait(self._running, timeout=PATIENCE_S)
            if stubborn:
                names = ", ".join(sorted(task.get_name() for task in stubborn))
                log.error("Background tasks that ignore their cancellation are left behind: %s.", names)
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Facts and means of one process, handed to `Plugin(settings, run)` and, as context, to settings validation."""

    serves: bool = True
    """False for a command that only looks at what a service would be: it shares rather than takes."""
    strict: bool
    """`[service] strict`: refuse what is merely tolerable while developing."""
    workers: int
    state_dir: Path
    """Where the service may keep files of its own (`[service] state_dir`); made on first use by whoever needs it."""
    clock: Clock
    household: object
    """What this plugin's `household` hook yielded in the supervisor, or None."""
    say: Callable[[str], None]
    """Tell the operator one sentence: printed with the start lines, and logged afterwards."""
    request_reload: Callable[[str], None]
    """Ask for a new generation, with the reason."""
    spawn: Spawn
    is_reachable: bool = False
    """True where other machines may connect: `[service]` listens on more than loopback or a unix socket."""
    has_operator_listener: bool = False
    """True where operators' routes have a listener of their own, which nobody else reaches (`[service] operator`)."""
    name: str = ""
    """The instance name of the plugin that has this Run: the name of its table."""
    fault: TellFault = _no_fault
    """Tell a mistake in the settings that shows only now: a table that the database lacks."""

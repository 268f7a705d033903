"""What a plugin may know of the process it is in: `Run`, and the `Clock` it reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Facts and means of one process, handed to `Plugin(settings, run)` and, as context, to settings validation."""

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

"""What a process holds: open files, tasks, threads, children, and what was changed in it for everyone.

async with leaving() as left:
    ...
assert left == []
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 5.0
"""How long what is ending may take to be gone (chosen); only what stays waits that long."""

ENDINGS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

EXECUTOR: Final = "asyncio_"
"""How the names of the loop's own threads begin: they stay, for the next who calls `asyncio.to_thread`."""

PYTESTS_OWN: Final = "PYTEST_CURRENT_TEST"

Held = dict[Hashable, str]
"""Each thing held, with what to call it."""


def held() -> Held:
    """What this process holds now. Needs a running loop."""
    return {key: name for things in (_files, _running, _children, _changed) for key, name in things()}


@asynccontextmanager
async def leaving() -> AsyncIterator[list[str]]:
    """Yields a list that gets, once the block is over and what is ending has ended, what it left behind."""
    left: list[str] = []
    with _dropped([]):  # what others have left
        pass
    before = held()
    with _dropped(left):
        yield left
    deadline_s = time.monotonic() + PATIENCE_S
    while (new := _new(before)) and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # what ends has no event for all of it
    left += new


@contextmanager
def _dropped(left: list[str]) -> Iterator[None]:
    """Adds what nobody refers to any more and nobody has closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    for warning in caught:
        if issubclass(warning.category, ResourceWarning):
            left.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _new(before: Held) -> list[str]:
    return [name for key, name in held().items() if key not in before]


def _files() -> Iterator[tuple[Hashable, str]]:
    for entry in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(entry))
        except OSError:  # the folder's own descriptor, closed again
            continue
        try:
            name = os.readlink(f"/dev/fd/{entry}")
        except OSError:  # not a link on this system
            name = f"descriptor {entry}"
        yield ("file", entry, status.st_dev, status.st_ino), f"open: {name}"


def _running() -> Iterator[tuple[Hashable, str]]:
    for task in asyncio.all_tasks():
        yield task, f"running: task {task.get_name()}"
    for thread in threading.enumerate():
        if not thread.name.startswith(EXECUTOR):
            yield thread, f"running: thread {thread.name}"


def _children() -> Iterator[tuple[Hashable, str]]:
    for listed in Path("/proc/self/task").glob("*/children"):  # Linux; elsewhere nobody tells
        try:
            pids = listed.read_text().split()
        except OSError:  # the thread has ended
            continue
        for pid in pids:
            yield ("process", pid), f"running: process {pid}"


def _changed() -> Iterator[tuple[Hashable, str]]:
    loggers = [logging.root, *[each for each in logging.root.manager.loggerDict.values() if _is_logger(each)]]
    for logger in loggers:
        assert isinstance(logger, logging.Logger)
        for handler in logger.handlers:
            yield ("handler", logger.name, handler), f"changed: logger {logger.name} has the handler {handler!r}"
        state = (logger.level, logger.propagate, logger.disabled)
        if state != (logging.NOTSET, True, False):
            yield (
                ("logger", logger.name, state),
                f"changed: logger {logger.name} (level, propagate, disabled) = {state}",
            )
    for number in ENDINGS:
        receiver = signal.getsignal(number)
        yield ("signal", number, receiver), f"changed: {number.name} is handled by {receiver!r}"
    for name, value in os.environ.items():
        if name != PYTESTS_OWN:
            yield ("variable", name, value), f"changed: the variable {name}"
    for folder in sys.path:
        yield ("path", folder), f"changed: sys.path has {folder}"


def _is_logger(each: object) -> bool:
    return isinstance(each, logging.Logger)

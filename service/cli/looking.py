"""Commands that look at what a service would be: they open the plugins as it would, and serve nothing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator

from service.app import Application, build, household
from service.chosen import Chosen
from service.run import Tasks


@contextlib.asynccontextmanager
async def opened(chosen: Chosen, *, say: Callable[[str], None] = lambda sentence: None) -> AsyncIterator[Application]:
    """The application, complete and without a socket. Raises StartError."""
    tasks = Tasks()
    loaded = chosen.load(tasks=tasks, say=say)
    async with household(loaded) as yielded:
        if yielded:
            loaded = chosen.load(tasks=tasks, say=say, household=yielded)
        async with build(loaded, tasks=tasks) as application:
            yield application


@contextlib.contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """What plugins write to standard output while they are open goes to standard error: ours may be read as JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)

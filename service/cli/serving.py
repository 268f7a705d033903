"""What goes on beside a running service: what `pegboard run` prints, `pegboard reload`'s socket, watching files."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import uvloop

from service.chosen import Chosen
from service.cli.banner import print_banner
from service.control import controlled
from service.spawning import Spawned
from service.stderr import log_to_stderr
from service.supervisor import Started, Supervisor
from service.watching import Watch


def supervise(chosen: Chosen, ahead: Spawned, *, watch: bool, began_s: float) -> int:
    """Run the service in a loop of its own; returns the exit code. The command began at `began_s`, which the time of
    the start is counted from. Raises StartError."""
    log_to_stderr()

    async def live() -> int:
        supervisor = Supervisor(chosen, ahead)
        changes = Watch(chosen.config, supervisor.request_reload)

        async def accompany(started: Started) -> None:
            took_s = time.monotonic() - began_s
            async with controlled(supervisor, started.settings):
                with suppress(OSError, SystemExit):  # rich's, where nobody reads standard error any more
                    print_banner(started, took_s=took_s)
                if watch:
                    await changes.run()
                await asyncio.Event().wait()

        return await supervisor.run(accompany, changes.follow)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(live())

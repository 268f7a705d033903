"""Reload and dying workers under load: with a reload nothing is dropped, with a worker only what it had."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from typing import Any

import pytest

CLIENTS = 8
"""Of each kind."""

RELOADS = 20
PAUSES_S = (0, 1, 2, 4)
"""Before each worker in the place of one that died, since they die in a row."""
REPLACED_WITHIN_S = 2.0
GENEROUS = 5
"""Deadlines are held with this factor on a shared machine."""


@pytest.mark.slow
async def test_reload_under_load_drops_nothing_twenty_times_in_a_row(loaded: Any) -> None:
    """With a request of 3 s and an open stream under way, changed code, and a changed number of workers each time."""
    async with loaded() as service:
        load, config, plugin = service.load, service.folder / "config.toml", service.folder / "plugins" / "counted.py"
        load.begin(kept_alive=CLIENTS, fresh=CLIENTS)
        for turn in range(1, RELOADS + 1):
            before = load.seen["answered"]
            await load.until(lambda before=before: load.seen["answered"] >= before + 50)
            lasting = [asyncio.create_task(load.whole(path)) for path in ("/long", "/stream")]
            plugin.write_text(plugin.read_text().replace(f"VERSION = {turn}\n", f"VERSION = {turn + 1}\n"))
            config.write_text(re.sub(r"workers = \d", f"workers = {1 + turn % 2}", config.read_text()))
            told = await service.reload()
            assert told.endswith("2 workers serve.\n" if turn % 2 else "1 worker serves.\n")
            long, stream = await asyncio.gather(*lasting)
            assert f'"version":{turn},'.encode() in long
            assert stream.count(b"tick\n") == 50
            assert b"end\n" in stream
            assert f'"version":{turn + 1},'.encode() in await load.whole("/quick")
        load.stopping.set()
        await load.end()
        service.process.send_signal(signal.SIGTERM)
        code, _ = await service.ended()
    assert code == 0
    assert load.seen == {"answered": load.seen["answered"]}, "nothing was dropped, cut or refused"


@pytest.mark.slow
async def test_worker_that_is_killed_under_load_takes_only_its_own_requests_with_it(loaded: Any) -> None:
    async with loaded("--workers", "2") as service:
        load = service.load
        load.begin(kept_alive=CLIENTS, fresh=CLIENTS)
        victims = set()
        for pause_s in PAUSES_S:
            await load.until(lambda: len(load.pids - victims) == 2)
            victim = min(load.pids - victims)
            victims.add(victim)
            os.kill(victim, signal.SIGKILL)
            began_s = time.monotonic()
            await load.until(lambda: len(load.pids - victims) == 2)
            assert time.monotonic() - began_s < pause_s + REPLACED_WITHIN_S * GENEROUS
        load.stopping.set()
        await load.end()
    assert load.seen["refused"] == 0
    assert set(load.dropped_of) <= victims | {0}  # 0: connections on which nobody had answered yet

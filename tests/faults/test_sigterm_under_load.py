"""SIGTERM under load: kept-alive and fresh connections, and no request that was read is dropped."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest

KEPT_ALIVE, FRESH = 8, 8
BEFORE = 300


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("drain", ["0s", "300ms"])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("turn", range(3))
async def test_sigterm_under_load_drops_nothing(
    loaded: Any, number: signal.Signals, drain: str, workers: str, turn: int
) -> None:
    async with loaded("--workers", workers, drain=drain) as service:
        load = service.load
        load.begin(kept_alive=KEPT_ALIVE, fresh=FRESH)
        await load.until(lambda: load.seen["answered"] >= BEFORE)
        service.process.send_signal(number)
        code, out = await service.ended()
        await load.end()
    assert code == 0
    read = sum(int(count) for count in re.findall(r"read (\d+) requests", out))
    # Whoever is refused knows that nothing was read and may ask again; all else was answered in full.
    assert load.seen["cut in the middle"] == 0
    assert read == load.seen["answered"]
    assert load.seen["dropped"] == 0
    assert load.seen["refused"] == KEPT_ALIVE + FRESH

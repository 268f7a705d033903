"""What running it costs: two workers against one, and reloads under load, in which no request may be dropped."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.load import run_load

RELOADS = 3
LOAD_S = 2
"""Of load before and after the reloads, in seconds."""


@dataclass(frozen=True)
class Operated:
    """What was measured."""

    ratio: float
    """Requests per second of two workers to those of one."""
    dropped: int
    answered: int
    reload_s: float
    """Median."""


def operate(serve: Callable[[int], tuple[str, int]], config: Path, *, rounds: int) -> Operated:
    """`serve(workers)` starts the service and gives the URL of a route that does nothing, and the supervisor's pid."""
    (one, _), (two, pid) = serve(1), serve(2)
    ratios = [run_load(two, seconds=1).per_second / run_load(one, seconds=1).per_second for _ in range(rounds)]
    took: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(run_load, two, seconds=2 * LOAD_S + 2 * RELOADS)
        time.sleep(LOAD_S)
        for _ in range(RELOADS):
            began = time.perf_counter()
            command = [sys.executable, "-m", "service", "reload", "--config", str(config), "--pid", str(pid)]
            subprocess.run(command, check=True, capture_output=True, cwd=config.parent, env=os.environ)
            took.append(time.perf_counter() - began)
        measured = loading.result()
    return Operated(statistics.median(ratios), measured.failures, measured.requests, statistics.median(took))

"""How many processors this process may use: what `workers = "auto"` comes to."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final, Literal

CGROUP_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time in each period, in a container (cgroup v2): `200000 100000` is two processors."""


def worker_count(workers: int | Literal["auto"], *, quota_file: Path = CGROUP_QUOTA) -> int:
    """`[service] workers` as a number: "auto" is one for each processor that the scheduler and the container allow."""
    if workers != "auto":
        return workers
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, _quota(quota_file) or affinity))


def _quota(file: Path) -> int | None:
    try:
        quota, period = file.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no container, or no limit: "max 100000"
        return None

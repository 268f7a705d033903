"""Servers that are measured: started, pinned to a processor, ended with the benchmark."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
SERVER_CPU, LOAD_CPU = 0, 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def serve(port: int, overrides: list[str]) -> list[str]:
    """The shipped config.toml, with a route that does nothing dropped in beside it."""
    command = [sys.executable, "-m", "service", "run", "--config", str(ROOT / "config.toml"), "--port", str(port)]
    own = [
        "service.host=127.0.0.1",
        f'service.plugin_dirs=["{BENCH / "plugins"}"]',
        "plugins.noop.enabled=true",
    ]
    for override in (*own, *overrides):
        command += ["--set", override]
    return command


def start_bare(stack: ExitStack, home: Path, plan: dict[str, object]) -> tuple[int, int]:
    """The bare peer; its port and process."""
    port = free_port()
    bare = start(stack, [sys.executable, str(BENCH / "peers" / "bare.py"), str(port)], home, {})
    assert bare.stdin is not None
    bare.stdin.write(json.dumps(plan).encode())
    bare.stdin.close()
    wait_for(port, "/noop")
    return port, bare.pid


def start(stack: ExitStack, command: list[str], home: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """A server, ended with the benchmark."""
    log = (home / f"{len(list(home.iterdir()))}.log").open("wb")
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, cwd=ROOT, env={**os.environ, **environ}
    )
    stack.callback(log.close)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def worker_of(supervisor: int) -> int:
    """The process that serves."""
    (worker,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return int(worker)


def pin(pid: int, cpu: int) -> None:
    """Keep every thread of a process on one processor, where there are several; what it starts later inherits it."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {cpu})


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int, path: str, *, within_s: float = 20) -> None:
    until = time.monotonic() + within_s
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, in seconds (user and system)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def uss_mb(pid: int) -> float:
    """Memory that only this process has, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024

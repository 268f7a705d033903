"""`make bench`: what Pegboard costs, as ratios within one run.

    a bare aiohttp handler         against a Pegboard route that does nothing, with the plugins on and off
    the same SQL in bare asyncpg   against an item, a page of 20 and a page of 1,000
    one worker                     against two, and reloads under load

The servers run on one processor, load and PostgreSQL on another. Short rounds are interleaved, so that a slow moment
of the machine hits all cases alike; what is printed are medians of per-round figures. Absolute numbers are of this
machine in this minute; only ratios travel. The service runs the shipped config.toml.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path[0] = str(ROOT)

from bench.load import Measured, run_load  # noqa: E402
from bench.operating import Operated, operate  # noqa: E402
from bench.recording import record_statements  # noqa: E402
from service.testing.postgres import PostgresServer  # noqa: E402

SERVER_CPU, LOAD_CPU = 0, 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

WIDE = "plugins.resources.table.users.max_limit=1000"
PATHS = {
    "item": "/api/v1/users/500",
    "page of 20": "/api/v1/users?limit=20",
    "page of 1,000": "/api/v1/users?limit=1000",
}
PLUGINS = ("database", "resources", "health", "home", "logs")


@dataclass
class Case:
    """One line of the result: an address, the process behind it, and what it is compared with."""

    name: str
    plugins: str
    url: str
    pid: int
    against: str | None = None
    rounds: list[tuple[Measured, float]] = field(default_factory=list)

    def median(self, figure: str) -> float:
        """Median over rounds of `per_second`, `p99_ms` or `cpu_us` (processor time per request)."""
        if figure == "cpu_us":
            return statistics.median(cpu_s * 1e6 / measured.requests for measured, cpu_s in self.rounds)
        return statistics.median(getattr(measured, figure) for measured, _ in self.rounds)

    def ratio(self, other: Case) -> float:
        """Median of the per-round ratios of requests per second."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(mine.per_second / theirs.per_second for (mine, _), (theirs, _) in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds of one second: it runs, figures are rough")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="length of a round")
    options = parser.parse_args()
    rounds, seconds = (3, 1) if options.quick else (options.rounds, options.seconds)
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        pin(postgres.pid, LOAD_CPU)
        url = postgres.create_database()
        asyncio.run(fill(url))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pegboard-bench-")))
        plan = {"url": url, "cases": asyncio.run(record_statements(ROOT / "config.toml", url, PATHS, [WIDE]))}
        cases, started = start_servers(stack, home, url, plan)
        check_answers(cases)
        for case in cases:  # warm
            run_load(case.url, seconds=1, cpu=LOAD_CPU)
        for number in range(rounds):
            for case in cases if number % 2 == 0 else reversed(cases):
                case.rounds.append(measure(case, seconds))
        operated = operate(lambda workers: start_workers(stack, home, workers), ROOT / "config.toml", rounds=rounds)
        return report(cases, started, operated, rounds, seconds)


# --- setting up


async def fill(url: str) -> None:
    """The demo data of the embedded server, in a database of this run's own."""
    import asyncpg

    from plugins.database.demo import make_demo

    connection = await asyncpg.connect(url)
    try:
        await make_demo(connection)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def start_servers(
    stack: ExitStack, home: Path, url: str, plan: dict[str, object]
) -> tuple[list[Case], dict[str, float]]:
    """The bare peer, the service as shipped, and the service with all its plugins off. Returns also what starting
    and running cost."""
    bare_port, on_port, off_port = (free_port() for _ in range(3))
    bare = start(stack, [sys.executable, str(BENCH / "peers" / "bare.py"), str(bare_port)], home, {})
    assert bare.stdin is not None
    bare.stdin.write(json.dumps(plan).encode())
    bare.stdin.close()
    wait_for(bare_port, "/noop")
    began = time.perf_counter()
    on = start(stack, serve(on_port, [WIDE]), home, {"DATABASE_URL": url, "PEGBOARD_ENV": "production"})
    wait_for(on_port, "/health/live")
    start_s = time.perf_counter() - began
    off = start(
        stack,
        serve(off_port, [f"plugins.{name}.enabled=false" for name in PLUGINS]),
        home,
        {"PEGBOARD_ENV": "production"},
    )
    wait_for(off_port, "/api/v1/noop")
    all_on = ", ".join(PLUGINS)
    on_pid, off_pid = worker_of(on.pid), worker_of(off.pid)
    for pid in (bare.pid, on_pid, off_pid):
        pin(pid, SERVER_CPU)
    cases = [
        Case("bare aiohttp route", "-", f"http://127.0.0.1:{bare_port}/noop", bare.pid),
        Case("route, plugins off", "none", f"http://127.0.0.1:{off_port}/api/v1/noop", off_pid, "bare aiohttp route"),
        Case("route, plugins on", all_on, f"http://127.0.0.1:{on_port}/api/v1/noop", on_pid, "bare aiohttp route"),
    ]
    for name, path in PATHS.items():
        bare_name = f"bare asyncpg, {name}"
        slug = name.replace(" ", "-").replace(",", "")
        cases.append(Case(bare_name, "-", f"http://127.0.0.1:{bare_port}/sql/{slug}", bare.pid))
        cases.append(Case(name, all_on, f"http://127.0.0.1:{on_port}{path}", on_pid, bare_name))
    return cases, {"start_s": start_s, "worker": on_pid, "supervisor": on.pid}


def start_workers(stack: ExitStack, home: Path, workers: int) -> tuple[str, int]:
    """The service without plugins on every processor: the URL of a route that does nothing, and the supervisor."""
    port = free_port()
    off = [f"plugins.{name}.enabled=false" for name in PLUGINS]
    service = start(stack, serve(port, [f"service.workers={workers}", *off]), home, {"PEGBOARD_ENV": "production"})
    wait_for(port, "/api/v1/noop")
    return f"http://127.0.0.1:{port}/api/v1/noop", service.pid


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


def check_answers(cases: list[Case]) -> None:
    """Every case answers, and a case of ours says what its bare peer says."""
    bodies = {}
    for case in cases:
        with urllib.request.urlopen(case.url, timeout=5) as response:
            bodies[case.name] = json.load(response)
    for case in cases:
        if case.against and bodies[case.name] != bodies[case.against]:
            raise SystemExit(f"{case.name} and {case.against} answer differently: the figures would mean nothing.")


# --- measuring


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, in seconds (user and system)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def measure(case: Case, seconds: int) -> tuple[Measured, float]:
    before = cpu_s(case.pid)
    measured = run_load(case.url, seconds=seconds, cpu=LOAD_CPU)
    if measured.failures:
        raise SystemExit(f"{case.name}: {measured.failures} requests failed.")
    return measured, cpu_s(case.pid) - before


def uss_mb(pid: int) -> float:
    """Memory that only this process has, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def report(cases: list[Case], started: dict[str, float], operated: Operated, rounds: int, seconds: int) -> int:
    by_name = {case.name: case for case in cases}
    print(f"\n{rounds} interleaved rounds of {seconds} s, 32 connections; medians\n")
    print(f"{'case':<30}{'req/s':>9}{'p99 ms':>9}{'CPU us':>9}{'ratio':>8}  plugins on")
    for case in cases:
        ratio = f"{case.ratio(by_name[case.against]):.2f}" if case.against else ""
        print(
            f"{case.name:<30}{case.median('per_second'):>9,.0f}{case.median('p99_ms'):>9.1f}"
            f"{case.median('cpu_us'):>9.0f}{ratio:>8}  {case.plugins}"
        )
    bare, on, off = (by_name[name] for name in ("bare aiohttp route", "route, plugins on", "route, plugins off"))
    rounds_of = [[cpu_s / measured.requests for measured, cpu_s in case.rounds] for case in (on, off, bare)]
    cost = statistics.median((on_s - off_s) / bare_s for on_s, off_s, bare_s in zip(*rounds_of, strict=True))
    print()
    verdicts = [
        ("item / bare asyncpg", by_name["item"].ratio(by_name["bare asyncpg, item"]), ">=", 0.75),
        ("page of 20 / bare asyncpg", by_name["page of 20"].ratio(by_name["bare asyncpg, page of 20"]), ">=", 0.75),
        ("page of 1,000, CPU ms of the worker", by_name["page of 1,000"].median("cpu_us") / 1000, "<=", 1.0),
        ("plugins' cost / bare aiohttp route (CPU)", cost, "<=", 0.15),
        ("memory of the worker, MB (USS)", uss_mb(int(started["worker"])), "<=", 80.0),
        ("start, warm, database by URL, s", started["start_s"], "<=", 1.0),
        (f"dropped in reloads, of {operated.answered:,} requests", operated.dropped, "<=", 0.0),
    ]
    for what, reached, relation, goal in verdicts:
        met = reached >= goal if relation == ">=" else reached <= goal
        print(f"{what:<44}{reached:>8.2f}   to reach {relation} {goal:g}   {'reached' if met else 'NOT reached'}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(
        f"\ntwo workers / one, requests per second   {operated.ratio:.2f}   on {cores} cores, the load on one of them"
        f"\na reload, two workers, under load, s     {operated.reload_s:.2f}"
        f"\nmemory of the supervisor, MB (USS)       {uss_mb(int(started['supervisor'])):.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

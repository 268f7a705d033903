"""`make bench`: what Pegboard costs, as ratios within one run.

    a bare aiohttp handler         against a Pegboard route that does nothing, with the plugins on and off
    the same SQL in bare asyncpg   against an item, a page of 20 and a page of 1,000
    a route that wants a token     against the same without: one that is known, and none
    a table of a million rows      against the same by hand: counts, deep pages, writes (`million.py`)
    one worker                     against two, and reloads under load

The servers run on one processor, load and PostgreSQL on another. Short rounds are interleaved, so that a slow moment
of the machine hits all cases alike; what is printed are medians of per-round figures. Absolute numbers are of this
machine in this minute; only ratios travel. The service runs the shipped config.toml.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.cases import Case, print_cases, run_rounds  # noqa: E402
from bench.million import measure_million  # noqa: E402
from bench.operating import Operated, operate  # noqa: E402
from bench.processes import (  # noqa: E402
    LOAD_CPU,
    ROOT,
    SERVER_CPU,
    free_port,
    pin,
    serve,
    start,
    start_bare,
    uss_mb,
    wait_for,
    worker_of,
)
from bench.recording import Asked, record_statements, slug  # noqa: E402
from service.testing.postgres import PostgresServer  # noqa: E402
from service.testing.tokens import TOKEN_SECRET, make_token  # noqa: E402

WIDE = "plugins.resources.table.users.max_limit=1000"
PATHS = {
    "item": "/api/v1/users/500",
    "page of 20": "/api/v1/users?limit=20",
    "page of 1,000": "/api/v1/users?limit=1000",
}
FIRST_PAGE, DEEP_PAGE = "list with count, 1,000,000 rows", "page at row 900,000 by cursor"
PLUGINS = ("database", "resources", "health", "home", "auth", "logs")


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
        asked = {name: Asked(path) for name, path in PATHS.items()}
        plan = {"url": url, "cases": asyncio.run(record_statements(ROOT / "config.toml", url, asked, [WIDE]))}
        cases, started = start_servers(stack, home, url, plan)
        run_rounds(cases, rounds, seconds)
        print(f"\n{rounds} interleaved rounds of {seconds} s, 32 connections; medians\n")
        print_cases(cases)
        million = measure_million(stack, postgres, home, rounds=rounds, seconds=seconds)
        operated = operate(lambda workers: start_workers(stack, home, workers), ROOT / "config.toml", rounds=rounds)
        return report(cases, million, started, operated)


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
    bare_port, bare_pid = start_bare(stack, home, plan)
    on_port, off_port = free_port(), free_port()
    began = time.perf_counter()
    environ = {"DATABASE_URL": url, "JWT_SECRET": TOKEN_SECRET, "PEGBOARD_ENV": "production"}
    on = start(stack, serve(on_port, [WIDE]), home, environ)
    wait_for(on_port, "/health/live")
    start_s = time.perf_counter() - began
    off = start(
        stack,
        serve(off_port, [f"plugins.{name}.enabled=false" for name in PLUGINS]),
        home,
        {"PEGBOARD_ENV": "production"},
    )
    wait_for(off_port, "/api/v1/noop")
    all_on, token = ", ".join(PLUGINS), make_token()
    on_pid, off_pid = worker_of(on.pid), worker_of(off.pid)
    for pid in (bare_pid, on_pid, off_pid):
        pin(pid, SERVER_CPU)
    cases = [
        Case("bare aiohttp route", "-", f"http://127.0.0.1:{bare_port}/noop", bare_pid),
        Case("route, plugins off", "none", f"http://127.0.0.1:{off_port}/api/v1/noop", off_pid, "bare aiohttp route"),
        Case("route, plugins on", all_on, f"http://127.0.0.1:{on_port}/api/v1/open", on_pid, "bare aiohttp route"),
    ]
    wanting = f"http://127.0.0.1:{on_port}/api/v1/noop"
    cases += [
        Case("route, with a known token", all_on, wanting, on_pid, "bare aiohttp route", token=token),
        Case("route, refused without", all_on, wanting, on_pid, "bare aiohttp route", is_refused=True),
    ]
    for name, path in PATHS.items():
        bare_name = f"bare asyncpg, {name}"
        cases.append(Case(bare_name, "-", f"http://127.0.0.1:{bare_port}/sql/{slug(name)}", bare_pid))
        cases.append(Case(name, all_on, f"http://127.0.0.1:{on_port}{path}", on_pid, bare_name, token=token))
    return cases, {"start_s": start_s, "worker": on_pid, "supervisor": on.pid}


def start_workers(stack: ExitStack, home: Path, workers: int) -> tuple[str, int]:
    """The service without plugins on every processor: the URL of a route that does nothing, and the supervisor."""
    port = free_port()
    off = [f"plugins.{name}.enabled=false" for name in PLUGINS]
    service = start(stack, serve(port, [f"service.workers={workers}", *off]), home, {"PEGBOARD_ENV": "production"})
    wait_for(port, "/api/v1/noop")
    return f"http://127.0.0.1:{port}/api/v1/noop", service.pid


# --- what is printed


def report(cases: list[Case], million: list[Case], started: dict[str, float], operated: Operated) -> int:
    by_name = {case.name: case for case in (*cases, *million)}

    def ratio(name: str, other: str) -> float:
        return by_name[name].ratio(by_name[other])

    def cost(name: str, without: str) -> float:
        """The processor time that one takes more than the other, in those of a bare route."""
        compared = (by_name[each] for each in (name, without, "bare aiohttp route"))
        rounds_of = [[cpu_s / measured.requests for measured, cpu_s in case.rounds] for case in compared]
        return statistics.median((more_s - less_s) / bare_s for more_s, less_s, bare_s in zip(*rounds_of, strict=True))

    print()
    verdicts = [
        ("item / bare asyncpg", ratio("item", "bare asyncpg, item"), ">=", 0.75),
        ("page of 20 / bare asyncpg", ratio("page of 20", "bare asyncpg, page of 20"), ">=", 0.75),
        ("page of 1,000, CPU ms of the worker", by_name["page of 1,000"].median("cpu_us") / 1000, "<=", 1.0),
        ("plugins' cost / bare aiohttp route (CPU)", cost("route, plugins on", "route, plugins off"), "<=", 0.15),
        ("a known token / bare route (CPU)", cost("route, with a known token", "route, plugins on"), "<=", 0.1),
        ("refused / served", ratio("route, refused without", "route, with a known token"), ">=", 1.0),
        ("memory of the worker, MB (USS)", uss_mb(int(started["worker"])), "<=", 80.0),
        ("start, warm, database by URL, s", started["start_s"], "<=", 1.0),
        ("deep page by cursor / first page", ratio(DEEP_PAGE, FIRST_PAGE), ">=", 0.5),
        ("counted list / count(*) by hand", ratio(FIRST_PAGE, "list with count(*) by hand"), ">=", 10.0),
        ("insert / bare asyncpg", ratio("insert", "bare asyncpg, insert"), ">=", 0.8),
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

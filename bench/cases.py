"""What is measured: one line of the result each, in short interleaved rounds."""

from __future__ import annotations

import json
import statistics
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.load import Measured, run_load
from bench.processes import LOAD_CPU, cpu_s


@dataclass
class Case:
    """One line of the result: an address, the process behind it, and what it is compared with."""

    name: str
    plugins: str
    url: str
    pid: int
    against: str | None = None
    method: str = "GET"
    body: str = ""
    """Sent as JSON."""
    connections: int = 32
    token: str = ""
    """Sent as a bearer's."""
    is_refused: bool = False
    """True where every answer is to be a refusal."""
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


def run_rounds(cases: Sequence[Case], rounds: int, seconds: int) -> None:
    """Fill the rounds of all cases, which answer alike where they are compared."""
    check_answers(cases)
    for case in cases:
        measure(case, 1)  # warm
    for number in range(rounds):
        for case in cases if number % 2 == 0 else reversed(cases):
            case.rounds.append(measure(case, seconds))


def check_answers(cases: Sequence[Case]) -> None:
    """Every case answers, and a case of ours says what its bare peer says."""
    bodies = {case.name: answer(case) for case in cases if case.method == "GET" and not case.is_refused}
    for case in cases:
        if case.name in bodies and case.against in bodies and bodies[case.name] != bodies[case.against]:
            raise SystemExit(f"{case.name} and {case.against} answer differently: the figures would mean nothing.")


def answer(case: Case) -> object:
    request = urllib.request.Request(case.url, headers=authorization(case.token))
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def measure(case: Case, seconds: int) -> tuple[Measured, float]:
    """One round, and the processor time that the server took in it."""
    before = cpu_s(case.pid)
    measured = run_load(
        case.url,
        seconds=seconds,
        method=case.method,
        body=case.body,
        headers=authorization(case.token),
        connections=case.connections,
        cpu=LOAD_CPU,
    )
    if measured.failures != (measured.requests if case.is_refused else 0):
        raise SystemExit(f"{case.name}: {measured.failures} of {measured.requests} requests failed.")
    return measured, cpu_s(case.pid) - before


def authorization(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def print_cases(cases: Sequence[Case]) -> None:
    by_name = {case.name: case for case in cases}
    print(f"{'case':<36}{'req/s':>9}{'p99 ms':>9}{'CPU us':>9}{'ratio':>8}  plugins on")
    for case in cases:
        ratio = f"{case.ratio(by_name[case.against]):.2f}" if case.against else ""
        print(
            f"{case.name:<36}{case.median('per_second'):>9,.0f}{case.median('p99_ms'):>9.1f}"
            f"{case.median('cpu_us'):>9.0f}{ratio:>8}  {case.plugins}"
        )

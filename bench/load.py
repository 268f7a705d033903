"""Load on one address: wrk where it is found, else a small generator of our own.

Either way: `connections` keep-alive connections, one request at a time on each, for `seconds`.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Measured:
    """One round: requests answered, the seconds it took, the 99th percentile in ms, answers that were no 200."""

    requests: int
    seconds: float
    p99_ms: float
    failures: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def run_load(url: str, *, seconds: int, connections: int = 32, cpu: int | None = None) -> Measured:
    """Load `url` from processor `cpu`. Blocks until it is over."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None and shutil.which("taskset") else []
    if shutil.which("wrk"):
        command = [*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", url]
        return _read_wrk(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    command = [*pin, sys.executable, __file__, url, str(seconds), str(connections)]
    requests, took, p99, failures = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return Measured(int(requests), float(took), float(p99), int(failures))


def _read_wrk(text: str) -> Measured:
    requests, seconds = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    p99_ms = float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failures = (int(bad[1]) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0)
    return Measured(int(requests), float(seconds), p99_ms, failures)


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer before it is complete."""

    def __init__(self, request: bytes, latencies: list[float], failures: list[bytes]) -> None:
        self._request = request
        self._latencies = latencies
        self._failures = failures
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._answer = b""
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        if len(body) < length:
            return
        self._latencies.append(time.perf_counter() - self._sent)
        if not head.startswith(b"HTTP/1.1 200"):
            self._failures.append(head)
        self._send()


async def _generate(url: str, seconds: float, connections: int) -> None:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    latencies: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(request, latencies, failures), parts.hostname, parts.port)
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    latencies.sort()
    print(len(latencies), took, latencies[int(len(latencies) * 0.99)] * 1000, len(failures))


if __name__ == "__main__":
    import uvloop

    uvloop.run(_generate(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))

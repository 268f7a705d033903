"""Load on one address: wrk where it is found, else a small generator of our own.

Either way: `connections` keep-alive connections, one request at a time on each, for `seconds`. `{n}` in the path is
another number for each request, from 1 on.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
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


def run_load(
    url: str,
    *,
    seconds: int,
    method: str = "GET",
    body: str = "",
    headers: Mapping[str, str] | None = None,
    connections: int = 32,
    cpu: int | None = None,
) -> Measured:
    """Load `url` from processor `cpu`, with `body` as JSON. Blocks until it is over."""
    headers = dict(headers or {}, **({"Content-Type": "application/json"} if body else {}))
    pin = ["taskset", "-c", str(cpu)] if cpu is not None and shutil.which("taskset") else []
    if shutil.which("wrk"):
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(_script(url, method, body, headers))
            script.flush()
            command = [*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", script.name, "--latency", url]
            return _read_wrk(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    command = [*pin, sys.executable, __file__, url, str(seconds), str(connections), method, body, json.dumps(headers)]
    requests, took, p99, failures = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return Measured(int(requests), float(took), float(p99), int(failures))


def _script(url: str, method: str, body: str, headers: Mapping[str, str]) -> str:
    """What wrk asks, in Lua."""
    before, number, after = _target(url).partition("{n}")
    lines = [f"wrk.method = {method!r}"]
    lines += [f"wrk.headers[{name!r}] = {value!r}" for name, value in headers.items()]
    if body:
        lines.append(f"wrk.body = [[{body}]]")
    if number:
        lines += [
            "n = 0",
            f"request = function() n = n + 1; return wrk.format(nil, {before!r} .. n .. {after!r}) end",
        ]
    return "\n".join(lines)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


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

    def __init__(self, requests: Iterator[bytes], latencies: list[float], failures: list[bytes]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._failures = failures
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._answer = b""
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        if len(body) < length:
            return
        self._latencies.append(time.perf_counter() - self._sent)
        if not head.startswith(b"HTTP/1.1 2"):
            self._failures.append(head)
        self._send()


async def _generate(
    url: str, seconds: float, connections: int, method: str, body: str, headers: Mapping[str, str]
) -> None:
    parts, target = urlsplit(url), _target(url)
    head = f"HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if body:
        head += f"Content-Length: {len(body.encode())}\r\n"
    requests = (f"{method} {target.replace('{n}', str(n))} {head}\r\n{body}".encode() for n in count(1))
    latencies: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(requests, latencies, failures), parts.hostname, parts.port)
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    latencies.sort()
    print(len(latencies), took, latencies[int(len(latencies) * 0.99)] * 1000, len(failures))


if __name__ == "__main__":
    import uvloop

    address, seconds, connections, method, body, headers = sys.argv[1:]
    uvloop.run(_generate(address, float(seconds), int(connections), method, body, json.loads(headers)))

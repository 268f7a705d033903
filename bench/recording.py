"""What SQL Pegboard runs for a request, so that the bare peer can run the same."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession
from aiohttp.web import ServerRunner, TCPSite

from plugins.database.pool import Postgres
from service.app import build, household, process_run
from service.loader import load
from service.run import Tasks
from service.settings import read


@dataclass(frozen=True)
class Asked:
    """A request."""

    path: str
    method: str = "GET"
    body: str = ""
    """Sent as JSON."""


async def record_statements(
    config: Path, url: str, asked: Mapping[str, Asked], overrides: Sequence[str]
) -> dict[str, dict[str, object]]:
    """By case: the SQL and arguments of the request, and where the database's answer stands in the body."""
    said: list[tuple[str, list[object], bytes]] = []
    known = {name: getattr(Postgres, name) for name in ("fetch_json", "write")}

    def recorder(run: Callable[..., Awaitable[bytes | None]]) -> Callable[..., Awaitable[bytes | None]]:
        async def record(self: Postgres, sql: str, *args: object) -> bytes | None:
            answer = await run(self, sql, *args)
            said.append((sql, list(args), answer or b""))
            return answer

        return record

    for name, run in known.items():
        setattr(Postgres, name, recorder(run))
    recorded: dict[str, dict[str, object]] = {}
    try:
        settings = read(
            config,
            environment="production",
            overrides=["plugins.logs.enabled=false", "plugins.auth.enabled=false", *overrides],
            environ={**os.environ, "DATABASE_URL": url},
        )
        tasks = Tasks()
        loaded = load(settings, process_run(settings, tasks=tasks, say=lambda text: None))
        async with household(loaded), build(loaded, tasks=tasks) as application:
            runner = ServerRunner(application.front())
            await runner.setup()
            site = TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            async with ClientSession(f"http://127.0.0.1:{site.port}") as client:
                for name, request in asked.items():
                    said.clear()
                    headers = {"Content-Type": "application/json"} if request.body else {}
                    async with client.request(
                        request.method, request.path, data=request.body or None, headers=headers
                    ) as response:
                        body = await response.read()
                    if not response.ok:
                        raise SystemExit(f"{name}: {response.status} {body.decode()}")
                    sql, args, answer = said[0]  # the rest is about counting
                    recorded[slug(name)] = {"sql": sql, "args": args, **_around(body, answer)}
            await runner.cleanup()
    finally:
        for name, run in known.items():
            setattr(Postgres, name, run)
    return recorded


def slug(name: str) -> str:
    """A case's name in a path."""
    return name.replace(" ", "-").replace(",", "")


def _around(body: bytes, answer: bytes) -> dict[str, object]:
    """How `body` is made of `answer`: a part of it, from and to so many bytes off its ends, with text around."""
    at = answer.find(body)
    if at >= 0:
        return {"before": "", "from": at, "off": len(answer) - at - len(body), "after": ""}
    rows = json.loads(answer)[0]
    begin = body.index(b"[")
    end = len(body) - body[::-1].index(b"]") if rows else begin + 2
    return {
        "before": body[:begin].decode(),
        "from": 1,
        "off": len(answer) - 1 - (end - begin),
        "after": body[end:].decode(),
    }

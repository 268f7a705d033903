"""What SQL Pegboard runs for a request, so that the bare peer can run the same."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiohttp import ClientSession
from aiohttp.web import ServerRunner, TCPSite

from plugins.database.pool import Postgres
from service.app import build, household, process_run
from service.loader import load
from service.run import Tasks
from service.settings import read


async def record_statements(
    config: Path, url: str, paths: Mapping[str, str], overrides: Sequence[str]
) -> dict[str, dict[str, object]]:
    """By case: the SQL and arguments of the request, and what stands around the database's answer in the body."""
    said: list[tuple[str, list[object], bytes]] = []
    fetch = Postgres.fetch_json

    async def fetch_json(self: Postgres, sql: str, *args: object) -> bytes | None:
        answer = await fetch(self, sql, *args)
        said.append((sql, list(args), answer or b""))
        return answer

    Postgres.fetch_json = fetch_json
    recorded: dict[str, dict[str, object]] = {}
    try:
        settings = read(
            config,
            environment="production",
            overrides=["plugins.logs.enabled=false", *overrides],
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
                for name, path in paths.items():
                    said.clear()
                    async with client.get(path) as response:
                        body = await response.read()
                    ((sql, args, answer),) = said
                    recorded[name.replace(" ", "-").replace(",", "")] = {
                        "sql": sql,
                        "args": args,
                        **_around(body, answer),
                    }
            await runner.cleanup()
    finally:
        Postgres.fetch_json = fetch
    return recorded


def _around(body: bytes, answer: bytes) -> dict[str, object]:
    """How `body` is made of `answer`: as it is, or rows cut from the front of it with text before and after."""
    if body == answer:
        return {"before": "", "skip": 0, "after": ""}
    rows = json.loads(answer)[0]
    begin = body.index(b"[")
    end = len(body) - body[::-1].index(b"]") if rows else begin + 2
    skip = len(answer) - 1 - (end - begin)
    return {"before": body[:begin].decode(), "skip": skip, "after": body[end:].decode()}

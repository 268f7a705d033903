"""Columns come, go and change their names under load: the service finds out by itself and serves what there is."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.faults.conftest import PATIENCE_S, REPOSITORY, kill_all

pytestmark = pytest.mark.slow

CLIENTS = 8
SQL = "CREATE TABLE rows (id int PRIMARY KEY, n int); INSERT INTO rows SELECT i, i FROM generate_series(1, 100) i"


async def test_changed_schema_is_served_again_by_itself(tmp_path: Path, make_database: Any) -> None:
    url = make_database(SQL)
    (tmp_path / "config.toml").write_text(
        '[service]\nport = 0\nworkers = 2\n[plugins.database]\nenabled = true\nurl = { env = "DATABASE_URL" }\n'
        '[plugins.resources]\nenabled = true\ntables = ["*"]\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "run"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    connection = await asyncpg.connect(url)
    seen: Counter[int] = Counter()
    fields: list[str] = []
    stopping = asyncio.Event()

    async def ask(session: ClientSession, root: str) -> None:
        nonlocal fields
        while not stopping.is_set():
            async with session.get(f"{root}/api/v1/rows/5") as response:
                body = await response.json()
                seen[response.status] += 1
                if response.status == 200:
                    fields = list(body)
                else:
                    assert body["error"]["code"] == "SERVICE_UNAVAILABLE"
                    await asyncio.sleep(0.02)  # as Retry-After would have it, only sooner

    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            assert process.stdout is not None
            while not (match := re.search(rb"http://127\.0\.0\.1:\d+", await process.stdout.readline())):
                pass
            reading = asyncio.create_task(process.stdout.read())
            async with ClientSession() as session:
                clients = [asyncio.create_task(ask(session, match[0].decode())) for _ in range(CLIENTS)]
                for change, wanted in [
                    ("RENAME COLUMN n TO m", ["id", "m"]),
                    ("DROP COLUMN m", ["id"]),
                    ("ADD COLUMN k text", ["id"]),
                ]:
                    await connection.execute(f"ALTER TABLE rows {change}")
                    while fields != wanted:
                        await asyncio.wait(clients, timeout=0.05)
                await connection.execute("NOTIFY pegboard, 'reload'")
                while fields != ["id", "k"]:
                    await asyncio.wait(clients, timeout=0.05)
                stopping.set()
                await asyncio.gather(*clients)
            process.terminate()
            out = (await reading).decode()
            assert await process.wait() == 0
    finally:
        await connection.close()
        if process.returncode is None:
            kill_all(process.pid)
        await process.communicate()
    assert set(seen) <= {200, 503}
    assert "Traceback" not in out

"""Sessions are terminated at random under writes: at most so many requests fail, and nothing is written twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import asyncpg
import pytest

from service.testing.service import MakeService

pytestmark = pytest.mark.slow

CLIENTS = 8
SHOTS = 40

SQL = "CREATE TABLE rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int NOT NULL)"


async def test_terminated_sessions_cost_at_most_one_write_each_and_none_is_made_twice(
    make_service: MakeService, make_database
) -> None:
    url = make_database(SQL)
    settings = {"plugins": {"database": {"url": url}, "resources": {"tables": ["rows"]}}}
    service = await make_service(["database", "resources"], settings)
    outcomes: Counter[int] = Counter()
    made: set[int] = set()
    stopping = asyncio.Event()

    async def write(client: int) -> None:
        number = client
        while not stopping.is_set():
            number += CLIENTS
            async with service.client.post("/api/v1/rows", json={"n": number}) as response:
                body = await response.json()
                outcomes[response.status] += 1
                if response.status == 201:
                    made.add(number)
                else:
                    assert body["error"]["code"] == "SERVICE_UNAVAILABLE"

    dice = random.Random(4)  # noqa: S311 (repeatable)
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(120):
            writers = [asyncio.create_task(write(client)) for client in range(CLIENTS)]
            shots = 0
            while shots < SHOTS:
                before = outcomes[201]
                pids = await connection.fetch(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                    "AND application_name = 'pegboard'"
                )
                shots += await connection.fetchval("SELECT pg_terminate_backend($1)::int", dice.choice(pids)["pid"])
                while outcomes[201] < before + CLIENTS:
                    await asyncio.wait(writers, timeout=0.01)
            stopping.set()
            await asyncio.gather(*writers)
        rows = await connection.fetch("SELECT n, count(*) AS count FROM rows GROUP BY n")
    finally:
        await connection.close()
    assert set(outcomes) <= {201, 503}
    assert outcomes[503] <= SHOTS
    assert {row["count"] for row in rows} == {1}
    assert made <= {row["n"] for row in rows}
    assert len(rows) - len(made) <= outcomes[503]

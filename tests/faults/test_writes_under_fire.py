"""Connections end at random under writes, before a row is kept and after: each costs one write, none is made twice."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from service.testing.service import MakeService

pytestmark = pytest.mark.slow

CLIENTS = 8
SHOTS = 40
"""Sessions that are terminated, and as many answers that are lost."""

SQL = "CREATE TABLE rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int NOT NULL)"

MADE = b"INSERT 0 1"
"""What stands in PostgreSQL's answer to a write, which it gives once the row is committed."""


class Relay:
    """Stands between the service and PostgreSQL, and loses an answer and its connection where it is told to."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._losing = asyncio.Event()
        self._lost = asyncio.Event()

    async def lose_answer(self) -> None:
        """Lose that to the next write; return once it is lost."""
        self._lost.clear()
        self._losing.set()
        await self._lost.wait()

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._server)

        async def ask() -> None:
            while chunk := await client.read(65_536):
                to_server.write(chunk)

        async def answer() -> None:
            while chunk := await server.read(65_536):
                if self._losing.is_set() and MADE in chunk:
                    self._losing.clear()
                    self._lost.set()
                    return
                to_client.write(chunk)

        ways = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        to_client.close()
        to_server.close()


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to the server of this URL, and the URL that leads through it."""
    query = parse_qs(urlsplit(url).query)
    socket = f".s.PGSQL.{query['port'][0]}"
    relay = Relay(Path(query["host"][0]) / socket)
    with tempfile.TemporaryDirectory(prefix="pegboard-") as folder:  # the paths of sockets are short
        async with await asyncio.start_unix_server(relay.serve, Path(folder) / socket):
            yield relay, url.replace(quote(query["host"][0], safe=""), quote(folder, safe=""))


async def test_terminated_sessions_cost_at_most_one_write_each_and_none_is_made_twice(
    make_service: MakeService, make_database
) -> None:
    """Nor does a lost answer cost more, to a write that PostgreSQL has committed."""
    url = make_database(SQL)
    outcomes: Counter[int] = Counter()
    made: set[int] = set()
    stopping = asyncio.Event()
    dice = random.Random(4)  # noqa: S311 (repeatable)
    async with relayed(url) as (relay, through):
        settings = {"plugins": {"database": {"url": through}, "resources": {"tables": ["rows"]}}}
        service = await make_service(["database", "resources"], settings)

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

        async def terminate() -> int:
            """How many are."""
            pids = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND application_name = 'pegboard'"
            )
            return await connection.fetchval("SELECT pg_terminate_backend($1)::int", dice.choice(pids)["pid"])

        connection = await asyncpg.connect(url)
        try:
            async with asyncio.timeout(120):
                writers = [asyncio.create_task(write(client)) for client in range(CLIENTS)]
                shots = 0
                while shots < SHOTS:
                    before = outcomes[201]
                    if await terminate():
                        shots += 1
                        await relay.lose_answer()
                    while outcomes[201] < before + CLIENTS:
                        await asyncio.wait(writers, timeout=0.01)
                stopping.set()
                await asyncio.gather(*writers)
            rows = await connection.fetch("SELECT n, count(*) AS count FROM rows GROUP BY n")
        finally:
            await connection.close()
    assert set(outcomes) == {201, 503}
    assert SHOTS <= outcomes[503] <= 2 * SHOTS
    assert {row["count"] for row in rows} == {1}
    assert made <= {row["n"] for row in rows}
    assert SHOTS <= len(rows) - len(made) <= outcomes[503], "rows were kept of which no client was told"

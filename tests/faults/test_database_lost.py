"""PostgreSQL goes away and comes back under load: clients see 200 or 503 with Retry-After, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from service.testing.postgres import PostgresServer
from service.testing.service import MakeService, Service

pytestmark = pytest.mark.slow

CLIENTS = 8
ACQUIRE_S = 2.0
READ_S = 2.0
GENEROUS = 5
"""Deadlines are held with this factor on a shared machine."""

NUMBERS = "CREATE TABLE numbers (n int PRIMARY KEY); INSERT INTO numbers SELECT generate_series(1, 100);"

SETTINGS = {
    "plugins": {
        "database": {
            "url": {"env": "DATABASE_URL"},
            "pool": {"acquire": f"{ACQUIRE_S:g}s"},
            "timeouts": {"read": f"{READ_S:g}s"},
        },
        "resources": {"tables": ["numbers"]},
        "health": {"interval": "1s"},
    }
}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, which may be stopped."""
    with PostgresServer() as server:
        yield server


class Load:
    """Clients that ask one after another until they are told to stop, and what they got."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stopped = asyncio.Event()
        self.answers: list[tuple[int, str | None, float]] = []
        """Status, Retry-After, seconds."""
        self._tasks = [asyncio.create_task(self._run()) for _ in range(CLIENTS)]

    async def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            async with self._service.client.get("/api/v1/numbers?limit=5") as response:
                await response.read()
                retry_after = response.headers.get("Retry-After")
            self.answers.append((response.status, retry_after, time.monotonic() - began))

    async def until(self, condition: Callable[[], bool], *, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await self.go_on()

    async def go_on(self) -> None:
        await asyncio.wait(self._tasks, timeout=0.01)

    async def stop(self) -> None:
        self._stopped.set()
        await asyncio.gather(*self._tasks)

    def since(self, mark: int) -> list[int]:
        return [status for status, _, _ in self.answers[mark:]]


async def health(service: Service) -> int:
    async with service.client.get("/health") as response:
        return response.status


@pytest.mark.parametrize("way", ["stop", "kill", "freeze"])
async def test_lost_database_is_503_until_it_is_back(
    make_service: MakeService, server: PostgresServer, way: str
) -> None:
    url = server.create_database(NUMBERS)
    service = await make_service(["database", "resources", "health"], SETTINGS, environ={"DATABASE_URL": url})
    load = Load(service)
    await load.until(lambda: 200 in load.since(0), within_s=10)

    await asyncio.to_thread(getattr(server, way))
    lost = len(load.answers)
    await load.until(lambda: 503 in load.since(lost), within_s=(READ_S + 1 + ACQUIRE_S) * GENEROUS)
    assert await health(service) == 503, "the pool's own failures mark the database at once"

    await asyncio.to_thread(server.thaw if way == "freeze" else server.start)
    back = len(load.answers)
    await load.until(lambda: load.since(back).count(200) > CLIENTS, within_s=3 * GENEROUS)
    async with asyncio.timeout(3 * GENEROUS):
        while await health(service) != 200:
            await load.go_on()
    await load.stop()

    assert {status for status, _, _ in load.answers} == {200, 503}
    assert {retry_after for status, retry_after, _ in load.answers if status == 503} == {"1"}
    assert max(seconds for _, _, seconds in load.answers) < (READ_S + 1 + ACQUIRE_S) * GENEROUS


async def test_clients_that_leave_cost_no_connection(make_service: MakeService, server: PostgresServer) -> None:
    url = server.create_database(NUMBERS)
    service = await make_service(["database", "resources"], SETTINGS, environ={"DATABASE_URL": url})
    for _ in range(50):
        leaving = [asyncio.create_task(_ask_and_leave(service.port)) for _ in range(20)]
        await asyncio.gather(*leaving)
    for _ in range(20):  # twice the pool, at once
        answers = await asyncio.gather(*(service.client.get("/api/v1/numbers/7") for _ in range(20)))
        assert {answer.status for answer in answers} == {200}


async def _ask_and_leave(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/v1/numbers?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    writer.transport.abort()

"""Which connections are lent again, and what becomes of those that nobody needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from service.api import Unavailable
from service.testing.postgres import PostgresServer

BACKEND = "SELECT pg_backend_pid() AS pid"
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pegboard'"


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as made:
        yield made


async def many(opened, count: int) -> None:
    """As many connections at once."""
    await asyncio.gather(*[opened.database.fetch("SELECT pg_sleep(0.02)") for _ in range(count)])


async def test_the_connection_used_last_is_lent_first(url, open_database):
    async with open_database(url, pool={"min": 1, "max": 4}) as opened:
        await many(opened, 4)
        pids = {(await opened.database.fetch(BACKEND))[0]["pid"] for _ in range(20)}
    assert len(pids) == 1


async def test_connections_that_nobody_needs_are_closed_and_those_needed_stay(url, open_database, eventually, ask):
    async with open_database(url, pool={"min": 1, "max": 4, "idle": "100ms"}) as opened:
        await many(opened, 4)
        [before] = await opened.database.fetch(BACKEND)

        async def is_one() -> bool:
            assert await opened.database.fetch(BACKEND) == [before]  # keeps one needed all the while
            return opened.pool.get_size() == 1

        await eventually(is_one, within_s=20)
        assert opened.resting == 1


async def test_a_service_at_rest_holds_no_connection_warm(url, open_database, eventually):
    async with open_database(url, pool={"min": 2, "max": 4}) as opened:
        await many(opened, 4)

        async def is_all_with_asyncpg() -> bool:
            return opened.pool.get_idle_size() == 4

        await eventually(is_all_with_asyncpg, within_s=20)
        assert opened.lender._cooling is None
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_a_connection_that_died_while_it_rested_is_not_lent(url, open_database, eventually, ask):
    async with open_database(url, pool={"min": 1, "max": 3}) as opened:
        await many(opened, 3)
        kill = BACKENDS.replace("count(*)", "count(pg_terminate_backend(pid))") + " AND pid <> $1"
        [[last]] = [row.values() for row in await opened.database.fetch(BACKEND)]
        assert await ask(url, kill, last) >= 2

        async def is_noticed() -> bool:
            return opened.pool.get_size() == 1

        await eventually(is_noticed)
        await many(opened, 3)
        assert opened.resting == opened.pool.get_size() == 3
    assert not opened.rung


async def test_borrowing_and_connecting_share_one_deadline(url, open_database):
    async with open_database(url, pool={"min": 1, "max": 1, "acquire": "50ms"}) as opened:
        async with opened.database.transaction():
            with pytest.raises(Unavailable) as refused:
                await opened.database.fetch("SELECT 1")
        assert refused.value.headers["Retry-After"]
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_who_waits_is_served_before_who_comes(url, open_database):
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        order: list[str] = []

        async def ask_as(name: str) -> None:
            await opened.database.fetch("SELECT 1")
            order.append(name)

        async with opened.database.transaction():
            waiting = [asyncio.create_task(ask_as(f"waits {number}")) for number in range(3)]
            await asyncio.sleep(0)
        await ask_as("comes")
        await asyncio.gather(*waiting)
    assert order == ["waits 0", "waits 1", "waits 2", "comes"]


async def test_a_connection_that_comes_back_late_is_closed_with_the_service(postgres, open_database, eventually, ask):
    with postgres.database() as own:
        async with open_database(own, pool={"min": 2, "max": 2}) as opened:
            late = asyncio.create_task(opened.database.fetch("SELECT pg_sleep(0.2)"))
            await asyncio.sleep(0.05)
        await late

        async def is_empty() -> bool:
            return await ask(own, BACKENDS) == 0

        await eventually(is_empty)

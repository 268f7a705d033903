"""`Database.count`: a number, or None where counting took longer than it may; the connection is as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from service.api import InternalError, Timeout, Unavailable
from service.testing.postgres import PostgresServer

NUMBERS = "CREATE TABLE numbers (n int PRIMARY KEY); INSERT INTO numbers SELECT generate_series(1, 100);"

SLOW = "SELECT count(*) FROM numbers, pg_sleep(30)"
STATE = """
    SELECT current_setting('statement_timeout') AS timeout, current_setting('transaction_read_only') AS read_only,
           pg_backend_pid() AS pid
    """


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database(NUMBERS) as made:
        yield made


async def test_count_is_a_number(url, open_database):
    async with open_database(url) as opened:
        assert await opened.database.count("SELECT count(*) FROM numbers WHERE n > $1::text::int", "40") == 60


async def test_count_that_takes_too_long_is_none_and_leaves_nothing_on_the_connection(url, open_database):
    async with open_database(url, pool={"min": 1, "max": 1}, timeouts={"count": "50ms", "read": "10s"}) as opened:
        [before] = await opened.database.fetch(STATE)
        for _ in range(3):
            assert await opened.database.count(SLOW) is None
            assert await opened.database.fetch(STATE) == [before]
        assert before["timeout"] == "10s"
        assert opened.rung == []
        assert await opened.database.count("SELECT count(*) FROM numbers") == 100
        assert await opened.database.fetch(STATE) == [before]


async def test_count_has_a_timeout_of_its_own_also_where_that_is_the_longer_one(url, open_database):
    async with open_database(url, pool={"min": 1, "max": 1}, timeouts={"count": "20s", "read": "50ms"}) as opened:
        assert await opened.database.count("SELECT count(*) FROM numbers, pg_sleep(0.2)") == 100
        with pytest.raises(Timeout):
            await opened.database.fetch("SELECT pg_sleep(0.2)")


async def test_count_changes_nothing_and_what_it_is_refused_is_answered_as_anywhere(url, open_database, ask):
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        [before] = await opened.database.fetch(STATE)
        with pytest.raises(Unavailable):
            await opened.database.count("INSERT INTO numbers VALUES (1001) RETURNING n")
        with pytest.raises(InternalError):
            await opened.database.count("SELECT count(*) FROM nowhere")
        assert await opened.database.fetch(STATE) == [before]
    assert await ask(url, "SELECT count(*) FROM numbers") == 100


async def test_count_on_a_terminated_connection_is_repeated_on_another(url, open_database, ask):
    async with open_database(url, pool={"min": 1, "max": 2}) as opened:
        [row] = await opened.database.fetch(STATE)
        assert await ask(url, "SELECT pg_terminate_backend($1)", row["pid"])
        assert await opened.database.count("SELECT count(*) FROM numbers") == 100


async def test_cancelled_count_leaves_a_clean_connection(url, open_database, ask, eventually):
    running = "SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query = $1"
    async with open_database(url, pool={"min": 1, "max": 1}, timeouts={"count": "30s"}) as opened:
        [before] = await opened.database.fetch(STATE)
        task = asyncio.create_task(opened.database.count(SLOW))
        await eventually(lambda: ask(url, running, SLOW))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await opened.database.fetch(STATE) == [before]

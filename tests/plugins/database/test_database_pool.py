"""What a borrowed connection does and what it never leaves behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from service.api import Conflict, PluginError, Timeout, Unavailable
from service.testing.postgres import PostgresServer

NUMBERS = "CREATE TABLE numbers (n int PRIMARY KEY); INSERT INTO numbers SELECT generate_series(1, 100);"

TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND """

BUSY = "application_name = 'pegboard' AND state <> 'idle'"


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database(NUMBERS) as made:
        yield made


@pytest.fixture
def gone(ask, eventually):
    """Wait until PostgreSQL, which notices closed sockets in its own time, has no such connection any more.

    A cancellation that comes between two statements hits none: then the statement's own timeout ends it.
    """

    async def wait(url: str, which: str) -> None:
        left = f"SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND {which}"
        await eventually(lambda: ask(url, left))

    return wait


async def backend(database) -> int:
    """The process that serves the next statement of a pool of one."""
    [row] = await database.fetch("SELECT pg_backend_pid() AS pid")
    return row["pid"]


async def test_json_passes_as_the_bytes_that_postgresql_made(url, open_database):
    text = '{ "a" :  1.10, "b":"\\u00e9 é ☃ 𝄞", "a": [null,  true] }'
    async with open_database(url) as opened:
        assert await opened.database.fetch_json("SELECT $1::text::json", text) == text.encode()
        assert await opened.database.fetch_json("SELECT $1::json", text.encode()) == text.encode()
        async with opened.database.transaction() as transaction:
            assert await transaction.fetch_json("SELECT $1::json", text.encode()) == text.encode()


@pytest.mark.parametrize("sql", ["SELECT '1'::json WHERE false", "SELECT NULL::json"])
async def test_fetch_json_is_none_without_a_row_and_for_null(url, open_database, sql):
    async with open_database(url) as opened:
        assert await opened.database.fetch_json(sql) is None


async def test_rows_are_plain_mappings_in_utc(url, open_database):
    async with open_database(url) as opened:
        [row] = await opened.database.fetch("SELECT 1 AS one, '2026-01-01 00:00'::timestamptz AS at")
    assert type(row) is dict
    assert row == {"one": 1, "at": datetime(2026, 1, 1, tzinfo=UTC)}


async def test_connection_settings_are_made_while_connecting(url, open_database):
    names = ("timezone", "statement_timeout", "application_name", "jit")
    async with open_database(url, timeouts={"read": "1.5s"}) as opened:
        row = (await opened.database.fetch(f"SELECT {', '.join(f'''current_setting('{n}') AS {n}''' for n in names)}"))[
            0
        ]
    assert row == {"timezone": "UTC", "statement_timeout": "1500ms", "application_name": "pegboard", "jit": "off"}


async def test_transaction_commits_at_its_end(url, open_database, ask):
    async with open_database(url) as opened, opened.database.transaction() as transaction:
        await transaction.execute("INSERT INTO numbers VALUES ($1)", 1001)
        assert await ask(url, "SELECT count(*) FROM numbers WHERE n = 1001") == 0
    assert await ask(url, "SELECT count(*) FROM numbers WHERE n = 1001") == 1


async def test_transaction_rolls_back_when_its_block_raises(url, open_database, ask):
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:

        async def fail() -> None:
            async with opened.database.transaction() as transaction:
                await transaction.execute("INSERT INTO numbers VALUES (1002)")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await ask(url, "SELECT count(*) FROM numbers WHERE n = 1002") == 0
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_transaction_that_went_on_after_a_refusal_is_never_a_silent_success(url, open_database, ask):
    async with open_database(url) as opened:

        async def go_on() -> None:
            async with opened.database.transaction() as transaction:
                await transaction.execute("INSERT INTO numbers VALUES (1003)")
                with pytest.raises(Conflict):
                    await transaction.execute("INSERT INTO numbers VALUES (1)")

        with pytest.raises(Conflict, match="was not made"):
            await go_on()
    assert await ask(url, "SELECT count(*) FROM numbers WHERE n = 1003") == 0


async def test_transaction_has_the_write_timeout_and_reads_the_read_timeout(url, open_database):
    timeouts = {"read": "100ms", "write": "10s"}
    async with open_database(url, timeouts=timeouts, pool={"min": 1, "max": 1}) as opened:
        async with opened.database.transaction() as transaction:
            await transaction.execute("SELECT pg_sleep(0.3)")
        with pytest.raises(Timeout):
            await opened.database.fetch("SELECT pg_sleep(0.3)")


async def test_nothing_of_a_session_outlives_a_borrower(url, open_database):
    """The proof that releasing needs no reset: what a caller can do through the port ends with its transaction."""
    state = """
        SELECT current_setting('statement_timeout') AS timeout, current_setting('search_path') AS path,
               current_setting('role') AS role,
               (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory') AS locks,
               (SELECT count(*) FROM pg_cursors WHERE name <> '') AS cursors,
               (SELECT count(*) FROM pg_listening_channels()) AS channels,
               (SELECT count(*) FROM pg_class WHERE relpersistence = 't') AS temporary,
               pg_backend_pid() AS pid
        """
    async with open_database(url, pool={"min": 1, "max": 1}, timeouts={"read": "300ms"}) as opened:
        before = await opened.database.fetch(state)
        for ending in (None, ZeroDivisionError, "refused"):
            try:
                async with opened.database.transaction() as transaction:
                    await transaction.execute("SET LOCAL search_path = 'nowhere'")
                    await transaction.execute("SET LOCAL ROLE pg_monitor")
                    await transaction.execute("SELECT pg_advisory_xact_lock(1)")
                    await transaction.execute("DECLARE c CURSOR FOR SELECT 1")
                    if ending == "refused":
                        await transaction.execute("SELECT 1 / 0")
                    elif ending is not None:
                        raise ending
            except Exception:
                assert ending is not None
            assert await opened.database.fetch(state) == before
        with pytest.raises(Timeout):
            await opened.database.fetch("SELECT pg_sleep(9)")
        assert await opened.database.fetch(state) == before


async def test_releasing_sends_nothing(url, open_database, ask):
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        pid = await backend(opened.database)
        await opened.database.fetch("SELECT 'the last statement'")
        assert await ask(url, "SELECT query FROM pg_stat_activity WHERE pid = $1", pid) == "SELECT 'the last statement'"


async def test_statements_are_prepared_once(url, open_database):
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        for n in range(300):
            await opened.database.fetch(f"SELECT {n} AS n")
        [row] = await opened.database.fetch(
            "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE '% AS n'"
        )
    assert row["n"] >= 300


async def test_changed_table_is_read_anew_without_an_error(make_database, open_database, ask):
    url = make_database("CREATE TABLE changing (id int); INSERT INTO changing VALUES (1);")
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        assert await opened.database.fetch("SELECT * FROM changing") == [{"id": 1}]
        await ask(url, "ALTER TABLE changing ALTER id TYPE text, ADD more int")
        assert await opened.database.fetch("SELECT * FROM changing") == [{"id": "1", "more": None}]


async def test_full_pool_is_503_within_acquire_and_rings_no_alarm(url, open_database):
    async with open_database(url, pool={"min": 1, "max": 1, "acquire": "100ms"}) as opened:
        async with opened.database.transaction():
            with pytest.raises(Unavailable) as raised:
                await opened.database.fetch("SELECT 1")
            await opened.probe.check()  # a full pool is not a dead database
        assert raised.value.headers["Retry-After"] == "1"
        assert opened.rung == []
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_connections_are_lent_first_come_first_served(url, open_database):
    """Also to a caller who asks again the moment its statement is done: asyncpg's own queue would let it overtake."""
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        order: list[str] = []

        async def read(name: str) -> None:
            for _ in range(3):
                await opened.database.fetch("SELECT 1")
                order.append(name)

        await asyncio.gather(read("a"), read("b"), read("c"))
        assert order == ["a", "b", "c"] * 3


async def test_read_on_a_terminated_connection_is_repeated_on_another(url, open_database, ask):
    async with open_database(url, pool={"min": 3, "max": 3}) as opened:
        for _ in range(20):
            running = asyncio.create_task(opened.database.fetch("SELECT pg_backend_pid() AS pid, pg_sleep(0.05)"))
            await ask(url, TERMINATE + "query LIKE '%pg_sleep(0.05)%'")
            assert len(await running) == 1


async def test_idle_connections_that_were_all_terminated_cost_no_read(url, open_database, ask):
    async with open_database(url, pool={"min": 5, "max": 5}) as opened:
        pid = await backend(opened.database)
        await ask(url, TERMINATE + "application_name = 'pegboard'")
        rows = await asyncio.gather(*[opened.database.fetch("SELECT pg_backend_pid() AS pid") for _ in range(20)])
        assert pid not in {row["pid"] for [row] in rows}
        async with opened.database.transaction() as transaction:
            await transaction.execute("SELECT 1")


async def test_write_on_a_terminated_connection_is_503_and_never_repeated(url, open_database, ask):
    async with open_database(url, pool={"min": 1, "max": 2}) as opened:

        async def write() -> None:
            async with opened.database.transaction() as transaction:
                await transaction.execute("INSERT INTO numbers VALUES (1004)")
                [row] = await transaction.fetch("SELECT pg_backend_pid() AS pid")
                await ask(url, "SELECT pg_terminate_backend($1)", row["pid"])
                await transaction.execute("INSERT INTO numbers VALUES (1005)")

        with pytest.raises(Unavailable) as raised:
            await write()
        assert raised.value.headers["Retry-After"] == "1"
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]
    assert await ask(url, "SELECT count(*) FROM numbers WHERE n IN (1004, 1005)") == 0


async def test_cancelled_callers_leave_a_full_pool_and_no_open_transaction(url, open_database, gone):
    dice = random.Random(3)  # noqa: S311  # repeatable
    async with open_database(url, pool={"min": 2, "max": 5, "acquire": "30s"}) as opened:

        async def read() -> None:
            await opened.database.fetch("SELECT pg_sleep(0.02)")

        async def write() -> None:
            async with opened.database.transaction() as transaction:
                await transaction.execute("UPDATE numbers SET n = n WHERE n = $1", dice.randrange(1, 100))
                await transaction.execute("SELECT pg_sleep(0.02)")

        async def cancel_somewhere(work) -> None:
            task = asyncio.create_task(work())
            await asyncio.sleep(dice.random() * 0.06)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await asyncio.gather(*[cancel_somewhere(read if n % 2 else write) for n in range(200)])
        # as many at once as the pool has, so that each connection is there and works
        await asyncio.gather(*[opened.database.fetch("SELECT pg_sleep(0.01)") for _ in range(25)])
        assert opened.resting == opened.pool.get_size() <= 5
        await gone(url, BUSY)


async def test_second_cancellation_still_returns_the_connection(url, open_database, gone):
    async with open_database(url, pool={"min": 1, "max": 1}, timeouts={"write": "1s"}) as opened:

        async def write() -> None:
            async with opened.database.transaction() as transaction:
                await transaction.execute("SELECT pg_sleep(5)")

        for _ in range(20):
            task = asyncio.create_task(write())
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]
        await gone(url, BUSY)


async def test_closing_leaves_no_connection(postgres, open_database, ask, gone):
    with postgres.database() as url:
        async with open_database(url, pool={"min": 3, "max": 5}) as opened:
            await asyncio.gather(*[opened.database.fetch("SELECT 1") for _ in range(9)])
        await gone(url, "application_name = 'pegboard'")


async def test_failed_opening_leaves_no_connection(postgres, open_database, ask, gone):
    with postgres.database("CREATE ROLE limited LOGIN CONNECTION LIMIT 3;") as url:
        faults = []
        with pytest.raises(PluginError):
            async with open_database(url.replace("postgres@", "limited@"), faults=faults, pool={"min": 5, "max": 5}):
                raise AssertionError("opened with more connections than allowed")
        [(path, message, write)] = faults
        assert (path, write) == (("pool", "min"), 2)
        assert message.startswith("cannot open pool.min = 5 connections to ")
        assert message.endswith(": it has too many connections")
        await gone(url, "usename = 'limited'")
        await ask(url, "DROP ROLE limited")

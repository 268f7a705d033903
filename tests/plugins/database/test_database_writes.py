"""`Database.write`: one statement, committed; tried again only while nothing can have been committed."""

from __future__ import annotations

import asyncio

import pytest

from service.api import Conflict, Forbidden, InvalidBody, OutcomeUnknown, Timeout, Unavailable

TABLE = """
CREATE TABLE rows (n int, note text);
CREATE UNIQUE INDEX ON rows (note);
CREATE SEQUENCE attempts;
CREATE FUNCTION refuse(times int, code text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('attempts') <= times THEN RAISE EXCEPTION 'no' USING ERRCODE = code; END IF;
    RETURN 1;
END $$;
"""

INSERT = "INSERT INTO rows (n) VALUES ($1) RETURNING to_json(n)"
SLOWLY = "INSERT INTO rows (n) SELECT $1 FROM (SELECT nextval('attempts'), pg_sleep($2)) s RETURNING to_json(n)"


@pytest.fixture
def url(make_database):
    return make_database(TABLE)


async def count(ask, url):
    return await ask(url, "SELECT count(*) FROM rows"), await ask(url, "SELECT last_value FROM attempts")


async def test_write_is_committed_when_it_returns_and_gives_the_json_of_its_only_column(url, open_database, ask):
    async with open_database(url) as opened:
        assert await opened.database.write(INSERT, 7) == b"7"
        assert await ask(url, "SELECT n FROM rows") == 7
        assert await opened.database.write("UPDATE rows SET n = 1 WHERE n = 8 RETURNING to_json(n)") is None


async def test_refused_write_is_the_error_of_its_sqlstate_and_changes_nothing(url, open_database, ask):
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        write = "INSERT INTO rows (note) VALUES ($1) RETURNING to_json(note)"
        assert await opened.database.write(write, "a") == b'"a"'
        with pytest.raises(Conflict) as refused:
            await opened.database.write(write, "a")
        assert [detail.field for detail in refused.value.details] == ["note"]
        with pytest.raises(InvalidBody):
            await opened.database.write("INSERT INTO rows (note) VALUES (repeat(gen_random_uuid()::text, 90000))")
        assert await count(ask, url) == (1, 1)


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_write_that_collides_is_tried_again_twice(url, open_database, ask, code):
    async with open_database(url) as opened:
        assert await opened.database.write("INSERT INTO rows VALUES (refuse(2, $1)) RETURNING to_json(n)", code) == b"1"
        assert await count(ask, url) == (1, 3)
        with pytest.raises(Conflict, match="got in the way"):
            await opened.database.write("INSERT INTO rows VALUES (refuse(99, $1)) RETURNING to_json(n)", code)
        assert await count(ask, url) == (1, 6)


async def test_write_that_outlasts_the_read_timeout_has_its_own_and_is_made_once(url, open_database, ask):
    async with open_database(url, pool={"min": 1, "max": 1}, timeouts={"read": "100ms", "write": "10s"}) as opened:
        assert await opened.database.write(SLOWLY, 7, 0.3) == b"7"
        assert await count(ask, url) == (1, 2)
        with pytest.raises(Timeout):
            await opened.database.fetch("SELECT pg_sleep(0.3)")


@pytest.mark.parametrize("timeouts", [{"read": "50ms", "write": "200ms"}, {"read": "10s", "write": "200ms"}])
async def test_write_that_outlasts_its_timeout_is_504_and_not_made(url, open_database, ask, timeouts):
    async with open_database(url, pool={"min": 1, "max": 1}, timeouts=timeouts) as opened:
        with pytest.raises(Timeout):
            await opened.database.write(SLOWLY, 7, 0.6)
        assert (await count(ask, url))[0] == 0
        assert await opened.database.write(INSERT, 8) == b"8"


@pytest.mark.parametrize("timeouts", [{}, {"read": "10s", "write": "5s"}])
async def test_write_whose_connection_is_lost_is_503_and_never_tried_again(url, open_database, ask, timeouts):
    async with open_database(url, pool={"min": 1, "max": 2}, timeouts=timeouts) as opened:
        with pytest.raises(Unavailable) as lost:
            await opened.database.write(
                "INSERT INTO rows (n) SELECT 1 FROM (SELECT nextval('attempts'), "
                "pg_terminate_backend(pg_backend_pid()), pg_sleep(9)) s RETURNING to_json(n)"
            )
        assert lost.value.headers["Retry-After"] == "1"
        if not timeouts:  # else it was in a transaction, and COMMIT was not yet sent
            assert isinstance(lost.value, OutcomeUnknown)
            assert lost.value.message.endswith("it may have been made. Look before trying again.")
        assert await count(ask, url) == (0, 1)
        assert await opened.database.write(INSERT, 8) == b"8"


async def test_write_to_a_database_that_was_lost_before_it_was_sent_is_not_unknown(private_server, open_database):
    url = private_server.create_database(TABLE)
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        await asyncio.to_thread(private_server.stop)
        with pytest.raises(Unavailable) as first:
            await opened.database.write(INSERT, 1)
        with pytest.raises(Unavailable) as second:
            await opened.database.write(INSERT, 1)
        assert type(second.value) is Unavailable
        assert opened.said[-1].endswith("answering 503 until it is back")
        await asyncio.to_thread(private_server.start)
        assert await opened.database.write(INSERT, 2) == b"2"
        assert opened.said[-1].endswith("is back")
    assert first.value.headers["Retry-After"] == "1"


@pytest.mark.slow
async def test_write_to_a_database_that_does_not_answer_may_have_been_made(private_server, open_database):
    url = private_server.create_database(TABLE)
    async with open_database(url, pool={"min": 1, "max": 1}, timeouts={"read": "300ms"}) as opened:
        assert await opened.database.write(INSERT, 1) == b"1"
        private_server.freeze()
        with pytest.raises(OutcomeUnknown):
            await opened.database.write(INSERT, 2)
        private_server.thaw()


async def test_read_only_database_reads_and_answers_writes_with_503(url, open_database, ask):
    await ask(url, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', "
                   "current_database()); END $$")  # fmt: skip
    async with open_database(url) as opened:
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]
        with pytest.raises(Unavailable, match="takes no changes") as refused:
            await opened.database.write(INSERT, 1)
        assert type(refused.value) is Unavailable
        assert opened.rung == []


async def test_write_without_the_privilege_is_403(url, open_database, ask):
    await ask(
        url,
        """DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'onlooker') THEN CREATE ROLE onlooker LOGIN; END IF;
        END $$""",
    )
    async with open_database(url.replace("postgres@", "onlooker@")) as opened:
        with pytest.raises(Forbidden):
            await opened.database.write(INSERT, 1)


async def test_cancelled_writer_gives_its_connection_back(url, open_database, ask, eventually):
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        task = asyncio.create_task(opened.database.write(SLOWLY, 1, 5.0))
        await eventually(
            lambda: ask(
                url,
                "SELECT count(*) = 1 FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event = 'PgSleep'",
            )
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await opened.database.write(INSERT, 2) == b"2"
    assert (await count(ask, url))[0] == 1


async def test_constraint_that_is_checked_at_commit_refuses_the_write(url, open_database, ask):
    await ask(url, "CREATE TABLE parts (of int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    async with open_database(url) as opened:
        write = "INSERT INTO parts VALUES (1) RETURNING to_json(of)"
        assert await opened.database.write(write) == b"1"
        with pytest.raises(Conflict):
            await opened.database.write(write)
    assert await ask(url, "SELECT count(*) FROM parts") == 1

"""Every line of the table from SQLSTATE to answer, provoked in a real PostgreSQL where that is possible."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import pytest_asyncio

from plugins.database.sqlstate import TABLE, UNKNOWN, rule_for
from service.api import Conflict, Detail, InternalError, InvalidBody, OutcomeUnknown, ServiceError, Unavailable
from service.testing.postgres import PostgresServer

SCHEMA = """
CREATE TABLE parents (id int PRIMARY KEY, code text NOT NULL UNIQUE, low int, high int, UNIQUE (low, high));
CREATE TABLE children (
    id int PRIMARY KEY,
    parent_id int REFERENCES parents,
    kept_id int REFERENCES parents ON DELETE RESTRICT,
    age int CHECK (age > 0),
    span int4range,
    small varchar(3),
    at timestamptz,
    EXCLUDE USING gist (span WITH &&)
);
CREATE UNIQUE INDEX children_lonely ON children (age, small) INCLUDE (at);
INSERT INTO parents VALUES (1, 'one', 1, 1), (2, 'two', 2, 2), (3, 'three', 3, 3);
INSERT INTO children (id, parent_id) VALUES (1, 1);
INSERT INTO children (id, kept_id) VALUES (2, 2);
INSERT INTO children (id, span, age, small) VALUES (3, '[1,5)', 7, 'x');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'secret rule %', NEW.id; END $$;
CREATE TABLE ruled (id int);
CREATE TRIGGER rule BEFORE INSERT ON ruled FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE FUNCTION fail(code text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'secret' USING ERRCODE = code;
END $$;
CREATE FUNCTION strictly(wanted int) RETURNS int LANGUAGE plpgsql AS $$ DECLARE found int; BEGIN
    SELECT id INTO STRICT found FROM parents WHERE id >= wanted; RETURN found;
END $$;
CREATE FUNCTION sure() RETURNS int LANGUAGE plpgsql AS $$ BEGIN ASSERT false; RETURN 1; END $$;
CREATE FUNCTION by_case() RETURNS int LANGUAGE plpgsql AS $$ BEGIN CASE 1 WHEN 2 THEN RETURN 1; END CASE; END $$;
CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA;
CREATE TABLE months (id int, region text, month date) PARTITION BY LIST (region);
CREATE TABLE months_eu PARTITION OF months FOR VALUES IN ('eu') PARTITION BY RANGE (id, month);
CREATE TABLE texts (id int, body text, more text);
CREATE INDEX texts_body ON texts (body) INCLUDE (id);
CREATE INDEX texts_lower ON texts (lower(more));
CREATE VIEW young AS SELECT id, age FROM children WHERE age < 9 WITH CHECK OPTION;
CREATE UNIQUE INDEX codes_once ON parents (code);
"""
LONG = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, {}) n)"


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database(SCHEMA) as made:
        yield made


@pytest_asyncio.fixture
async def opened(url, open_database) -> AsyncIterator:
    async with open_database(url, timeouts={"read": "300ms", "write": "300ms"}) as opened:
        yield opened


async def refusal(database, sql: str, *args: object) -> ServiceError:
    """What a write is answered with; nothing is kept."""
    with pytest.raises(ServiceError) as raised:
        async with database.transaction() as transaction:
            await transaction.execute(sql, *args)
    return raised.value


@pytest.mark.parametrize(
    ("sql", "code", "status", "fields"),
    [
        ("INSERT INTO parents VALUES (9, 'one')", "23505", 409, ["code"]),
        ("INSERT INTO parents VALUES (9, 'nine', 1, 1)", "23505", 409, ["low", "high"]),
        ("INSERT INTO children (id, age, small) VALUES (9, 7, 'x')", "23505", 409, ["age", "small"]),
        ("INSERT INTO children (id, parent_id) VALUES (9, 99)", "23503", 422, ["parent_id"]),
        ("UPDATE children SET parent_id = 99 WHERE id = 1", "23503", 422, ["parent_id"]),
        ("DELETE FROM parents WHERE id = 1", "23503", 409, []),
        ("UPDATE parents SET id = 99 WHERE id = 1", "23503", 409, []),
        ("WITH gone AS (DELETE FROM parents WHERE id = 1) SELECT", "23503", 409, []),
        ("DELETE FROM parents WHERE id = 2", "23001", 409, []),
        ("INSERT INTO parents (id) VALUES (9)", "23502", 422, ["code"]),
        ("INSERT INTO children (id, age) VALUES (9, 0)", "23514", 422, ["age"]),
        ("INSERT INTO children (id, span) VALUES (9, '[4,6)')", "23P01", 409, ["span"]),
        ("INSERT INTO children (id, small) VALUES (9, 'long')", "22001", 400, []),
        ("INSERT INTO children (id, age) VALUES (9, 'x'::text::int)", "22P02", 400, []),
        ("INSERT INTO children (id, age) VALUES (9, 3000000000)", "22003", 400, []),
        ("INSERT INTO children (id, at) VALUES (9, '2026-13-01'::text::timestamptz)", "22008", 400, []),
        ("INSERT INTO ruled VALUES (1)", "P0001", 422, []),
        ("SELECT strictly(99)", "P0002", 422, []),
        ("SELECT strictly(1)", "P0003", 422, []),
        ("SELECT sure()", "P0004", 500, []),
        ("SELECT by_case()", "20000", 500, []),
        ("SELECT * FROM unfilled", "55000", 503, []),
        ("INSERT INTO months VALUES (1, 'us')", "23514", 422, ["region"]),
        ("INSERT INTO months VALUES (1, 'eu', '2026-01-01')", "23514", 422, ["id", "month"]),
        ("INSERT INTO texts VALUES (1, " + LONG.format(150) + ")", "54000", 422, ["body"]),
        ("INSERT INTO texts VALUES (1, '', " + LONG.format(900) + ")", "54000", 422, []),
        ("INSERT INTO young VALUES (9, 10)", "44000", 422, []),
        ("SELECT pg_sleep(5)", "57014", 504, []),
        ("SELECT * FROM children_of_nobody", "42P01", 500, []),
        ("SELECT 'a' COLLATE \"nowhere\"", "42704", 500, []),
    ],
)
async def test_refusal_has_the_status_and_the_columns_of_the_table(opened, sql, code, status, fields):
    error = await refusal(opened.database, sql)
    assert isinstance(error.__cause__, asyncpg.PostgresError)
    assert (error.__cause__.sqlstate, error.status) == (code, status)
    assert [detail.field for detail in error.details] == fields


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("P0001", 422), ("P0002", 422), ("P0003", 422), ("P0004", 500),
        ("PT400", 422), ("PT402", 422), ("PT403", 403), ("PT404", 404), ("PT409", 409), ("PT422", 422),
        ("PT500", 500), ("PT503", 503),
        ("45000", 422), ("99999", 422), ("AB123", 422), ("U0001", 422),
        ("20000", 422), ("38000", 422), ("XX000", 422),
        ("22023", 400), ("23505", 409), ("23503", 422), ("42501", 403), ("42P01", 500),
        ("08000", 503), ("08006", 503), ("28000", 403), ("28P01", 403), ("3D000", 503), ("57P01", 503),
    ],
)  # fmt: skip
async def test_code_that_a_function_raises_is_a_refusal_and_never_a_lost_database(opened, caplog, code, status):
    for ask in (opened.database.fetch, opened.database.write):
        with pytest.raises(ServiceError) as raised:
            await ask("SELECT fail($1)", code)
        assert raised.value.status == status
        assert not isinstance(raised.value, OutcomeUnknown)
        assert "secret" not in raised.value.message
        cause = raised.value.__cause__
        assert cause.__notes__ == [f"SQLSTATE {code}", "PL/pgSQL function fail(text) line 2 at RAISE"]
    assert (len(opened.said), opened.rung) == (1, [])  # that it is open
    assert "broke" not in caplog.text


@pytest.mark.parametrize("code", ["01000", "02000"])
async def test_code_of_a_warning_that_a_function_raises_is_a_refusal(opened, code):
    for ask in (opened.database.fetch, opened.database.write):
        with pytest.raises(InvalidBody, match=r"^A rule of the database refused this\.$"):
            await ask("SELECT fail($1)", code)


async def test_view_that_was_never_filled_is_told_in_the_log_with_the_way_out(opened, caplog):
    with pytest.raises(Unavailable, match=r"^This cannot be read yet; try again later\.$") as raised:
        await opened.database.fetch("SELECT * FROM unfilled")
    assert raised.value.headers["Retry-After"] == "1"
    way_out = "a materialised view that has never been filled needs REFRESH MATERIALIZED VIEW"
    assert f"SQLSTATE 55000: answered with 503; {way_out}" in caplog.text


async def test_refusal_that_names_no_column_says_that_the_database_does_not(opened):
    error = await refusal(opened.database, f"INSERT INTO texts VALUES (1, '', {LONG.format(900)})")
    assert error.message == "A value is too large to be stored; the database does not say which value it is."
    error = await refusal(opened.database, f"INSERT INTO texts VALUES (1, {LONG.format(150)})")
    assert error.message == "A value is too large to be stored."


@pytest.mark.parametrize(
    "sql", ["INSERT INTO parents VALUES (9, 'one')", "INSERT INTO ruled VALUES (77)", "SELECT nope"]
)
async def test_refusal_tells_clients_nothing_of_postgresql(opened, sql):
    error = await refusal(opened.database, sql)
    text = f"{error.message} {error.details}"
    for word in ("parents", "key", "constraint", "SQL", "nope", "secret", "rule", "77", "23505"):
        assert word not in text.replace("A rule of the database", "")


async def test_refusal_keeps_sqlstate_for_the_log_and_drops_values_of_rows(opened):
    error = await refusal(opened.database, "INSERT INTO parents (id) VALUES (424242)")
    assert error.__cause__ is not None
    assert error.__cause__.__notes__ == ["SQLSTATE 23502"]
    assert "424242" not in str(error.__cause__)


async def test_timeout_is_logged_with_its_sqlstate(opened, caplog):
    with caplog.at_level(logging.WARNING):
        await refusal(opened.database, "SELECT pg_sleep(5)")
    assert "57014" in caplog.text
    assert "pg_sleep" not in caplog.text


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("INSERT INTO parents VALUES ($1, 'x')", "one"),
        ("INSERT INTO parents VALUES ($1, 'x')", 2**40),
        ("INSERT INTO parents VALUES (9, $1)", 5),
        ("INSERT INTO parents VALUES (9, $1)", "nul \0"),
        ("INSERT INTO parents VALUES (9, $1)", "half \ud800"),
    ],
)
async def test_value_that_cannot_be_bound_is_a_bad_request(opened, sql, value):
    assert (await refusal(opened.database, sql, value)).status == 400


async def test_wrong_number_of_values_is_our_fault(opened):
    with pytest.raises(InternalError):
        await opened.database.fetch("SELECT $1::int")


async def test_constraint_made_after_opening_is_found(make_database, open_database, ask):
    url = make_database("CREATE TABLE late (id int, name text);")
    async with open_database(url) as opened:
        await ask(url, "ALTER TABLE late ADD CONSTRAINT late_name UNIQUE (name)")
        await ask(url, "INSERT INTO late VALUES (1, 'taken')")
        error = await refusal(opened.database, "INSERT INTO late VALUES (2, 'taken')")
    assert error.details == (Detail("name", "is taken already"),)


async def test_constraint_of_a_domain_has_no_columns_and_is_asked_for_once(make_database, open_database):
    url = make_database("CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0); CREATE TABLE evens (id even);")
    async with open_database(url) as opened:
        for _ in range(2):
            error = await refusal(opened.database, "INSERT INTO evens VALUES (3)")
            assert (error.status, error.details) == (422, ())
        constraints = opened.database._constraints
        assert constraints.knows(error.__cause__)


async def test_privilege_that_is_missing_is_forbidden(make_database, open_database, ask):
    url = make_database("CREATE TABLE locked (id int);")
    await ask(url, "DO $$ BEGIN CREATE ROLE nobody_much LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    async with open_database(url.replace("postgres@", "nobody_much@")) as opened:
        error = await refusal(opened.database, "SELECT * FROM locked")
    assert (error.status, error.code) == (403, "FORBIDDEN")


async def test_database_that_takes_no_changes_reads_and_refuses_writes(make_database, open_database, ask):
    url = make_database("CREATE TABLE things (id int);")
    await ask(url, f'ALTER DATABASE "{url.split("/")[3].split("?")[0]}" SET default_transaction_read_only = on')
    async with open_database(url) as opened:
        assert await opened.database.fetch("SELECT * FROM things") == []
        error = await refusal(opened.database, "INSERT INTO things VALUES (1)")
    assert (error.status, error.headers["Retry-After"]) == (503, "1")


async def test_lock_that_is_not_to_be_had_is_a_conflict(url, opened):
    other = await asyncpg.connect(url)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM parents WHERE id = 3 FOR UPDATE")
            error = await refusal(opened.database, "SELECT FROM parents WHERE id = 3 FOR UPDATE NOWAIT")
    finally:
        await other.close()
    assert isinstance(error, Conflict)


async def test_deadlock_is_a_conflict_for_one_of_two(make_database, open_database):
    url = make_database("CREATE TABLE pair (id int PRIMARY KEY); INSERT INTO pair VALUES (1), (2);")
    async with open_database(url, timeouts={"write": "30s"}) as opened:
        meet = asyncio.Barrier(2)

        async def lock(first: int, second: int) -> None:
            async with opened.database.transaction() as transaction:
                await transaction.execute("SET LOCAL deadlock_timeout = '10ms'")
                await transaction.execute("UPDATE pair SET id = id WHERE id = $1", first)
                await meet.wait()
                await transaction.execute("UPDATE pair SET id = id WHERE id = $1", second)

        ended = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    [error] = [end for end in ended if end is not None]
    assert isinstance(error, Conflict)
    assert isinstance(error.__cause__, asyncpg.DeadlockDetectedError)


async def test_serialization_failure_is_a_conflict_in_a_transaction(make_database, open_database, ask):
    url = make_database("CREATE TABLE counter (value int); INSERT INTO counter VALUES (0);")
    async with open_database(url) as opened:

        async def collide() -> None:
            async with opened.database.transaction() as transaction:
                await transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                await transaction.fetch("SELECT * FROM counter")
                await ask(url, "UPDATE counter SET value = 1")
                await transaction.execute("UPDATE counter SET value = 2")

        with pytest.raises(Conflict):
            await collide()


async def test_read_that_collides_is_repeated_and_then_a_conflict(make_database, open_database, ask):
    url = make_database(
        """
        CREATE SEQUENCE attempts;
        CREATE FUNCTION collide(until int) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('attempts') < until THEN RAISE 'collision' USING ERRCODE = '40001'; END IF;
            RETURN currval('attempts');
        END $$;
        """
    )
    async with open_database(url) as opened:
        assert await opened.database.fetch("SELECT collide(3) AS attempts") == [{"attempts": 3}]
        await ask(url, "ALTER SEQUENCE attempts RESTART")
        with pytest.raises(Conflict):
            await opened.database.fetch("SELECT collide(9)")
        assert await ask(url, "SELECT last_value FROM attempts") == 3


async def test_connections_refused_for_their_number_are_busy_and_ring_no_alarm(make_database, open_database, ask):
    url = make_database("SELECT 1;")
    name = url.split("/")[3].split("?")[0]
    await ask(url, "DO $$ BEGIN CREATE ROLE few LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    async with open_database(url.replace("postgres@", "few@"), pool={"min": 0}) as opened:
        await ask(url, f'ALTER DATABASE "{name}" CONNECTION LIMIT 1')  # the probe's connection is the one
        with pytest.raises(ServiceError) as raised:
            await opened.database.fetch("SELECT 1")
    assert (raised.value.status, raised.value.message) == (503, "The database is busy.")
    assert raised.value.headers["Retry-After"] == "1"
    assert opened.rung == []


@pytest.mark.parametrize("code", ["08006", "53400", "57P01", "57P03", "28000", "3D000", "25006"])
def test_states_of_the_server_are_503_with_retry_after(code):
    error = asyncpg.PostgresError.new({"C": code, "M": "x"})
    assert rule_for(error, "SELECT 1").error.status == 503


@pytest.mark.parametrize("code", ["42601", "42725", "XX000", "0A000", "25P02", "58030", "P0004", "PT500"])
def test_sqlstate_without_a_line_is_our_fault(code):
    error = asyncpg.PostgresError.new({"C": code, "M": "x"})
    assert rule_for(error, "SELECT 1") is UNKNOWN


def test_table_has_sqlstates_classes_and_two_subclasses():
    assert {len(code) for code in TABLE} == {2, 3, 5}
    assert [code for code in TABLE if len(code) == 3] == ["57P", "PT5"]

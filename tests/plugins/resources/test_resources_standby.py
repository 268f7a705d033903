"""A standby is served for reading: writes are told to wait, and the start says that NOTIFY is not heard."""

from __future__ import annotations

import asyncpg
import pytest

from service.testing.postgres import PostgresServer

NOT_HEARD = (
    "NOTIFY pegboard is not heard, since this database takes no LISTEN, as a standby does not; after a migration, "
    "pegboard reload."
)

NOTES = "CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes VALUES (1, 'one')"


@pytest.fixture(scope="module")
def standby():
    """The URL of a database that can only be read."""
    with PostgresServer({"wal_level": "replica"}) as server:
        url = server.create_database(NOTES)
        server.stand_by()
        yield url


async def test_standby_takes_no_listen_and_the_start_says_so_in_one_sentence(standby, serve_at):
    connection = await asyncpg.connect(standby)
    try:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("LISTEN pegboard")
    finally:
        await connection.close()
    api = await serve_at(standby, tables=["notes"])
    assert [sentence for sentence in api.said if "NOTIFY" in sentence] == [NOT_HEARD]


async def test_where_listen_works_nothing_is_said_of_it(serve):
    assert not any("NOTIFY" in sentence for sentence in (await serve(NOTES, tables=["notes"])).said)


async def test_standby_answers_reads_and_tells_writes_to_wait(standby, serve_at):
    api = await serve_at(standby, tables=["notes"])
    assert await api.get("notes/1") == (200, {"id": 1, "body": "one"})
    for method, path, body in [
        ("POST", "notes", {"id": 2}),
        ("PATCH", "notes/1", {"body": "x"}),
        ("PUT", "notes/1", {"body": "x"}),
        ("DELETE", "notes/1", None),
    ]:
        status, answer = await api.send(method, path, body)
        assert (status, answer["error"]["code"]) == (503, "SERVICE_UNAVAILABLE"), method
        assert "Retry-After" in api.headers
    assert await api.rows("notes") == [{"id": 1, "body": "one"}]

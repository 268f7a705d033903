"""Writers that meet: one wins and the others are told; and writers whose client, database or role does not stay."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest
import pytest_asyncio

from service.api import Change

SQL = """
CREATE TABLE parents (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE children (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent_id int NOT NULL REFERENCES parents);
CREATE SEQUENCE attempts;
INSERT INTO parents VALUES (1, 'one'), (2, 'two');
"""
CLIENTS = 50


@pytest_asyncio.fixture
async def family(serve, watcher):
    return await serve(SQL, watcher, tables=["*"], writes=["parents", "children"])


@pytest_asyncio.fixture
async def outside(family):
    """A connection that has nothing to do with the service."""
    connection = await asyncpg.connect(family.url)
    yield connection
    await connection.close()


async def statuses(api, *requests):
    """What becomes of requests that are sent at once."""

    async def one(method, path, body=None):
        async with api.client.request(method, f"/api/v1/{path}", json=body) as response:
            await response.read()
            return response.status

    return Counter(await asyncio.gather(*[one(*request) for request in requests]))


async def waiting(outside, count=1):
    """Return once so many sessions wait for a lock."""
    async with asyncio.timeout(20):
        while count > await outside.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            pass


async def test_one_of_fifty_clients_gets_a_unique_value_and_the_others_409(family, outside, watcher):
    requests = [("POST", "parents", {"id": 100 + number, "name": "same"}) for number in range(CLIENTS)]
    assert await statuses(family, *requests) == {201: 1, 409: CLIENTS - 1}
    assert await outside.fetchval("SELECT count(*) FROM parents WHERE name = 'same'") == 1
    (change,) = watcher.seen
    assert change.keys == (str(await outside.fetchval("SELECT id FROM parents WHERE name = 'same'")),)


async def test_one_of_fifty_clients_gets_a_key_and_the_others_409(family, outside):
    requests = [("POST", "parents", {"id": 7, "name": str(number)}) for number in range(CLIENTS)]
    assert await statuses(family, *requests) == {201: 1, 409: CLIENTS - 1}
    assert await outside.fetchval("SELECT count(*) FROM parents") == 3


async def test_one_of_fifty_clients_removes_a_row_and_the_others_find_none(family, watcher):
    assert await statuses(family, *[("DELETE", "parents/1")] * CLIENTS) == {204: 1, 404: CLIENTS - 1}
    assert watcher.seen == [Change("parents", ("1",))]


@pytest.mark.parametrize("first", ["children", "parent"])
async def test_children_and_the_removal_of_their_parent_exclude_each_other(family, outside, first):
    removal = ("DELETE", "parents/1")
    births = [("POST", "children", {"parentId": 1})] * (CLIENTS - 1)
    requests = [*births, removal] if first == "children" else [removal, *births]
    found = await statuses(family, *requests)
    born = await outside.fetchval("SELECT count(*) FROM children")
    if await outside.fetchval("SELECT count(*) FROM parents WHERE id = 1"):
        assert found == {201: CLIENTS - 1, 409: 1}
        assert born == CLIENTS - 1
    else:
        assert found == {204: 1, 422: CLIENTS - 1}
        assert born == 0


async def test_write_whose_client_left_is_committed_and_announced(family, outside, watcher):
    async with outside.transaction():
        await outside.execute("SELECT FROM parents WHERE id = 1 FOR UPDATE")
        _, writer = await asyncio.open_connection("127.0.0.1", family.service.port)
        writer.write(
            b"PATCH /api/v1/parents/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 14\r\n\r\n{"name": "me"}'
        )
        await waiting_on(family.url)
        writer.transport.abort()
        assert (await family.get("parents/2"))[0] == 200  # by now the service knows
        assert watcher.seen == []
    async with asyncio.timeout(20):
        while not watcher.seen:
            await family.get("parents/2")
    assert watcher.seen == [Change("parents", ("1",))]
    assert await outside.fetchval("SELECT name FROM parents WHERE id = 1") == "me"


async def waiting_on(url):
    connection = await asyncpg.connect(url)
    try:
        await waiting(connection)
    finally:
        await connection.close()


async def test_whoever_is_answered_finds_that_everybody_has_heard(family, watcher):
    for number in range(20):
        assert (await family.send("PATCH", "parents/1", {"name": f"n{number}"}))[0] == 200
        assert len(watcher.seen) == number + 1


async def test_serialisation_failure_is_tried_again_and_then_409(family, outside, watcher):
    await outside.execute("""
        CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('attempts') % 4 <> 3 OR NEW.name = 'never' THEN
                RAISE EXCEPTION 'no' USING ERRCODE = 'serialization_failure';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER collide BEFORE UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION collide();
    """)
    assert (await family.send("PATCH", "parents/1", {"name": "third time"}))[0] == 200
    assert await outside.fetchval("SELECT last_value FROM attempts") == 3
    status, answer = await family.send("PATCH", "parents/1", {"name": "never"})
    assert (status, answer["error"]["code"], answer["error"]["details"]) == (409, "CONFLICT", [])
    assert await outside.fetchval("SELECT last_value FROM attempts") == 6
    assert len(watcher.seen) == 1


@pytest.mark.slow
async def test_deadlock_is_tried_again_without_the_client_noticing(family, outside):
    """The service's session is the one that looks for a deadlock first, so it is the one that gives way."""
    await outside.execute("""
        CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.id = 1 THEN UPDATE parents SET name = 'also' WHERE id = 2; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER also AFTER UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION also();
        SET deadlock_timeout = '60s';
    """)
    async with outside.transaction():
        await outside.execute("UPDATE parents SET name = 'two!' WHERE id = 2")
        patching = asyncio.create_task(family.send("PATCH", "parents/1", {"name": "one!"}))
        await waiting_on(family.url)
        await outside.execute("UPDATE parents SET name = 'held' WHERE id = 1")
    assert (await patching)[0] == 200
    assert dict(await outside.fetch("SELECT id, name FROM parents")) == {1: "one!", 2: "also"}


async def test_read_only_server_answers_reads_and_refuses_writes_with_503(serve_at, make_database):
    read_only = """
        DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
        END $$
    """
    url = make_database(SQL)
    connection = await asyncpg.connect(url)
    await connection.execute(read_only)
    await connection.close()
    api = await serve_at(url, tables=["parents"])
    assert await api.get("parents/1") == (200, {"id": 1, "name": "one"})
    for method, path, body in (
        ("POST", "parents", {"id": 9}),
        ("PATCH", "parents/1", {"name": "x"}),
        ("PUT", "parents/1", {}),
        ("DELETE", "parents/1", None),
    ):
        status, answer = await api.send(method, path, body)
        assert (status, answer["error"]["code"]) == (503, "SERVICE_UNAVAILABLE"), method
        assert api.headers["Retry-After"] == "1"
    assert len(await api.rows("parents")) == 2


async def test_write_that_takes_longer_than_it_may_is_504_and_not_made(make_service, make_database):
    url = make_database(SQL)
    timeouts = {"read": "300ms", "write": "500ms"}  # the schema is read within the first
    settings = {"plugins": {"database": {"url": url, "timeouts": timeouts}, "resources": {"tables": ["parents"]}}}
    service = await make_service(["database", "resources"], settings)
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        await connection.execute("SELECT FROM parents WHERE id = 1 FOR UPDATE")
        async with service.client.patch("/api/v1/parents/1", json={"name": "x"}) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (504, "TIMEOUT")
    assert await connection.fetchval("SELECT name FROM parents WHERE id = 1") == "one"
    await connection.close()

"""The schema changes while it is served: clients come back, and it is read anew. Broken triggers are no such change."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from plugins.resources.handlers.healing import AGAIN_AFTER_S, FAILED, LOOK_EVERY_S, Healer, Healing
from service.errors import SchemaChanged, ServiceError, Unavailable
from service.run import Run, Tasks
from service.testing.clock import FakeClock

SQL = "CREATE TABLE rows (id int PRIMARY KEY, n int, t text); INSERT INTO rows VALUES (1, 2, 'x')"
ASKED = "the schema of the database has changed"


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE rows DROP COLUMN n",
        "ALTER TABLE rows RENAME COLUMN n TO m",
        "ALTER TABLE rows ALTER COLUMN id TYPE text",
        "DROP TABLE rows",
    ],
)
async def test_requests_for_what_is_no_longer_there_are_told_to_come_back(serve, change: str) -> None:
    api = await serve(SQL, tables=["rows"])
    assert (await api.get("rows/1"))[0] == 200
    connection = await asyncpg.connect(api.url)
    await connection.execute(change)
    await connection.close()
    asked = [("GET", "rows/1", None), ("GET", "rows?n[gt]=1&id[gt]=0", None), ("PATCH", "rows/1", {"n": 3})]
    for method, path, body in asked:
        async with api.client.request(method, f"/api/v1/{path}", json=body) as response:
            told = await response.json()
        assert (response.status, told["error"]["code"]) == (503, "SERVICE_UNAVAILABLE"), (path, told)
        assert response.headers["Retry-After"] == "1"
    assert len([sentence for sentence in api.said if ASKED in sentence]) == 1


@pytest.mark.parametrize("change", ["ADD COLUMN m int", "ALTER COLUMN t TYPE varchar"])
async def test_changes_that_nothing_of_ours_is_about_are_not_noticed(serve, change: str) -> None:
    api = await serve(SQL, tables=["rows"])
    assert (await api.get("rows"))[0] == 200
    connection = await asyncpg.connect(api.url)
    await connection.execute(f"ALTER TABLE rows {change}")
    await connection.close()
    assert (await api.get("rows"))[0] == 200
    assert not [sentence for sentence in api.said if ASKED in sentence]


BROKEN = """
CREATE TABLE rows (id int PRIMARY KEY, n int);
INSERT INTO rows VALUES (1, 2);
CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NEW; END $$;
CREATE TRIGGER broken BEFORE UPDATE ON rows FOR EACH ROW EXECUTE FUNCTION broken();
"""


@pytest.mark.parametrize(
    ("code", "body", "ends"),
    [
        ("42P01", "INSERT INTO nowhere VALUES (1)", "SQL statement"),
        ("42703", "UPDATE rows SET nope = 1", "SQL statement"),
        ("42883", "PERFORM nope(1)", "PERFORM"),
        ("42804", "RAISE EXCEPTION 'secret' USING ERRCODE = '42804'", "RAISE"),
    ],
)
async def test_trigger_that_fails_for_its_own_schema_is_500_told_to_the_operator_and_no_reload(
    serve, code: str, body: str, ends: str
) -> None:
    api = await serve(BROKEN.format(body), tables=["rows"])
    before = len(api.said)
    for _ in range(3):
        status, told = await api.send("PATCH", "rows/1", {"n": 3})
        assert (status, told["error"]["code"], told["error"]["message"]) == (500, "INTERNAL_ERROR", FAILED)
    assert api.said[before:] == [
        f"A statement of rows fails in the database (SQLSTATE {code}; PL/pgSQL function broken() line 1 at {ends}), "
        "though its tables are as this service knows them: correct the trigger, view or function."
    ]
    assert await api.get("rows/1") == (200, {"id": 1, "n": 2})


async def test_view_whose_function_is_gone_wrong_is_500_and_no_reload(serve) -> None:
    sql = """
    CREATE FUNCTION look() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT n FROM nowhere); END $$;
    CREATE VIEW rows AS SELECT 1 AS id, look() AS n;
    """
    api = await serve(sql, tables=["rows"], table={"rows": {"key": "id"}})
    for path in ("rows", "rows/1", "rows?count=exact"):
        assert (await api.get(path))[0] == 500
    assert not [sentence for sentence in api.said if ASKED in sentence]


async def test_schema_that_changes_beside_a_broken_trigger_is_still_noticed(serve, monkeypatch) -> None:
    monkeypatch.setattr("plugins.resources.handlers.healing.LOOK_EVERY_S", 0.0)
    api = await serve(BROKEN.format("INSERT INTO nowhere VALUES (1)"), tables=["rows"])
    assert (await api.send("PATCH", "rows/1", {"n": 3}))[0] == 500
    connection = await asyncpg.connect(api.url)
    await connection.execute("CREATE SCHEMA other; CREATE TABLE another (id int)")
    assert (await api.send("PATCH", "rows/1", {"n": 3}))[0] == 500
    await connection.execute("ALTER TABLE rows ADD COLUMN m int")
    await connection.close()
    assert (await api.send("PATCH", "rows/1", {"n": 3}))[0] == 503
    assert len([sentence for sentence in api.said if ASKED in sentence]) == 1


class Schema:
    """Looks at a schema that differs, or not, or cannot be looked at; and a database that it has changed for."""

    def __init__(self, outcome: bool | ServiceError) -> None:
        self.outcome = outcome
        self.looks = 0
        self.asked: list[str] = []
        self.said: list[str] = []
        self.clock = FakeClock()
        run = Run.__new__(Run)
        for name, value in {
            "clock": self.clock,
            "request_reload": self.asked.append,
            "say": self.said.append,
            "spawn": Tasks().spawn,
        }.items():
            object.__setattr__(run, name, value)
        self.healing = Healing(self, Healer(self.differs, run), name="rows")  # type: ignore[arg-type]

    async def differs(self) -> bool:
        self.looks += 1
        await asyncio.sleep(0)
        if isinstance(self.outcome, ServiceError):
            raise self.outcome
        return self.outcome

    async def fetch_json(self, sql: str, *args: object) -> bytes | None:
        raise SchemaChanged("changed")

    async def statuses(self, number: int = 1) -> list[int]:
        asked = [self.healing.fetch_json("SELECT 1") for _ in range(number)]
        return [error.status for error in await asyncio.gather(*asked, return_exceptions=True)]  # type: ignore[union-attr]


async def test_reload_that_does_not_come_is_asked_for_again_after_a_while() -> None:
    schema = Schema(True)
    for _ in range(3):
        assert await schema.statuses() == [503]
        schema.clock.advance(LOOK_EVERY_S)
    assert (schema.asked, schema.looks) == ([ASKED], 3)
    schema.clock.advance(AGAIN_AFTER_S)
    assert await schema.statuses() == [503]
    assert schema.asked == [ASKED, ASKED]


@pytest.mark.parametrize(("differs", "status"), [(True, 503), (False, 500)])
async def test_schema_is_looked_at_once_for_all_who_ask_within_a_few_seconds(differs: bool, status: int) -> None:
    schema = Schema(differs)
    assert await schema.statuses(20) == [status] * 20
    schema.clock.advance(LOOK_EVERY_S / 2)
    assert await schema.statuses(20) == [status] * 20
    assert schema.looks == 1
    schema.clock.advance(LOOK_EVERY_S / 2)
    schema.outcome = not differs
    assert await schema.statuses() == [503 + 500 - status]
    assert schema.looks == 2


async def test_schema_that_cannot_be_looked_at_is_503_and_no_reload() -> None:
    schema = Schema(Unavailable("The database is busy."))
    assert await schema.statuses() == [503]
    assert (schema.asked, schema.said) == ([], [])


async def test_operator_is_told_of_a_resource_once_a_minute() -> None:
    schema = Schema(False)
    for wait_s in (0.0, AGAIN_AFTER_S / 2, AGAIN_AFTER_S / 2):
        schema.clock.advance(wait_s)
        assert await schema.statuses() == [500]
    assert len(schema.said) == 2

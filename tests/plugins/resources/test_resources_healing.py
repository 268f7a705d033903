"""The schema changes while it is served: clients are told to come back, and it is read anew."""

from __future__ import annotations

import asyncpg
import pytest

from plugins.resources.handlers.healing import AGAIN_AFTER_S, Healing
from service.errors import SchemaChanged, Unavailable
from service.run import Run
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


async def test_reload_that_does_not_come_is_asked_for_again_after_a_while() -> None:
    class Changed:
        async def fetch_json(self, sql: str, *args: object) -> bytes | None:
            raise SchemaChanged("changed")

    clock, asked = FakeClock(), []
    run = Run.__new__(Run)
    object.__setattr__(run, "clock", clock)
    object.__setattr__(run, "request_reload", asked.append)
    healing = Healing(Changed(), run)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(Unavailable):
            await healing.fetch_json("SELECT 1")
    assert asked == [ASKED]
    clock.advance(AGAIN_AFTER_S)
    with pytest.raises(Unavailable):
        await healing.fetch_json("SELECT 1")
    assert asked == [ASKED, ASKED]

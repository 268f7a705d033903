"""What triggers, rules and views of the operator's do to writes: rows that they keep, and faults that they raise."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import asyncpg
import pytest

from service.api import Change

KEPT = """
CREATE TABLE log (what text);
CREATE TABLE plain (id int PRIMARY KEY, name text);
CREATE TABLE soft (id int PRIMARY KEY, name text, gone boolean NOT NULL DEFAULT false);
CREATE TABLE stuck (id int PRIMARY KEY, name text);
CREATE TABLE moved (id int PRIMARY KEY, name text);
CREATE TABLE elsewhere (id int PRIMARY KEY, name text);
CREATE FUNCTION bury() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE soft SET gone = true WHERE id = OLD.id AND NOT gone; RETURN NULL;
END $$;
CREATE TRIGGER bury BEFORE DELETE ON soft FOR EACH ROW EXECUTE FUNCTION bury();
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER hold BEFORE INSERT OR UPDATE OR DELETE ON stuck FOR EACH ROW EXECUTE FUNCTION hold();
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO elsewhere VALUES (NEW.*);
    IF TG_OP = 'UPDATE' AND NEW.name = 'up' THEN
        UPDATE moved SET name = 'was moved' WHERE id = OLD.id AND name <> 'was moved';
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM moved WHERE id = OLD.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER move BEFORE INSERT OR UPDATE ON moved FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION move();
CREATE VIEW living AS SELECT id, name FROM soft WHERE NOT gone;
INSERT INTO plain VALUES (1, 'a');
INSERT INTO soft VALUES (1, 'a'), (2, 'b');
ALTER TABLE stuck DISABLE TRIGGER hold;
INSERT INTO stuck VALUES (1, 'a');
ALTER TABLE stuck ENABLE TRIGGER hold;
ALTER TABLE moved DISABLE TRIGGER move;
INSERT INTO moved VALUES (1, 'a'), (2, 'b');
ALTER TABLE moved ENABLE TRIGGER move;
"""
NAMES = ["plain", "soft", "stuck", "moved", "living"]
ELSEWHERE = "The database did not keep this row: a trigger may have put it elsewhere. Look before trying again."
UNMOVED = "A trigger of the database has left this row as it was."


async def told(api, method, path, body=None):
    """Status, and code and message where there are any."""
    status, answer = await api.send(method, path, body)
    return (status, answer["error"]["code"], answer["error"]["message"]) if status >= 400 else (status,)


@pytest.fixture
def kept(serve, watcher):
    return serve(KEPT, watcher, tables=NAMES, table={"living": {"key": "id"}, "soft": {"hidden": "gone"}})


async def test_deleted_row_that_a_trigger_has_marked_is_gone_and_announced(kept, watcher):
    api = await kept
    assert await told(api, "DELETE", "soft/1") == (204,)
    assert watcher.seen[0] == Change("soft", ("1",))
    assert {change.resource for change in watcher.seen} == {"soft", "living"}
    watcher.seen.clear()
    assert await told(api, "DELETE", "soft/1") == (409, "CONFLICT", UNMOVED)  # it is marked already
    assert watcher.seen[0] == Change("soft", ("1",))
    watcher.seen.clear()
    assert (await told(api, "DELETE", "soft/9"))[:2] == (404, "NOT_FOUND")
    assert watcher.seen == []


async def test_deleted_row_that_a_trigger_behind_a_view_has_hidden_is_gone(kept, watcher):
    api = await kept
    assert await told(api, "DELETE", "living/2") == (204,)
    assert watcher.seen[0] == Change("living", ("2",))
    assert [row["id"] for row in await api.rows("living")] == [1]
    assert (await told(api, "DELETE", "living/2"))[:2] == (404, "NOT_FOUND")


async def test_row_that_a_trigger_has_left_as_it_was_is_409_and_announced(kept, watcher):
    api = await kept
    for method, body in (("PATCH", {"name": "x"}), ("PUT", {"name": "x"}), ("DELETE", None)):
        watcher.seen.clear()
        assert await told(api, method, "stuck/1", body) == (409, "CONFLICT", UNMOVED), method
        assert watcher.seen == [Change("stuck", ("1",))]
        assert (await told(api, method, "stuck/9", body))[:2] == (404, "NOT_FOUND")
        assert watcher.seen == [Change("stuck", ("1",))]
    assert await api.rows("stuck") == [{"id": 1, "name": "a"}]


async def test_new_row_that_a_trigger_has_put_elsewhere_is_409_that_says_so_and_announced(kept, watcher):
    api = await kept
    assert await told(api, "POST", "moved", {"id": 5, "name": "x"}) == (409, "CONFLICT", ELSEWHERE)
    assert watcher.seen == [Change("moved")]
    assert "Location" not in api.headers


async def test_updated_row_is_answered_as_the_trigger_has_made_it(kept, watcher):
    api = await kept
    assert await api.send("PATCH", "moved/1", {"name": "up"}) == (200, {"id": 1, "name": "was moved"})
    assert watcher.seen == [Change("moved", ("1",))]
    assert (await told(api, "PATCH", "moved/2", {"name": "away"}))[:2] == (404, "NOT_FOUND")
    assert watcher.seen[1:] == [Change("moved", ("2",))]


async def test_table_without_such_a_trigger_is_one_statement_whatever_comes_of_it(kept, monkeypatch):
    api = await kept
    asked = []
    fetch = asyncpg.pool.PoolConnectionProxy.fetch

    async def noted(self, sql, *args, **kwargs):
        asked.append(sql.split()[0])
        return await fetch(self, sql, *args, **kwargs)

    monkeypatch.setattr(asyncpg.pool.PoolConnectionProxy, "fetch", noted)
    for method, path, body in (
        ("PATCH", "plain/1", {"name": "b"}),
        ("DELETE", "plain/1", None),
        ("DELETE", "plain/1", None),
        ("PUT", "plain/1", {"name": "b"}),
        ("POST", "plain", {"id": 1}),
    ):
        await api.send(method, path, body)
    assert asked == ["UPDATE", "DELETE", "DELETE", "UPDATE", "INSERT"]


RULED = """
CREATE TABLE fixed (id int PRIMARY KEY, gone boolean DEFAULT false);
CREATE RULE keep AS ON DELETE TO fixed DO INSTEAD NOTHING;
CREATE TABLE marked (id int PRIMARY KEY, gone boolean DEFAULT false);
CREATE RULE mark AS ON DELETE TO marked DO INSTEAD UPDATE marked SET gone = true WHERE id = OLD.id AND NOT gone
    RETURNING marked.*;
CREATE VIEW shown AS SELECT id, gone FROM fixed;
INSERT INTO fixed VALUES (1);
INSERT INTO marked VALUES (1);
"""


async def test_rule_that_gives_no_row_back_leaves_its_action_out_and_the_start_says_why(serve):
    api = await serve(RULED, tables=["fixed", "shown"], table={"shown": {"key": "id"}})
    for name in ("fixed", "shown"):
        assert (await told(api, "DELETE", f"{name}/1"))[:2] == (405, "METHOD_NOT_ALLOWED")
        assert (await api.send("PATCH", f"{name}/1", {"gone": True}))[0] == 200
        assert (
            f"{name}: delete left out, because a rule does something else instead and gives no row back; end that rule "
            'with RETURNING; where it is meant so, write writes = ["create", "update"] under '
            f"[plugins.resources.table.{name}]."
        ) in api.said


async def test_rule_that_gives_the_row_back_is_as_good_as_the_action(serve):
    api = await serve(RULED, tables=["marked"])
    assert await told(api, "DELETE", "marked/1") == (204,)
    assert await api.rows("marked") == [{"id": 1, "gone": True}]
    assert await told(api, "DELETE", "marked/1") == (409, "CONFLICT", UNMOVED)
    assert (await told(api, "DELETE", "marked/2"))[:2] == (404, "NOT_FOUND")


COMPUTED = """
CREATE TABLE numbers (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO numbers VALUES (1, 5), (2, 0);
CREATE VIEW ratios AS SELECT id, 10 / n AS ratio FROM numbers;
CREATE TABLE spans (id int PRIMARY KEY, span interval, n int NOT NULL);
INSERT INTO spans VALUES (1, '1 day', 1), (2, '2 days', 2), (3, '3 days', 0);
CREATE VIEW lengths AS SELECT id, span, 10 / n AS ratio FROM spans;
"""


@pytest.mark.parametrize(
    "path",
    ["ratios", "ratios/2", "ratios?count=none", "ratios?ratio[gt]=1", "ratios?id=2", "ratios?limit=1&page=2"],
)
async def test_value_that_a_view_cannot_compute_is_500_and_told_to_the_operator(serve, path):
    api = await serve(COMPUTED, tables=["ratios"], table={"ratios": {"key": "id"}})
    status, answer = await api.get(path)
    assert (status, answer["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert api.said[-1] == (
        "A statement of ratios fails in the database (SQLSTATE 22012), on a value that no client sent: correct the "
        "trigger, view or function."
    )
    assert await api.get("ratios/1") == (200, {"id": 1, "ratio": 2})


async def test_value_that_a_view_cannot_compute_is_told_from_a_forged_cursor(serve, forged):
    api = await serve(COMPUTED, tables=["lengths"], table={"lengths": {"key": "id"}})
    status, page = await api.get("lengths?limit=1&sort=-span&id[lt]=3")
    assert (status, len(page["data"])) == (200, 1)
    path, cursor = "lengths?limit=1&sort=-span&id[lt]=3&cursor=", page["pagination"]["nextCursor"]
    assert [row["id"] for row in await api.rows(path + cursor)] == [1]
    told = "has a value that its field cannot have; begin again without it."
    for values in (["no span", "2"], ["2 days", "x"]):
        assert await api.faults(path + forged(cursor, values)) == [("cursor", told)]
    connection = await asyncpg.connect(api.url)
    await connection.execute("UPDATE spans SET n = 0 WHERE id = 1")
    await connection.close()
    assert (await api.get(path + cursor))[0] == 500


@pytest.fixture
def forged():
    """`forged(cursor, values)`: the cursor with other values."""

    def forge(cursor: str, values: list[str]) -> str:
        token = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        token[3] = values
        return urlsafe_b64encode(json.dumps(token).encode()).rstrip(b"=").decode()

    return forge


async def test_view_that_was_never_filled_is_503_until_it_is(serve):
    sql = "CREATE MATERIALIZED VIEW sums AS SELECT 1 AS id, 2 AS total WITH NO DATA"
    api = await serve(sql, tables=["sums"], table={"sums": {"key": "id"}})
    for path in ("sums", "sums/1"):
        status, answer = await api.get(path)
        assert (status, answer["error"]["message"]) == (503, "This cannot be read yet; try again later.")
    connection = await asyncpg.connect(api.url)
    await connection.execute("REFRESH MATERIALIZED VIEW sums")
    await connection.close()
    assert await api.get("sums/1") == (200, {"id": 1, "total": 2})


RAISED = """
CREATE TABLE rows (id int PRIMARY KEY, code text);
CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'secret' USING ERRCODE = NEW.code;
END $$;
CREATE TRIGGER judge BEFORE INSERT ON rows FOR EACH ROW EXECUTE FUNCTION judge();
"""


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        ("P0002", 422, "VALIDATION_ERROR"),
        ("45000", 422, "VALIDATION_ERROR"),
        ("02000", 422, "VALIDATION_ERROR"),
        ("PT409", 409, "CONFLICT"),
        ("PT404", 404, "NOT_FOUND"),
        ("PT403", 403, "FORBIDDEN"),
        ("PT418", 422, "VALIDATION_ERROR"),
        ("28000", 403, "FORBIDDEN"),
        ("08000", 503, "SERVICE_UNAVAILABLE"),
    ],
)
async def test_code_that_a_trigger_raises_has_its_status_and_the_database_is_not_lost(serve, code, status, name):
    api = await serve(RAISED, tables=["rows"])
    said = len(api.said)
    answered, answer = await api.send("POST", "rows", {"id": 1, "code": code})
    assert (answered, answer["error"]["code"], answer["error"]["details"]) == (status, name, [])
    assert "secret" not in str(answer)
    assert "may have been made" not in answer["error"]["message"]
    assert api.said[said:] == []


RENAMED = """
CREATE TABLE base (id int PRIMARY KEY, a int CHECK (a > 0), b int NOT NULL, c text UNIQUE, d int CHECK (d > 0));
CREATE VIEW swapped AS SELECT id, a AS b, b AS a, c AS "the c", d + 0 AS sum, (SELECT max(x.b) FROM base x) AS most
    FROM base;
CREATE VIEW plainly AS SELECT b + 0 AS c, c AS id, id AS c2, b FROM base;
CREATE VIEW over AS SELECT id AS key, b AS first, a AS second, "the c" FROM swapped;
INSERT INTO base VALUES (1, 1, 1, 'x', 1);
"""


async def test_fault_of_a_column_goes_to_the_field_that_shows_it_through_any_view(serve):
    table = {"swapped": {"key": "id"}, "over": {"key": "key"}, "plainly": {"key": "id"}}
    api = await serve(RENAMED, tables=["swapped", "over", "plainly"], table=table)
    assert await api.refused("POST", "swapped", {"id": 2, "b": 0, "a": 1}) == [("b", "is not allowed.")]
    assert await api.refused("POST", "swapped", {"id": 2, "b": 1}) == [("a", "is required.")]
    assert await api.refused("POST", "over", {"key": 2, "first": 0, "second": 1}) == [("first", "is not allowed.")]
    assert await api.refused("POST", "over", {"key": 2, "first": 1}) == [("second", "is required.")]
    taken = await api.refused("POST", "over", {"key": 2, "first": 1, "second": 1, "theC": "x"}, status=409)
    assert taken == [("theC", "is taken already.")]
    assert await api.refused("POST", "plainly", {"c2": 1, "b": 1}, status=409) == [("c2", "is taken already.")]
    assert await api.refused("POST", "plainly", {"id": "x", "c2": 2, "b": 1}, status=409) == [
        ("id", "is taken already.")
    ]


PARTS = """
CREATE TABLE months (id int, at_month date, PRIMARY KEY (id, at_month)) PARTITION BY RANGE (at_month);
CREATE TABLE months_2026 PARTITION OF months FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW seen AS SELECT id, at_month AS month FROM months WHERE id < 9 WITH CHECK OPTION;
"""


async def test_row_without_a_partition_names_the_fields_that_decide(serve):
    api = await serve(PARTS, tables=["months", "seen"], table={"seen": {"key": "id"}})
    told = await api.refused("POST", "months", {"id": 1, "atMonth": "2020-01-01"})
    assert told == [("atMonth", "is not allowed.")]
    told = await api.refused("POST", "seen", {"id": 1, "month": "2020-01-01"})
    assert told == [("month", "is not allowed.")]
    status, answer = await api.send("POST", "seen", {"id": 10, "month": "2026-01-01"})
    assert (status, answer["error"]["details"]) == (422, [])
    assert answer["error"]["message"] == "A row with these values would not be seen here."


async def test_values_are_tried_in_few_statements_however_many_there_are(serve, monkeypatch):
    domain = "CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);"
    columns = ", ".join(f"c{number} even" for number in range(60))
    refuse = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON wide FOR EACH ROW EXECUTE FUNCTION refuse();
    """
    api = await serve(f"{domain} CREATE TABLE wide (id int PRIMARY KEY, {columns}); {refuse}", tables=["wide"])
    asked = []
    fetch = asyncpg.pool.PoolConnectionProxy.fetch

    async def noted(self, sql, *args, **kwargs):
        asked.append(sql.split()[0])
        return await fetch(self, sql, *args, **kwargs)

    monkeypatch.setattr(asyncpg.pool.PoolConnectionProxy, "fetch", noted)
    body = {"id": 1} | {f"c{number}": 2 for number in range(60)}
    assert await api.refused("POST", "wide", body) == []
    assert asked == ["INSERT", "SELECT"]
    for at in (0, 31, 59):
        asked.clear()
        assert await api.refused("POST", "wide", body | {f"c{at}": 3}) == [(f"c{at}", "is not allowed.")]
        assert len(asked) <= 14
    asked.clear()
    told = await api.refused("POST", "wide", body | {f"c{number}": 1 for number in range(60)})
    assert told[:3] == [("c0", "is not allowed."), ("c1", "is not allowed."), ("c2", "is not allowed.")]
    assert len(asked) == 17

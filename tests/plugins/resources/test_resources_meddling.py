"""What triggers, rules and views of the operator's do to writes: rows that they keep, and faults that they raise."""

from __future__ import annotations

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
            f'with RETURNING, or write writes = ["create", "update"] under [plugins.resources.table.{name}].'
        ) in api.said


async def test_rule_that_gives_the_row_back_is_as_good_as_the_action(serve):
    api = await serve(RULED, tables=["marked"])
    assert await told(api, "DELETE", "marked/1") == (204,)
    assert await api.rows("marked") == [{"id": 1, "gone": True}]
    assert await told(api, "DELETE", "marked/1") == (409, "CONFLICT", UNMOVED)
    assert (await told(api, "DELETE", "marked/2"))[:2] == (404, "NOT_FOUND")

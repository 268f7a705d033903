"""Advice, on a real PostgreSQL: what is missing is asked for with its line, and that line makes the advice go away."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import asyncpg
import pytest

from plugins.database.demo import make_demo
from plugins.resources import Settings
from plugins.resources.advice.advising import advise
from plugins.resources.advice.explaining import NoPlan, Plan, explain, explained, reading
from plugins.resources.advice.findings import Advice, Report
from plugins.resources.plan.marks import mark
from plugins.resources.schema.catalogue import CATALOGUE, Catalogue, Column, Table, Type, read_catalogue
from plugins.resources.schema.resource import Resource
from plugins.resources.schema.selecting import select
from plugins.resources.shapes import Conditions, Counting, Leaf, Seen, Shape, shape_of
from service.api import DATABASE, Database, Heard, Ports, ServiceError, hookimpl
from service.testing.service import MakeService

MakeDatabase = Callable[[str], str]

EVENTS = """
CREATE EXTENSION IF NOT EXISTS plpgsql;
CREATE TABLE kinds (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE events (
    id int PRIMARY KEY,
    kind_id int NOT NULL REFERENCES kinds,
    state text NOT NULL,
    made_at timestamptz NOT NULL
);
CREATE INDEX events_kind_id_idx ON events (kind_id);
INSERT INTO kinds SELECT i, 'kind ' || i FROM generate_series(1, 100) i;
INSERT INTO events
SELECT i, 1 + i % 100, 'state ' || i % 7, timestamptz '2026-01-01' + i * interval '1 min'
FROM generate_series(1, 20000) i;
ANALYZE kinds, events;
"""

BY_STATE = Shape("events", Conditions((("state", "eq"),)), ("-made_at", "-id"))

STATEMENTS = f"""
CREATE SCHEMA extensions;
CREATE VIEW extensions.pg_stat_statements AS
SELECT d.oid AS dbid, s.*
FROM pg_database d, (VALUES
    ('{mark("public", BY_STATE)}json_build_array($1)', 7::bigint, 1400.0::float8, 900.0::float8),
    ('{mark("other", BY_STATE)}json_build_array($1)', 8, 8000.0, 8000.0),
    ('SELECT /* pegboard ["public",{{"of": "another version"}}] */ 1', 8, 8000.0, 8000.0),
    ('SELECT secret FROM others', 9, 9000.0, 9000.0)
) s (query, calls, total_exec_time, max_exec_time);
SET allow_system_table_mods = on;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
SELECT 99999, 'pg_stat_statements', 10, oid, false, '1.10' FROM pg_namespace WHERE nspname = 'extensions';
"""
"""What the extension leaves in a database, as far as anybody sees: PostgreSQL's own is not in the wheel."""


class Borrower:
    """Has the port that a command gets from `opened`."""

    class Plugin:
        requires = (DATABASE,)

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            self.database = ports.need(DATABASE)
            yield


class Place:
    """A database, and what is served of it."""

    def __init__(self, url: str, database: Database, settings: Settings) -> None:
        self.url = url
        self.database = database
        self.now = datetime.now(UTC)
        self._settings = settings

    async def catalogue(self) -> Catalogue:
        body = await self.database.fetch_json(CATALOGUE, "public")
        assert body is not None
        return read_catalogue(body)

    async def resources(self) -> Sequence[Resource]:
        selection = select(await self.catalogue(), self._settings, plugin="resources")
        assert not selection.mistakes
        return selection.resources

    async def resource(self, name: str) -> Resource:
        return next(each for each in await self.resources() if each.name == name)

    async def advise(self, *told: Seen) -> Report:
        return await self.hear(Heard((told,), ()))

    async def hear(self, heard: Heard) -> Report:
        return await advise(self.database, await self.catalogue(), await self.resources(), heard, now=self.now)

    async def advice(self, *told: Seen) -> list[Advice]:
        return list((await self.advise(*told)).advice)

    async def run(self, *lines: str) -> None:
        """As an operator would; what it counts is counted when this returns."""
        connection = await asyncpg.connect(self.url)
        try:
            for line in lines:
                await connection.execute(line)
            await connection.execute("SELECT pg_stat_force_next_flush()")
        finally:
            await connection.close()


class Look(Protocol):
    def __call__(self, sql: str, **settings: Any) -> Awaitable[Place]:
        """A new database made by `sql`, whose tables are served as `settings` of [plugins.resources] say."""


@pytest.fixture
def look(make_service: MakeService, make_database: MakeDatabase) -> Look:
    async def make(sql: str, **settings: Any) -> Place:
        url = make_database(sql)
        timeouts = settings.pop("timeouts", {})
        tables = {"plugins": {"database": {"url": url, "timeouts": timeouts}}}
        service = await make_service(["database", Borrower], tables)
        database = service.application.loaded["borrower"].plugin.database  # type: ignore[attr-defined]
        return Place(url, database, Settings.model_validate({"tables": ["*"], **settings}))

    return make


def seen(
    *filters: Leaf,
    order: str = "id",
    seconds: float = 1.0,
    table: str = "events",
    either: tuple[tuple[Conditions, ...], ...] = (),
    count: Counting = "",
) -> Seen:
    """Ten times, by the service."""
    names = tuple(order.split(",")) if order else ()
    return Seen(Shape(table, Conditions(filters, either), names, count), 10, seconds, 0.2)


# --- the demo


async def test_demo_is_served_by_its_indexes_and_one_that_is_dropped_is_asked_for(look: Look) -> None:
    place = await look("", table={"users": {"sort": "-created_at"}})
    connection = await asyncpg.connect(place.url)
    await make_demo(connection)
    await connection.close()
    report = await place.advise()
    assert report.advice == ()
    assert {each.list: each.plan.indexes for each in report.looked if each.plan} == {
        "orders filtered by user_id, sorted by id": ("orders_user_id_idx",),
        "orders sorted by id": ("orders_pkey",),
        "users sorted by -created_at, -id": ("users_created_at_id_idx",),
    }

    await place.run("DROP INDEX orders_user_id_idx", "DROP INDEX users_created_at_id_idx")
    by_table = {each.table: each for each in await place.advice()}
    assert by_table["orders"].run == 'CREATE INDEX CONCURRENTLY ON "public"."orders" ("user_id");'
    assert by_table["orders"].what.startswith("orders refers to users by user_id, which no index begins with")
    assert by_table["users"].run == 'CREATE INDEX CONCURRENTLY ON "public"."users" ("created_at", "id");'
    assert "Seq Scan on users: 1,000 rows" in "\n".join(by_table["users"].plan)
    assert by_table["users"].evidence[0].startswith("users has about 1,000 rows and takes ")
    assert by_table.keys() == {"orders", "users"}

    for each in by_table.values():
        await place.run(each.run)
    assert await place.advice() == []


# --- indexes that are missing


async def test_list_that_clients_ask_for_and_that_reads_much_wants_an_index(look: Look) -> None:
    place = await look(EVENTS)
    asked = seen(("state", "eq"), order="-made_at,-id")
    assert await place.advice() == []
    (advice,) = await place.advice(asked)
    assert advice.kind == "index"
    assert advice.run == 'CREATE INDEX CONCURRENTLY ON "public"."events" ("state", "made_at", "id");'
    assert "Seen by the service 10 times, 100.0 ms each, 200.0 ms at most." in advice.evidence
    assert advice.what == (
        "The list of events filtered by state, sorted by -made_at, -id reads much more than a page, and no index leads "
        "to just that."
    )
    await place.run(advice.run)
    assert await place.advice(asked) == []


async def test_list_that_reads_little_is_left_alone_however_often_it_is_asked_for(look: Look) -> None:
    place = await look(EVENTS.replace("20000", "2000"))
    assert await place.advice(seen(("state", "eq"), seconds=1000.0)) == []


async def test_list_whose_range_most_rows_pass_wants_its_order(look: Look) -> None:
    """An index on the range would be read whole."""
    place = await look(EVENTS)
    asked = seen(("id", "gt"), order="made_at,id")
    (advice,) = await place.advice(asked)
    assert advice.run == 'CREATE INDEX CONCURRENTLY ON "public"."events" ("made_at", "id");'
    await place.run(advice.run)
    assert await place.advice(asked) == []


async def test_index_that_another_makes_needless_is_not_asked_for_beside_it(look: Look) -> None:
    place = await look(EVENTS + "DROP INDEX events_kind_id_idx; UPDATE events SET kind_id = 1; ANALYZE events")
    (advice,) = await place.advice(seen(("kind_id", "eq"), ("state", "eq"), order="made_at,id"))
    assert advice.run == 'CREATE INDEX CONCURRENTLY ON "public"."events" ("kind_id", "state", "made_at", "id");'
    assert "events refers to kinds by kind_id" in advice.what
    assert "The list of events filtered by kind_id, state" in advice.what
    await place.run(advice.run)
    assert await place.advice() == []


async def test_search_for_parts_of_texts_wants_trigrams_and_says_what_these_take(look: Look) -> None:
    place = await look(EVENTS)
    (advice,) = await place.advice(seen(("state", "endswith"), order="made_at,id"))
    assert advice.run == 'CREATE INDEX CONCURRENTLY ON "public"."events" USING gin ("state" gin_trgm_ops);'
    assert "CREATE EXTENSION pg_trgm." in advice.what


NOTES = """
CREATE TABLE notes (id int PRIMARY KEY, note text NOT NULL, rank int NOT NULL);
INSERT INTO notes SELECT i, 'note ' || i % 100, i % 100 FROM generate_series(1, 120000) i;
ANALYZE notes;
"""


@pytest.mark.parametrize("operator", ["contains", "like", "eq"])
async def test_search_that_clients_see_take_long_is_tried_with_a_text_that_no_row_has(
    look: Look, operator: str
) -> None:
    """The one that stands in the table is found at once."""
    place = await look(NOTES)
    asked = seen(("note", operator), table="notes", seconds=5.0)
    (advice,) = await place.advice(asked)
    assert advice.run.startswith('CREATE INDEX CONCURRENTLY ON "public"."notes" ')
    assert re.fullmatch(
        r"With a text that hardly any row has, the list of notes filtered by note\S*, sorted by id takes \S+ ms and "
        r"reads 120,000 rows for 0\.",
        advice.evidence[1],
    )
    if operator == "eq":
        await place.run(advice.run)
        assert await place.advice(asked) == []
    assert await place.advice(seen(("note", operator), table="notes", seconds=0.001)) == [], "nobody waits for it"


async def test_list_that_is_quick_and_was_seen_to_be_slow_is_told(look: Look) -> None:
    """Where there is no other value to try: of numbers, or where the index for it is there."""
    place = await look(NOTES)
    asked = seen(("rank", "eq"), table="notes", seconds=20.0)
    report = await place.advise(asked)
    assert report.advice == ()
    assert report.notes[-1] == (
        "Seen to take more than 3 times as long as when tried here: the list of notes filtered by rank, sorted by id "
        "(2,000.0 ms each). Clients may give other values or ask for later pages, it may have been before there was an "
        "index, or PostgreSQL was busy or waited for locks."
    )
    quick = await place.advise(seen(("rank", "eq"), table="notes", seconds=0.001))
    assert not any(note.startswith("Seen to take") for note in quick.notes)


async def test_list_whose_count_takes_as_long_as_was_seen_is_no_surprise(look: Look) -> None:
    """Both are one statement."""
    place = await look(NOTES)
    report = await place.advise(seen(("rank", "gt"), table="notes", count="capped", seconds=0.02))
    assert len(report.looked) == 3
    assert not any(note.startswith("Seen to take") for note in report.notes)


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        (
            "CREATE INDEX ON events (kind_id) WHERE id > 5",
            'CREATE INDEX CONCURRENTLY ON "public"."events" ("kind_id");',
        ),
        ("CREATE INDEX ON events ((kind_id + 0))", 'CREATE INDEX CONCURRENTLY ON "public"."events" ("kind_id");'),
        ("CREATE INDEX ON events (id, kind_id)", 'CREATE INDEX CONCURRENTLY ON "public"."events" ("kind_id");'),
        ("CREATE INDEX ON events (kind_id) WHERE kind_id IS NOT NULL", None),
        ("CREATE INDEX ON events USING hash (kind_id)", None),
        ("CREATE UNIQUE INDEX ON events (kind_id DESC, id) INCLUDE (state)", None),
    ],
)
async def test_foreign_key_wants_an_index_that_begins_with_it(look: Look, sql: str, line: str | None) -> None:
    place = await look(f"{EVENTS} DROP INDEX events_kind_id_idx; {sql}")
    assert [each.run for each in await place.advice()] == ([line] if line else [])


async def test_partitioned_table_gets_a_line_that_it_takes(look: Look) -> None:
    """With the sums of its partitions; CONCURRENTLY is not to be had there."""
    place = await look(
        """
        CREATE TABLE parts (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        INSERT INTO parts SELECT i, date '2025-06-01' + i % 365 FROM generate_series(1, 5000) i;
        """,
        table={"parts": {"sort": "at"}},
    )
    (order, statistics) = await place.advice()
    assert order.run == 'CREATE INDEX ON "public"."parts" ("at", "id");'
    assert "it is made while writes wait" in order.what
    assert (statistics.kind, statistics.run) == ("statistics", 'ANALYZE "public"."parts";')
    await place.run(order.run, statistics.run)
    assert await place.advice() == []


async def test_odd_names_are_quoted_and_found(look: Look, awkward_sql: str) -> None:
    """Every list of a stranger's schema is looked at; every line that is advised can be run, and helps."""
    place = await look(awkward_sql)
    report = await place.advise()
    assert [each.reason for each in report.looked if each.plan is None and "no row" not in each.reason] == []
    assert report.advice
    await place.run(*[each.run for each in report.advice])
    assert await place.advice() == []


# --- alternatives


def either(*alternatives: Leaf | tuple[Leaf, ...]) -> tuple[tuple[Conditions, ...], ...]:
    """One of these; each is a filter, or several that must all hold."""
    several = [each if isinstance(each[0], tuple) else (each,) for each in alternatives]
    return (tuple([Conditions(each) for each in several]),)  # type: ignore[arg-type]


async def test_alternatives_want_an_index_each_which_are_then_joined(look: Look) -> None:
    """As `filter={"or":[...]}` asks for; PostgreSQL reads what either index finds, and no more."""
    place = await look(EVENTS + "UPDATE events SET state = 'rare' || id % 9000; ANALYZE events")
    asked = seen(either=either(("state", "eq"), (("kind_id", "ne"), ("made_at", "between"))))
    first, second = await place.advice(asked)
    assert (first.run, second.run) == (
        'CREATE INDEX CONCURRENTLY ON "public"."events" ("made_at");',
        'CREATE INDEX CONCURRENTLY ON "public"."events" ("state");',
    )
    named = "events filtered by (state or kind_id[ne] and made_at[between]), sorted by id"
    assert (
        first.what
        == second.what
        == (f"The list of {named} reads much more than a page, and no index leads to just that.")
    )
    await place.run(first.run)
    assert [each.run for each in await place.advice(asked)] == [second.run]
    await place.run(second.run)
    report = await place.advise(asked)
    assert report.advice == ()
    (plan,) = [each.plan for each in report.looked if each.list == named]
    assert plan is not None
    assert "BitmapOr: " in "\n".join(plan.lines)
    assert set(plan.indexes) == {"events_made_at_idx", "events_state_idx"}


async def test_alternatives_of_which_one_has_no_index_to_want_are_not_advised_on(look: Look) -> None:
    place = await look(EVENTS + "UPDATE events SET state = 'rare' WHERE id = 20000; UPDATE events SET kind_id = 1")
    await place.run("ANALYZE events", "CREATE INDEX ON events (id, kind_id)")
    assert await place.advice(seen(either=either(("state", "eq"), ("kind_id", "ne")))) == []


# --- counts


async def test_count_that_passes_over_much_wants_what_it_is_filtered_by(look: Look) -> None:
    """A page of these is found quickly in its order, and its count reads the whole table for it."""
    place = await look(EVENTS)
    asked = seen(("state", "eq"), count="capped", seconds=0.001)
    (advice,) = await place.advice(asked)
    assert advice.run == 'CREATE INDEX CONCURRENTLY ON "public"."events" ("state");'
    assert advice.what == (
        "The capped count of events filtered by state reads much more than it counts, and no index leads to just that."
    )
    assert re.fullmatch(
        r"The capped count of events filtered by state takes \S+ ms and reads 20,000 rows\.", advice.evidence[1]
    )
    assert "Aggregate: 1 rows" in "\n".join(advice.plan)
    assert await place.advice(seen(("state", "eq"), seconds=0.001)) == [], "the list itself reads little"
    assert [each.run for each in await place.advice(seen(("state", "eq"), order="", count="exact"))] == [advice.run]
    await place.run(advice.run)
    assert await place.advice(asked) == []


async def test_count_is_looked_at_once_whatever_the_orders_of_its_lists(look: Look) -> None:
    """And what was counted of each is added."""
    place = await look(EVENTS)
    report = await place.advise(
        *[seen(("state", "eq"), order=order, count="capped") for order in ("id", "-id", "made_at,id")]
    )
    (counted,) = [each for each in report.looked if each.list.startswith("capped count")]
    assert counted.list == "capped count of events filtered by state"
    assert counted.seen == ("Seen by the service 30 times, 100.0 ms each, 200.0 ms at most.",)


async def test_capped_count_of_a_whole_table_is_not_looked_at(look: Look) -> None:
    place = await look(EVENTS)
    report = await place.advise(seen(count="capped"))
    assert not [each for each in report.looked if "count" in each.list]


async def test_exact_count_that_no_index_makes_quicker_is_told(look: Look) -> None:
    place = await look(EVENTS)
    report = await place.advise(seen(order="", count="exact"))
    assert report.advice == ()
    assert re.fullmatch(
        r"The exact count of events takes \S+ ms and reads 20,000 rows\. No index would help; "
        r"without count=exact it is estimated\.",
        report.notes[-1],
    )
    quick = await place.advise(seen(order="", count="exact", seconds=0.9))
    assert not [note for note in quick.notes if "No index would help" in note]


# --- views

LATE = """
CREATE TABLE places (id int PRIMARY KEY, "Town / name" text NOT NULL, event_id int NOT NULL REFERENCES events);
INSERT INTO places SELECT i, 'town ' || i % 7000, i FROM generate_series(1, 20000) i;
CREATE INDEX ON places (event_id);
ANALYZE places;
CREATE VIEW late AS SELECT id AS number, state AS mood, made_at AS "when", upper(state) AS loud
FROM events WHERE id > 5;
CREATE VIEW latest AS SELECT * FROM late;
CREATE VIEW held AS SELECT e.id, e.state, p."Town / name" AS town FROM events e JOIN places p ON p.event_id = e.id;
CREATE VIEW twice AS SELECT a.id, a.state AS one, b.state AS other FROM events a JOIN events b ON b.id = a.id + 1;
CREATE VIEW totals AS SELECT state, count(*) AS total FROM events GROUP BY state;
CREATE VIEW united AS SELECT id, state FROM events UNION ALL SELECT id, name FROM kinds;
"""


def view_keys(**keys: str) -> dict[str, Any]:
    usual = {"late": "number", "latest": "number", "held": "id", "twice": "id", "totals": "state", "united": "id"}
    return {name: {"key": key} for name, key in {**usual, **keys}.items()}


@pytest.mark.parametrize(
    ("view", "filters", "order", "line"),
    [
        ("late", [("mood", "eq")], "-when,-number", '"public"."events" ("state", "made_at", "id")'),
        ("latest", [], "when,number", '"public"."events" ("made_at", "id")'),
        ("held", [("town", "eq")], "id", '"public"."places" ("Town / name")'),
        ("twice", [("other", "endswith")], "one,id", '"public"."events" USING gin ("state" gin_trgm_ops)'),
    ],
)
async def test_slow_list_of_a_view_wants_an_index_of_the_table_behind_it(
    look: Look, view: str, filters: list[Leaf], order: str, line: str
) -> None:
    """By the names that the columns have there."""
    place = await look(EVENTS + LATE, table=view_keys())
    found = [each for each in await place.advice(seen(*filters, order=order, table=view)) if each.table == view]
    (advice,) = found
    assert advice.run == f"CREATE INDEX CONCURRENTLY ON {line};"
    table = line.split('"')[3]
    assert advice.what.startswith(f"The list of {view}{f' filtered by {filters[0][0]}' if filters else ''}")
    assert f"{view} is a view, and of {table} behind it no index leads to just that." in advice.what
    assert advice.evidence[0].startswith(f"{table} has about 20,000 rows and takes ")
    assert f"Seq Scan on {table}" in "\n".join(advice.plan)


async def test_index_that_is_advised_for_a_view_makes_the_advice_go_away(look: Look) -> None:
    place = await look(EVENTS + LATE, table=view_keys())
    asked = [
        seen(("mood", "eq"), order="-when,-number", table="late", count="capped"),
        seen(order="when,number", table="latest"),
        seen(either=either(("mood", "eq"), ("when", "eq")), order="number", table="late"),
    ]
    lines = [each.run for each in await place.advice(*asked)]
    assert lines
    await place.run(*lines)
    assert not [each for each in await place.advice(*asked) if each.table in ("late", "latest")]


@pytest.mark.parametrize(
    ("view", "filters", "order"),
    [
        ("totals", [], "state"),
        ("united", [("state", "endswith")], "state,id"),
        ("late", [], "loud,number"),
    ],
    ids=["grouped", "united", "computed"],
)
async def test_slow_list_of_a_view_that_no_table_can_serve_is_told(
    look: Look, view: str, filters: list[Leaf], order: str
) -> None:
    place = await look(EVENTS + LATE, table=view_keys())
    report = await place.advise(seen(*filters, order=order, table=view))
    assert [each for each in report.advice if each.table == view] == []
    (note,) = [note for note in report.notes if note.startswith(f"The list of {view}") and order.split(",")[0] in note]
    assert note.endswith(f"{view} is a view, and no index of a table behind it is known that would help.")


async def test_list_of_a_view_that_reads_little_is_left_alone(look: Look) -> None:
    place = await look(EVENTS + LATE, table=view_keys())
    report = await place.advise(seen(("number", "eq"), order="number", table="late", seconds=0.001))
    assert not [note for note in report.notes if "late " in note]
    (plan,) = [each.plan for each in report.looked if each.list == "late filtered by number, sorted by number"]
    assert plan is not None
    assert plan.indexes == ("events_pkey",)


# --- statistics


async def test_statistics_that_were_never_made_or_are_stale_are_asked_for(look: Look) -> None:
    place = await look(EVENTS.replace("ANALYZE kinds, events;", ""))
    (never,) = await place.advice()
    assert (never.kind, never.table, never.run) == ("statistics", "events", 'ANALYZE "public"."events";')
    assert never.what.startswith("events was never analysed")
    await place.run(never.run)
    assert await place.advice() == []
    await place.run("UPDATE events SET state = 'new' WHERE id <= 3900")
    assert await place.advice() == []
    await place.run("UPDATE events SET state = 'new' WHERE id <= 101")
    (stale,) = await place.advice()
    assert stale.what.startswith("events has changed much since it was analysed")
    assert stale.evidence == ("4,001 changes of rows, where there were about 20,000.",)
    await place.run(stale.run)
    assert await place.advice() == []


# --- indexes that cost more than they serve


OFTEN = (
    "DO $$ BEGIN FOR i IN 1..500 LOOP PERFORM FROM kinds LIMIT 1; PERFORM FROM events LIMIT 1; END LOOP; END $$",
) * 2


async def test_unused_index_is_named_once_its_table_was_read_often_for_a_week(look: Look) -> None:
    place = await look(EVENTS + "CREATE INDEX idle ON events (state); ALTER TABLE events ADD UNIQUE (made_at)")
    place.now += timedelta(days=7)
    assert await place.advice() == []
    await place.run(*OFTEN)
    (advice,) = await place.advice()
    assert (advice.kind, advice.run) == ("unused index", 'DROP INDEX CONCURRENTLY "public"."idle";')
    assert advice.what == "Index idle of events is never used, and costs every write."
    assert re.fullmatch(
        r"Since 20\d\d-\d\d-\d\d events was read 1,\d\d\d times, never by it; replicas count their own\.",
        advice.evidence[0],
    )
    await place.run(advice.run)
    assert await place.advice() == [], "constraints, and what a foreign key wants, stay"


async def test_index_is_not_called_unused_before_a_week_is_counted_and_that_is_told(look: Look) -> None:
    place = await look(EVENTS + "CREATE INDEX idle ON events (state)")
    await place.run(*OFTEN, "SELECT pg_stat_reset()", *OFTEN)
    (row,) = await place.database.fetch(
        "SELECT stats_reset AS at FROM pg_stat_database WHERE datname = current_database()"
    )
    reset_at = row["at"]
    assert isinstance(reset_at, datetime)
    place.now = reset_at + timedelta(days=7, seconds=-1)
    report = await place.advise()
    assert "unused index" not in {each.kind for each in report.advice}
    assert report.notes[-1] == (
        f"Which indexes are never used is not told yet: PostgreSQL has counted since {reset_at:%Y-%m-%d %H:%M} UTC, "
        "and after 7 days that tells."
    )
    place.now = reset_at + timedelta(days=7)
    report = await place.advise()
    assert [each.run for each in report.advice if each.kind == "unused index"] == [
        'DROP INDEX CONCURRENTLY "public"."idle";'
    ]
    assert not any(note.startswith("Which indexes") for note in report.notes)
    place.now = reset_at
    await place.run('DROP INDEX "idle"')
    assert not any(note.startswith("Which indexes") for note in (await place.advise()).notes), "each has its use"


async def test_checks_of_foreign_keys_are_no_reads(look: Look) -> None:
    """Of a database that was filled, and that no client has read."""
    place = await look(
        """
        CREATE TABLE cust (id int PRIMARY KEY, name text NOT NULL);
        CREATE INDEX cust_name ON cust (name);
        CREATE TABLE ord (id int PRIMARY KEY, cust_id int NOT NULL REFERENCES cust);
        CREATE INDEX ord_cust ON ord (cust_id);
        INSERT INTO cust SELECT i, 'customer ' || i FROM generate_series(1, 2000) i;
        """
    )
    await place.run("INSERT INTO ord SELECT i, 1 + i % 2000 FROM generate_series(1, 3000) i")
    await place.run("ANALYZE")
    place.now += timedelta(days=7)
    (row,) = await place.database.fetch("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'cust_pkey'")
    assert row["idx_scan"] == 3000
    assert await place.advice() == []
    await place.run("DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM FROM cust LIMIT 1; END LOOP; END $$")
    assert [each.run for each in await place.advice()] == ['DROP INDEX CONCURRENTLY "public"."cust_name";']


async def test_index_that_failed_while_it_was_made_is_named(look: Look) -> None:
    place = await look(EVENTS)
    with pytest.raises(asyncpg.UniqueViolationError):
        await place.run("CREATE UNIQUE INDEX CONCURRENTLY broken ON events (state)")
    (advice,) = await place.advice()
    assert (advice.kind, advice.run) == ("invalid index", 'DROP INDEX CONCURRENTLY "public"."broken";')
    await place.run(advice.run)
    assert await place.advice() == []


# --- pg_stat_statements


async def test_without_pg_stat_statements_it_says_so(look: Look) -> None:
    place = await look(EVENTS)
    assert (await place.advise()).notes == (
        "No client has asked the running service for a list yet.",
        "What clients asked for is not known from pg_stat_statements, which this database does not have: add it to "
        "shared_preload_libraries, and CREATE EXTENSION pg_stat_statements.",
    )


async def test_lists_that_pg_stat_statements_has_seen_are_looked_at(look: Look) -> None:
    place = await look(EVENTS + STATEMENTS)
    report = await place.advise(seen(("state", "eq"), order="-made_at,-id"))
    (advice,) = report.advice
    assert advice.run == 'CREATE INDEX CONCURRENTLY ON "public"."events" ("state", "made_at", "id");'
    assert advice.evidence[-2:] == (
        "Seen by the service 10 times, 100.0 ms each, 200.0 ms at most.",
        "Seen by pg_stat_statements 7 times, 200.0 ms each, 900.0 ms at most.",
    )
    assert report.notes == ()
    await place.run(advice.run)
    assert await place.advice() == []


async def test_pg_stat_statements_that_cannot_be_read_is_told(look: Look) -> None:
    """It is installed, and not in shared_preload_libraries; or not for this role."""
    place = await look(f"{EVENTS} {STATEMENTS} DROP VIEW extensions.pg_stat_statements")
    (_, note) = (await place.advise()).notes
    assert note == (
        "What clients asked for is not known from pg_stat_statements, which cannot be read: see that it is in "
        "shared_preload_libraries, and GRANT pg_read_all_stats to the role."
    )


# --- what is explained


async def test_shape_of_another_time_is_not_looked_at(look: Look) -> None:
    """A service that is older than the schema, or newer than the command."""
    place = await look(EVENTS)
    before = len((await place.advise()).looked)
    told = [
        seen(("gone", "eq")),
        seen(("state", "resembles")),
        seen(("state", "eq"), order="lost"),
        Seen(Shape("lost"), 1, 1.0, 1.0),
    ]
    assert len((await place.advise(*told)).looked) == before


@pytest.mark.parametrize(
    ("heard", "notes"),
    [
        (
            Heard((), ("No service runs.",)),
            ["What clients ask for is not known from a running service: No service runs."],
        ),
        (
            Heard(([{"shape": {"table": "kinds"}, "calls": 1, "seconds": 0, "worst_s": 0}],), ("Worker 3 is silent.",)),
            ["What clients ask for is not wholly known from a running service: Worker 3 is silent."],
        ),
        (
            Heard(([{"figure": 1}], ["?"]), ()),
            [
                "What clients ask for is not known from a running service: It is of another version of Pegboard than "
                "this command; restart it."
            ],
        ),
    ],
    ids=["no service", "one worker of two", "another version"],
)
async def test_what_is_not_heard_from_a_service_is_told(look: Look, heard: Heard, notes: list[str]) -> None:
    place = await look(EVENTS)
    assert list((await place.hear(heard)).notes)[:-1] == notes


async def test_table_of_another_database_is_not_looked_at_and_that_is_told(look: Look) -> None:
    place = await look(EVENTS)
    far = Table("public", "far", "foreign table", columns={"id": Column("id", Type("pg_catalog", "int4"))})
    catalogue = Catalogue("public", ("public",), {"far": far})
    settings = Settings.model_validate({"tables": ["far"], "table": {"far": {"key": "id"}}})
    resources = select(catalogue, settings, plugin="resources").resources
    assert await advise(
        place.database, catalogue, resources, Heard(((seen(table="far"),),), ()), now=place.now
    ) == Report((), (), ("Not looked at, since their indexes are in another database: far.",))


async def test_database_without_a_table_has_nothing_to_look_at(look: Look) -> None:
    assert await (await look("")).advise() == Report(
        (), (), ("No client has asked the running service for a list yet.",)
    )


@pytest.mark.parametrize(
    "operator", ["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "null", "contains", "startswith", "endswith"]
)
async def test_every_operator_is_explained(look: Look, operator: str) -> None:
    place = await look(EVENTS)
    events_ = await place.resource("events")
    plan = await explain(place.database, events_, Shape("events", Conditions((("state", operator),)), ("id",)))
    assert isinstance(plan, Plan), plan
    assert plan.lines[0].startswith("Limit: ")


async def test_empty_table_has_no_row_to_be_tried_with(look: Look) -> None:
    place = await look(f"{EVENTS} TRUNCATE events; DROP INDEX events_kind_id_idx")
    (advice,) = await place.advice()
    assert advice.run == 'CREATE INDEX CONCURRENTLY ON "public"."events" ("kind_id");'
    assert "The list of events filtered by kind_id, sorted by id has no row to be tried with." in advice.evidence
    assert advice.plan == ()


async def test_plan_that_does_not_end_in_time_is_given_up(look: Look) -> None:
    place = await look(EVENTS, timeouts={"write": "200ms"})
    events_ = await place.resource("events")
    connection = await asyncpg.connect(place.url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            plan = await explain(place.database, events_, shape_of(events_))
    finally:
        await connection.close()
    assert plan == NoPlan("did not end within timeouts.write of the database", is_slow=True)
    assert isinstance(await explain(place.database, events_, shape_of(events_)), Plan)


@pytest.mark.parametrize("sql", ["DELETE FROM events", "INSERT INTO kinds VALUES (1000, 'x')", "SELECT setval('s', 9)"])
async def test_what_would_change_something_is_refused(look: Look, sql: str) -> None:
    """The transaction is READ ONLY: EXPLAIN ANALYZE runs what it explains."""
    place = await look(EVENTS + "CREATE SEQUENCE s")
    with pytest.raises(ServiceError):
        async with reading(place.database) as work:
            await explained(work, sql, [])
    (row,) = await place.database.fetch(
        "SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM kinds) AS kinds, last_value FROM s"
    )
    assert dict(row) == {"events": 20_000, "kinds": 100, "last_value": 1}


async def test_plan_shows_no_value(look: Look) -> None:
    place = await look(EVENTS)
    report = await place.advise(seen(("state", "eq"), order="-made_at,-id"))
    told = "\n".join([line for each in report.looked if each.plan for line in each.plan.lines])
    assert "Sort by made_at DESC, id DESC" in told
    assert "state " not in told

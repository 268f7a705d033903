"""What may identify a row: what the database vouches for, what only the settings say, and keys that no URL can hold."""

from __future__ import annotations

from urllib.parse import quote

import asyncpg
import pytest

from plugins.resources import Settings
from plugins.resources.schema.catalogue import CATALOGUE, read_catalogue
from plugins.resources.schema.findings import Mistake
from plugins.resources.schema.selecting import select
from service.errors import SettingsError

NO_KEY = """
CREATE TABLE loose (a int NOT NULL, "b c" text, n int);
INSERT INTO loose VALUES (1, 'x', 1), (1, 'x', 2), (2, 'y', 3);
"""

SEVERAL = """
CREATE TABLE rows (id int PRIMARY KEY, a int, n int);
INSERT INTO rows VALUES (1, 7, 0), (2, 7, 0), (3, 8, 0);
CREATE VIEW shown AS SELECT a, n FROM rows WHERE n < 100;
CREATE VIEW made AS SELECT a, n FROM rows;
CREATE FUNCTION make() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO rows SELECT max(id) + 1, 9, NEW.n FROM rows; RETURN NEW; END';
CREATE TRIGGER make INSTEAD OF INSERT ON made FOR EACH ROW EXECUTE FUNCTION make();
"""

HEIRS = """
CREATE TABLE ancestors (id int PRIMARY KEY, name text);
CREATE TABLE heirs (more text, PRIMARY KEY (id)) INHERITS (ancestors);
CREATE TABLE notes (id int PRIMARY KEY, ancestor_id int REFERENCES ancestors);
CREATE VIEW everybody AS SELECT * FROM ancestors;
INSERT INTO ancestors VALUES (1, 'Ada'), (2, 'Bob');
INSERT INTO heirs VALUES (1, 'Cid', 'x');
"""


def choose(catalogue, **settings):
    return select(catalogue, Settings.model_validate(settings), plugin="resources")


async def stopped(serve, sql: str, **settings: object) -> str:
    """What the start says where it stops, after the place."""
    with pytest.raises(SettingsError) as error:
        await serve(sql, **settings)
    return str(error.value).partition("  ")[2]


async def test_key_that_is_not_unique_stops_the_start_with_the_sql_that_would_make_it_so(serve):
    told = await stopped(serve, NO_KEY, tables=["loose"], table={"loose": {"key": ["a", "b c"]}})
    assert told == (
        'plugins.resources.table.loose.key: names "a" and "b c", and several rows can have the same; to make it a key: '
        'ALTER TABLE "public"."loose" ALTER "b c" SET NOT NULL; CREATE UNIQUE INDEX ON "public"."loose" ("a", "b c");\n'
        "    remove: key"
    )


async def test_sql_that_is_told_makes_the_key_one(serve_at, make_database):
    url = make_database(NO_KEY)
    settings = {"tables": ["loose"], "table": {"loose": {"key": ["a", "b c"]}}}
    with pytest.raises(SettingsError) as error:
        await serve_at(url, **settings)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DELETE FROM loose WHERE n = 2")
        await connection.execute(str(error.value).partition("to make it a key: ")[2].partition("\n")[0])
    finally:
        await connection.close()
    api = await serve_at(url, **settings)
    assert await api.get("loose/1,x") == (200, {"a": 1, "bC": "x", "n": 1})


@pytest.mark.parametrize(
    ("facts", "key", "message", "write"),
    [
        (
            {"keys": (("id",), ("a", "b"))},
            "a",
            'names "a", and several rows can have the same; to make it a key: '
            'CREATE UNIQUE INDEX ON "public"."t" ("a");',
            ["id"],
        ),
        ({"keys": (("doc",), ("a", "b"))}, ["b"], None, ["a", "b"]),
        ({"keys": (("id",),)}, ["n", "id"], 'names "n", which can be NULL, and no URL names such a row', ["id"]),
        (
            {"keys": (("id",),), "has_heirs": True},
            "id",
            'names "id", while tables that inherit from t can have rows with the same; '
            "a view of it may have such a key",
            None,
        ),
        ({"keys": ()}, ["a", "b"], None, None),
    ],
)
def test_key_that_may_not_be_unique_is_a_mistake_with_one_that_would_do(build, facts, key, message, write):
    columns = [build.column(name, "int4", is_nullable=False) for name in ("id", "a", "b")]
    table = build.table("t", *columns, build.column("n", "int4"), build.column("doc", "jsonb"), **facts)
    (mistake,) = choose(build.catalogue(table), tables=["t"], table={"t": {"key": key}}).mistakes
    assert (mistake.path, mistake.write) == (("table", "t", "key"), write)
    assert message is None or mistake.message == message


@pytest.mark.parametrize("key", ["id", ["b", "a"], ["a", "id"]])
def test_key_may_be_any_that_has_a_unique_one_in_it(build, key):
    columns = [build.column(name, "int4", is_nullable=False) for name in ("id", "a", "b")]
    table = build.table("t", *columns, keys=(("id",), ("a", "b")))
    (resource,) = choose(build.catalogue(table), tables=["t"], table={"t": {"key": key}}).resources
    assert [part.name for part in resource.key] == ([key] if isinstance(key, str) else key)
    assert resource.is_key_unique


def test_column_named_twice_is_a_mistake_in_any_list(build):
    table = build.table("t", build.column("id", "int4", is_nullable=False), build.column("a", "int4"))
    given = {"sort": "a,-a, id", "hidden": ["a", "a"], "key": ["id", "id"]}
    assert choose(build.catalogue(table), tables=["t"], table={"t": given}).mistakes == (
        Mistake(("table", "t", "hidden"), 'names "a" twice', ["a"]),
        Mistake(("table", "t", "key"), 'names "id" twice', ["id"]),
        Mistake(("table", "t", "sort"), 'names "a", which is hidden', "id"),
        Mistake(("table", "t", "sort"), 'names "a", which is hidden', "id"),
    )
    assert choose(build.catalogue(table), tables=["t"], table={"t": {"sort": "a,-a, id"}}).mistakes == (
        Mistake(("table", "t", "sort"), 'names "a" twice', "a, id"),
    )


async def test_rows_that_share_the_key_of_a_view_are_not_written_and_the_client_is_told(serve, contents):
    api = await serve(SEVERAL, tables=["shown"], table={"shown": {"key": "a"}})
    before = await contents(api.url)
    for method, body in (("DELETE", None), ("PATCH", {"n": 1}), ("PUT", {"n": 1})):
        status, answer = await api.send(method, "shown/7", body)
        assert (status, answer["error"]["code"]) == (409, "CONFLICT"), method
        assert answer["error"]["message"] == "Several rows have this key, so none of them is written."
        assert (await api.send(method, "shown/5", body))[0] == 404
    assert await contents(api.url) == before
    assert await api.send("PATCH", "shown/8", {"n": 1}) == (200, {"a": 8, "n": 1})
    assert (await api.send("DELETE", "shown/8"))[0] == 204
    assert (await api.send("DELETE", "shown/8"))[0] == 404


async def test_row_of_a_view_whose_key_is_null_has_no_place(serve):
    api = await serve(SEVERAL, tables=["made", "shown"], table={"made": {"key": "a"}, "shown": {"key": "a"}})
    assert await api.send("POST", "made", {"n": 5}) == (201, {"a": None, "n": 5})
    assert "Location" not in api.headers
    assert await api.send("POST", "made", {"n": 6, "a": 4}) == (201, {"a": 4, "n": 6})
    assert api.headers["Location"] == "/api/v1/made/4"


async def test_table_that_others_inherit_from_is_a_list_and_says_why(serve):
    api = await serve(HEIRS, tables=["*"], writes=["ancestors", "heirs"], table={"everybody": {"key": "id"}})
    assert [row["name"] for row in await api.rows("ancestors?sort=name")] == ["Ada", "Bob", "Cid"]
    assert (
        "ancestors is served as a list without items and cursors, since tables that inherit from it can have rows with "
        "the same id; a view of it may have a key." in api.said
    )
    for method, path in (("GET", "ancestors/1"), ("DELETE", "ancestors/1"), ("GET", "ancestors/1/notes")):
        status, answer = await api.send(method, path)
        assert (status, answer["error"]["code"]) == (404, "NOT_FOUND"), path
    assert (await api.send("POST", "ancestors", {"id": 3, "name": "Dan"}))[0] == 201
    assert "Location" not in api.headers
    assert await api.get("heirs/1") == (200, {"id": 1, "name": "Cid", "more": "x"})
    assert (await api.get("everybody/2"))[0] == 200


async def test_keys_of_the_catalogue_are_those_that_hold_for_every_row(connection):
    """Not partial ones, of expressions, with NULLs, or finer than the column's own idea of what is equal. Deferred
    ones hold for every row that anybody else sees."""
    await connection.execute("""
        CREATE COLLATION folded (provider = libc, locale = 'C');
        CREATE TABLE t (
            id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a int NOT NULL, b int UNIQUE,
            c text COLLATE folded NOT NULL, d text COLLATE folded NOT NULL UNIQUE
        );
        CREATE UNIQUE INDEX ON t (a) WHERE b > 0;
        CREATE UNIQUE INDEX ON t ((a + 1));
        CREATE UNIQUE INDEX ON t (c COLLATE "C");
        CREATE TABLE heir () INHERITS (t);
        UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'folded';
    """)
    tables = read_catalogue((await connection.fetchval(CATALOGUE, "public")).encode()).tables
    assert tables["t"].keys == (("id",), ("d",))
    assert {name: table.has_heirs for name, table in tables.items()} == {"t": True, "heir": False}


async def test_deferred_key_is_a_key_and_refuses_at_the_end_of_the_write(serve):
    sql = "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int); INSERT INTO t VALUES (1, 1)"
    api = await serve(sql, tables=["t"])
    assert (await api.get("t/1"))[0] == 200
    assert await api.refused("POST", "t", {"id": 1}, status=409) == [("id", "is taken already.")]
    assert await api.rows("t") == [{"id": 1, "n": 1}]


@pytest.mark.parametrize("slug", ["", ".", "..", "a" * 4001, "é" * 700])
async def test_row_that_no_url_leads_to_has_no_place_and_is_found_by_a_filter(serve, slug):
    """Clients take . and .. for steps in the path, percent-encoded or not, and a header has its limits."""
    api = await serve("CREATE TABLE pages (slug text PRIMARY KEY, n int)", tables=["pages"])
    row = {"slug": slug, "n": 1}
    assert await api.send("POST", "pages", row) == (201, row)
    assert "Location" not in api.headers
    if len(slug) < 3:
        assert await api.rows(f"pages?slug={slug}") == [row]
        response = await api.client.get(f"/api/v1/pages/{slug.replace('.', '%2E')}")
        assert response.status == 404
    assert await api.rows(f"pages?slug[startswith]={quote(slug[:3])}") == [row]


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (("..", ""), "..,"),
        (("", ""), ","),
        ((".", "."), ".,."),
        (("a,b", "\\"), "a%5C,b,%5C%5C"),
        (("..", "/"), "..,%2F"),
    ],
)
async def test_key_of_several_columns_has_a_place_whatever_is_in_them(serve, key, place):
    api = await serve("CREATE TABLE pairs (a text, b text, PRIMARY KEY (a, b))", tables=["pairs"])
    row = dict(zip("ab", key, strict=True))
    assert await api.send("POST", "pairs", row) == (201, row)
    assert api.headers["Location"] == f"/api/v1/pairs/{place}"
    response = await api.client.get(api.headers["Location"])
    assert (response.status, await response.json()) == (200, row)


async def test_moment_that_no_request_can_name_has_no_place(serve):
    api = await serve("CREATE TABLE days (day date PRIMARY KEY)", tables=["days"])
    assert await api.send("POST", "days", {"day": "10000-01-01"}) == (201, {"day": "10000-01-01"})
    assert "Location" not in api.headers
    assert await api.rows("days?day[gt]=9999-12-31") == [{"day": "10000-01-01"}]

"""One query reads an awkward schema into values, and what it reads can be served."""

from __future__ import annotations

import asyncpg
import pytest_asyncio

from plugins.resources.schema.catalogue import CATALOGUE, Catalogue, ForeignKey, Type, read_catalogue


@pytest_asyncio.fixture
async def awkward(make_database, awkward_sql) -> Catalogue:
    connection = await asyncpg.connect(make_database(awkward_sql))
    try:
        return read_catalogue((await connection.fetchval(CATALOGUE, "public")).encode())
    finally:
        await connection.close()


async def test_catalogue_knows_every_relation_by_kind(awkward):
    assert {name: table.relation for name, table in awkward.tables.items() if table.relation != "table"} == {
        "events": "partitioned table",
        "happy": "view",
        "small_staff": "view",
        "staff_count": "view",
        "totals": "materialised view",
    }
    assert [name for name, table in awkward.tables.items() if table.is_partition] == ["events_2026"]
    assert awkward.schemas == ("public",)


async def test_catalogue_keeps_names_order_and_comments_as_they_are(awkward):
    sizes = awkward.tables["Größe & Maß"]
    assert list(sizes.columns)[:6] == ["ID", "select", "page", "limit", "sort", "Länge (cm)"]
    assert sizes.comment == 'Sizes; "quoted"'
    assert sizes.columns["page"].comment == "Where it stands"
    assert len(awkward.tables["wide"].columns) == 60
    assert awkward.tables["nothing"].columns == {}


async def test_catalogue_knows_what_writes_and_reads_a_column(awkward):
    columns = awkward.tables["kinds"].columns
    assert (columns["id"].identity, columns["by_default"].identity, columns["small"].identity) == (
        "always",
        "by default",
        None,
    )
    assert (columns["doubled"].is_generated, columns["doubled"].default) == (True, None)
    assert (columns["small"].is_generated, columns["small"].default) == (False, "3")
    assert (columns["id"].is_nullable, columns["small"].is_nullable) == (False, True)


async def test_catalogue_follows_domains_and_lists_labels(awkward):
    columns = awkward.tables["kinds"].columns
    assert columns["pos"].type == columns["spos"].type == Type("pg_catalog", "int4")
    assert (columns["pos"].is_nullable, columns["spos"].is_nullable) == (True, False)
    assert columns["feeling"].type == Type("public", "mood", labels=("sad", "so, so", "happy"))
    assert columns["feelings"].type == Type("public", "_mood", is_array=True, element=columns["feeling"].type)


async def test_catalogue_has_keys_primary_first_then_unique_ones_without_nulls(awkward):
    tables = awkward.tables
    assert tables["parts"].keys == (("maker", "code"),)
    assert tables["only_unique"].keys == (("b",), ("c", "b"))
    assert tables["pages"].keys == (("slug",),)
    assert tables["keyless"].keys == tables["happy"].keys == ()


async def test_catalogue_has_foreign_keys_in_their_own_order_of_columns(awkward):
    (stock,) = awkward.tables["stock"].foreign_keys
    assert stock == ForeignKey("stock_maker_code_fkey", ("maker", "code"), "parts", ("maker", "code"))
    assert [key.columns for key in awkward.tables["shipments"].foreign_keys] == [
        ("from_address_id",),
        ("to_address_id",),
    ]
    assert [key.target for key in awkward.tables["staff"].foreign_keys] == ["staff"]
    assert [key.target for key in awkward.tables["event_notes"].foreign_keys] == ["events"]


async def test_catalogue_says_which_columns_the_role_may_read(make_database):
    url = make_database("CREATE TABLE a (id int PRIMARY KEY, open text, closed text)")
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(
                "CREATE ROLE reader; GRANT SELECT (id, open) ON a TO reader; SET LOCAL ROLE reader"
            )
            body = await connection.fetchval(CATALOGUE, "public")
            await connection.execute("RESET ROLE; REVOKE ALL ON a FROM reader; DROP ROLE reader")
    finally:
        await connection.close()
    columns = read_catalogue(body.encode()).tables["a"].columns
    assert [name for name, column in columns.items() if not column.is_readable] == ["closed"]


async def test_schema_that_is_not_there_has_no_tables(make_database):
    connection = await asyncpg.connect(make_database("CREATE SCHEMA shop"))
    try:
        catalogue = read_catalogue((await connection.fetchval(CATALOGUE, "nowhere")).encode())
    finally:
        await connection.close()
    assert (catalogue.tables, catalogue.schemas) == ({}, ("public", "shop"))


async def test_catalogue_knows_what_can_be_written_and_how_much_fits(awkward):
    tables, columns = awkward.tables, awkward.tables["limits"].columns
    assert {name: set(tables[name].supported) for name in ("happy", "staff_count", "totals", "events")} == {
        "happy": {"create", "update", "delete"},
        "staff_count": set(),
        "totals": set(),
        "events": {"create", "update", "delete"},
    }
    staff = tables["small_staff"].columns
    assert (staff["id"].is_updatable, staff["doubled"].is_updatable, staff["doubled"].is_insertable) == (
        True,
        False,
        False,
    )
    assert (columns["price"].declared, columns["var"].declared, columns["code"].declared) == (
        "numeric(5,2)",
        "character varying(3)",
        "code",
    )
    assert (columns["var"].modifier, columns["code"].modifier, columns["vars"].modifier) == (7, 9, 7)
    assert columns["code"].default == "'none'::character varying"


async def test_catalogue_knows_what_deleting_does_to_others_and_who_shows_whose_rows(connection):
    await connection.execute("""
        CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE);
        CREATE TABLE c (a int REFERENCES a ON DELETE SET NULL, b int REFERENCES b ON DELETE RESTRICT);
        CREATE VIEW v AS SELECT * FROM a JOIN c ON c.a = a.id;
    """)
    tables = read_catalogue((await connection.fetchval(CATALOGUE, "public")).encode()).tables
    found = {key.name: (key.on_delete, key.on_update) for table in tables.values() for key in table.foreign_keys}
    assert found == {"b_a_fkey": ("delete", "update"), "c_a_fkey": ("update", None), "c_b_fkey": (None, None)}
    assert tables["v"].shows == ("a", "c")


async def test_catalogue_says_what_the_role_may_write(make_database):
    connection = await asyncpg.connect(make_database("CREATE TABLE a (id int PRIMARY KEY, open text, closed text)"))
    try:
        async with connection.transaction():
            await connection.execute(
                "CREATE ROLE writer; GRANT SELECT, INSERT ON a TO writer; GRANT UPDATE (open) ON a TO writer; "
                "SET LOCAL ROLE writer"
            )
            table = read_catalogue((await connection.fetchval(CATALOGUE, "public")).encode()).tables["a"]
            await connection.execute("RESET ROLE; REVOKE ALL ON a FROM writer; DROP ROLE writer")
    finally:
        await connection.close()
    assert set(table.granted) == {"create", "update"}
    assert [name for name, column in table.columns.items() if column.is_updatable] == ["open"]

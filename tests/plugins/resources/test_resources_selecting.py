"""Settings choose tables, columns and names; every mistake in them has its place and what to write, all at once."""

from __future__ import annotations

import re

import pytest

from plugins.resources import Settings
from plugins.resources.schema.catalogue import Catalogue, ForeignKey
from plugins.resources.schema.findings import Mistake
from plugins.resources.schema.selecting import select
from service import cli
from service.errors import EX_CONFIG, SettingsError


@pytest.fixture(scope="session")
def shop(build) -> Catalogue:
    users = build.table(
        "users", build.column("id", "int4"), build.column("email"), build.column("password_hash"),
        build.column("created_at", "timestamptz"), build.column("meta", "jsonb"), keys=(("id",), ("email",)),
    )  # fmt: skip
    orders = build.table(
        "orders", build.column("id", "int4"), build.column("user_id", "int4"), build.column("total", "numeric"),
        foreign_keys=(ForeignKey("f", ("user_id",), "users", ("id",)),),
    )  # fmt: skip
    view = build.table(
        "report", build.column("n", "int4"), build.column("meta", "jsonb"),
        build.column("secret", is_readable=False), keys=(), relation="view",
    )  # fmt: skip
    return build.catalogue(orders, view, users)


def choose(catalogue, **settings):
    return select(catalogue, Settings.model_validate(settings), plugin="resources")


IT_HAS = "it has id, email, password_hash, created_at and meta"

MISTAKES = [
    (
        {"tables": ["user"]},
        [(("tables",), 'names "user", which schema public lacks; did you mean "users"?', ["users"])],
    ),
    (
        {"tables": ["users", "xyzzy"]},
        [(("tables",), 'names "xyzzy", which schema public lacks; it has orders, report and users', ["users"])],
    ),
    (
        {"tables": ["xyzzy"]},
        [(("tables",), 'names "xyzzy", which schema public lacks; it has orders, report and users', ["*"])],
    ),
    (
        {"tables": ["users"], "table": {"orders": {}}},
        [(("tables",), 'does not name "orders", which has settings of its own', ["users", "orders"])],
    ),
    (
        {"tables": ["user"], "table": {"users": {}}},
        [(("tables",), 'names "user", which schema public lacks; did you mean "users"?', ["users"])],
    ),
    (
        {"tables": ["users"], "table": {"x y": {}}},
        [(("table", "x y"), "schema public has no such table", None)],
    ),
    (
        {"tables": ["users"], "table": {"users": {}, "user": {}}},
        [(("table", "user"), 'schema public has no such table; did you mean "users"?', None)],
    ),
    (
        {"schema": "shopp", "tables": ["*"]},
        [(("schema",), 'the database has no schema "shopp"; did you mean "shop"?', "shop")],
    ),
    (
        {"schema": "xyzzy", "tables": ["*"]},
        [(("schema",), 'the database has no schema "xyzzy"; it has public and shop', "public")],
    ),
    (
        {"tables": ["users", "orders"], "table": {"users": {"path": "orders"}}},
        [(("table", "users", "path"), '"orders" is the path of table orders too', None)],
    ),
    (
        {"tables": ["users", "orders"], "table": {"orders": {"path": "users"}}},
        [(("table", "orders", "path"), '"users" is the path of table users too', None)],
    ),
    (
        {"tables": ["users", "orders", "report"], "table": {"users": {"path": "x"}, "report": {"path": "x"}}},
        [(("table", "users", "path"), '"x" is the path of table report too', None)],
    ),
    (
        {
            "tables": ["users", "orders", "report"],
            "table": {"users": {"path": "x"}, "orders": {"path": "users"}, "report": {"path": "x"}},
        },
        [(("table", "users", "path"), '"x" is the path of table report too', "users-2")],
    ),
    (
        {"tables": ["*"], "writes": ["user", "orders"]},
        [(("writes",), 'names "user", which schema public lacks; did you mean "users"?', ["users", "orders"])],
    ),
    (
        {"tables": ["users"], "writes": ["orders", "users"]},
        [(("writes",), 'names "orders", which tables does not name', ["users"])],
    ),
    (
        {"tables": ["*"], "writes": ["*", "users"]},
        [(("writes",), 'names "*", while writing is switched on by the names of tables', ["users"])],
    ),
]
"""Settings, and for each mistake in them its path, what is wrong, and the value to write."""

MISTAKES_IN_COLUMNS = [
    ("users", "sort", "-creatd_at", ['names "creatd_at", which is no column of it; did you mean "created_at"?'],
     "-created_at"),
    ("users", "sort", "-createdAt, id", ['names "createdAt", which is no column of it; did you mean "created_at"?'],
     "-created_at, id"),
    ("users", "sort", ["id", "-password_hash"], ['names "password_hash", which is hidden'], ["id"]),
    ("users", "sort", "meta", ['names "meta", of type jsonb, which has no order'], None),
    ("users", "hidden", ["zzz"], [f'names "zzz", which is no column of it; {IT_HAS}'], None),
    ("users", "hidden", ["meta", "emial", "zzz", "createdAt"],
     ['names "emial", which is no column of it; did you mean "email"?',
      f'names "zzz", which is no column of it; {IT_HAS}',
      'names "createdAt", which is no column of it; did you mean "created_at"?'],
     ["meta", "email", "created_at"]),
    ("users", "hidden", "email, emial", ['names "emial", which is no column of it; did you mean "email"?'], "email"),
    ("users", "fields", ["id", "emial"], ['names "emial", which is no column of it; did you mean "email"?'],
     ["id", "email"]),
    ("report", "key", "m", ['names "m", which is no column of it; it has n, meta and secret'], None),
    ("report", "key", ["n", "meta"], ['names "meta", of type jsonb, which no URL can hold'], ["n"]),
    ("users", "modified", "update_at", ['names "update_at", which is no column of it; did you mean "created_at"?'],
     "created_at"),
    ("users", "modified", "email", ['names "email", of type text, which holds no time of a change'], None),
    ("report", "key", "secret", ['names "secret", which the database role may not read'], None),
]  # fmt: skip
"""A table, one of its settings, what is wrong in that, and what to write for all of it."""


@pytest.mark.parametrize(("settings", "mistakes"), MISTAKES)
def test_mistake_has_its_place_and_what_to_write(settings, mistakes, shop):
    catalogue = Catalogue(settings["schema"], shop.schemas, {}) if "schema" in settings else shop
    selection = choose(catalogue, **settings)
    assert [(each.path, each.message, each.write) for each in selection.mistakes] == mistakes
    assert selection.resources == ()


@pytest.mark.parametrize(("table", "setting", "value", "messages", "write"), MISTAKES_IN_COLUMNS)
def test_mistake_in_columns_is_corrected_in_the_whole_value(table, setting, value, messages, write, shop):
    """In the form that it has: a list, or a text with commas; where nothing is left, there is nothing to write."""
    selection = choose(shop, tables=[table], table={table: {setting: value}})
    assert selection.mistakes == tuple(Mistake(("table", table, setting), message, write) for message in messages)


def test_column_with_a_comma_in_its_name_is_to_be_written_in_a_list(build):
    catalogue = build.catalogue(build.table("t", build.column("id", "int4"), build.column("so, so")))
    (mistake,) = choose(catalogue, tables=["t"], table={"t": {"sort": "-so_so"}}).mistakes
    assert mistake.write == ["-so, so"]


def test_column_that_is_served_and_hidden_is_to_be_taken_out_of_hidden(shop):
    settings = {"fields": ["id", "email"], "hidden": "email, meta"}
    assert choose(shop, tables=["users"], table={"users": settings}).mistakes == (
        Mistake(("table", "users", "hidden"), 'names "email", which fields names too', "meta"),
    )


def test_misspelt_table_is_to_be_renamed(shop):
    (mistake,) = choose(shop, tables=["users"], table={"user": {"sort": "id"}}).mistakes
    assert mistake == Mistake(
        ("table", "user"), 'schema public has no such table; did you mean "users"?', rename="users"
    )


def test_all_mistakes_come_at_once(shop):
    selection = choose(
        shop,
        tables=["users", "nope"],
        table={"users": {"sort": "nope", "hidden": "nope", "key": "nope"}, "orders": {}, "gone": {}},
    )
    assert [".".join(each.path) for each in selection.mistakes] == [
        "table.gone", "tables", "tables", "table.users.hidden", "table.users.key", "table.users.sort",
    ]  # fmt: skip
    assert {tuple(each.write) for each in selection.mistakes if each.path == ("tables",)} == {("users", "orders")}


def test_every_table_with_a_key_is_served_and_settings_for_a_missing_one_are_only_said(shop):
    selection = choose(shop, tables=["*"], table={"userz": {"sort": "id"}})
    assert [resource.name for resource in selection.resources] == ["orders", "users"]
    assert (
        "[plugins.resources.table.userz] changes nothing: schema public has no such table; "
        "remove it, or write [plugins.resources.table.users]." in selection.sentences
    )
    assert any(sentence.startswith("view report has no key") for sentence in selection.sentences)


def test_columns_that_another_databases_table_lacks_are_only_said_where_every_table_is_served(shop):
    settings = {"users": {"sort": "-xyzzy", "hidden": ["qwerty"]}}
    selection = choose(shop, tables=["*"], table=settings)
    assert selection.mistakes == ()
    assert [sentence for sentence in selection.sentences if sentence.startswith("[plugins.resources.table.users]")] == [
        '[plugins.resources.table.users] hidden names "qwerty": users has no such column; remove it.',
        '[plugins.resources.table.users] sort names "xyzzy": users has no such column; remove it.',
    ]
    assert len(choose(shop, tables=["*", "users"], table=settings).mistakes) == 2


def test_misspelt_column_is_a_fault_even_where_every_table_is_served(shop):
    assert choose(shop, tables=["*"], table={"users": {"hidden": ["creatd_at"]}}).mistakes == (
        Mistake(
            ("table", "users", "hidden"),
            'names "creatd_at", which is no column of it; did you mean "created_at"?',
            ["created_at"],
        ),
    )


def test_secrets_are_hidden_and_said_unless_they_are_named(shop):
    (users,) = choose(shop, tables=["users"]).resources
    assert "passwordHash" not in users.fields
    quiet = choose(shop, tables=["users"], table={"users": {"hidden": ["password_hash"]}})
    assert quiet.sentences == ()
    shown = choose(shop, tables=["users"], table={"users": {"fields": "password_hash, id"}})
    assert list(shown.resources[0].fields) == ["passwordHash", "id"]
    assert shown.sentences == ()


def test_hidden_key_gives_way_to_another_one_that_can_stand_in_a_url(shop):
    (users,) = choose(shop, tables=["users"], table={"users": {"hidden": "id"}}).resources
    assert [part.name for part in users.key] == ["email"]


def test_child_needs_a_foreign_key_that_clients_may_see(shop):
    def children(**table):
        resources = choose(shop, tables=["users", "orders"], table=table).resources
        return [child.segment for resource in resources for child in resource.children]

    assert children() == ["orders"]
    assert children(orders={"path": "bought"}) == ["bought"]
    assert children(orders={"hidden": "user_id"}) == []
    assert children(users={"hidden": ["id", "email"]}) == []


def test_child_whose_route_would_have_the_name_of_a_table_is_left_out_and_said(shop, build):
    taken = build.table("users.orders", build.column("id", "int4"))
    selection = choose(build.catalogue(*shop.tables.values(), taken), tables=["users", "orders", "users.orders"])
    assert [resource.children for resource in selection.resources] == [(), (), ()]
    assert "orders of users is not served, since there is a table called users.orders." in selection.sentences


def test_default_limit_never_is_over_the_largest(shop):
    (users,) = choose(shop, tables=["users"], table={"users": {"max_limit": 5}}).resources
    assert (users.limit, users.max_limit) == (5, 5)


def test_nothing_served_is_said_with_the_way_out(shop):
    assert choose(shop).sentences == (
        "Schema public has nothing that is served, of orders, report and users; "
        'write tables = ["*"], or other names, under [plugins.resources].',
    )


async def test_mistakes_stop_the_start_in_one_report_with_the_lines_to_write(serve):
    sql = "CREATE TABLE users (id int PRIMARY KEY, name text)"
    with pytest.raises(SettingsError) as stopped:
        await serve(sql, tables=["users", "order"], table={"users": {"sort": "nmae"}})
    report = re.sub(r"\S+config-0\.toml:\d+", "config.toml:N", str(stopped.value))
    assert report == (
        'config.toml:N  plugins.resources.tables: names "order", which schema public lacks; it has users\n'
        '    write: tables = ["users"]\n\n'
        'config.toml:N  plugins.resources.table.users.sort: names "nmae", which is no column of it; did you mean '
        '"name"?\n    write: sort = "name"\n\n2 faults.'
    )


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            {"limit": 500},
            "plugins.resources.table.users.max_limit: is 100, below limit = 500\n    write: max_limit = 500",
        ),
        (
            {"limit": 5, "max_limit": 3},
            "plugins.resources.table.users.max_limit: is 3, below limit = 5\n    write: max_limit = 5",
        ),
        (
            {"path": "/shop/{users}"},
            "plugins.resources.table.users.path: must be one segment of a URL, without / { and }\n"
            '    write: path = "shop-users"',
        ),
        (
            {"path": ".."},
            "plugins.resources.table.users.path: must be one segment of a URL, without / { and }\n"
            '    write: path = "..."',
        ),
    ],
)
async def test_mistake_that_needs_no_database_to_be_seen_is_found_before_it_is_asked(make_service, settings, fault):
    resources = {"table": {"users": settings}}
    with pytest.raises(SettingsError) as stopped:
        await make_service(
            ["database", "resources"],
            {"plugins": {"database": {"url": "postgresql://nowhere"}, "resources": resources}},
        )
    assert str(stopped.value).partition("  ")[2] == fault


def test_lines_to_write_are_those_of_the_layer_that_set_them(postgres, tmp_path, monkeypatch, capfd):
    """The file, an environment of it, a variable and an option: each is told by its own name."""
    config = tmp_path / "config.toml"
    config.write_text(
        '[plugins.database]\nenabled = true\nurl = { env = "DATABASE_URL" }\n'
        '[plugins.resources]\nenabled = true\ntables = ["users"]\n'
        "[plugins.resources.table.users]\nhidden = []\n"
        '[env.test.plugins.resources.table.users]\nhidden = ["pasword"]\n'
    )
    monkeypatch.setenv(
        "DATABASE_URL", postgres.create_database("CREATE TABLE users (id int PRIMARY KEY, password text);")
    )
    monkeypatch.setenv("PEGBOARD__PLUGINS__RESOURCES__TABLE__USERS__SORT", "idd")
    option = 'plugins.resources.tables=["users", "user"]'
    code = cli.main(["routes", "--config", str(config), "--env", "test", "--set", option])
    assert code == EX_CONFIG
    path = "plugins.resources.table.users"
    assert capfd.readouterr().err.replace(f"{tmp_path}/", "") == (
        f'config.toml:10  env.test.{path}.hidden: names "pasword", which is no column of it; did you mean "password"?\n'
        '    write: hidden = ["password"]\n\n'
        '--set plugins.resources.tables: names "user", which schema public lacks; did you mean "users"?\n'
        "    write: --set 'plugins.resources.tables=[\"users\"]'\n\n"
        f'PEGBOARD__PLUGINS__RESOURCES__TABLE__USERS__SORT  {path}.sort: names "idd", which is no column of it; did '
        'you mean "id"?\n    write: export PEGBOARD__PLUGINS__RESOURCES__TABLE__USERS__SORT=id\n\n3 faults.\n'
    )

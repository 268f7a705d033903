"""Settings choose tables, columns and names; every mistake in them is one sentence, and all come at once."""

from __future__ import annotations

import pytest

from plugins.resources import Settings
from plugins.resources.catalogue import Catalogue, ForeignKey
from plugins.resources.selecting import select
from service.errors import PluginError


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
    view = build.table("report", build.column("n", "int4"), build.column("meta", "jsonb"), keys=(), relation="view")
    return build.catalogue(orders, view, users)


def choose(catalogue, **settings):
    return select(catalogue, Settings.model_validate(settings), plugin="resources")


FAULTS = [
    (
        {"tables": ["user"]},
        '[plugins.resources] tables names "user", which schema public lacks, it has orders, report and users; '
        'write tables = ["users"].',
    ),
    (
        {"tables": ["users", "xyzzy"]},
        '[plugins.resources] tables names "xyzzy", which schema public lacks, it has orders, report and users; '
        'write tables = ["users"].',
    ),
    (
        {"tables": ["users"], "table": {"orders": {}}},
        '[plugins.resources.table.orders] is for a table that is not served; write tables = ["users", "orders"].',
    ),
    (
        {"tables": ["users"], "table": {"user": {}}},
        "[plugins.resources.table.user] is for a table that schema public lacks; "
        "write [plugins.resources.table.users].",
    ),
    (
        {"tables": ["users"], "table": {"x y": {}}},
        '[plugins.resources.table."x y"] is for a table that schema public lacks; remove it.',
    ),
    (
        {"tables": ["users"], "table": {"users": {"sort": "-creatd_at"}}},
        '[plugins.resources.table.users] sort names "creatd_at", which is no column of it; write "created_at".',
    ),
    (
        {"tables": ["users"], "table": {"users": {"sort": "createdAt"}}},
        '[plugins.resources.table.users] sort names "createdAt", which is no column of it; write "created_at".',
    ),
    (
        {"tables": ["users"], "table": {"users": {"sort": "password_hash"}}},
        '[plugins.resources.table.users] sort names "password_hash", which is hidden; remove it, or name it in fields.',
    ),
    (
        {"tables": ["users"], "table": {"users": {"sort": "meta"}}},
        '[plugins.resources.table.users] sort names "meta", of type jsonb, which has no order; remove it.',
    ),
    (
        {"tables": ["users"], "table": {"users": {"hidden": ["zzz"]}}},
        '[plugins.resources.table.users] hidden names "zzz", which is no column of it; '
        "it has id, email, password_hash, created_at and meta.",
    ),
    (
        {"tables": ["users"], "table": {"users": {"fields": ["id", "emial"]}}},
        '[plugins.resources.table.users] fields names "emial", which is no column of it; write "email".',
    ),
    (
        {"tables": ["users"], "table": {"users": {"fields": ["id", "email"], "hidden": "email"}}},
        '[plugins.resources.table.users] "email" is in fields and in hidden; remove it from one of them.',
    ),
    (
        {"tables": ["report"], "table": {"report": {"key": "m"}}},
        '[plugins.resources.table.report] key names "m", which is no column of it; it has n and meta.',
    ),
    (
        {"tables": ["report"], "table": {"report": {"key": ["meta"]}}},
        '[plugins.resources.table.report] key names "meta", of type jsonb, which no URL can hold; name another.',
    ),
    (
        {"tables": ["users"], "table": {"users": {"limit": 500}}},
        "[plugins.resources.table.users] limit 500 is over max_limit 100; write max_limit = 500.",
    ),
    (
        {"tables": ["users", "orders"], "table": {"users": {"path": "orders"}}},
        '[plugins.resources.table.users] has the path of table orders, "orders"; write path = "users-2".',
    ),
    (
        {"tables": ["users"], "table": {"users": {"path": "shop/users"}}},
        '[plugins.resources.table.users] path "shop/users" is not one segment; write one without / and {}.',
    ),
    (
        {"schema": "shopp", "tables": ["*"]},
        '[plugins.resources] the database has no schema "shopp", it has public and shop; write schema = "shop".',
    ),
]


@pytest.mark.parametrize(("settings", "fault"), FAULTS)
def test_mistake_is_one_sentence_with_the_line_to_write(settings, fault, shop):
    catalogue = Catalogue("shopp", shop.schemas, {}) if "schema" in settings else shop
    selection = choose(catalogue, **settings)
    assert selection.faults == (fault,)
    assert selection.resources == ()


def test_all_mistakes_come_at_once(shop):
    selection = choose(
        shop,
        tables=["users", "nope"],
        table={"users": {"sort": "nope", "hidden": "nope", "limit": 200}, "orders": {}, "gone": {}},
    )
    assert len(selection.faults) == 6


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
    assert selection.faults == ()
    assert [sentence for sentence in selection.sentences if sentence.startswith("[plugins.resources.table.users]")] == [
        '[plugins.resources.table.users] hidden names "qwerty": users has no such column; remove it.',
        '[plugins.resources.table.users] sort names "xyzzy": users has no such column; remove it.',
    ]
    assert len(choose(shop, tables=["*", "users"], table=settings).faults) == 2


def test_misspelt_column_is_a_fault_even_where_every_table_is_served(shop):
    assert choose(shop, tables=["*"], table={"users": {"hidden": ["creatd_at"]}}).faults == (
        '[plugins.resources.table.users] hidden names "creatd_at", which is no column of it; write "created_at".',
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


async def test_mistake_stops_the_start_with_all_sentences(serve):
    sql = "CREATE TABLE users (id int PRIMARY KEY, name text)"
    with pytest.raises(PluginError) as stopped:
        await serve(sql, tables=["users", "order"], table={"users": {"sort": "nmae"}})
    assert 'tables names "order", which schema public lacks' in str(stopped.value)
    assert 'sort names "nmae", which is no column of it; write "name".' in str(stopped.value)

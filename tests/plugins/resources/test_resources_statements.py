"""The same shape of query is the same SQL, and no value ever is part of it."""

from __future__ import annotations

import json
from urllib.parse import quote

from plugins.resources import Settings
from plugins.resources.parse.query import ListQuery, parse_list
from plugins.resources.plan.items import ItemStatement
from plugins.resources.plan.lists import MAX_TEXTS, Below, ListStatement
from plugins.resources.schema.catalogue import Column, ForeignKey, Type
from plugins.resources.schema.selecting import select


def plan(query, resource):
    faults = []
    parsed = parse_list(query, resource, faults, ())
    assert faults == []
    statement = ListStatement(resource)
    return statement.plan(parsed, statement.choose(parsed), statement.order(parsed), is_counted=True)


def test_same_shape_is_the_same_text_whatever_the_values_and_their_order(items):
    sql, arguments = plan("price[lt]=9&name=a&state[in]=ok&page=2&limit=20&sort=-price", items)
    other_sql, other_arguments = plan("sort=-price&state[in]=sad,ok,happy&name=b'--&limit=7&price[lt]=-1", items)
    assert sql == other_sql
    assert arguments == ["a", "9", ("ok",), 20, 20]
    assert other_arguments == ["b'--", "-1", ("sad", "ok", "happy"), 7, 0]


def test_fields_in_any_order_are_the_same_text(items):
    assert plan("fields=id,name", items)[0] == plan("fields=name,id", items)[0]


def test_text_of_a_shape_is_made_once_and_the_texts_that_are_kept_are_bounded(items):
    statement = ListStatement(items)

    def text(query):
        parsed = parse_list(query, items, [], ())
        return statement.plan(parsed, statement.choose(parsed), statement.order(parsed), is_counted=True)[0]

    for one, other in (
        ("", "page=2&limit=5"),
        ("id[gt]=1&sort=-name&fields=id", "fields=id&sort=-name&id[gt]=7&page=3"),
    ):
        assert text(one) is text(other)
    kept = text("")
    assert (
        len({text(query) for query in ("", "sort=-id", "sort=id", "fields=id", "fields=id,name", "id=1", "price=1")})
        == 6
    )
    for number in range(MAX_TEXTS):
        text(f"id[in]={number}&price[gt]=1&filter={quote(json.dumps({'or': [{'id': 1}] * (number % 50 + 1)}))}")
        text(
            "&".join(
                f"{name}[{operator}]=1"
                for place, name in enumerate(("id", "price", "weight", "page"))
                for operator in ["eq", "ne", "gt", "lt", "gte"][: number // 5**place % 5]
            )
        )
    assert len(statement._texts) <= MAX_TEXTS
    assert text("") == kept


def test_no_value_is_part_of_the_text(items):
    for operator in ("eq", "ne", "gt", "in", "nin", "like", "contains", "startswith", "endswith"):
        sql, arguments = plan(f"name[{operator}]=NEEDLE'%_", items)
        assert "NEEDLE" not in sql
        assert "NEEDLE" in str(arguments)


def test_pattern_takes_every_character_as_itself(items):
    assert plan(r"name[contains]=50%25_\x", items)[1][0] == r"%50\%\_\\x%"
    assert plan("name[startswith]=a", items)[1][0] == "a%"
    assert plan("name[endswith]=a", items)[1][0] == "%a"


def test_names_from_the_catalogue_are_quoted(build):
    table = build.table('ta"ble', build.column('i"d', "int4"), build.column("'; --", "int4"))
    settings = Settings.model_validate({"tables": ['ta"ble'], "table": {'ta"ble': {"names": "as-is"}}})
    (resource,) = select(build.catalogue(table), settings, plugin="resources").resources
    sql = ItemStatement(resource).sql(None)
    assert 't."i""d" AS "i""d"' in sql
    assert '''t."'; --" AS "'; --"''' in sql
    assert 'FROM "public"."ta""ble" t WHERE t."i""d" = $1::text::"pg_catalog"."int4"' in sql


def test_pattern_is_matched_under_a_collation_that_can_and_without_padding(build):
    table = build.table(
        "things",
        build.column("id", "int4"),
        build.column("vague", "text", is_deterministic=False),
        build.column("padded", "bpchar"),
        Column("either", Type("extensions", "citext")),
    )
    settings = Settings.model_validate({"tables": ["things"]})
    (resource,) = select(build.catalogue(table), settings, plugin="resources").resources
    assert 't."vague" COLLATE "C" LIKE $1::text' in plan("vague[contains]=x", resource)[0]
    assert 't."vague" COLLATE "default" ILIKE $1::text' in plan("vague[ilike]=x", resource)[0]
    assert 't."padded"::text LIKE $1::text' in plan("padded[contains]=x", resource)[0]
    assert 't."either" = $1::text::"extensions"."citext"' in plan("either=x", resource)[0]


def test_child_is_tied_to_the_parent_by_its_key_or_by_what_the_foreign_key_refers_to(build):
    parent = build.table("pages", build.column("id", "int8"), build.column("title"))
    child = build.table(
        "visits",
        build.column("id", "int4"),
        build.column("page_id", "int4"),
        build.column("page_title"),
        foreign_keys=(
            ForeignKey("a", ("page_id",), "pages", ("id",)),
            ForeignKey("b", ("page_title",), "pages", ("title",)),
        ),
    )
    settings = Settings.model_validate({"tables": ["*"]})
    pages, _ = select(build.catalogue(parent, child), settings, plugin="resources").resources
    by_id, by_title = (Below(pages, child) for child in pages.children)
    assert by_id.conditions == ('t."page_id" = $1::text::"pg_catalog"."int8"',)
    assert by_title.conditions == (
        't."page_title" = (SELECT p."title" FROM "public"."pages" p WHERE p."id" = $1::text::"pg_catalog"."int8")',
    )
    statement = ListStatement(pages.children[0].resource, by_id)
    query = ListQuery(limit=10)
    sql, arguments = statement.plan(query, statement.choose(query, ["7"]), statement.order(query), is_counted=True)
    assert "LIMIT $2::int + 1 OFFSET $3::bigint" in sql
    assert arguments == ["7", 10, 0]

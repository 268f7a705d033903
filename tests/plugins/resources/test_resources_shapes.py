"""Which lists clients ask for: counted by shape, bounded, told to whoever asks, and read back from statements."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from pydantic import TypeAdapter

from plugins.resources.advice.statements import shape_in
from plugins.resources.parse.faults import Fault
from plugins.resources.parse.query import ListQuery, parse_list
from plugins.resources.plan.lists import Below, ListStatement
from plugins.resources.schema.resource import Child, Resource
from plugins.resources.shapes import MOST_SHAPES, MOST_TOLD, Seen, Shape, Shapes, merged

PARENT_ID = "3"


def asked(query: str, resource: Resource) -> ListQuery:
    faults: list[Fault] = []
    parsed = parse_list(query, resource, faults, ("items",))
    assert faults == []
    return parsed


def stopped() -> Shapes:
    return Shapes(lambda: 10.0)


def test_shape_has_columns_operators_and_order_and_no_value(items: Resource) -> None:
    shapes = stopped()
    watch = shapes.watch(items)
    for value in ("sad", "ok"):
        watch.note(asked(f"state={value}&madeAt[gte]=2026-01-01&sort=-price", items), 9.5)
    shape = Shape("items", (("made_at", "gte"), ("state", "eq")), ("-price", "-id"))
    assert shapes.told() == [Seen(shape, 2, 1.0, 0.5)]


@pytest.mark.parametrize("query", ["", "page=3", "limit=50", "fields=id", "sort=id"])
def test_page_limit_and_fields_make_no_shape_of_their_own(items: Resource, query: str) -> None:
    shapes = stopped()
    shapes.watch(items).note(asked(query, items), 10.0)
    assert [each.shape for each in shapes.told()] == [Shape("items", (), ("id",))]


def test_order_and_direction_make_a_shape(items: Resource) -> None:
    shapes = stopped()
    watch = shapes.watch(items)
    for query in ("sort=price", "sort=-price", "sort=price,name", "sort=name,price", "price=1", "price[ne]=1"):
        watch.note(asked(query, items), 10.0)
    assert len({each.shape for each in shapes.told()}) == 6


def test_worst_and_total_are_kept(items: Resource) -> None:
    now_s = 0.0
    shapes = Shapes(lambda: now_s)
    watch = shapes.watch(items)
    for took_s in (0.25, 2.0, 0.5):
        now_s = 100 + took_s
        watch.note(ListQuery(), 100.0)
    assert [(each.calls, each.seconds, each.worst_s) for each in shapes.told()] == [(3, 2.75, 2.0)]


def test_lists_below_a_row_are_filtered_by_what_leads_there(items: Resource) -> None:
    shapes = stopped()
    shapes.watch(items, [items.table.columns["page"]]).note(asked("name=x", items), 10.0)
    assert [each.shape.filters for each in shapes.told()] == [(("name", "eq"), ("page", "eq"))]


def test_shapes_are_bounded_and_those_that_take_the_least_time_are_forgotten(items: Resource) -> None:
    """However many clients think of: 60 columns make more shapes than there is memory."""
    shapes = stopped()
    watches = [shapes.watch(items) for _ in range(10 * MOST_SHAPES)]
    for took_s, watch in enumerate(watches, 1):
        shapes.note(watch, ListQuery(), took_s)
        assert len(shapes._seen) <= MOST_SHAPES
    told = shapes.told()
    assert len(told) == MOST_TOLD
    assert [each.seconds for each in told] == [len(watches) - at for at in range(MOST_TOLD)]


def test_what_is_told_comes_back_as_it_was(items: Resource) -> None:
    shapes = stopped()
    shapes.watch(items).note(asked("state=ok&sort=-price", items), 9.0)
    there = orjson.loads(orjson.dumps(shapes.told()))
    assert list(TypeAdapter(tuple[Seen, ...]).validate_python(there)) == shapes.told()


def test_what_several_workers_have_seen_is_merged() -> None:
    one, other = Shape("items", (("state", "eq"),), ("id",)), Shape("items", (), ("id",))
    told = [Seen(one, 3, 0.3, 0.2), Seen(other, 1, 9.0, 9.0), Seen(one, 2, 0.4, 0.3)]
    assert merged(told) == [Seen(other, 1, 9.0, 9.0), Seen(one, 5, pytest.approx(0.7), 0.3)]  # type: ignore[arg-type]


def test_noting_costs_less_than_ten_microseconds(items: Resource) -> None:
    """One, where it was measured (0.5 to 0.75 us); a slow machine with other work to do has room."""
    shapes = Shapes(time.monotonic)
    watch = shapes.watch(items)
    query = asked("name=x&price[gt]=2&isNew=true&state=ok&sort=-price", items)
    best_s = 1.0
    for _ in range(20):
        began_s = time.process_time()
        for _ in range(1_000):
            watch.note(query, watch.now_s())
        best_s = min(best_s, time.process_time() - began_s)
    assert best_s < 10e-6 * 1_000


async def test_list_that_fails_is_counted_too(make_service: Any, make_database: Any) -> None:
    """What takes too long is what advice is most wanted for."""
    url = make_database(
        "CREATE TABLE things AS SELECT 1 AS id; CREATE VIEW slow AS SELECT id FROM things WHERE pg_sleep(9) IS NOT NULL"
    )
    plugins = {
        "database": {"url": url, "timeouts": {"read": "100ms"}},
        "resources": {"tables": ["things", "slow"], "table": {"slow": {"key": "id"}, "things": {"key": "id"}}},
    }
    service = await make_service(["database", "resources"], {"plugins": plugins})
    told = service.application.state.answering["resources.shapes"]
    assert told() == []
    assert (await service.client.get("/api/v1/things?id[gt]=5")).status == 200
    assert (await service.client.get("/api/v1/slow")).status == 504
    slow, quick = told()
    assert (slow.shape, slow.calls, slow.seconds > 0.09) == (Shape("slow", (), ("id",)), 1, True)
    assert (quick.shape, quick.calls) == (Shape("things", (("id", "gt"),), ("id",)), 1)


# --- statements


@pytest.mark.parametrize(
    "query",
    [
        "",
        "page=2&limit=5&fields=id,name",
        "state=ok",
        "state[in]=ok,sad&price[gte]=2&price[lt]=9&sort=-madeAt",
        "state[nin]=ok,sad&name[ne]=x&born[null]=true",
        "isNew[ne]=true&weight[gt]=1&code[lte]=00000000-0000-0000-0000-000000000000&sort=name,-price",
        "page[eq]=4&name[contains]=) OR (&price[between]=1,2",
        "tags[has]=a&tags[overlaps]=b,c&name[ilike]=x%25",
    ],
)
@pytest.mark.parametrize("is_below", [False, True])
def test_statement_of_a_list_is_read_back_as_its_shape(items: Resource, query: str, is_below: bool) -> None:
    """What pg_stat_statements keeps is the text without its values, which ours have none of."""
    column = items.table.columns["page"]
    child = Child(items, "items", "items", (column,), (items.table.columns["id"],))
    statement = ListStatement(items, Below(items, child) if is_below else None)
    watch = stopped().watch(items, [column] if is_below else [])
    parsed = asked(query, items)
    chosen = statement.choose(parsed, [PARENT_ID] if is_below else [])
    for is_counted in (True, False):
        sql, _ = statement.plan(parsed, chosen, statement.order(parsed), is_counted=is_counted)
        assert shape_in(sql, {("public", "items"): items}) == watch.shape(parsed)


def test_tree_is_a_shape_of_its_own_and_what_must_all_hold_counts_as_filters(items: Resource) -> None:
    shapes = stopped()
    watch = shapes.watch(items)
    trees = ['{"and":[{"name":"x"},{"price":{"gt":1}}]}', '{"or":[{"name":"x"},{"id":1}]}']
    for tree in (*trees, trees[1].replace("x", "y"), trees[1].replace("name", "price").replace('"x"', "1")):
        watch.note(asked(f"filter={quote(tree)}", items), 10.0)
    assert sorted([(each.shape.filters, each.calls) for each in shapes.told()]) == [
        ((("", "or"),), 1),
        ((("", "or"),), 2),
        ((("name", "eq"), ("price", "gt")), 1),
    ]
    statement, either = ListStatement(items), asked(f"filter={quote(trees[1])}", items)
    sql, _ = statement.plan(either, statement.choose(either), statement.order(either), is_counted=True)
    assert shape_in(sql, {("public", "items"): items}) is None


def test_statement_of_somebody_else_is_none_of_ours(items: Resource) -> None:
    there = {("public", "items"): items}
    assert shape_in("SELECT 1", there) is None
    assert shape_in('SELECT json_build_array(1) FROM "public"."others" t LIMIT 1', there) is None
    assert shape_in('SELECT json_build_array(1) FROM "public"."items" t WHERE t."gone" = $1 LIMIT 1', there) is None
    either = 'SELECT json_build_array(1) FROM "public"."items" t WHERE (t."id" = $1 OR t."name" = $2) LIMIT 1'
    assert shape_in(either, there) is None

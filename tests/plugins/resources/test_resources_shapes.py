"""Which lists clients ask for: counted by shape, bounded, told to whoever asks, and read back from statements."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from pydantic import TypeAdapter

from plugins.resources.parse.cursors import Cursor
from plugins.resources.parse.faults import Fault
from plugins.resources.parse.query import ListQuery, parse_list
from plugins.resources.plan.lists import Below, ListStatement
from plugins.resources.plan.marks import mark, marked
from plugins.resources.schema.resource import Child, Resource
from plugins.resources.shapes import (
    MOST_SHAPES,
    MOST_TOLD,
    Conditions,
    Counting,
    Leaf,
    Seen,
    Shape,
    Shapes,
    Watch,
    merged,
    shape_of,
)

PARENT_ID = "3"


def asked(query: str, resource: Resource) -> ListQuery:
    faults: list[Fault] = []
    parsed = parse_list(query, resource, faults, ("items",))
    assert faults == []
    return parsed


def stopped() -> Shapes:
    return Shapes(lambda: 10.0)


def watching(shapes: Shapes, resource: Resource, *columns: str) -> Watch:
    """Of its lists, or of those below a row that has its key in these columns."""
    leading = [resource.table.columns[name] for name in columns]
    return shapes.watch(lambda query, count: shape_of(resource, query, leading, count=count))


def where(*filters: Leaf) -> Conditions:
    return Conditions(filters)


def test_shape_has_columns_operators_and_order_and_no_value(items: Resource) -> None:
    shapes = stopped()
    watch = watching(shapes, items)
    for value in ("sad", "ok"):
        watch.note(asked(f"state={value}&madeAt[gte]=2026-01-01&sort=-price", items), "", 9.5)
    shape = Shape("items", where(("made_at", "gte"), ("state", "eq")), ("-price", "-id"))
    assert shapes.told() == [Seen(shape, 2, 1.0, 0.5)]


@pytest.mark.parametrize("query", ["", "page=3", "limit=50", "fields=id", "sort=id"])
def test_page_limit_and_fields_make_no_shape_of_their_own(items: Resource, query: str) -> None:
    shapes = stopped()
    watching(shapes, items).note(asked(query, items), "", 10.0)
    assert [each.shape for each in shapes.told()] == [Shape("items", where(), ("id",))]


def test_order_and_direction_make_a_shape(items: Resource) -> None:
    shapes = stopped()
    watch = watching(shapes, items)
    for query in ("sort=price", "sort=-price", "sort=price,name", "sort=name,price", "price=1", "price[ne]=1"):
        watch.note(asked(query, items), "", 10.0)
    assert len({each.shape for each in shapes.told()}) == 6


def test_page_its_capped_count_and_an_exact_count_are_shapes_of_their_own(items: Resource) -> None:
    """An exact count has no order, whatever that of the list is."""
    shapes = stopped()
    watch = watching(shapes, items)
    query = asked("state=ok&sort=-price", items)
    counting: list[Counting] = ["", "capped", "exact"]
    for calls, count in enumerate(counting, 1):
        for _ in range(calls):
            watch.note(query, count, 10.0)
    filtered, order = where(("state", "eq")), ("-price", "-id")
    assert {each.shape: each.calls for each in shapes.told()} == {
        Shape("items", filtered, order, ""): 1,
        Shape("items", filtered, order, "capped"): 2,
        Shape("items", filtered, (), "exact"): 3,
    }


def test_worst_and_total_are_kept(items: Resource) -> None:
    now_s = 0.0
    shapes = Shapes(lambda: now_s)
    watch = watching(shapes, items)
    for took_s in (0.25, 2.0, 0.5):
        now_s = 100 + took_s
        watch.note(ListQuery(), "", 100.0)
    assert [(each.calls, each.seconds, each.worst_s) for each in shapes.told()] == [(3, 2.75, 2.0)]


def test_lists_below_a_row_are_filtered_by_what_leads_there(items: Resource) -> None:
    shapes = stopped()
    watching(shapes, items, "page").note(asked("name=x", items), "", 10.0)
    assert [each.shape.where for each in shapes.told()] == [where(("name", "eq"), ("page", "eq"))]


def test_shapes_are_bounded_and_those_that_take_the_least_time_are_forgotten(items: Resource) -> None:
    """However many clients think of: 60 columns make more shapes than there is memory."""
    shapes = stopped()
    watches = [watching(shapes, items) for _ in range(10 * MOST_SHAPES)]
    for took_s, watch in enumerate(watches, 1):
        shapes.note(watch, ListQuery(), "", took_s)
        assert len(shapes._seen) <= MOST_SHAPES
    told = shapes.told()
    assert len(told) == MOST_TOLD
    assert [each.seconds for each in told] == [len(watches) - at for at in range(MOST_TOLD)]


def test_what_is_told_comes_back_as_it_was(items: Resource) -> None:
    shapes = stopped()
    watching(shapes, items).note(asked("state=ok&sort=-price", items), "", 9.0)
    there = orjson.loads(orjson.dumps(shapes.told()))
    assert list(TypeAdapter(tuple[Seen, ...]).validate_python(there)) == shapes.told()


def test_what_several_workers_have_seen_is_merged() -> None:
    one, other = Shape("items", where(("state", "eq")), ("id",)), Shape("items", where(), ("id",))
    told = [Seen(one, 3, 0.3, 0.2), Seen(other, 1, 9.0, 9.0), Seen(one, 2, 0.4, 0.3)]
    assert merged(told) == [Seen(other, 1, 9.0, 9.0), Seen(one, 5, pytest.approx(0.7), 0.3)]  # type: ignore[arg-type]


def test_noting_costs_less_than_ten_microseconds(items: Resource) -> None:
    """One, where it was measured (0.5 to 0.8 us); a slow machine with other work to do has room."""
    shapes = Shapes(time.monotonic)
    watch = watching(shapes, items)
    query = asked("name=x&price[gt]=2&isNew=true&state=ok&sort=-price", items)
    best_s = 1.0
    for _ in range(20):
        began_s = time.process_time()
        for _ in range(1_000):
            watch.note(query, "", watch.now_s())
        best_s = min(best_s, time.process_time() - began_s)
    assert best_s < 10e-6 * 1_000


async def test_list_that_fails_is_counted_too(make_service: Any, make_database: Any) -> None:
    """What takes too long is what advice is most wanted for."""
    url = make_database(
        "CREATE TABLE things (id int PRIMARY KEY); INSERT INTO things VALUES (1); "
        "CREATE VIEW slow AS SELECT id FROM things WHERE pg_sleep(9) IS NOT NULL"
    )
    plugins = {
        "database": {"url": url, "timeouts": {"read": "400ms"}},
        "resources": {"tables": ["things", "slow"], "table": {"slow": {"key": "id"}}},
    }
    service = await make_service(["database", "resources"], {"plugins": plugins})
    told = service.application.state.answering["resources.shapes"]
    assert told() == []
    assert (await service.client.get("/api/v1/things?id[gt]=5")).status == 200
    assert (await service.client.get("/api/v1/slow")).status == 504
    slow, quick = told()
    assert (slow.shape, slow.calls, slow.seconds > 0.39) == (Shape("slow", where(), ("id",), "capped"), 1, True)
    assert (quick.shape, quick.calls) == (Shape("things", where(("id", "gt")), ("id",), "capped"), 1)


async def test_counts_of_a_service_are_told_beside_its_lists(make_service: Any, make_database: Any) -> None:
    """What is counted in the statement of the page, and what in one of its own."""
    url = make_database("CREATE TABLE things (id int PRIMARY KEY); INSERT INTO things SELECT generate_series(1, 30)")
    plugins = {"database": {"url": url}, "resources": {"tables": ["things"]}}
    service = await make_service(["database", "resources"], {"plugins": plugins})
    for query in ("id[gt]=5", "id[gt]=5&count=exact", "id[gt]=5&count=none", "id[gt]=5&count=estimated"):
        assert (await service.client.get(f"/api/v1/things?{query}")).status == 200
    told = service.application.state.answering["resources.shapes"]()
    filtered = where(("id", "gt"))
    assert {each.shape: each.calls for each in told} == {
        Shape("things", filtered, ("id",), "capped"): 1,
        Shape("things", filtered, ("id",), ""): 3,
        Shape("things", filtered, (), "exact"): 1,
    }


# --- alternatives


def tree(document: Any) -> str:
    return f"filter={quote(orjson.dumps(document).decode())}"


def test_what_must_all_hold_counts_as_filters_however_it_is_written(items: Resource) -> None:
    shape = shape_of(items, asked(tree({"and": [{"price": {"gt": 1}}, {"name": "x"}]}), items))
    assert shape == shape_of(items, asked("name=y&price[gt]=2", items))
    assert shape.where == where(("name", "eq"), ("price", "gt"))


def test_alternatives_are_kept_as_they_stand_and_in_one_order(items: Resource) -> None:
    named, new, dear = (
        {"name": "x"},
        {"and": [{"isNew": True}, {"page": 1}]},
        {"price": {"gt": 1}, "or": [{"id": 1}, {"id": 2}]},
    )
    documents = [{"or": [named, new, dear]}, {"or": [dear, new, named]}]
    one, other = [shape_of(items, asked(f"state=ok&{tree(each)}", items)) for each in documents]
    assert one == other
    assert one.where == Conditions(
        (("state", "eq"),),
        (
            (
                where(("is_new", "eq"), ("page", "eq")),
                where(("name", "eq")),
                Conditions((("price", "gt"),), ((where(("id", "eq")),),)),
            ),
        ),
    )
    assert sorted(one.where.leaves()) == [
        ("id", "eq"),
        ("is_new", "eq"),
        ("name", "eq"),
        ("page", "eq"),
        ("price", "gt"),
        ("state", "eq"),
    ]


def test_trees_are_counted_by_their_shape(items: Resource) -> None:
    shapes = stopped()
    watch = watching(shapes, items)
    either = {"or": [{"name": "x"}, {"id": 1}]}
    for document in (either, {"or": [{"name": "y"}, {"id": 2}]}, {"or": [{"price": 1}, {"id": 1}]}):
        watch.note(asked(tree(document), items), "", 10.0)
    assert {each.shape.where.either: each.calls for each in shapes.told()} == {
        ((where(("id", "eq")), where(("name", "eq"))),): 2,
        ((where(("id", "eq")), where(("price", "eq"))),): 1,
    }
    there = orjson.loads(orjson.dumps(shapes.told()))
    assert list(TypeAdapter(tuple[Seen, ...]).validate_python(there)) == shapes.told()


# --- statements


MARKS = TypeAdapter(tuple[str, Shape])


@pytest.mark.parametrize(
    "query",
    [
        "",
        "page=2&limit=5&fields=id,name",
        "state[in]=ok,sad&price[gte]=2&price[lt]=9&sort=-madeAt",
        "state[nin]=ok,sad&name[ne]=x&born[null]=true",
        "page[eq]=4&name[contains]=*/ OR (&price[between]=1,2",
        "tags[has]=a&tags[overlaps]=b,c&name[ilike]=x%25",
        "state=ok&" + tree({"or": [{"name": "x"}, {"id": 1}]}),
    ],
)
@pytest.mark.parametrize("is_below", [False, True])
def test_statement_of_a_list_says_its_shape(items: Resource, query: str, is_below: bool) -> None:
    """In a comment inside it, which has no value of the request in it."""
    column = items.table.columns["page"]
    child = Child(items, "items", "items", (column,), (items.table.columns["id"],))
    statement = ListStatement(items, Below(items, child) if is_below else None)
    parsed = asked(query, items)
    order = statement.order(parsed)
    chosen = statement.choose(parsed, [PARENT_ID] if is_below else [])
    at = Cursor(">", ("1",) * len(order))
    texts: list[tuple[str, Counting]] = [
        (statement.plan(parsed, chosen, order, is_counted=True)[0], "capped"),
        (statement.plan(parsed, chosen, order, is_counted=False)[0], ""),
        (statement.plan(replace(parsed, cursor=at), chosen, order, is_counted=False)[0], ""),
        (statement.count_all(parsed, chosen), "exact"),
    ]
    for sql, count in texts:
        assert sql.startswith("SELECT /* pegboard [")
        shape = shape_of(items, parsed, [column] if is_below else [], count=count)
        assert MARKS.validate_json(marked(sql) or "") == ("public", shape)


def test_no_name_ends_the_comment_or_begins_another(build: Any) -> None:
    odd = '*/; DROP TABLE x; /* \\ " é \n /**/'
    shape = Shape(odd, where((odd, "eq")), (f"-{odd}",))
    sql = mark(odd, shape) + "1"
    assert (sql.count("/*"), sql.count("*/")) == (1, 1)
    assert MARKS.validate_json(marked(sql) or "") == (odd, shape)


def test_statement_of_somebody_else_says_none() -> None:
    for query in ("SELECT 1", "SELECT /* other */ 1", " SELECT /* pegboard [] */ 1", "<insufficient privilege>"):
        assert marked(query) is None

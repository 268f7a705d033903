"""A request is as few statements as it can be, and what PostgreSQL gives goes out as it is."""

from __future__ import annotations

import json
import re

import pytest
from aiohttp.test_utils import make_mocked_request

from plugins.resources.handlers.counting import MAX_REMEMBERED, REMEMBERED_S, Totals
from plugins.resources.handlers.reading import ItemHandler, ListHandler
from plugins.resources.parse.query import ListQuery
from plugins.resources.plan.lists import Chosen, ListStatement
from plugins.resources.render import Pagination, list_body, read_page
from plugins.resources.schema.granted import Rows
from plugins.resources.shapes import Shapes
from service.errors import InternalError, InvalidRequest, NotFound
from service.testing.clock import FakeClock


class Database:
    """Answers every statement with the same bytes, what it is asked to estimate or count with numbers; remembers."""

    def __init__(self, body: bytes | None = None, *, estimate: int = 0, count: int | None = None) -> None:
        self.body = body
        self.estimate = estimate
        self.number = count
        self.asked: list[tuple[str, tuple[object, ...]]] = []

    async def fetch_json(self, sql: str, *arguments: object) -> bytes | None:
        self.asked.append((sql, arguments))
        if sql.startswith("EXPLAIN"):
            return json.dumps([{"Plan": {"Plan Rows": self.estimate}}]).encode()
        return self.body

    async def count(self, sql: str, *arguments: object) -> int | None:
        self.asked.append((sql, arguments))
        return self.number

    def verbs(self) -> list[str]:
        """What was asked since the last time, by the first two words."""
        texts = [re.sub(r"/\*.*?\*/", "", sql) for sql, _ in self.asked]
        verbs = [" ".join(text.replace("(", " ").split()[:2]) for text in texts]
        self.asked.clear()
        return verbs


LIST, COUNT, EXPLAIN = "SELECT json_build_array", "SELECT count", "EXPLAIN FORMAT"


def lists(resource, database, clock):
    return ListHandler(resource, database, clock, Shapes(clock.monotonic), name="items.list")


async def get(handler, path):
    return await handler.list_rows(make_mocked_request("GET", path))


async def pagination(handler, path):
    return json.loads((await get(handler, path)).body)["pagination"]


async def test_list_is_one_statement_and_its_rows_are_not_looked_at(items):
    database = Database(b'[[{"any":\nthing}, not json], \n[true, 45, ["4"], ["9"]]]')
    answer = await get(lists(items, database, FakeClock()), "/items?page=2&limit=20&id[gt]=3")
    assert [arguments for _, arguments in database.asked] == [("3", 20, 20)]
    assert answer.status == 200
    assert answer.body.startswith(b'{"data":[{"any":\nthing}, not json],"pagination":{"page":2,"limit":20,"total":45,')


async def test_row_is_one_statement_and_goes_out_as_it_is(items):
    database = Database(b"whatever it is")
    request = make_mocked_request("GET", "/items/7", match_info={"id": "007"})
    answer = await ItemHandler(items, database).read_row(request)
    assert answer.body == b"whatever it is"
    assert [arguments for _, arguments in database.asked] == [("7",)]


async def test_nothing_found_is_not_found(items):
    request = make_mocked_request("GET", "/items/7", match_info={"id": "7"})
    with pytest.raises(NotFound):
        await ItemHandler(items, Database(None)).read_row(request)


async def test_what_cannot_be_understood_asks_nothing_of_the_database(items):
    database = Database(b"")
    handler = lists(items, database, FakeClock())
    with pytest.raises(InvalidRequest) as refused:
        await get(handler, "/items?price=x&nope=1")
    assert database.asked == []
    assert refused.value.message == "2 parameters are wrong."
    assert [detail.field for detail in refused.value.details] == ["price", "nope"]
    with pytest.raises(InvalidRequest, match=r"^price must be a number\.$"):
        await get(handler, "/items?price=x")


async def test_large_list_is_estimated_once_and_then_not_counted_for_a_while(items):
    clock, database = FakeClock(), Database(b'[[1], \n[true, null, ["4"], ["9"]]]', estimate=70_000)
    handler = lists(items, database, clock)
    for verbs in ([LIST, EXPLAIN], [LIST]):
        facts = await pagination(handler, "/items")
        assert (facts["total"], facts["totalPages"], facts["totalIsEstimate"]) == (70_000, 7_000, True)
        counted = "LIMIT 10001" in database.asked[0][0]
        assert counted is (len(verbs) == 2)
        assert database.verbs() == verbs
    await get(handler, "/items?page=2&limit=5&sort=-name&fields=id")
    assert database.verbs() == [LIST]
    await get(handler, "/items?price=1")
    assert database.verbs() == [LIST, EXPLAIN]
    clock.advance(REMEMBERED_S)
    await get(handler, "/items")
    assert database.verbs() == [LIST, EXPLAIN]


async def test_estimate_of_a_large_list_is_above_what_was_counted_and_what_was_seen(items):
    database = Database(b'[[1], \n[true, null, ["4"], ["9"]]]', estimate=3)
    handler = lists(items, database, FakeClock())
    assert (await pagination(handler, "/items"))["total"] == 10_001
    assert (await pagination(handler, "/items?page=2000"))["total"] == 20_001
    facts = await pagination(handler, "/items?count=estimated&page=2")
    assert (facts["total"], facts["totalIsEstimate"]) == (21, True)


async def test_exact_count_is_a_statement_of_its_own_and_the_estimate_stands_in_where_it_takes_too_long(items):
    database = Database(b'[[1], \n[true, null, ["4"], ["9"]]]', estimate=70_000, count=12_345)
    handler = lists(items, database, FakeClock())
    facts = await pagination(handler, "/items?count=exact&id[gt]=3")
    assert (facts["total"], facts["totalIsEstimate"]) == (12_345, False)
    assert [arguments for _, arguments in database.asked] == [("3", 10, 0), ("3",)]
    assert database.verbs() == [LIST, COUNT]
    database.number = None
    facts = await pagination(handler, "/items?count=exact")
    assert (facts["total"], facts["totalIsEstimate"]) == (70_000, True)
    assert database.verbs() == [LIST, COUNT, EXPLAIN]


@pytest.mark.parametrize("count", ["exact", "estimated", "none"])
async def test_list_that_is_not_counted_by_its_statement_does_not_count_in_it(items, count):
    database = Database(b'[[1], \n[false, 1, ["4"], ["4"]]]')
    facts = await pagination(lists(items, database, FakeClock()), f"/items?count={count}")
    assert "LIMIT 10001" not in database.asked[0][0]
    assert database.verbs() == [LIST]
    assert (facts["total"], facts["totalPages"]) == ((None, None) if count == "none" else (1, 1))
    assert facts["totalIsEstimate"] is False


async def test_count_that_fails_for_no_value_of_the_clients_is_not_their_fault(items):
    class Failing(Database):
        async def count(self, sql, *arguments):
            raise InvalidRequest("A value does not fit.")

        async def fault(self, refused, sql, *arguments):
            return InternalError(f"{refused.message} {sql.split()[0]} {arguments}")

    clock, statement = FakeClock(), ListStatement(items)
    totals = Totals(statement, Failing(), clock, Shapes(clock.monotonic).watch(statement.shape))
    with pytest.raises(InternalError, match=r"^A value does not fit\. SELECT \('0',\)$"):
        await totals.find(Chosen((), ("0",)), ListQuery(count="exact"))


@pytest.mark.parametrize(("count", "asked"), [("exact", 2), ("auto", 1), ("estimated", 1)])
async def test_count_of_granted_rows_that_takes_too_long_is_not_made_twice_for_one_request(items, count, asked):
    """Nor does the planner guess; only a total that was asked for exactly is counted anew."""
    database, clock = Database(count=None), FakeClock()
    statement = ListStatement(items, rows=Rows(((items.table.columns["name"],),)))
    totals = Totals(statement, database, clock, Shapes(clock.monotonic).watch(statement.shape))
    for _ in range(2):
        assert await totals.find(Chosen((), ("x",)), ListQuery(count=count)) == (None, False)
    assert database.verbs() == [COUNT] * asked


async def test_estimates_that_are_kept_are_bounded(items):
    database = Database(estimate=70_000)
    clock, statement = FakeClock(), ListStatement(items)
    totals = Totals(statement, database, clock, Shapes(clock.monotonic).watch(statement.shape))
    first, second = Chosen((), ("0",)), Chosen((), ("1",))
    for number in range(MAX_REMEMBERED + 1):
        await totals.find(Chosen((), (str(number),)), ListQuery())
    assert (totals.is_known_large(first), totals.is_known_large(second)) == (False, True)


@pytest.mark.parametrize(
    ("body", "query", "pages", "has_next", "has_prev"),
    [
        (b"[[], \n[false, 0, [null], [null]]]", ListQuery(), 0, False, False),
        (b'[[{"a": ", true,\\n 9]"}], \n[false, 1]]', ListQuery(), 1, False, False),
        (b'[[1], \n[true, 21, ["a\\nb"], ["c"]]]', ListQuery(page=2), 3, True, True),
        (b"[[], \n[false, 20]]", ListQuery(page=9), 2, False, True),
    ],
)
def test_pagination_has_all_nine_keys(body, query, pages, has_next, has_prev):
    page = read_page(body)
    rows, (has_more, total, *ends) = json.loads(body)
    assert (page.has_more, page.total) == (has_more, total)
    assert [page.first, page.last] == (ends or [(), ()])
    assert page.is_empty is (rows == [])
    told = json.loads(
        list_body(page.rows, Pagination(query.page, query.limit, page.total, pages, has_next, has_prev, "x-_"))
    )
    assert told["data"] == rows
    assert told["pagination"] == {
        "page": query.page,
        "limit": query.limit,
        "total": total,
        "totalPages": pages,
        "hasNext": has_next,
        "hasPrev": has_prev,
        "nextCursor": "x-_",
        "prevCursor": None,
        "totalIsEstimate": False,
    }


def test_what_is_not_known_is_null():
    told = json.loads(
        list_body(b"[]", Pagination(None, 10, None, None, has_next=True, has_prev=False, is_estimate=True))
    )
    assert [told["pagination"][name] for name in ("page", "total", "totalPages")] == [None, None, None]
    assert told["pagination"]["totalIsEstimate"] is True

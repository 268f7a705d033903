"""A request is one statement, and what PostgreSQL gives goes out as it is."""

from __future__ import annotations

import json
import time

import pytest
from aiohttp.test_utils import make_mocked_request

from plugins.resources.handlers.reading import ItemHandler, ListHandler
from plugins.resources.parse.query import ListQuery
from plugins.resources.render import list_body
from plugins.resources.shapes import Shapes
from service.errors import InvalidRequest, NotFound


class Database:
    """Answers every statement with the same bytes, and remembers it."""

    def __init__(self, body: bytes | None) -> None:
        self.body = body
        self.asked: list[tuple[str, tuple[object, ...]]] = []

    async def fetch_json(self, sql: str, *arguments: object) -> bytes | None:
        self.asked.append((sql, arguments))
        return self.body


async def test_list_is_one_statement_and_its_rows_are_not_looked_at(items):
    database = Database(b'[[{"any": thing}, not json], true, 45]')
    answer = await ListHandler(items, database, Shapes(time.monotonic).watch(items)).list_rows(
        make_mocked_request("GET", "/items?page=2&limit=20&id[gt]=3")
    )
    assert len(database.asked) == 1
    assert database.asked[0][1] == (20, 20, "3")
    assert answer.status == 200
    assert answer.body.startswith(b'{"data":[{"any": thing}, not json],"pagination":{"page":2,"limit":20,"total":45,')


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
    with pytest.raises(InvalidRequest) as refused:
        await ListHandler(items, database, Shapes(time.monotonic).watch(items)).list_rows(
            make_mocked_request("GET", "/items?price=x&nope=1")
        )
    assert database.asked == []
    assert refused.value.message == "2 parameters are wrong."
    assert [detail.field for detail in refused.value.details] == ["price", "nope"]
    with pytest.raises(InvalidRequest, match=r"^price must be a number\.$"):
        await ListHandler(items, database, Shapes(time.monotonic).watch(items)).list_rows(
            make_mocked_request("GET", "/items?price=x")
        )


@pytest.mark.parametrize(
    ("page", "query", "pages", "has_next", "has_prev"),
    [
        (b"[[], false, 0]", ListQuery(), 0, False, False),
        (b'[[{"a": ", true, 9]"}], false, 1]', ListQuery(), 1, False, False),
        (b"[[1], true, 21]", ListQuery(page=2), 3, True, True),
        (b"[[], false, 20]", ListQuery(page=9), 2, False, True),
    ],
)
def test_pagination_has_all_nine_keys(page, query, pages, has_next, has_prev):
    body = json.loads(list_body(page, query))
    rows, _, total = json.loads(page)
    assert body["data"] == rows
    assert body["pagination"] == {
        "page": query.page,
        "limit": query.limit,
        "total": total,
        "totalPages": pages,
        "hasNext": has_next,
        "hasPrev": has_prev,
        "nextCursor": None,
        "prevCursor": None,
        "totalIsEstimate": False,
    }

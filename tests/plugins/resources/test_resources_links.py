"""The Link header leads to the other pages of a list, and nothing that a client sends can break it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from yarl import URL

from plugins.resources.links import MAX_CHARS, elsewhere, link_header
from plugins.resources.render import Pagination

SCHEMA = """
CREATE TABLE notes (id int PRIMARY KEY, body text);
INSERT INTO notes SELECT n, n FROM generate_series(1, 25) n;
CREATE TABLE marks (id int PRIMARY KEY, note_id int REFERENCES notes);
INSERT INTO marks SELECT n, 1 FROM generate_series(1, 25) n;
"""


def parsed(header: str) -> dict[str, str]:
    """References by relation, of a header in the form of RFC 8288."""
    links = re.fullmatch(r'(?:<[^<>"\s]*>; rel="[a-z]+"(?:, |$))+', header)
    assert links, header
    return {relation: target for target, relation in re.findall(r'<([^>]*)>; rel="([a-z]+)"', header)}


async def links(api, path: str) -> dict[str, str]:
    response = await api.client.get(URL(f"/api/v1/{path}", encoded=True))
    assert response.status == 200
    assert len(response.headers.getall("Link")) == 1
    found = parsed(response.headers["Link"])
    via_aiohttp = {relation: link["url"] for relation, link in response.links.items()}
    assert via_aiohttp == {relation: response.url.join(URL(target, encoded=True)) for relation, target in found.items()}
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"first": "?page=1", "next": "?page=2", "last": "?page=3"}),
        ("?page=2", {"first": "?page=1", "prev": "?page=1", "next": "?page=3", "last": "?page=3"}),
        ("?page=3", {"first": "?page=1", "prev": "?page=2", "last": "?page=3"}),
        ("?page=9", {"first": "?page=1", "prev": "?page=8", "last": "?page=3"}),
        ("?limit=25", {"first": "?limit=25&page=1", "last": "?limit=25&page=1"}),
        ("?limit=20&sort=-id&page=1&fields=id",
         {"first": "?limit=20&sort=-id&fields=id&page=1", "next": "?limit=20&sort=-id&fields=id&page=2",
          "last": "?limit=20&sort=-id&fields=id&page=2"}),
        ("?body=none", {"first": "?body=none&page=1"}),
        ("?count=none", {"first": "?count=none&page=1", "next": "?count=none&page=2"}),
        ("?%70age=2&body[ne]=%3E%22", {"first": "?body%5Bne%5D=%3E%22&page=1", "prev": "?body%5Bne%5D=%3E%22&page=1",
                                       "next": "?body%5Bne%5D=%3E%22&page=3", "last": "?body%5Bne%5D=%3E%22&page=3"}),
    ],
)  # fmt: skip
async def test_pages_are_linked_by_number(serve, query, expected):
    api = await serve(SCHEMA, tables=["*"])
    assert await links(api, f"notes{query}") == expected


async def test_links_lead_through_the_whole_list_by_page_and_by_cursor(serve):
    api = await serve(SCHEMA, tables=["*"])
    begin = (await api.get("notes?limit=4"))[1]["pagination"]["nextCursor"]
    for path, expected in (("notes?limit=4", 25), (f"notes?limit=4&cursor={begin}", 21), ("notes/1/marks?limit=4", 25)):
        found, at = [], path
        while True:
            found += [row["id"] for row in await api.rows(at)]
            targets = await links(api, at)
            if "next" not in targets:
                break
            at = path.partition("?")[0] + targets["next"]
        assert found == list(range(26 - expected, 26))
        at = path.partition("?")[0] + targets["prev"]
        assert await api.rows(at)


async def test_beside_a_cursor_links_are_by_cursor_and_lead_to_numbered_ends(serve):
    api = await serve(SCHEMA, tables=["*"])
    begin = (await api.get("notes?limit=4"))[1]["pagination"]["nextCursor"]
    told = (await api.get(f"notes?limit=4&cursor={begin}"))[1]["pagination"]
    expected = {
        "first": "?limit=4&page=1",
        "prev": f"?limit=4&cursor={told['prevCursor']}",
        "next": f"?limit=4&cursor={told['nextCursor']}",
    }
    assert await links(api, f"notes?cursor={begin}&limit=4") == expected
    with_count = await links(api, f"notes?cursor={begin}&limit=4&count=exact")
    assert with_count["last"] == "?limit=4&count=exact&page=7"


async def test_next_page_after_the_last_that_has_a_number_is_linked_by_cursor(serve):
    sql = "CREATE TABLE many (id int PRIMARY KEY); INSERT INTO many SELECT generate_series(1, 100101)"
    api = await serve(sql, tables=["many"])
    at = await links(api, "many?limit=100&page=1001&count=exact")
    assert at["prev"] == "?limit=100&count=exact&page=1000"
    assert at["next"].startswith("?limit=100&count=exact&cursor=")
    assert "last" not in at
    assert await api.rows(f"many{at['next']}") == [{"id": 100_101}]


async def test_long_query_has_no_links_and_head_has_those_of_get(serve):
    api = await serve(SCHEMA, tables=["*"])
    response = await api.client.get(URL(f"/api/v1/notes?body[ne]={'x' * 3900}", encoded=True))
    assert (response.status, response.headers.get("Link")) == (200, None)
    got, head = [await api.client.request(method, "/api/v1/notes?page=2") for method in ("GET", "HEAD")]
    assert got.headers["Link"] == head.headers["Link"]


MIDDLE = Pagination(2, 10, 50, 5, has_next=True, has_prev=True)

HOSTILE = [
    'name=>; rel="next", <http://evil.example/>; rel="next',
    "name=%0d%0aSet-Cookie: a=b",
    "name=\x7f",
    "name=100%",
    "name=%zz%&x=%2",
    "name=é😀",
    "name=\udcff",
    "a|b=`{}^\\",
    "page=1&page=2&cursor=x",
    "%63ursor=1&p%61ge=2&pa+ge=3",
    "&&&name=&",
]


@pytest.mark.parametrize("query", HOSTILE)
def test_hostile_query_stays_inside_its_reference(query):
    header = link_header(query, MIDDLE)
    assert header.isascii()
    assert header.isprintable()
    assert parsed(header).keys() == {"first", "prev", "next", "last"}


def test_places_are_taken_out_however_they_are_spelled():
    assert elsewhere("page=1&cursor=x") == ""
    assert elsewhere("%63ursor=1&p%61ge=2&limit=3&page[eq]=4") == "limit=3&page%5Beq%5D=4&"
    assert elsewhere("pages=1&page=2") == "pages=1&"


@given(name=st.text(alphabet=st.characters(exclude_categories=["Cs"])), value=st.text())
def test_link_has_the_very_query_of_the_request(name, value):
    query = str(URL.build(path="/", query=MultiDict([(name, value)])))[2:] if name else ""
    if name in ("page", "cursor"):
        return
    target = parsed(link_header(query, MIDDLE)).get("next") if len(query) < MAX_CHARS // 5 else None
    if target is not None:
        assert URL(target, encoded=True).query == MultiDict(
            [*URL(f"?{query}", encoded=True).query.items(), ("page", "3")]
        )

"""Totals over a real socket: exact up to 10,000 rows, above that as the client asks, and always a list in time."""

from __future__ import annotations

import pytest

SMALL = "CREATE TABLE few (id int PRIMARY KEY, n int); INSERT INTO few SELECT n, n % 2 FROM generate_series(1, 25) n;"

LARGE = """
CREATE TABLE exactly (id int PRIMARY KEY);
INSERT INTO exactly SELECT generate_series(1, 10000);
CREATE TABLE many (id int PRIMARY KEY, kind int, note text);
INSERT INTO many SELECT n, n % 3, CASE WHEN n <= 8 THEN 'x' END FROM generate_series(1, 30000) n;
CREATE INDEX ON many (kind);
CREATE TABLE parts (id int PRIMARY KEY, many_id int REFERENCES many);
INSERT INTO parts SELECT n, 1 FROM generate_series(1, 12000) n;
CREATE TABLE unknown (id int PRIMARY KEY);
INSERT INTO unknown SELECT generate_series(1, 10500);
ANALYZE exactly, many, parts;
"""

SLOW = """
CREATE TABLE rows (id int PRIMARY KEY);
INSERT INTO rows SELECT generate_series(1, 12000);
ANALYZE rows;
CREATE FUNCTION slow(id int) RETURNS boolean LANGUAGE plpgsql VOLATILE COST 1 AS $$
BEGIN
    IF id > 11000 THEN PERFORM pg_sleep(30); END IF;
    RETURN true;
END $$;
CREATE VIEW late AS SELECT id FROM rows WHERE slow(id);
"""


async def totals(api, path: str):
    """total, totalPages, totalIsEstimate of a list that must be there."""
    status, body = await api.get(path)
    assert status == 200, body
    return tuple(body["pagination"][name] for name in ("total", "totalPages", "totalIsEstimate"))


@pytest.mark.parametrize("query", ["", "?limit=100", "?page=3", "?page=9", "?n=1", "?n=7"])
async def test_small_list_has_its_exact_total_however_it_is_asked_for(serve, query):
    api = await serve(SMALL, tables=["few"])
    exact = {"?n=1": 13, "?n=7": 0}.get(query, 25)
    limit = 100 if "limit" in query else 10
    join = "&" if query else "?"
    for count in ("", f"{join}count=auto", f"{join}count=exact"):
        assert await totals(api, f"few{query}{count}") == (exact, -(-exact // limit), False)
    assert await totals(api, f"few{query}{join}count=none") == (None, None, False)


async def test_estimate_of_a_page_that_shows_the_end_is_exact(serve):
    api = await serve(SMALL, tables=["few"])
    assert await totals(api, "few?count=estimated&limit=100") == (25, 1, False)
    assert await totals(api, "few?count=estimated&page=3") == (25, 3, False)
    _, _, is_estimate = await totals(api, "few?count=estimated&page=2")
    assert is_estimate


async def test_large_list_is_exact_up_to_ten_thousand_and_an_estimate_above(serve):
    api = await serve(LARGE, tables=["*"])
    assert await totals(api, "exactly") == (10_000, 1_000, False)
    assert await totals(api, "many") == (30_000, 3_000, True)
    total, _, is_estimate = await totals(api, "many?kind[in]=1,2")
    assert is_estimate
    assert 18_000 < total < 22_000
    assert await totals(api, "many?kind=1") == (10_000, 1_000, False)
    assert await totals(api, "many?note=x") == (8, 1, False)
    assert await totals(api, "many?page=3000") == (30_000, 3_000, False)
    assert await totals(api, "many/1/parts") == (12_000, 1_200, True)
    assert await totals(api, "many/2/parts") == (0, 0, False)


async def test_large_list_is_exact_where_that_is_asked_for_and_never_counted_where_not(serve):
    api = await serve(LARGE, tables=["*"])
    assert await totals(api, "many?count=exact") == (30_000, 3_000, False)
    assert await totals(api, "many?kind[in]=1,2&count=exact") == (20_000, 2_000, False)
    assert await totals(api, "many/1/parts?count=exact") == (12_000, 1_200, False)
    assert await totals(api, "many?count=estimated") == (30_000, 3_000, True)
    assert await totals(api, "many?count=none") == (None, None, False)
    cursor = (await api.get("many?limit=1"))[1]["pagination"]["nextCursor"]
    assert await totals(api, f"many?limit=1&cursor={cursor}") == (None, None, False)
    assert await totals(api, f"many?limit=1&cursor={cursor}&count=auto") == (30_000, 30_000, True)
    assert await totals(api, f"many?limit=1&cursor={cursor}&count=exact") == (30_000, 30_000, False)
    assert await totals(api, f"many?limit=1&cursor={cursor}&count=estimated") == (30_000, 30_000, True)


async def test_estimate_is_never_below_what_was_counted(serve):
    """A table that was never analysed: the planner guesses from its size, or not even that."""
    api = await serve(LARGE, tables=["*"])
    total, _, is_estimate = await totals(api, "unknown?id[gt]=0")
    assert is_estimate
    assert total == 10_001
    assert await totals(api, "unknown?id[gt]=0&count=exact") == (10_500, 1_050, False)


async def test_count_that_takes_too_long_is_an_estimate_and_the_list_is_there(make_service, make_database):
    url = make_database(SLOW)
    settings = {"database": {"url": url, "timeouts": {"count": "100ms"}}, "resources": {"tables": ["late"]}}
    settings["resources"]["table"] = {"late": {"key": "id"}}
    service = await make_service(["database", "resources"], {"plugins": settings})
    for _ in range(2):
        response = await service.client.get("/api/v1/late?count=exact&fields=id&limit=2")
        body = await response.json()
        assert (response.status, body["data"]) == (200, [{"id": 1}, {"id": 2}])
        assert body["pagination"]["totalIsEstimate"] is True
        assert body["pagination"]["total"] > 2


async def test_count_is_no_name_of_a_field_and_is_given_once(serve):
    api = await serve("CREATE TABLE a (id int PRIMARY KEY, count int)", tables=["a"])
    assert await api.rows("a?count[eq]=5&count=none") == []
    assert await api.faults("a?count=5") == [("count", "must be one of auto, exact, estimated and none.")]

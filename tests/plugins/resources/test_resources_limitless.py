"""NaN, infinities and the ends of time: written, read, asked for, sorted by and used as a key in one spelling."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

NUMBERS = ["NaN", "-Infinity", 0.5, "Infinity"]

SCHEMA = """
CREATE TABLE reals (value real PRIMARY KEY, n int);
CREATE TABLE floats (value float8 PRIMARY KEY, n int);
CREATE TABLE numerics (value numeric PRIMARY KEY, n int);
CREATE TABLE days (value date PRIMARY KEY, n int);
CREATE TABLE stamps (value timestamp PRIMARY KEY, n int);
CREATE TABLE instants (value timestamptz PRIMARY KEY, n int);
CREATE TABLE lists (id int PRIMARY KEY, value float8[]);
CREATE TABLE prices (id int PRIMARY KEY, value numeric(5, 2));
CREATE TABLE names (value name PRIMARY KEY, n int);
CREATE TABLE times (value time PRIMARY KEY, n int);
"""

OF_DAYS = ["infinity", "-infinity", "2026-01-31"]
OF_INSTANTS = ["infinity", "-infinity", "2026-01-31T13:30:00+00:00"]

ENDS = [  # the largest value of each first
    ("reals", NUMBERS),
    ("floats", NUMBERS),
    ("numerics", NUMBERS),
    ("days", OF_DAYS),
    ("stamps", OF_INSTANTS),
    ("instants", OF_INSTANTS),
    ("times", ["24:00:00", "00:00:00"]),
]


@pytest.mark.parametrize(("table", "values"), ENDS)
async def test_value_without_end_is_written_read_asked_for_and_a_key(serve, table, values):
    api = await serve(SCHEMA, tables=[table])
    for n, value in enumerate(values):
        row = {"value": value, "n": n}
        assert await api.send("POST", table, row) == (201, row)
        place = api.headers["Location"].removeprefix("/api/v1/")
        assert await api.get(place) == (200, row)
        assert await api.send("PUT", place, row) == (200, row)
        asked = quote(str(value))
        for query in (f"value={asked}", f"value[in]={asked}", f"value[between]={asked},{asked}"):
            assert await api.rows(f"{table}?{query}") == [row], query
        tree = quote(json.dumps({"value": {"gte": str(value), "lte": str(value)}}))
        assert await api.rows(f"{table}?filter={tree}") == [row]
        assert len(await api.rows(f"{table}?value[ne]={asked}")) == n
    assert [row["value"] for row in await api.rows(f"{table}?sort=-value&limit=1")] == values[:1]
    assert (await api.send("DELETE", place))[0] == 204


@pytest.mark.parametrize("table", ["reals", "floats", "numerics"])
@pytest.mark.parametrize("sort", ["value", "-value"])
async def test_cursors_pass_numbers_without_digits_in_their_order(serve, table, sort):
    api = await serve(SCHEMA, tables=[table])
    for n, value in enumerate(NUMBERS):
        assert (await api.send("POST", table, {"value": value, "n": n}))[0] == 201
    seen, path = [], f"{table}?sort={sort}&limit=1"
    page = path
    for _ in range(len(NUMBERS)):
        _, body = await api.get(page)
        seen += [row["value"] for row in body["data"]]
        page = f"{path}&cursor={body['pagination']['nextCursor']}"
    assert body["pagination"]["nextCursor"] is None
    ascending = ["-Infinity", 0.5, "Infinity", "NaN"]
    assert seen == (ascending if sort == "value" else ascending[::-1])


async def test_array_is_asked_for_numbers_without_digits(serve):
    api = await serve(SCHEMA, tables=["lists"])
    row = {"id": 1, "value": ["NaN", 1.5, None, "-Infinity"]}
    assert await api.send("POST", "lists", row) == (201, row)
    for query in ("value[has]=NaN", "value[has]=-Infinity", "value[overlaps]=3,NaN"):
        assert await api.rows(f"lists?{query}") == [row], query
    assert await api.rows("lists?value[has]=Infinity") == []


async def test_numeric_with_limits_takes_nan_alone_and_is_compared_with_all(serve):
    api = await serve(SCHEMA, tables=["prices"])
    assert await api.send("POST", "prices", {"id": 1, "value": "NaN"}) == (201, {"id": 1, "value": "NaN"})
    for value in ("Infinity", "-Infinity"):
        refused = await api.refused("POST", "prices", {"id": 2, "value": value})
        assert refused == [("value", "must be below 1000 and above -1000.")]
    assert await api.rows("prices?value[gt]=Infinity") == [{"id": 1, "value": "NaN"}]
    for spelled in ("nan", "inf", "%2BInfinity", "-NaN", "infinity"):
        assert await api.faults(f"prices?value={spelled}") == [("value", "must be a number.")], spelled


async def test_value_longer_than_a_name_can_be_is_refused_and_not_cut(serve):
    api = await serve(SCHEMA, tables=["names"])
    longest = "é" * 31 + "x"
    assert (await api.send("POST", "names", {"value": longest, "n": 1}))[0] == 201
    assert len(await api.rows(f"names?value={quote(longest)}")) == 1
    long = "must have at most 63 bytes."
    for operator in ("eq", "ne", "gt", "in", "startswith"):
        assert await api.faults(f"names?value[{operator}]={quote(longest)}y") == [(f"value[{operator}]", long)], (
            operator
        )
    assert await api.faults(f"names/{quote(longest)}y") == [("id", long)]
    assert await api.refused("POST", "names", {"value": f"{longest}y"}) == [("value", long)]

"""Composite values are objects, in and out, over a real socket and a real PostgreSQL."""

from __future__ import annotations

import base64

import pytest_asyncio

SHOP = """
CREATE DOMAIN plz AS text CHECK (VALUE ~ '^[0-9]{5}$');
CREATE DOMAIN kept AS boolean NOT NULL;
CREATE TYPE point_of_sale AS (lat numeric(8, 5), lon numeric(8, 5));
CREATE TYPE address AS (street varchar(10), zip plz, "at" point_of_sale, "Größe" int);
CREATE TYPE vote AS (yes kept, note text);
CREATE TABLE makers (id int PRIMARY KEY, name text);
CREATE TABLE shops (
    id int PRIMARY KEY, address address, stops address[], vote vote, maker makers, photos bytea[],
    pair_ point_of_sale NOT NULL DEFAULT ROW(1, 2)
);
INSERT INTO shops (id, address) VALUES (1, ROW('x', '12345', ROW(1, 2), 3));
"""

ADDRESS = {"street": 'a "b\\",)', "zip": "01234", "at": {"lat": 52.5, "lon": -13.40001}, "Größe": 4}
NONE = {"street": None, "zip": None, "at": None, "Größe": None}


@pytest_asyncio.fixture
async def shops(serve):
    return await serve(SHOP, tables=["shops"])


async def test_object_is_stored_and_shown_and_replaced_as_a_whole(shops):
    status, row = await shops.send("PATCH", "shops/1", {"address": ADDRESS})
    assert (status, row["address"]) == (200, ADDRESS)
    assert (await shops.send("PATCH", "shops/1", {"address": {"zip": "99999"}}))[1]["address"] == {
        **NONE,
        "zip": "99999",
    }
    assert (await shops.send("PATCH", "shops/1", {"address": {}}))[1]["address"] == NONE
    assert (await shops.send("PATCH", "shops/1", {"address": None}))[1]["address"] is None
    assert (await shops.send("PATCH", "shops/1", {"maker": {"id": 5}}))[1]["maker"] == {"id": 5, "name": None}


async def test_list_of_objects_is_stored_and_shown(shops):
    for stops in ([ADDRESS, None, NONE], [], [[ADDRESS], [None]]):
        assert (await shops.send("PATCH", "shops/1", {"stops": stops}))[1]["stops"] == stops
        assert (await shops.rows("shops?fields=stops"))[0]["stops"] == stops
    assert await shops.rows("shops?stops[null]=false&address[null]=false&fields=id") == [{"id": 1}]


async def test_each_fault_is_told_at_once_with_its_place_and_nothing_is_stored(shops):
    _, before = await shops.get("shops/1")
    body = {
        "address": {"zip": 12345, "at": {"lat": "north", "lng": 1}, "zipcode": "1", "street": "x" * 11},
        "stops": [{}, {"ziip": "1"}],
        "vote": {"note": "x"},
        "photos": [["AA=="], ["A"]],
        "pair": "(1,2)",
    }
    assert await shops.refused("PATCH", "shops/1", body) == [
        ("address.street", "must have at most 10 characters."),
        ("address.zip", "must be text."),
        ("address.at.lat", "must be a number."),
        ("address.at.lng", "is no attribute; did you mean lon?"),
        ("address.zipcode", "is no attribute; did you mean zip?"),
        ("stops[1].ziip", "is no attribute; did you mean zip?"),
        ("vote.yes", "is required."),
        ("photos", "is wrong at [1][0], which must be Base64."),
        ("pair", "must be an object."),
    ]
    assert (await shops.get("shops/1"))[1] == before


async def test_what_only_postgresql_knows_of_an_attribute_is_told_of_the_field(shops):
    assert await shops.refused("PATCH", "shops/1", {"address": {"zip": "1"}, "vote": {"yes": True}}) == [
        ("address", "is not allowed.")
    ]
    assert await shops.refused("PATCH", "shops/1", {"stops": [None, {"zip": "x"}]}) == [("stops", "is not allowed.")]


async def test_new_and_replaced_rows_take_objects(shops):
    row = {
        "id": 2, "address": ADDRESS, "stops": [NONE], "vote": {"yes": True, "note": None}, "maker": None,
        "photos": None, "pair": {"lat": 0, "lon": None},
    }  # fmt: skip
    stored = row | {"pair": {"lat": 0.0, "lon": None}}
    assert await shops.send("POST", "shops", row) == (201, stored)
    assert await shops.send("PUT", "shops/2", stored) == (200, stored)
    status, replaced = await shops.send("PUT", "shops/2", {})
    assert (status, replaced["address"], replaced["pair"]) == (200, None, {"lat": 1.0, "lon": 2.0})


async def test_index_says_which_fields_are_composite(shops):
    _, index = await shops.get("")
    types = {field["name"]: field["type"] for field in index["data"][0]["fields"]}
    assert (types["address"], types["maker"], types["stops"]) == ("composite", "composite", "array")


async def test_object_cannot_be_asked_for_by_value(shops):
    assert (await shops.faults("shops?address=(x)"))[0][0] == "address"
    assert (await shops.faults("shops?stops[has]=(x)"))[0][0] == "stops[has]"
    assert (await shops.faults("shops?address.zip=1"))[0][0] == "address.zip"
    assert (await shops.faults("shops?sort=address"))[0][0] == "sort"


async def test_bytes_of_several_dimensions_are_base64_in_and_out(shops):
    long = base64.b64encode(bytes(range(256))).decode()
    for photos in ([[long, None], ["", "AA=="]], [[["AA=="]], [["/+8="]]], [[[[[[None]]]]]], ["NULL"], []):
        assert (await shops.send("PATCH", "shops/1", {"photos": photos}))[1]["photos"] == photos
        assert (await shops.get("shops/1?fields=photos"))[1] == {"photos": photos}


async def test_composite_values_in_views_and_below_domains_are_objects_too(serve):
    api = await serve(
        "CREATE TYPE inner_ AS (at timestamp, body bytea, big bigint); CREATE TYPE outer_ AS (i inner_, is_ inner_[]);"
        "CREATE DOMAIN checked AS outer_ CHECK ((VALUE).i IS NOT NULL);"
        "CREATE TABLE rows (id int PRIMARY KEY, o checked);"
        "CREATE VIEW seen AS SELECT id, o FROM rows",
        tables=["rows", "seen"],
        table={"seen": {"key": "id", "bigint": "string"}},
    )
    inner = {"at": "2026-01-31T13:30:00+00:00", "body": "AP8Q", "big": 2**63 - 1}
    row = {"id": 1, "o": {"i": inner, "is": None}}
    assert await api.refused("POST", "rows", row) == [("o.is", "is no attribute; did you mean is_?")]
    row = {"id": 1, "o": {"i": inner, "is_": [inner, None]}}
    assert await api.send("POST", "rows", row) == (201, row)
    texts = inner | {"big": str(2**63 - 1)}
    assert await api.get("seen/1") == (200, {"id": 1, "o": {"i": texts, "is_": [texts, None]}})
    assert await api.send("PUT", "seen/1", {"o": {"i": texts, "is_": [texts, None]}}) == (
        200,
        {"id": 1, "o": {"i": texts, "is_": [texts, None]}},
    )
    assert await api.refused("PATCH", "rows/1", {"o": {"i": {}}}) == [("o", "is not allowed.")]

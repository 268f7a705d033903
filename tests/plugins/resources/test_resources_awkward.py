"""A schema with everything in it is served, row by row, and what cannot be served is said."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote


def key_of(row: dict[str, object], key: list[str]) -> str:
    """A row's key as a client writes it into a path."""
    values = [str(row[name]) for name in key]
    if len(values) > 1:
        values = [value.replace("\\", "\\\\").replace(",", "\\,") for value in values]
    return quote(",".join(values), safe="")


async def test_every_row_of_every_table_is_read_by_list_by_key_and_along_foreign_keys(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["*"])
    _, index = await api.get("")
    assert len(index["data"]) == 24
    for resource in index["data"]:
        path = resource["path"].removeprefix("/api/v1/")
        for row in await api.rows(path):
            if resource["itemPath"] is None:
                continue
            id_ = key_of(row, resource["key"])
            assert await api.get(f"{path}/{id_}") == (200, row)
            for child in resource["children"]:
                await api.rows(child.removeprefix("/api/v1/").replace("{id}", id_))


async def test_foreign_tables_that_nobody_can_read_are_left_out_with_the_views_of_them(serve):
    api = await serve(
        """
        CREATE TABLE near (id int PRIMARY KEY); INSERT INTO near VALUES (1);
        CREATE FOREIGN DATA WRAPPER hollow; CREATE SERVER nowhere FOREIGN DATA WRAPPER hollow;
        CREATE FOREIGN TABLE far (id int) SERVER nowhere;
        CREATE VIEW farther AS SELECT id FROM far; CREATE VIEW farthest AS SELECT id FROM farther;
        """,
        tables=["*", "farthest"],
        table={"farther": {"key": ["id"]}, "farthest": {"key": ["id"]}},
    )
    _, index = await api.get("")
    assert [resource["name"] for resource in index["data"]] == ["near"]
    assert await api.get("near/1") == (200, {"id": 1})
    for what in ("foreign table far", "view farther", "view farthest"):
        assert f"{what} is not served: its foreign-data wrapper cannot read." in api.said


async def test_hidden_column_is_not_told_by_what_refers_to_it(serve):
    api = await serve(
        """
        CREATE TABLE accounts (id int PRIMARY KEY, api_token text UNIQUE, name text UNIQUE);
        CREATE TABLE logins (id int PRIMARY KEY, by_account text REFERENCES accounts (api_token));
        CREATE TABLE notes (id int PRIMARY KEY, account text REFERENCES accounts (name));
        INSERT INTO accounts VALUES (1, 's3cr3t', 'ada'); INSERT INTO logins VALUES (2, 's3cr3t');
        """,
        tables=["*"],
    )
    _, index = await api.get("")
    [accounts] = [resource for resource in index["data"] if resource["name"] == "accounts"]
    assert accounts["children"] == ["/api/v1/accounts/{id}/notes"]
    status, body = await api.get("accounts/1/logins")
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")


async def test_what_is_left_out_is_said_with_the_way_out(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["*"])
    said = "\n".join(api.said)
    for name in ("view happy", "materialised view totals"):
        assert f"{name} has no key and is not served; name the columns that identify a row: key = [...] under" in said
    for name in ("table keyless", "table nothing"):
        assert f"{name} has no key and is not served; give it a primary key, or name it in tables, as a list" in said
    assert "table vault is not served, since none of its columns may be shown" in said
    assert "sessions is served as a list without items and cursors, since its key token is hidden" in said
    assert "blobs is served as a list without items" in said
    assert "/addresses/{id}/shipments.by-fromAddressId, /addresses/{id}/shipments.by-toAddressId" in said
    assert "events_2026" not in said
    for path in ("events_2026", "vault", "nothing", "keyless", "blobs/x", "sessions/x"):
        assert (await api.get(path))[0] == 404, path


async def test_several_foreign_keys_to_one_table_are_several_lists(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["addresses", "shipments"])
    assert [row["id"] for row in await api.rows("addresses/1/shipments.by-fromAddressId")] == [10, 11]
    assert [row["id"] for row in await api.rows("addresses/1/shipments.by-toAddressId")] == [12]
    assert (await api.get("addresses/1/shipments"))[0] == 404


async def test_foreign_key_to_another_column_than_the_key_is_followed(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["pages", "visits"])
    assert [row["id"] for row in await api.rows("pages/a%2Fb,c/visits")] == [1, 2]
    assert (await api.get("pages/First/visits"))[0] == 404


async def test_key_of_several_texts_takes_commas_behind_a_backslash(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["parts", "stock"])
    for id_ in (r"a%5C%2Cb,x%2Fy", r"a%5C,b%2Cx%2Fy"):
        assert await api.get(f"parts/{id_}") == (200, {"maker": "a,b", "code": "x/y"})
        assert [row["id"] for row in await api.rows(f"parts/{id_}/stock")] == [1, 3]
    assert await api.faults("parts/a,b,x%2Fy") == [("id", "must be 2 values joined by commas: maker,code.")]


async def test_key_of_one_text_is_the_whole_segment(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["pages"])
    assert (await api.get("pages/a%2Fb,c"))[1]["title"] == "First"
    assert (await api.get("pages/100%2525"))[1]["title"] == "Second"
    for missing in ("%FF", "%ED%A0%80", "nothing"):
        assert (await api.get(f"pages/{missing}"))[0] == 404, missing
    assert await api.faults("pages/%00") == [("id", "must not contain a NUL character.")]


async def test_columns_named_like_parameters_are_filtered_with_an_operator(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["Größe & Maß"])
    path = quote("Größe & Maß")
    assert [row["id"] for row in await api.rows(f"{path}?page[eq]=5&limit[eq]=lim&page=1&limit=9")] == [1]
    assert [row["id"] for row in await api.rows(f"{path}?sort=-page,limit&fields=id,page,limit")] == [2, 1]
    assert [row["id"] for row in await api.rows(f"{path}?select=x&r=7&t=8&a_b=1&aB=2&%F0%9F%99%82=10")] == [1]


async def test_every_kind_of_value_is_shown_as_json_should_have_it(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["kinds"])
    response = await api.client.get("/api/v1/kinds/1")
    text = await response.text()
    row = json.loads(text)
    assert '"big":9223372036854775807' in text
    assert '"exact":12345678901234567890.1234567890' in text
    assert (row["real4"], row["real8"]) == ("NaN", "Infinity")
    assert (row["stamp"], row["stampTz"]) == ("2026-01-01T12:00:00+00:00", "2026-01-01T10:00:00+00:00")
    assert (row["day"], row["clock"]) == ("2024-02-29", "23:59:59.5")
    assert base64.b64decode(row["bytes"], validate=True) == bytes.fromhex("00ff" * 60)
    assert (row["j"], row["jb"]) == ({"a": [1, 2]}, {"b": None})
    assert (row["ints"], row["texts"], row["feelings"]) == ([1, 2], ["a", None], ["sad", "so, so"])
    assert (row["body"], row["fixed"], row["feeling"]) == ('tab\tand "quotes"', "ab   ", "so, so")
    assert (row["ip"], row["net"], row["rng"], row["p"]) == ("10.0.0.1", "10.0.0.0/8", "[1,5)", {"a": 1, "b": "b"})


KINDS_QUERIES = [
    "small=1",
    "big=9223372036854775807",
    "exact=12345678901234567890.123456789",
    "exact[gt]=1e10",
    "real8[gte]=1e308",
    "yes=true",
    "body[contains]=%22quotes",
    "var[startswith]=v",
    "fixed=ab",
    "fixed[endswith]=ab",
    "feeling=so,%20so",
    r"feeling[in]=happy,so%5C,%20so",
    "feeling[gt]=sad",
    "pos=5",
    "spos[in]=6,7",
    "uid=6F9619FF-8B86-D011-B42D-00C04FC964FF",
    "day[lt]=2024-03-01",
    "clock[gte]=23:59:59.5",
    "stamp=2026-01-01T12:00:00Z",
    "stamp=2026-01-01T13:00:00%2B01:00",
    "stampTz=2026-01-01T12:00:00+02:00",
    "ip=10.0.0.1",
    "net[in]=10.0.0.0/8",
    "n=name",
    "j[null]=false",
    "ints[null]=false",
    "search[null]=false",
    "doubled=2",
]


async def test_every_kind_is_filtered_by_its_own_values(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["kinds"])
    for query in KINDS_QUERIES:
        assert [row["id"] for row in await api.rows(f"kinds?fields=id&{query}")] == [1], query


SORTABLE = (
    "small big mac money bits clockTz o exact real4 real8 yes body var "
    "fixed feeling pos uid day clock stamp stampTz span bytes ip net n"
)


async def test_every_kind_that_has_an_order_can_be_sorted_by_and_others_are_refused(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["kinds"])
    for name in SORTABLE.split():
        assert [row["id"] for row in await api.rows(f"kinds?sort=-{name}")] == [2, 1], name
    for name in ("j", "jb", "pt", "p", "ints"):
        assert await api.faults(f"kinds?sort={name}") == [("sort", f"names {name}, which has no order.")]


async def test_view_with_a_key_from_the_settings_has_items(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["*"], table={"happy": {"key": "id"}, "totals": {"key": ["n"]}})
    assert await api.get("happy/1") == (200, {"id": 1, "feeling": "so, so"})
    assert await api.get("totals/2") == (200, {"n": 2})


async def test_table_without_a_key_that_is_named_is_a_list_in_a_total_order(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["keyless"])
    assert [(row["a"], row["b"]) for row in await api.rows("keyless")] == [(1, "x"), (1, "y"), (2, "x")]
    assert (await api.get("keyless/1"))[0] == 404
    assert "keyless is served as a list without items and cursors, since it has no key." in api.said


async def test_path_of_a_table_is_its_name_percent_encoded_or_what_the_settings_say(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["Größe & Maß", "in/valid"], table={"Größe & Maß": {"path": "sizes"}})
    assert (await api.get("sizes/1"))[0] == 200
    assert (await api.get("in%2Fvalid"))[0] == 200
    assert (await api.get(quote("Größe & Maß")))[0] == 404

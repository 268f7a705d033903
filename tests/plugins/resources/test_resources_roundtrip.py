"""What is written is what is read, for every type at its limits, and an awkward schema is written through."""

from __future__ import annotations

import base64
import json
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.testing.service import Service

KEPT = [
    # type, values that are read as they were written
    ("smallint", ["-32768", "32767", "0", "null"]),
    ("int", ["-2147483648", "2147483647"]),
    ("bigint", ["-9223372036854775808", "9223372036854775807"]),
    ("numeric", ["12345678901234567890.123456789012345678900", "0.00", "-0.1", "9" * 400, '"NaN"', '"Infinity"']),
    ("numeric(5, 2)", ["999.99", "-999.99", "0.10", '"NaN"']),
    ("numeric(2, 4)", ["0.0099", "-0.0001"]),
    ("numeric(3, -2)", ["99900", "-100", "0"]),
    ("real", ["3.4028235e+38", "1e-45", '"NaN"', '"-Infinity"']),
    ("float8", ["1.7976931348623157e+308", "5e-324", "0.1", "-0", '"Infinity"']),
    ("boolean", ["true", "false", "null"]),
    (
        "text",
        ['""', '"\\u0001\\n\\t\\"\\\\"', '"🙂 \\ud83d\\ude00"', '" a "', '"null"', '"{1,NULL}"', f'"{"x" * 100_000}"'],
    ),
    ("varchar(3)", ['"ÄÖÜ"', '"   "', '""']),
    ("char(3)", ['"ab "', '"ÄÖÜ"', '"   "']),
    ("name", [f'"{"é" * 31}x"']),
    ('"char"', ['"x"', '""', '"\\\\303"']),
    ("mood", ['"so, so"', '"sad"']),
    ("uuid", ['"00000000-0000-0000-0000-000000000000"', '"ffffffff-ffff-ffff-ffff-ffffffffffff"']),
    ("date", ['"0001-01-01"', '"9999-12-31"', '"infinity"', '"-infinity"', '"4713-01-01 BC"', '"5874897-12-31"']),
    ("time", ['"00:00:00"', '"23:59:59.999999"', '"24:00:00"']),
    (
        "timestamptz",
        [
            '"0001-01-01T00:00:00+00:00"',
            '"9999-12-31T23:59:59.999999+00:00"',
            '"infinity"',
            '"-infinity"',
            '"294276-12-31T23:59:59.999999+00:00"',
            '"4713-11-24T00:00:00+00:00 BC"',
        ],
    ),
    ("timestamp", ['"0001-01-01T00:00:00+00:00"', '"294276-12-31T23:59:59.999999+00:00"', '"infinity"']),
    ("interval", ['"1 year 2 mons 3 days 04:05:06.789"', '"-00:00:01"', '"00:00:00"']),
    ("inet", ['"10.0.0.1"', '"10.0.0.1/8"', '"::1"', '"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"']),
    ("cidr", ['"10.0.0.0/8"', '"0.0.0.0/0"']),
    ("macaddr", ['"08:00:2b:01:02:03"']),
    ("money", ['"$92,233,720,368,547,758.07"']),
    ("bit(3)", ['"101"']),
    ("varbit(3)", ['"1"', '""']),
    ("int4range", ['"[1,5)"', '"empty"', '"(,)"']),
    ("tstzmultirange", ['"{}"']),
    ("tsvector", ["\"'cat':3 'fat':2\""]),
    ("point", ['"(1,2)"']),
    ("json", ['{"b" : 1.10, "a": [null, true, "x"]}', '"text"', "1.0", "[]", "null", "1e399"]),
    ("jsonb", ['{"a": [1.10, {"b": null}]}', '"text"', "12345678901234567890.10", "false", "[[[[[[]]]]]]"]),
    ("bytea", ['""', '"AA=="', f'"{base64.b64encode(bytes(range(256))).decode()}"']),
    ("int[]", ["[]", "[1, null, -2147483648]", "[[1, 2], [3, null]]", "[[[[[[1]]]]]]"]),
    ("text[]", ['["", "NULL", "null", null, "a,b", "{}", "\\"\\\\", " x "]']),
    ("varchar(3)[]", ['["ÄÖÜ"]']),
    ("numeric(4, 1)[]", ["[999.9, null, 0.0]"]),
    ("boolean[]", ["[true, false, null]"]),
    ("mood[]", ['["so, so", null]']),
    ("date[]", ['["2024-02-29"]']),
    ("timestamp[]", ['["2026-01-31T13:30:00+00:00", null]']),
    ("timestamptz[]", ['["2026-01-31T13:30:00.5+00:00"]']),
    ("jsonb[]", ['[{"a": [1, 2]}, [1, [2]], "x", null, 1.10]']),
    ("bytea[]", ['["AA==", null, ""]']),
    (
        "bytea[]",
        [
            '[["AA==", null], ["", "NULL"]]',
            '[[["/+8="]], [[null]]]',
            "[]",
            f'["{base64.b64encode(bytes(90)).decode()}"]',
        ],
    ),
    ("bigint[]", ["[[9223372036854775807], [null]]"]),
    ("timestamp[]", ['[["2026-01-31T13:30:00+00:00"], [null]]']),
    (
        "place",
        [
            '{"street": "a \\"b\\" \\\\ (c), {d}", "zip": 12345, "area": {"x": 1.50, "tags": ["a,b", "NULL", null]}}',
            '{"street": null, "zip": null, "area": null}',
            '{"street": "", "zip": null, "area": {"x": null, "tags": []}}',
        ],
    ),
    (
        "place[]",
        [
            "[]",
            '[{"street": "x", "zip": 1, "area": null}, null, {"street": null, "zip": null, "area": null}]',
            '[[{"street": "\\"", "zip": 1, "area": {"x": 0.10, "tags": ["\\\\\\""]}}], [null]]',
        ],
    ),
    (
        "kinds",
        [
            '{"big": 9223372036854775807, "exact": 12345678901234567890.10, "at": "2026-01-31T13:30:00+00:00", '
            '"bytes": "AP8Q", "doc": {"a": [1.10, null]}, "mood": "so, so", "yes": false, "code": "abcde", '
            '"many": [["AA==", null]], "boxes": ["(1,1),(0,0)", "(3,3),(2,2)"], "inner": {"at": '
            '"2026-01-31T13:30:00+00:00", "bigs": [1, null]}, "inners": [[{"at": null, "bigs": null}], [null]]}',
        ],
    ),
    (
        "kinds[]",
        [
            '[null, {"big": 1, "exact": null, "at": null, "bytes": null, "doc": null, "mood": null, "yes": true, '
            '"code": null, "many": [], "boxes": null, "inner": null, "inners": [{"at": null, "bigs": []}]}]',
        ],
    ),
    ("home", ['{"street": "x", "zip": 1, "area": null}']),
    ("lone", ['{"only": null}', '{"only": ""}', '{"only": "x"}']),
    ("box[]", ['["(1,1),(0,0)", "(3,3),(2,2)"]']),
    ("int4range[]", ['["[1,5)", null]']),
    ("positive", ["1", "2147483647"]),
    ("code", ['"abcde"']),
    ("codes", ['["abcde", null]']),
    ("positive[]", ["[1, null]"]),
]

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'so, so', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN code AS varchar(5) CHECK (VALUE <> 'bad');
CREATE DOMAIN codes AS code[];
CREATE TYPE area AS (x numeric(4, 2), tags text[]);
CREATE TYPE place AS (street text, zip int, area area);
CREATE TYPE inner_kinds AS (at timestamp, bigs bigint[]);
CREATE TYPE kinds AS (
    big bigint, exact numeric, at timestamp, bytes bytea, doc jsonb, mood mood, yes boolean, code code,
    many bytea[], boxes box[], "inner" inner_kinds, inners inner_kinds[]
);
CREATE DOMAIN home AS place CHECK ((VALUE).zip > 0);
CREATE TYPE lone AS ("only" text);
"""

SQL = (
    TYPES
    + "CREATE TABLE kept (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    + ", ".join(f"c{number} {type_}" for number, (type_, _) in enumerate(KEPT))
    + ")"
)


def spelled(text: str) -> Any:
    """JSON with numbers as they are spelled, so that nothing is rounded, and text is the same as a number."""
    return json.loads(text, parse_int=str, parse_float=str)


def key_of(row: dict[str, Any], key: list[str]) -> str:
    """A row's key as a client writes it into a path."""
    values = [str(row[name]) for name in key]
    if len(values) > 1:
        values = [value.replace("\\", "\\\\").replace(",", "\\,") for value in values]
    return quote(",".join(values), safe="")


async def raw(service: Service, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    data = body.encode() if body is not None else None
    async with service.client.request(method, f"/api/v1/{path}", data=data, headers=headers) as response:
        return response.status, await response.text()


@pytest.mark.parametrize("bigint", ["number", "string"])
async def test_what_is_written_is_what_is_read_for_every_type_at_its_limits(serve, bigint):
    api = await serve(SQL, tables=["kept"], table={"kept": {"bigint": bigint}})
    wrong = []
    for number, (type_, values) in enumerate(KEPT):
        name = f"c{number}"
        for value in [*values, "null"]:
            status, made = await raw(api.service, "POST", "kept", f'{{"{name}": {value}}}')
            if status != 201 or spelled(made)[name] != spelled(value):
                wrong.append((type_, value[:50], made))
                continue
            item = f"kept/{spelled(made)['id']}"
            read = await raw(api.service, "GET", item)
            changed = await raw(api.service, "PATCH", item, f'{{"{name}": {value}}}')
            replaced = await raw(api.service, "PUT", item, made)
            if not read == changed == replaced == (200, made):
                wrong.append((type_, value[:50], made, read, changed, replaced))
    assert wrong == []


CHARS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
TEXT = st.text(CHARS, max_size=20)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=8).map(str)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | TEXT,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TEXT, inside, max_size=4),
    max_leaves=12,
)
ROWS = st.fixed_dictionaries(
    {
        "body": TEXT,
        "big": INTEGERS,
        "exact": NUMBERS,
        "real8": st.floats(allow_nan=False, allow_infinity=False),
        "doc": JSON.filter(lambda value: value is not None),
        "docb": JSON.filter(lambda value: value is not None),
        "texts": st.lists(st.none() | TEXT, max_size=5),
        "bytes": st.binary(max_size=50).map(lambda data: base64.b64encode(data).decode()),
        "day": st.dates().map(str),
        "at": st.datetimes().map(lambda at: f"{at.isoformat()}+00:00"),
    }
)


@pytest_asyncio.fixture
async def any_rows(serve):
    return await serve(
        "CREATE TABLE rows (id text PRIMARY KEY, body text, big bigint, exact numeric, real8 float8, doc json, "
        "docb jsonb, texts text[], bytes bytea, day date, at timestamptz)",
        tables=["rows"],
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=ROWS, key=st.text(CHARS, min_size=1, max_size=20).filter(lambda text: text not in (".", "..")))
async def test_any_row_is_read_as_it_was_written_at_the_place_that_it_was_given(any_rows, row, key):
    status, made = await any_rows.send("POST", "rows", {"id": key, **row})
    assert status == 201, made
    place = any_rows.headers["Location"].removeprefix("/api/v1/")
    try:
        assert await any_rows.get(place) == (200, made)
        exact, at = made.pop("exact"), made.pop("at")
        assert Decimal(repr(exact)) == Decimal(row["exact"]) or abs(Decimal(row["exact"])) > 10**7
        assert datetime.fromisoformat(at) == datetime.fromisoformat(row["at"])
        assert made == {"id": key, **{name: value for name, value in row.items() if name not in ("exact", "at")}}
        assert await any_rows.send("PUT", place, {**made, "exact": row["exact"], "at": at}) == (
            200,
            {**made, "exact": exact, "at": at},
        )
    finally:
        assert (await any_rows.send("DELETE", place))[0] == 204


async def test_awkward_schema_is_written_through_wherever_it_is_writable(serve, awkward_sql):
    """Every row is put back as it is, and made anew after it was removed; nothing else differs afterwards."""
    table = {"happy": {"key": "id"}, "small_staff": {"key": "id"}, "kinds": {"bigint": "string"}}
    api = await serve(awkward_sql, tables=["*"], table=table, writes=[
        "Größe & Maß", "kinds", "addresses", "shipments", "staff", "parts", "stock", "pages", "visits", "events",
        "event_notes", "only_unique", "in/valid", "wide", "limits", "padded", "amounts", "moments", "ancestors",
        "heirs", "unlogged", "happy", "small_staff",
    ])  # fmt: skip
    before = await everything(api)
    _, index = await api.get("")
    tried: Counter[str] = Counter()
    for resource in index["data"]:
        path, name = resource["path"].removeprefix("/api/v1/"), resource["name"]
        fields = {field["name"]: field for field in resource["fields"]}
        for row in before[name] if resource["itemPath"] else ():
            item = f"{path}/{key_of(row, resource['key'])}"
            writable = {field: value for field, value in row.items() if not fields[field]["readOnly"]}
            if "PUT" in resource["itemMethods"]:
                tried["PUT"] += 1
                assert await api.send("PATCH", item, writable) == (200, row), item
                if name not in ("kinds", "happy"):
                    assert await api.send("PUT", item, writable) == (200, row), item
            if "DELETE" in resource["itemMethods"] and name not in ("kinds", "happy"):
                status, answer = await api.send("DELETE", item)
                assert status in (204, 409), (item, answer)
                if status == 409:
                    continue
                tried["DELETE"] += 1
                assert await api.send("POST", path, writable) == (201, row), item
                assert api.headers["Location"] == f"/api/v1/{item}".replace("%2C", ",") or "%" in item
                assert await api.get(api.headers["Location"].removeprefix("/api/v1/")) == (200, row)
    assert tried["PUT"] > 10
    assert tried["DELETE"] > 10
    after = await everything(api)
    assert {name: rows for name, rows in after.items() if name not in ("kinds", "happy")} == {
        name: rows for name, rows in before.items() if name not in ("kinds", "happy")
    }


async def everything(api):
    _, index = await api.get("")
    found = {}
    for resource in index["data"]:
        rows = await api.rows(f"{resource['path'].removeprefix('/api/v1/')}?limit=100")
        found[resource["name"]] = sorted(rows, key=str)
    return found


LIMITS = [
    ({"price": 1000}, [("price", "must be below 1000 and above -1000.")]),
    ({"price": 0.001}, [("price", "must have at most 2 digits after the point.")]),
    ({"hundreds": 150}, [("hundreds", "must be a multiple of 100.")]),
    ({"tiny": 0.01}, [("tiny", "must be below 0.01 and above -0.01.")]),
    ({"var": "four"}, [("var", "must have at most 3 characters.")]),
    ({"fixed": "four"}, [("fixed", "must have at most 3 characters.")]),
    ({"bits": "101"}, [("bits", "must have 4 bits.")]),
    ({"varbits": "10101"}, [("varbits", "must have at most 4 bits.")]),
    ({"code": "bad"}, [("code", "is not allowed.")]),
    ({"code": "too long"}, [("code", "must have at most 5 characters.")]),
    ({"code": None}, [("code", "must not be null.")]),
    ({"codes": ["ok", "bad"]}, [("codes", "is not allowed.")]),
    ({"vars": ["four"]}, [("vars", "is wrong at [0], which must have at most 3 characters.")]),
    ({"prices": [1, 1000]}, [("prices", "is wrong at [1], which must be below 1000 and above -1000.")]),
    ({"feelings": ["glad"]}, [("feelings", "is wrong at [0], which must be one of sad, so, so and happy.")]),
    ({"years": "soon"}, [("years", "must be a value of the type interval year.")]),
    ({"boxes": ["x"]}, [("boxes", "must be a value of the type box[].")]),
    ({"ranges": ["[5,1)"]}, [("ranges", "must be a value of the type int4range[].")]),
    ({"stamps": ["2026-13-01"]}, [("stamps", "is wrong at [0], which must be a timestamp like 2026-01-31T13:30:00Z.")]),
    ({"stamp0": "999999-01-01"}, [("stamp0", "must be a value of the type timestamp(0) without time zone.")]),
    ({"low": 2, "high": 1}, [("low", "is not allowed."), ("high", "is not allowed.")]),
    ({"years": "soon", "ranges": ["x"], "code": "bad"}, [
        ("years", "must be a value of the type interval year."), ("code", "is not allowed."),
        ("ranges", "must be a value of the type int4range[]."),
    ]),
]  # fmt: skip


async def test_what_only_postgresql_can_judge_is_told_of_the_field_too(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["limits"])
    assert (await api.send("POST", "limits", {"low": 1, "high": 1, "code": "x"}))[0] == 201
    for body, faults in LIMITS:
        assert await api.refused("PATCH", "limits/1", body) == faults, body
    assert await api.refused("POST", "limits", {"low": 1, "high": 1}, status=409) == [
        ("low", "is taken already."),
        ("high", "is taken already."),
    ]
    status, made = await api.send("POST", "limits", {})
    assert (status, made["code"], made["default"]) == (201, "none", "it's")
    status, put = await api.send("PUT", f"limits/{made['id']}", {"code": "x", "grid": [[1, 2], [3, 4]]})
    assert (status, put["default"], put["grid"], put["code"]) == (200, "it's", [[1, 2], [3, 4]], "x")


async def test_keys_of_every_form_are_the_same_in_path_and_body(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["padded", "amounts", "moments"])
    for path, key in (
        ("padded", {"code": "ab  "}),
        ("amounts", {"amount": 1.50}),
        ("moments", {"at": "2026-01-31T10:00:00+00:00", "place": "10.0.0.1"}),
    ):
        assert (await api.send("POST", path, {**key, "n": 1}))[0] == 201
        item = api.headers["Location"].removeprefix("/api/v1/")
        assert (await api.send("PUT", item, {**key, "n": 2}))[0] == 200, item
        assert (await api.get(item))[1]["n"] == 2
    assert (await api.send("PATCH", "padded/ab", {"code": "ab", "n": 3}))[1] == {"code": "ab  ", "n": 3}
    assert (await api.send("PATCH", "amounts/1.500", {"amount": 1.5, "n": 3}))[0] == 200
    same = {"at": "2026-01-31T11:00:00+01:00", "place": "10.0.0.1/32"}
    assert (await api.send("PATCH", "moments/2026-01-31T10:00:00Z,10.0.0.1", same))[0] == 200


async def test_view_is_written_through_as_far_as_it_goes(serve, awkward_sql):
    api = await serve(
        awkward_sql,
        tables=["small_staff", "staff_count", "totals"],
        table={"small_staff": {"key": "id"}, "staff_count": {"key": "boss_id"}, "totals": {"key": "n"}},
    )
    assert await api.send("POST", "small_staff", {"id": 9, "bossId": 1}) == (201, {"id": 9, "bossId": 1, "doubled": 18})
    assert await api.refused("PATCH", "small_staff/9", {"doubled": 1}) == [("doubled", "is read-only.")]
    status, answer = await api.send("POST", "small_staff", {"id": 900})
    assert (status, answer["error"]["code"]) == (422, "VALIDATION_ERROR")
    assert (await api.send("POST", "staff_count", {}))[0] == (await api.send("DELETE", "totals/2"))[0] == 405
    said = [sentence for sentence in api.said if "left out" in sentence]
    assert said == [
        "staff_count: create, update and delete left out, because no row of a view like this can be written; an "
        "INSTEAD OF trigger would make it one; where it is meant so, write writes = false under "
        "[plugins.resources.table.staff_count].",
        "totals: create, update and delete left out, because no row of a materialised view like this can be written; "
        "where it is meant so, write writes = false under [plugins.resources.table.totals].",
    ]


async def test_view_with_a_trigger_in_its_place_takes_what_the_trigger_takes(serve):
    sql = """
    CREATE TABLE hidden_rows (id int PRIMARY KEY, n int);
    CREATE VIEW front AS SELECT id, n * 10 AS n FROM hidden_rows;
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO hidden_rows VALUES (NEW.id, NEW.n / 10); RETURN NEW;
    END $$;
    CREATE TRIGGER keep INSTEAD OF INSERT ON front FOR EACH ROW EXECUTE FUNCTION keep();
    """
    api = await serve(sql, tables=["front"], table={"front": {"key": "id"}})
    assert await api.send("POST", "front", {"id": 1, "n": 50}) == (201, {"id": 1, "n": 50})
    assert await api.get("front/1") == (200, {"id": 1, "n": 50})
    assert (await api.send("PATCH", "front/1", {"n": 1}))[0] == 405, "there is nothing outside the key"
    assert (await api.send("DELETE", "front/1"))[0] == 204


async def test_role_that_may_not_write_all_is_offered_what_it_may(serve_at, make_database):
    """A start says once what is left out; what the role may is done."""
    sql = """
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'half_writer') THEN CREATE ROLE half_writer LOGIN; END IF;
    END $$;
    CREATE TABLE a (id int PRIMARY KEY, open text, closed text, kept_at timestamptz);
    GRANT SELECT ON a TO half_writer; GRANT UPDATE (open) ON a TO half_writer; GRANT DELETE ON a TO half_writer;
    INSERT INTO a VALUES (1, 'x', 'y');
    """
    url = make_database(sql).replace("//postgres@", "//half_writer@")
    service = await serve_at(url, tables=["a"], table={"a": {"modified": "kept_at"}})
    assert (await service.send("PATCH", "a/1", {"open": "z"}))[0] == 200
    assert await service.refused("PATCH", "a/1", {"closed": "z"}) == [("closed", "is read-only.")]
    assert (await service.send("POST", "a", {"id": 2}))[0] == 405
    assert (await service.send("DELETE", "a/1"))[0] == 204
    assert (
        "a: create left out, because the database role may not; grant INSERT to allow it; where it is meant "
        'so, write writes = ["update", "delete"] under [plugins.resources.table.a].'
    ) in service.said
    assert any(sentence.startswith("a: kept_at is not set when a row is written") for sentence in service.said)


async def test_row_that_another_one_excludes_is_409_and_names_the_field(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["bookings"])
    assert (await api.send("POST", "bookings", {"room": 1, "during": "[1,5)", "note": "x"}))[0] == 201
    assert "Location" not in api.headers, "a range stands in no URL"
    assert await api.refused("POST", "bookings", {"room": 1, "during": "[4,9)", "note": "x"}, status=409) == [
        ("during", "collides with another row.")
    ]


async def test_value_that_no_partition_takes_is_422(serve, awkward_sql):
    api = await serve(awkward_sql, tables=["events"])
    assert (await api.send("POST", "events", {"at": "2026-12-31", "id": 1}))[0] == 201
    status, answer = await api.send("POST", "events", {"at": "2027-01-01", "id": 1})
    assert (status, answer["error"]["code"]) == (422, "VALIDATION_ERROR")

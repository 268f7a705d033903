"""Bodies are read by the types of columns: what fits, what does not, and every fault of a body at once."""

from __future__ import annotations

import json

import pytest

from plugins.resources import Settings
from plugins.resources.parse.body import BodyReader, read_object
from plugins.resources.parse.composed import UnfitWithin
from plugins.resources.parse.documents import Malformed, Number, read_document
from plugins.resources.parse.values import reader_of
from plugins.resources.schema.catalogue import Attribute, Column, Type
from plugins.resources.schema.kinds import Unfit, kind_of
from plugins.resources.schema.selecting import select


def column(type_, modifier=-1, labels=None):
    schema = "pg_catalog" if labels is None else "public"
    if type_.endswith("[]"):
        element = Type(schema, type_.removesuffix("[]"), labels=labels)
        return Column("c", Type(schema, f"_{element.name}", is_array=True, element=element), modifier=modifier)
    return Column("c", Type(schema, type_, labels=labels), modifier=modifier)


def read(type_, spelled, modifier=-1, labels=None):
    """What is bound for a value that is spelled in JSON."""
    made = column(type_, modifier, labels)
    return reader_of(made, kind_of(made.type))(read_document(spelled))


def numeric(precision, scale):
    return (precision << 16 | (scale & 0x7FF)) + 4


TAKEN = [
    ("int2", "-32768", -1, "-32768"),
    ("int4", "7", -1, "7"),
    ("int8", "9223372036854775807", -1, "9223372036854775807"),
    ("int8", '"-9223372036854775808"', -1, "-9223372036854775808"),
    ("numeric", "12345678901234567890.123456789012345678900", -1, "12345678901234567890.123456789012345678900"),
    ("numeric", '"0.10"', -1, "0.10"),
    ("numeric", "1E5", -1, "1E5"),
    ("numeric", '"NaN"', -1, "NaN"),
    ("numeric", '"-Infinity"', -1, "-Infinity"),
    ("numeric", "999.99", numeric(5, 2), "999.99"),
    ("numeric", "-999.9900", numeric(5, 2), "-999.9900"),
    ("numeric", "0.00100", numeric(2, 3), "0.00100"),
    ("numeric", "1200", numeric(3, -2), "1200"),
    ("numeric", '"NaN"', numeric(5, 2), "NaN"),
    ("numeric", "9" * 38, numeric(38, 0), "9" * 38),
    ("numeric", "1" * 28 + ".1234567891", numeric(38, 10), "1" * 28 + ".1234567891"),
    ("float8", "1e308", -1, "1e308"),
    ("float8", '"Infinity"', -1, "Infinity"),
    ("float4", "0.1", -1, "0.1"),
    ("bool", "true", -1, "true"),
    ("bool", "false", -1, "false"),
    ("text", '" \\u00e9 "', -1, " é "),
    ("varchar", '"abc"', 7, "abc"),
    ("varchar", '"ÄÖÜ"', 7, "ÄÖÜ"),
    ("bpchar", '"ab"', 7, "ab"),
    ("uuid", '"6F9619FF8B86D011B42D00C04FC964FF"', -1, "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    ("date", '"2024-02-29"', -1, "2024-02-29"),
    ("date", '"infinity"', -1, "infinity"),
    ("date", '"0044-03-15 BC"', -1, "0044-03-15 BC"),
    ("time", '"24:00:00"', -1, "24:00:00"),
    ("timestamptz", '"2026-01-31T13:30:00.123456-02:30"', -1, "2026-01-31T16:00:00.123456+00"),
    ("timestamptz", '"-infinity"', -1, "-infinity"),
    ("timestamptz", '"294276-12-31T23:59:59.999999+00:00"', -1, "294276-12-31T23:59:59.999999+00:00"),
    ("timestamp", '"2026-01-31T13:30:00+01:00"', -1, "2026-01-31T12:30:00"),
    ("bytea", '"AP8Q"', -1, "\\x00ff10"),
    ("bytea", '""', -1, "\\x"),
    ("jsonb", '{"a": [1.10, null]}', -1, '{"a":[1.10,null]}'),
    ("json", '"text"', -1, '"text"'),
    ("int4[]", "[]", -1, "{}"),
    ("int4[]", "[1, null]", -1, "{1,NULL}"),
    ("int4[]", "[[1, 2], [3, 4]]", -1, "{{1,2},{3,4}}"),
    ("varchar[]", '["abc"]', 7, '{"abc"}'),
    ("jsonb[]", '[[1, 2], {"a": 1}]', -1, r'{"[1,2]","{\"a\":1}"}'),
    ("bytea[]", '["AP8Q", null]', -1, r'{"\\x00ff10",NULL}'),
    ("bytea[]", '[["AP8Q"], [null]]', -1, r'{{"\\x00ff10"},{NULL}}'),
    ("text[]", r'["NULL", "", "\"\\,"]', -1, r'{"NULL","","\"\\,"}'),
    ("interval", '"1 day"', -1, "1 day"),
    ("money", "1.50", -1, "1.50"),
    ("bit", '"101"', 3, "101"),
    ("varbit", '"1"', 3, "1"),
    ("char", '"x"', -1, "x"),
    ("char", '"\\\\303"', -1, "\\303"),
    ("inet", '"10.0.0.1"', -1, "10.0.0.1/32"),
]

REFUSED = [
    ("int4", "1.0", -1, "must be an integer"),
    ("int4", "1e2", -1, "must be an integer"),
    ("int4", '"1"', -1, "must be an integer"),
    ("int4", "true", -1, "must be an integer"),
    ("int4", "2147483648", -1, "must be from -2147483648 to 2147483647"),
    ("int8", "9223372036854775808", -1, "must be from -9223372036854775808 to 9223372036854775807"),
    ("int8", '"1.5"', -1, "must be an integer"),
    ("int8", "[1]", -1, "must be an integer"),
    ("numeric", '"1e"', -1, "must be a number"),
    ("numeric", "false", -1, "must be a number"),
    ("numeric", "1000", numeric(5, 2), "must be below 1000 and above -1000"),
    ("numeric", "1.001", numeric(5, 2), "must have at most 2 digits after the point"),
    ("numeric", "1.5", numeric(5, 0), "must be a multiple of 1"),
    ("numeric", "1" * 28 + ".12345678901", numeric(38, 10), "must have at most 10 digits after the point"),
    ("numeric", "1" + "0" * 38, numeric(38, 0), f"must be below 1{'0' * 38} and above -1{'0' * 38}"),
    ("numeric", "1250", numeric(3, -2), "must be a multiple of 100"),
    ("numeric", '"Infinity"', numeric(5, 2), "must be below 1000 and above -1000"),
    ("float8", '"1"', -1, "must be a number"),
    ("float8", "1e309", -1, "is out of range for a floating-point number of 8 bytes"),
    ("float4", "1e-60", -1, "is out of range for a floating-point number of 4 bytes"),
    ("bool", '"true"', -1, "must be true or false"),
    ("bool", "1", -1, "must be true or false"),
    ("text", "5", -1, "must be text"),
    ("text", "true", -1, "must be text"),
    ("text", '{"a": 1}', -1, "must be text"),
    ("varchar", '"abcd"', 7, "must have at most 3 characters"),
    ("varchar", '"abc "', 7, "must have at most 3 characters"),
    ("bpchar", '"abcd"', 7, "must have at most 3 characters"),
    ("name", '"' + "é" * 32 + '"', -1, "must have at most 63 bytes"),
    ("uuid", '"x"', -1, "must be a UUID"),
    ("uuid", "5", -1, "must be text"),
    ("date", '"2023-02-29"', -1, "must be a date like 2026-01-31"),
    ("date", '"today"', -1, "must be a date like 2026-01-31"),
    ("time", '"24:00:01"', -1, "must be a time like 13:30:00"),
    ("timestamptz", '"now"', -1, "must be a timestamp like 2026-01-31T13:30:00Z"),
    ("timestamptz", '"2026-01-31T13:30:00 02:00"', -1, "must be a timestamp like 2026-01-31T13:30:00Z"),
    ("timestamp", '"12026-01-31T13:30:00+02:00"', -1, "must be a timestamp like 2026-01-31T13:30:00Z"),
    ("timestamptz", "1700000000", -1, "must be text"),
    ("bytea", '"AP8"', -1, "must be Base64"),
    ("bytea", '"AP8_"', -1, "must be Base64"),
    ("bytea", '"AP 8Q"', -1, "must be Base64"),
    ("int4[]", '"{1}"', -1, "must be a list"),
    ("int4[]", '[1, "x"]', -1, "is wrong at [1], which must be an integer"),
    ("int4[]", "[[1, 2], [3]]", -1, "must have lists of 2 throughout, and has not at [1]"),
    ("int4[]", "[[1], 2]", -1, "must have lists of 1 throughout, and has not at [1]"),
    ("int4[]", "[1, [2]]", -1, "is wrong at [1], which must be an integer"),
    ("int4[]", "[[]]", -1, "must not have an empty list inside"),
    ("int4[]", "[[[[[[[1]]]]]]]", -1, "is wrong at [0][0][0][0][0][0], which must be an integer"),
    ("bytea[]", '[["AP8Q"], ["x"]]', -1, "is wrong at [1][0], which must be Base64"),
    (
        "int4[]",
        "[[[1, 2], [3, 4]], [[5, 6], [7, null, 8]]]",
        -1,
        "must have lists of 2 throughout, and has not at [1][1]",
    ),
    ("bit", '"10"', 3, "must have 3 bits"),
    ("bit", '"10x"', 3, "must be zeros and ones"),
    ("varbit", '"1010"', 3, "must have at most 3 bits"),
    ("char", '"xy"', -1, "must be one character of ASCII, or a backslash and three octal digits"),
    ("interval", '{"days": 1}', -1, "must be text"),
    ("inet", '"10.0.0"', -1, "must be an IP address"),
]


@pytest.mark.parametrize(("type_", "spelled", "modifier", "bound"), TAKEN)
def test_value_that_fits_is_bound_as_the_text_that_postgresql_reads(type_, spelled, modifier, bound):
    assert read(type_, spelled, modifier) == bound


@pytest.mark.parametrize(("type_", "spelled", "modifier", "message"), REFUSED)
def test_value_that_does_not_fit_is_refused_with_what_would(type_, spelled, modifier, message):
    with pytest.raises(Unfit) as refused:
        read(type_, spelled, modifier)
    assert str(refused.value) == message


def test_enum_takes_its_labels_and_lists_them():
    labels = ("sad", "so, so")
    assert read("mood", '"so, so"', labels=labels) == "so, so"
    assert read("mood[]", '["sad"]', labels=labels) == '{"sad"}'
    for spelled in ('"SAD"', '"glad"'):
        with pytest.raises(Unfit, match="must be one of sad and so, so"):
            read("mood", spelled, labels=labels)


def test_number_in_a_text_of_an_enum_is_no_label():
    with pytest.raises(Unfit, match="must be text"):
        read("size", "5", labels=("5",))


def of(name, type_, **facts):
    """An attribute of a type of pg_catalog."""
    return Attribute(name, column(type_).type, **facts)


AREA = Type("public", "area", attributes=(of("x", "numeric", modifier=numeric(4, 2)), of("tags", "text[]")))
ADDRESS = Type(
    "public",
    "address",
    attributes=(
        of("street", "varchar", modifier=14),
        of("zip", "int4"),
        Attribute("area", AREA),
        Attribute("areas", Type("public", "_area", is_array=True, element=AREA)),
        of("kept", "bool", is_nullable=False),
    ),
)
ADDRESSES = Type("public", "_address", is_array=True, element=ADDRESS)


def read_composite(type_, spelled):
    return reader_of(Column("c", type_), kind_of(type_))(read_document(spelled))


@pytest.mark.parametrize(
    ("type_", "spelled", "bound"),
    [
        (ADDRESS, '{"kept": true}', '(,,,,"true")'),
        (ADDRESS, '{"kept": true, "zip": null, "street": "a \\"b\\" (c),"}', r'("a \"b\" (c),",,,,"true")'),
        (AREA, '{"tags": ["a", null], "x": 1.5}', r'("1.5","{\"a\",NULL}")'),
        (AREA, "{}", "(,)"),
        (ADDRESS, '{"area": {}, "areas": [{}, null], "kept": false}', r'(,,"(,)","{\"(,)\",NULL}","false")'),
        (ADDRESSES, '[null, {"kept": true, "zip": 5}]', r'{NULL,"(,\"5\",,,\"true\")"}'),
        (Type("public", "nothing", attributes=()), "{}", "()"),
    ],
)
def test_object_is_bound_as_the_composite_value_that_postgresql_reads(type_, spelled, bound):
    assert read_composite(type_, spelled) == bound


@pytest.mark.parametrize(
    ("type_", "spelled", "faults"),
    [
        (
            ADDRESS,
            '{"ziip": 1, "zip": "1", "street": "eleven chars", "area": {"x": 100, "y": 1, "tags": [1]}, "kept": null}',
            [
                (".street", "must have at most 10 characters."),
                (".zip", "must be an integer."),
                (".area.x", "must be below 100 and above -100."),
                (".area.tags", "is wrong at [0], which must be text."),
                (".area.y", "is no attribute."),
                (".kept", "must not be null."),
                (".ziip", "is no attribute; did you mean zip?"),
            ],
        ),
        (ADDRESS, "{}", [(".kept", "is required.")]),
        (ADDRESS, '{"kept": true, "area": "(1,)"}', [(".area", "must be an object.")]),
        (ADDRESS, '{"kept": true, "areas": {}}', [(".areas", "must be a list.")]),
        (ADDRESS, '{"kept": true, "areas": [{}, 5]}', [(".areas", "is wrong at [1], which must be an object.")]),
        (ADDRESS, '{"kept": true, "areas": [{}, {"x": "a"}]}', [(".areas[1].x", "must be a number.")]),
        (ADDRESS, '{"kept": true, "": 1}', [(".", "is no attribute.")]),
        (
            ADDRESSES,
            '[[{"kept": true}], [{"ZIP": 1}]]',
            [("[1][0].kept", "is required."), ("[1][0].ZIP", "is no attribute; did you mean zip?")],
        ),
    ],
)
def test_each_fault_of_a_composite_value_is_told_with_its_place(type_, spelled, faults):
    with pytest.raises(UnfitWithin) as caught:
        read_composite(type_, spelled)
    assert caught.value.faults == faults


@pytest.mark.parametrize("spelled", ['"(1,x)"', "[]", "5", "true"])
def test_composite_value_is_an_object_and_nothing_else(spelled):
    with pytest.raises(Unfit, match="must be an object"):
        read_composite(ADDRESS, spelled)


def test_unknown_attributes_are_told_one_by_one_up_to_a_hundred():
    with pytest.raises(UnfitWithin) as caught:
        read_composite(AREA, json.dumps({f"n{number}": 1 for number in range(5_000)}))
    assert len(caught.value.faults) == 101
    assert caught.value.faults[-1] == ("", "has 4900 more names that are no attribute.")


def test_list_stops_at_the_first_element_that_does_not_fit():
    table = json.dumps([{f"n{number}": 1} for number in range(5_000)])
    with pytest.raises(UnfitWithin) as caught:
        read_composite(ADDRESSES, table)
    assert [place for place, _ in caught.value.faults] == ["[0].kept", "[0].n0"]


@pytest.fixture(scope="module")
def things(build):
    table = build.table(
        "things",
        build.column("id", "int4", is_nullable=False, identity="always"),
        build.column("kept_at", "timestamptz", is_nullable=False),
        build.column("name", is_nullable=False),
        build.column("size", "int4", is_nullable=False, default="3"),
        build.column("note"),
        build.column("doubled", "int4", is_generated=True),
        build.column("secret_token"),
        build.column("code", "bpchar", is_updatable=False),
    )
    settings = Settings.model_validate({"tables": ["things"], "table": {"things": {"modified": "kept_at"}}})
    selection = select(build.catalogue(table), settings, plugin="resources")
    assert not selection.mistakes
    return selection.resources[0]


def parse(resource, mode, body, key=("7",)):
    """Names with values, absent names, and faults."""
    faults = []
    row = BodyReader(resource, mode).read(read_object(json.dumps(body).encode()), key, faults)
    named = dict(zip([field.name for field in row.fields], row.values, strict=True))
    return named, [field.name for field in row.absent], [(fault.field, fault.message) for fault in faults]


def test_row_is_in_the_order_of_the_table_whatever_the_order_of_the_body(things):
    named, absent, faults = parse(things, "create", {"note": None, "size": 4, "name": "x"})
    assert (list(named.items()), absent, faults) == ([("name", "x"), ("size", "4"), ("note", None)], [], [])


def test_every_fault_of_a_body_is_told_at_once(things):
    body = {"id": 1, "keptAt": "2026-01-01", "size": None, "doubled": 2, "secretToken": "x", "noet": "y", "code": 5}
    assert parse(things, "create", body)[2] == [
        ("id", "is read-only."),
        ("keptAt", "is read-only."),
        ("size", "must not be null."),
        ("doubled", "is read-only."),
        ("code", "must be text."),
        ("secretToken", "is no field."),
        ("noet", "is no field; did you mean note?"),
        ("name", "is required."),
    ]


def test_change_takes_any_fields_and_requires_none(things):
    assert parse(things, "update", {}) == ({}, [], [])
    assert parse(things, "update", {"note": "n"}) == ({"note": "n"}, [], [])
    assert parse(things, "update", {"code": "x"})[2] == [("code", "is read-only.")]


def test_replacement_gives_absent_fields_their_default_and_requires_those_without(things):
    assert parse(things, "replace", {"name": "x"}) == ({"name": "x"}, ["size", "note"], [])
    assert parse(things, "replace", {"note": "x"})[2] == [("name", "is required.")]


def test_key_may_stand_in_a_body_if_it_is_that_of_the_path(things):
    assert parse(things, "update", {"id": 7, "note": "n"}) == ({"note": "n"}, [], [])
    for wrong in (8, "7", None, [7]):
        ((field, message),) = parse(things, "update", {"id": wrong})[2]
        assert field == "id", wrong
        assert "integer" in message or message == "is part of the key and must be what the path says.", wrong


def test_unknown_names_are_told_one_by_one_up_to_a_hundred(things):
    faults = parse(things, "update", {f"x{number}": 1 for number in range(5_000)})[2]
    assert len(faults) == 101
    assert faults[-1] == ("body", "has 4900 more names that are no field.")


@pytest.mark.parametrize("body", [b"", b"  \n", b"{", b"{'a': 1}", b'{"a": 1,}', b'{"a": NaN}', b'{"a": 1, "a": 2}'])
def test_body_that_is_no_json_is_malformed(body):
    with pytest.raises(Malformed):
        read_object(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"x"', b"[{}]"])
def test_body_that_is_no_object_is_unfit(body):
    with pytest.raises(Unfit, match="must be a JSON object"):
        read_object(body)


def test_numbers_reach_the_readers_as_they_were_spelled():
    assert read_object(b'{"a": 1.10}') == {"a": Number("1.10")}

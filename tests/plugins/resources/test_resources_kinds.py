"""Values are read from text by kind: what fits, what does not, and that PostgreSQL takes whatever fits."""

from __future__ import annotations

import re

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.resources.schema.catalogue import Type
from plugins.resources.schema.kinds import KINDS, Unfit, kind_of

FITS = [
    ("int2", "-32768", "-32768"),
    ("int4", "007", "7"),
    ("int8", "9223372036854775807", "9223372036854775807"),
    ("numeric", "-12345678901234567890.123456789", "-12345678901234567890.123456789"),
    ("numeric", "1e-399", "1e-399"),
    ("float4", "3.4e38", "3.4e38"),
    ("float8", "-0.0", "-0.0"),
    ("bool", "true", "true"),
    ("numeric", "NaN", "NaN"),
    ("numeric", "-Infinity", "-Infinity"),
    ("float4", "Infinity", "Infinity"),
    ("float8", "NaN", "NaN"),
    ("text", " any ", " any "),
    ("name", "é" * 31, "é" * 31),
    ("varchar", "", ""),
    ("uuid", "6F9619FF8B86D011B42D00C04FC964FF", "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    ("date", "2024-02-29", "2024-02-29"),
    ("time", "23:59", "23:59:00"),
    ("timestamptz", "2026-01-31T13:30:00Z", "2026-01-31T13:30:00+00"),
    ("timestamptz", "2026-01-31t13:30:00.123456-02:30", "2026-01-31T16:00:00.123456+00"),
    ("timestamptz", "2026-01-31 13:30", "2026-01-31T13:30:00+00"),
    ("timestamptz", "2026-01-31T13:30:00 02:00", "2026-01-31T11:30:00+00"),
    ("timestamptz", "2026-01-31", "2026-01-31T00:00:00+00"),
    ("time", "24:00:00", "24:00:00"),
    ("date", "infinity", "infinity"),
    ("timestamptz", "-infinity", "-infinity"),
    ("timestamp", "infinity", "infinity"),
    ("timestamp", "2026-01-31T13:30:00+01:00", "2026-01-31T12:30:00"),
    ("inet", "10.0.0.1/8", "10.0.0.1/8"),
    ("inet", "::1", "::1/128"),
    ("cidr", "10.0.0.0/8", "10.0.0.0/8"),
]

UNFIT = [
    ("int2", "32768"),
    ("int4", "2147483648"),
    ("int8", "9223372036854775808"),
    ("int4", "9" * 5000),
    ("int4", ""),
    ("int4", "1.0"),
    ("int4", "+5"),
    ("int4", " 5"),
    ("int4", "1_0"),
    ("int4", "٣"),
    ("int4", "0x10"),
    ("int4", "5\n"),
    ("numeric", "nan"),
    ("numeric", "+Infinity"),
    ("float8", "inf"),
    ("int4", "NaN"),
    ("numeric", "1."),
    ("numeric", ".5"),
    ("numeric", "1e1000"),
    ("numeric", "1" * 401),
    ("float4", "3.5e38"),
    ("float4", "1e-60"),
    ("float8", "1e309"),
    ("float8", "1e-400"),
    ("bool", "1"),
    ("bool", "TRUE"),
    ("uuid", "6f9619ff-8b86"),
    ("uuid", "6f9619ff8b86-d011-b42d-00c04fc964ff"),
    ("date", "2023-02-29"),
    ("date", "20230228"),
    ("date", "0000-01-01"),
    ("date", "today"),
    ("time", "24:00"),
    ("time", "1:00"),
    ("timestamptz", "2026-01-31T13:30:00+24:00"),
    ("timestamptz", "0001-01-01T00:00:00+01:00"),
    ("timestamptz", "9999-12-31T23:59:59-01:00"),
    ("timestamptz", "2026-01-31T13"),
    ("timestamptz", "Infinity"),
    ("date", "+infinity"),
    ("time", "24:00:01"),
    ("name", "é" * 32),
    ("timestamp", "now"),
    ("inet", "10.0.0"),
    ("inet", "fe80::1%eth0"),
    ("cidr", "10.0.0.1/8"),
    ("jsonb", "{}"),
    ("bytea", "x"),
]


@pytest.mark.parametrize(("type_name", "text", "canonical"), FITS)
def test_value_that_fits_becomes_its_canonical_text(type_name, text, canonical):
    assert KINDS[type_name].parse(text) == canonical


@pytest.mark.parametrize(("type_name", "text"), UNFIT)
def test_value_that_does_not_fit_is_refused(type_name, text):
    with pytest.raises(Unfit):
        KINDS[type_name].parse(text)


def test_enum_lists_its_labels_and_takes_no_other():
    kind = kind_of(Type("public", "mood", labels=("sad", "ok")))
    assert kind.parse("ok") == "ok"
    with pytest.raises(Unfit, match="must be one of sad and ok"):
        kind.parse("OK")


def test_unknown_types_are_shown_and_only_compared_with_null():
    for type_ in (Type("public", "int4"), Type("pg_catalog", "point"), Type("pg_catalog", "_int4", is_array=True)):
        kind = kind_of(type_)
        assert (kind.operators, kind.is_sortable, kind.is_comparable) == (("null",), False, False)


COMPARABLE = sorted(name for name, kind in KINDS.items() if kind.is_comparable)


def nearly(name: str) -> st.SearchStrategy[str]:
    """Texts at the edge of what a type takes."""
    digits = st.from_regex(re.compile(r"-?[0-9]{1,25}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?"), fullmatch=True)
    moment = st.from_regex(
        re.compile(
            r"[0-9]{4}-[01][0-9]-[0-3][0-9]"
            r"([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\.[0-9]{1,6})?)?(Z|[+\- ][0-2][0-9]:[0-5][0-9])?)?"
        ),
        fullmatch=True,
    )
    address = st.ip_addresses().map(str) | st.ip_addresses(network="10.0.0.0/8").map(lambda ip: f"{ip}/8")
    by_type = {"uuid": st.uuids().map(str), "inet": address, "cidr": address, "bool": st.sampled_from(["true", "f"])}
    if name in ("date", "timestamp", "timestamptz"):
        return moment
    if name == "time":
        return moment.map(lambda text: text[11:])
    return by_type.get(name, st.text(max_size=70).filter(lambda text: "\0" not in text) | digits)


@pytest.mark.parametrize("name", COMPARABLE)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_whatever_fits_is_taken_by_postgresql(name, connection, data):
    text = data.draw(nearly(name))
    try:
        canonical = KINDS[name].parse(text)
    except Unfit:
        return
    try:
        await connection.fetchval(f"SELECT $1::text::pg_catalog.{name} IS NOT NULL", canonical)
    except asyncpg.PostgresError as error:
        raise AssertionError(f"PostgreSQL refuses {canonical!r} as {name}: {error}") from error

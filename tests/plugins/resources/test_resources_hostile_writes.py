"""Hostile writes over a real socket: each has its exact status, code and fields, and no table is changed by any."""

from __future__ import annotations

import json

import pytest

JSON = "application/json"

ROW = "accounts/1"

TABLES = {"accounts": {"hidden": "internal", "modified": "updated_at"}}


UNINDEXABLE = "".join([chr(0x4E00 + number * 37 % 20_000) for number in range(5_000)])
"""A text that does not compress, and is too long for an index."""


def broken(message: str) -> tuple[int, str, tuple[str, ...], str]:
    """JSON that is none, or none that can be stored."""
    return 400, "VALIDATION_ERROR", ("body",), message


def no_json(column: int, what: str) -> tuple[int, str, tuple[str, ...], str]:
    """Where, in the first line, the grammar is left."""
    return broken(f"is not JSON at line 1, column {column}: {what}.")


NAME = "expecting property name enclosed in double quotes"

TOO_DEEP = broken("has more than 64 objects and lists inside each other.")


def wrong(*fields: str) -> tuple[int, str, tuple[str, ...], str]:
    return 422, "VALIDATION_ERROR", fields, ""


def key(*fields: str) -> tuple[int, str, tuple[str, ...], str]:
    """A key or a parameter that can be none."""
    return 400, "VALIDATION_ERROR", fields, ""


MISSING = (404, "NOT_FOUND", (), "")
UNREAD = (415, "UNSUPPORTED_MEDIA_TYPE", (), "")
TOO_LARGE = (413, "PAYLOAD_TOO_LARGE", (), "")
NOT_HERE = (405, "METHOD_NOT_ALLOWED", (), "")


def value(field: str, text: str, *fields: str) -> tuple[bytes, tuple[int, str, tuple[str, ...], str]]:
    """A body that gives a field a value, spelled in JSON, that it does not take; `fields` are blamed, else it."""
    return f'{{"{field}": {text}}}'.encode("utf-8", "surrogatepass"), wrong(*(fields or (field,)))


BODIES = {
    # sent with PATCH to a row that is there
    "malformed JSON": [
        (b"", broken("is empty.")),
        (b" \r\n\t", broken("is empty.")),
        (b"{", no_json(2, NAME)),
        (b"}", no_json(1, "expecting value")),
        (b"{]", no_json(2, NAME)),
        (b'{"nick"}', no_json(8, "expecting ':' delimiter")),
        (b'{"nick":}', no_json(9, "expecting value")),
        (b'{"nick": "a"', no_json(13, "expecting ',' delimiter")),
        (b'{"nick": "a",}', broken("")),
        (b'{"nick": "a" "b"}', no_json(14, "expecting ',' delimiter")),
        (b'{"nick": "a"}}', no_json(14, "extra data")),
        (b'{"nick": "a"}{"nick": "b"}', no_json(14, "extra data")),
        (b'{"nick": "a"}\x00', no_json(14, "extra data")),
        (b'{"nick": "a"} // comment', no_json(15, "extra data")),
        (b'/* c */ {"nick": "a"}', no_json(1, "expecting value")),
        (b'{nick: "a"}', no_json(2, NAME)),
        (b"{'nick': 'a'}", no_json(2, NAME)),
        (b'{"nick": \'a\'}', no_json(10, "expecting value")),
        (b'{1: "a"}', no_json(2, NAME)),
        (b'{"nick": undefined}', no_json(10, "expecting value")),
        (b'{"nick": None}', no_json(10, "expecting value")),
        (b'{"nick": NULL}', no_json(10, "expecting value")),
        (b'{"active": True}', no_json(12, "expecting value")),
        (b'{"tags": [1,]}', broken("")),
        (b'{"tags": [,1]}', no_json(11, "expecting value")),
        (b'{"tags": [1 2]}', no_json(13, "expecting ',' delimiter")),
        (b'{"tags": [1}', no_json(12, "expecting ',' delimiter")),
        (b'{"tags": (1)}', no_json(10, "expecting value")),
        (b'{"nick": "a\nb"}', no_json(12, "invalid control character")),
        (b'{"nick": "a\x01"}', no_json(12, "invalid control character")),
        (b'{"nick": "a\x00"}', no_json(12, "invalid control character")),
        (b'{"nick": "a', no_json(10, "unterminated string")),
        (b'{"nick": "\\x41"}', broken("")),
        (b'{"nick": "\\u12"}', broken("")),
        (b'{"nick": "\\u{41}"}', broken("")),
        (b'{"nick": "\\"}', no_json(10, "unterminated string")),
        (b'{"nick": "a"\xc2\xa0}', no_json(13, "expecting ',' delimiter")),
        (b'<?xml version="1.0"?><nick>a</nick>', no_json(1, "expecting value")),
        (b"nick=a&age=1", no_json(1, "expecting value")),
        (b'for(;;);{"nick": "a"}', no_json(1, "expecting value")),
        (b'\n\n  {"nick": x}', broken("is not JSON at line 3, column 12: expecting value.")),
        (b'{"meta": ' + b"[" * 66 + b"1" + b"]" * 66 + b"}", TOO_DEEP),
        (b'{"meta": ' + b'{"a": ' * 66 + b"1" + b"}" * 67, TOO_DEEP),
        (b"[" * 500_000, TOO_DEEP),
        (b'{"meta": {"a": ' * 50_000, TOO_DEEP),
        (b'{"nick": "a", "nick": "b"}', broken("has the name nick twice in one object.")),
        (b'{"nick": "a", "\\u006eick": "b"}', broken("has the name nick twice in one object.")),
        (b'{"meta": [{"a": {"b": 1, "b": 1}}]}', broken("has the name b twice in one object.")),
        (b'{"nick": "a", "__proto__": 1, "__proto__": 2}', broken("has the name __proto__ twice in one object.")),
        (
            b'{"meta": {' + b",".join([b'"%x":1' % number for number in range(100_000)]) + b',"0":1}}',
            broken("has the name 0 twice in one object."),
        ),
    ],
    "text that is no text": [
        (b'{"nick": "\\u0000"}', broken("has a NUL character in a text.")),
        (b'{"nick": "a\\u0000b"}', broken("has a NUL character in a text.")),
        (b'{"\\u0000": 1}', broken("has a NUL character in a text.")),
        (b'{"tags": ["\\u0000"]}', broken("has a NUL character in a text.")),
        (b'{"meta": [[{"a": "\\u0000"}]]}', broken("has a NUL character in a text.")),
        (b'{"meta": {"\\u0000": 1}}', broken("has a NUL character in a text.")),
        (b'{"place": {"street": "\\u0000"}}', broken("has a NUL character in a text.")),
        (b'{"role": "guest\\u0000"}', broken("has a NUL character in a text.")),
        (b'{"nick": "\\ud800"}', broken("has half of a surrogate pair in a text.")),
        (b'{"nick": "\\udc00"}', broken("has half of a surrogate pair in a text.")),
        (b'{"nick": "\\ude00\\ud83d"}', broken("has half of a surrogate pair in a text.")),
        (b'{"nick": "\\ud83d\\u0041"}', broken("has half of a surrogate pair in a text.")),
        (b'{"\\ud83d": 1}', broken("has half of a surrogate pair in a text.")),
        (b'{"meta": {"a": ["\\udfff"]}}', broken("has half of a surrogate pair in a text.")),
        (b'{"nick": "\xff"}', broken("is not UTF-8 at byte 11.")),
        (b'{"nick": "\xc3("}', broken("is not UTF-8 at byte 11.")),
        (b'{"nick": "\xc0\xaf"}', broken("is not UTF-8 at byte 11.")),
        (b'{"nick": "\xe0\x80\xaf"}', broken("is not UTF-8 at byte 11.")),
        (b'{"nick": "\xed\xa0\x80"}', broken("is not UTF-8 at byte 11.")),
        (b'{"nick": "\xf4\x90\x80\x80"}', broken("is not UTF-8 at byte 11.")),
        (b'{"nick": "\xc3', broken("is not UTF-8 at byte 11.")),
        (b'{"\xff": 1}', broken("is not UTF-8 at byte 3.")),
        ('{"nick": "a"}'.encode("utf-16"), broken("is not UTF-8 at byte 1.")),
        ('{"nick": "a"}'.encode("utf-16-le"), no_json(2, NAME)),
        ('{"nick": "é"}'.encode("latin-1"), broken("is not UTF-8 at byte 11.")),
        (b'\xef\xbb\xbf{"nick": "a"}', no_json(1, "unexpected byte order mark")),
    ],
    "numbers without end": [
        (b'{"exact": NaN}', broken("has NaN, which is no JSON number.")),
        (b'{"exact": Infinity}', broken("has Infinity, which is no JSON number.")),
        (b'{"exact": -Infinity}', broken("has -Infinity, which is no JSON number.")),
        (b'{"exact": nan}', no_json(11, "expecting value")),
        (b'{"meta": {"a": NaN}}', broken("has NaN, which is no JSON number.")),
        (b'{"exact": 1e1000}', broken("has a number of more than 400 digits: 1e1000.")),
        (b'{"exact": 1e-1000}', broken("has a number of more than 400 digits: 1e-1000.")),
        (b'{"exact": 1E+0009999}', broken("has a number of more than 400 digits: 1E+0009999.")),
        (b'{"exact": 1e999999999999}', broken("has a number of more than 400 digits: 1e999999999999.")),
        (b'{"meta": [1e100000]}', broken("has a number of more than 400 digits: 1e100000.")),
        (b'{"exact": ' + b"9" * 401 + b"}", broken(f"has a number of more than 400 digits: {'9' * 100}....")),
        (b'{"exact": 0.' + b"1" * 400 + b"}", broken(f"has a number of more than 400 digits: 0.{'1' * 98}....")),
        (b'{"total": ' + b"9" * 500_000 + b"}", broken(f"has a number of more than 400 digits: {'9' * 100}....")),
        (b'{"exact": 01}', no_json(12, "expecting ',' delimiter")),
        (b'{"exact": +1}', no_json(11, "expecting value")),
        (b'{"exact": .5}', no_json(11, "expecting value")),
        (b'{"exact": 5.}', no_json(12, "expecting ',' delimiter")),
        (b'{"exact": 0x10}', no_json(12, "expecting ',' delimiter")),
        (b'{"exact": 1_000}', no_json(12, "expecting ',' delimiter")),
        (b'{"exact": 1e}', no_json(12, "expecting ',' delimiter")),
        (b'{"exact": --1}', no_json(11, "expecting value")),
        ('{"exact": \uff11}'.encode(), no_json(11, "expecting value")),
        ('{"exact": 1\u0661}'.encode(), no_json(12, "expecting ',' delimiter")),
    ],
    "JSON that is no object": [
        (b"[]", wrong("body")),
        (b'[{"nick": "a"}]', wrong("body")),
        (b"null", wrong("body")),
        (b"true", wrong("body")),
        (b"5", wrong("body")),
        (b'"{\\"nick\\": 1}"', wrong("body")),
    ],
    "overflow": [
        value("age", "32768"),
        value("age", "-32769"),
        value("age", "1.0"),
        value("age", "1e2"),
        value("age", '"1"'),
        value("visits", "2147483648"),
        value("visits", "-2147483649"),
        value("visits", "9" * 400),
        value("total", "9223372036854775808"),
        value("total", '"-9223372036854775809"'),
        value("total", '"1e3"'),
        value("total", '" 1"'),
        value("total", '"\\uff11"'),
        value("credit", "100000000"),
        value("credit", "0.001"),
        value("credit", '"Infinity"'),
        value("credit", "1e8"),
        value("credit", "1e-3"),
        value("exact", '"1e9999"'),
        value("exact", '"0x10"'),
        value("exact", '"nan"'),
        value("ratio", "1e309"),
        value("ratio", "1e-330"),
        value("ratio", '"1"'),
        value("weight", "3.5e38"),
        value("weight", "1e-60"),
        value("bits", '"1010"'),
        value("bits", '"012"'),
        value("code", '"abcd"'),
        value("nick", '"abcdef"'),
        value("nick", '"     x"'),
        value("noteId", "2147483648"),
        value("scores", "[2147483648]"),
        value("scores", "[1, 1.5]"),
        value("matrix", "[[1, 2], [3]]"),
        value("matrix", "[[[[[[[1]]]]]]]"),
        value("matrix", "[[]]"),
        value("ranges", '"[5,1]"'),
        value("ranges", '"[1,99999999999)"'),
        value("span", '"999999999999999 years"'),
        value("born", '"10000-01-01T00:00:00Z and more"'),
        value("born", '"5874898-01-01"'),
        value("seenAt", '"294277-01-01"'),
        value("seenAt", '"9999-12-31T23:59:59-23:59"'),
    ],
    "values of another type": [
        value("email", "null"),
        value("email", "5"),
        value("email", "{}"),
        value("email", '["a@example.com"]'),
        value("email", "false"),
        value("role", '"root"'),
        value("role", '"Admin"'),
        value("role", '"admin "'),
        value("role", "1"),
        value("role", '["admin"]'),
        value("active", "1"),
        value("active", '"true"'),
        value("active", '"t"'),
        value("uid", '"not-a-uuid"'),
        value("uid", '"{6f9619ff-8b86-d011-b42d-00c04fc964ff}"'),
        value("born", '"2026-02-30"'),
        value("born", '"tomorrow"'),
        value("born", "20260101"),
        value("wakesAt", '"25:00"'),
        value("wakesAt", '"now"'),
        value("seenAt", '"yesterday"'),
        value("seenAt", '"2026-01-01T00:00:60Z"'),
        value("seenAt", "1767225600"),
        value("ip", '"10.0.0.256"'),
        value("ip", '"fe80::1%eth0"'),
        value("net", '"10.0.0.1/8"'),
        value("span", '"soon"'),
        value("data", '"\\\\x00"'),
        value("data", '"AA"'),
        value("data", '"AA== "'),
        value("photos", '[["AA=="], ["!"]]'),
        value("photos", '"AA=="'),
        value("tags", '"{a,b}"'),
        value("tags", '{"0": "a"}'),
        value("tags", "[1]"),
        value("tags", '["a", ["b"]]'),
        value("docs", "{}"),
        value("ranges", "[1, 5]"),
        value("place", '"(x,12345,)"'),
        value("place", "[]"),
        value("place", '{"zip": 12345}', "place.zip"),
        value("place", '{"zip": "1"}', "place"),
        value("place", '{"street": "eleven chars"}', "place.street"),
        value("place", '{"at": "nowhere"}', "place"),
        value("place", '{"zip": "12345", "country": "x"}', "place.country"),
        value("place", '{"Street": "x", "ZIP": "y"}', "place.Street", "place.ZIP"),
        value("places", '[{"street": "x"}, {"zip": 1}]', "places[1].zip"),
        value("places", '[[{"nope": 1}]]', "places[0][0].nope"),
        value("places", "[1]"),
        value("place", '{"street); DROP TABLE accounts; --": 1}', "place.street); DROP TABLE accounts; --"),
    ],
    "SQL in identifiers and values": [
        value("credit", '"0; DROP TABLE accounts"'),
        value("credit", '"(SELECT 1)"'),
        value("total", '"1 OR 1=1"'),
        value("total", '"1::int"'),
        value("visits", '"$1"'),
        value("role", "\"admin'::role--\""),
        value("role", "\"admin'); DELETE FROM accounts; --\""),
        value("seenAt", '"now()"'),
        value("seenAt", "\"'; SELECT pg_sleep(9); --\""),
        value("uid", '"gen_random_uuid()"'),
        value("span", "\"1 day'; DROP TABLE notes; --\""),
        value("ranges", '"[1,2)\'; DROP TABLE notes; --"'),
        value("bits", "\"B'101'\""),
        value("scores", '["1); DROP TABLE accounts; --"]'),
        value("credit", '{"$gt": 0}'),
        value("visits", '{"inc": 1}'),
        value("credit", '["DEFAULT"]'),
        value("credit = 0; --", "1"),
        value("credit' OR '1'='1", "1"),
        value("nick, role", '"x"'),
        value("nick) VALUES ('x'); DROP TABLE accounts; --", '"x"'),
        value("accounts.nick", '"x"'),
        value("t.nick", '"x"'),
        value("place.zip", '"12345"'),
        value("tags[0]", '"x"'),
        value("meta->a", '"x"'),
        value("nick::text", '"x"'),
        value("$1", '"x"'),
        value("*", '"x"'),
    ],
    "homoglyphs": [
        value("n\u0456ck", '"x"'),
        value("ni\u0441k", '"x"'),
        value("\uff4e\uff49\uff43\uff4b", '"x"'),
        value("nick\u200b", '"x"'),
        value("\ufeffnick", '"x"'),
        value("nick\u0301", '"x"'),
        value("nick ", '"x"'),
        value("NICK", '"x"'),
        value("role", '"adm\u0456n"'),
        value("role", '"guest\u200b"'),
        value("active", '"tru\u0435"'),
        value("uid", '"\uff16f9619ff-8b86-d011-b42d-00c04fc964ff"'),
        value("born", '"\u0662026-01-01"'),
        value("born", '"2026\u201301\u201301"'),
        value("total", '"\u0661"'),
        value("bits", '"\uff11\uff10\uff11"'),
        value("data", '"\u0410\u0410=="'),
        value("ip", '"\u0661\u0660.0.0.1"'),
        value("place", '{"z\u0456p": "12345"}', "place.z\u0456p"),
    ],
    "mass assignment": [
        value("passwordHash", '"x"'),
        value("password_hash", '"x"'),
        value("PasswordHash", '"x"'),
        value("password\\u0048ash", '"x"', "passwordHash"),
        value("apiToken", '"x"'),
        value("api_token", '"x"'),
        value("internal", "7"),
        value("doubled", "7"),
        value("updatedAt", '"2030-01-01"'),
        value("updatedAt", "null"),
        value("updated_at", '"2030-01-01"'),
        value("id", "2"),
        value("id", "null"),
        value("id", "[1]"),
        value("id", '"1; DROP TABLE accounts"'),
        value("ctid", '"(0,1)"'),
        value("xmin", "1"),
        value("tableoid", "1"),
        value("oid", "1"),
        value("__proto__", '{"role": "admin"}'),
        value("constructor", '{"prototype": {}}'),
        value("", "1"),
        value("note", "1"),
        value("notes", '[{"id": 9}]'),
        (
            b'{"role": "admin", "internal": 1, "apiToken": "x", "doubled": 1, "id": 9, "updatedAt": null}',
            wrong("doubled", "id", "updatedAt", "internal", "apiToken"),
        ),
        (
            json.dumps({f"field{number}": number for number in range(5_000)}).encode(),
            wrong(*[f"field{number}" for number in range(100)], "body"),
        ),
    ],
    "many and long": [
        (b'{"nick": "' + b"x" * 2**20 + b'"}', TOO_LARGE),
        (b" " * (2**20 + 1), TOO_LARGE),
        value("nick", f'"{"x" * 1_000_000}"'),
        value("n" * 1_000_000, "1", "n" * 100 + "..."),
        value("scores", f"[{','.join(['1'] * 5_000)}, null, 1.5]"),
        value("scores", json.dumps(["x"] * 100_000)),
        value("matrix", f"[{','.join(['[1]'] * 100_000)}, [1, 2]]"),
        value("tags", f"[{','.join(['1'] * 400_000)}]"),
        value("places", f"[{','.join(['{}'] * 100_000)}, 5]"),
        value(
            "place",
            json.dumps({f"a{number}": 1 for number in range(5_000)}),
            *[f"place.a{number}" for number in range(100)],
            "place",
        ),
        (json.dumps({"email": UNINDEXABLE}).encode(), wrong()),
    ],
}  # fmt: skip

CREATES = [
    # bodies of POST accounts
    (b"{}", wrong("email")),
    (b'{"email": null}', wrong("email")),
    (b'{"id": 9, "email": "x"}', wrong("id")),
    (b'{"id": null, "email": "x"}', wrong("id")),
    (b'{"email": "x", "passwordHash": "y"}', wrong("passwordHash")),
    (b'{"email": "x", "doubled": 1}', wrong("doubled")),
    (b'{"email": "x", "updatedAt": "2030-01-01"}', wrong("updatedAt")),
    (b'{"email": "x", "internal": 1}', wrong("internal")),
    (b'{"email": "x", "role": null}', wrong("role")),
    (b'{"email": "x", "credit": -1}', wrong("credit")),
    (b'{"email": "x", "noteId": 99}', wrong("noteId")),
    (b'{"email": "ada@example.com"}', (409, "CONFLICT", ("email",), "")),
    (b'{"role": "root", "age": 1.5, "nope": 1}', wrong("role", "age", "nope", "email")),
    (b'[{"email": "x"}, {"email": "y"}]', wrong("body")),
    (b'{"email": "x"} {"email": "y"}', no_json(16, "extra data")),
]

REPLACEMENTS = [
    # bodies of PUT accounts/1
    (b"{}", wrong("email")),
    (b'{"id": 2, "email": "x"}', wrong("id")),
    (b'{"id": "1 ", "email": "x"}', wrong("id")),
    (b'{"email": "x", "passwordHash": "y"}', wrong("passwordHash")),
    (b'{"email": "x", "doubled": 0}', wrong("doubled")),
    (b'{"email": "x", "updatedAt": "2026-01-01T00:00:00+00:00"}', wrong("updatedAt")),
    (b'{"email": "bob@example.com"}', (409, "CONFLICT", ("email",), "")),
    (b"[]", wrong("body")),
    (b"", broken("is empty.")),
]

ELSEWHERE = [
    # method, path, body, content type
    ("PATCH", "accounts/1%3BDROP%20TABLE%20accounts", b"{}", JSON, key("id")),
    ("PATCH", "accounts/1%20OR%201=1", b"{}", JSON, key("id")),
    ("PATCH", "accounts/%00", b"{}", JSON, key("id")),
    ("PATCH", "accounts/%FF", b"{}", JSON, key("id")),
    ("PATCH", "accounts/%D9%A1", b"{}", JSON, key("id")),
    ("PATCH", "accounts/1.0", b"{}", JSON, key("id")),
    ("PATCH", "accounts/9223372036854775808", b"{}", JSON, key("id")),
    ("PATCH", "accounts/9223372036854775807", b'{"nick": "x"}', JSON, MISSING),
    ("PATCH", "accounts/-1", b'{"nick": "x"}', JSON, MISSING),
    ("PATCH", "accounts/*", b'{"nick": "x"}', JSON, key("id")),
    ("PATCH", "accounts/1,2", b'{"nick": "x"}', JSON, key("id")),
    ("PATCH", "accounts/null", b'{"nick": "x"}', JSON, key("id")),
    ("PATCH", "pairs/1,x", b'{"b": "y"}', JSON, NOT_HERE),
    ("DELETE", "pairs/1", None, JSON, key("id")),
    ("DELETE", "pairs/1,x,y", None, JSON, key("id")),
    ("DELETE", "pairs/1,%27%20OR%20%27%27=%27", None, JSON, MISSING),
    ("DELETE", "pairs/1%20OR%201=1,x", None, JSON, key("id")),
    ("PUT", "accounts/1)%20OR%20(1=1", b"{}", JSON, key("id")),
    ("PUT", "accounts/3", b'{"email": "x"}', JSON, MISSING),
    ("DELETE", "accounts/1%20OR%201=1", None, JSON, key("id")),
    ("DELETE", "accounts/%25", None, JSON, key("id")),
    ("DELETE", "accounts/1;2", None, JSON, key("id")),
    ("DELETE", "accounts/0", None, JSON, MISSING),
    ("DELETE", "words/%25", None, JSON, MISSING),
    ("DELETE", "words/_", None, JSON, MISSING),
    ("DELETE", "words/'%20OR%20''='", None, JSON, MISSING),
    ("DELETE", "words/it''s", None, JSON, MISSING),
    ("DELETE", "words/a%EF%BC%BFb", None, JSON, MISSING),
    ("DELETE", "words/IT'S", None, JSON, MISSING),
    ("DELETE", "words/%00", None, JSON, key("id")),
    ("DELETE", "words/%FF", None, JSON, MISSING),
    ("DELETE", "notes/1", None, JSON, (409, "CONFLICT", (), "")),
    ("DELETE", "accounts/1?id=2", None, JSON, key("id")),
    ("DELETE", "accounts/1?force=true", None, JSON, key("force")),
    ("DELETE", "accounts/x?a=1&b=2", None, JSON, key("id", "a", "b")),
    ("PATCH", "accounts/1?role=admin", b"{}", JSON, key("role")),
    ("PATCH", "accounts/1?fields=passwordHash", b"{}", JSON, key("fields")),
    ("PUT", "accounts/1?%00=1", b"{}", JSON, key("%00")),
    ("POST", "accounts?role=admin", b'{"email": "x"}', JSON, key("role")),
    ("POST", "accounts?id=9", b'{"email": "x"}', JSON, key("id")),
    ("POST", "accounts?%FF=1", b'{"email": "x"}', JSON, key("%FF")),
    ("DELETE", "accounts", None, JSON, NOT_HERE),
    ("DELETE", "accounts?id=1", None, JSON, NOT_HERE),
    ("PATCH", "accounts", b'{"role": "admin"}', JSON, NOT_HERE),
    ("PUT", "accounts", b"[]", JSON, NOT_HERE),
    ("POST", "accounts/1", b'{"email": "x"}', JSON, NOT_HERE),
    ("DELETE", "accounts/", None, JSON, MISSING),
    ("DELETE", "marks/1", None, JSON, NOT_HERE),
    ("POST", "marks", b'{"id": 9}', JSON, NOT_HERE),
    ("PATCH", "tagged/1", b'{"tags": []}', JSON, NOT_HERE),
    ("DELETE", "notes/1/marks", None, JSON, NOT_HERE),
    ("POST", "notes/1/marks", b'{"id": 9}', JSON, NOT_HERE),
    ("POST", "pg_authid", b"{}", JSON, MISSING),
    ("POST", "pg_catalog.pg_authid", b"{}", JSON, MISSING),
    ("DELETE", "information_schema.tables/x", None, JSON, MISSING),
    ("POST", "accounts;drop", b"{}", JSON, MISSING),
    ("POST", "%D0%B0ccounts", b"{}", JSON, MISSING),
    ("PATCH", ROW, b'{"nick": "x"}', "", UNREAD),
    ("PATCH", ROW, b'{"nick": "x"}', "text/plain", UNREAD),
    ("PATCH", ROW, b'{"nick": "x"}', "text/json", UNREAD),
    ("PATCH", ROW, b'{"nick": "x"}', "application/json-patch+json", UNREAD),
    ("PATCH", ROW, b'{"nick": "x"}', "application/merge-patch+json", UNREAD),
    ("PATCH", ROW, b'{"nick": "x"}', "application/jsonp", UNREAD),
    ("PATCH", ROW, b'{"nick": "x"}', "application/json; charset=utf-16", UNREAD),
    ("PATCH", ROW, b'{"nick": "x"}', "application/json; charset=latin-1", UNREAD),
    ("PATCH", ROW, b'{"nick": "x"}', "application/json; charset=utf-7", UNREAD),
    ("PATCH", ROW, b"nick=x", "application/x-www-form-urlencoded", UNREAD),
    ("PATCH", ROW, b'--x\r\n\r\n{"nick": "x"}\r\n--x--', "multipart/form-data; boundary=x", UNREAD),
    ("PATCH", ROW, b"<nick>x</nick>", "application/xml", UNREAD),
    ("POST", "accounts", b'[{"op": "add", "path": "/nick", "value": "x"}]', "application/json-patch+json", UNREAD),
    ("PUT", ROW, b'{"email": "x"}', "*/*", UNREAD),
]

TAKEN = [
    # values that are only that: stored as they are, shown as they are
    "'; DROP TABLE words; --",
    '"); DELETE FROM words; --',
    "$1",
    "$$; DROP TABLE words; $$",
    "\\'; --",
    "E'\\x27'",
    "{a,b}",
    "(1,2)",
    '{"$gt": ""}',
    "NULL",
    "null",
    "DEFAULT",
    "now()",
    "%",
    "_",
    "\\",
    "\\\\",
    '"',
    "''",
    "<script>alert(1)</script>",
    "\r\nSet-Cookie: a=b",
    "\x01\x1f\x7f",
    "\u202etxet",
    "\u200b",
    "\ufeff",
    "\ufffe\uffff",
    "\U0010ffff",
    "a\u0301",
    "%00",
    "%2e%2e%2f",
    "$(reboot)",
    "{{7*7}}",
    "a,b",
    "a/b",
    "?x=1#y",
    " a ",
]


def all_cases():
    """Method, path, body, content type, expected."""
    for cases in BODIES.values():
        for body, expected in cases:
            yield "PATCH", ROW, body, JSON, expected
    for body, expected in CREATES:
        yield "POST", "accounts", body, JSON, expected
    for body, expected in REPLACEMENTS:
        yield "PUT", ROW, body, JSON, expected
    yield from ELSEWHERE


def test_hostile_writes_are_hundreds_and_all_different():
    cases = [case[:4] for case in all_cases()]
    assert len(set(cases)) == len(cases) > 300


@pytest.fixture
def serve_hostile(serve, hostile_sql):
    async def start():
        return await serve(hostile_sql, tables=["*"], writes=["notes", "words", "pairs", "accounts"], table=TABLES)

    return start


async def mistaken(api, cases):
    """Those that are answered otherwise."""
    found = []
    for method, path, body, content_type, (status, code, fields, message) in cases:
        given, answer = await api.send(method, path, raw=body, content_type=content_type)
        error = (answer or {}).get("error", {})
        details = error.get("details", [])
        told = tuple([detail["field"] for detail in details])
        if (given, error.get("code"), told) != (status, code, fields) or "hunter" in str(answer):
            found.append((method, path, (body or b"")[:60], given, error.get("code"), told[:9], details[:2]))
        elif message and details[0]["message"] != message:
            found.append(((body or b"")[:60], details[0]["message"], message))
    return found


@pytest.mark.parametrize("kind", BODIES)
async def test_hostile_bodies_have_their_exact_answers_and_store_nothing(serve_hostile, contents, kind):
    api = await serve_hostile()
    before = await contents(api.url)
    assert await mistaken(api, [("PATCH", ROW, body, JSON, expected) for body, expected in BODIES[kind]]) == []
    assert await contents(api.url) == before


async def test_hostile_writes_to_other_places_have_their_exact_answers_and_store_nothing(serve_hostile, contents):
    api = await serve_hostile()
    before = await contents(api.url)
    others = [("POST", "accounts", body, JSON, expected) for body, expected in CREATES]
    others += [("PUT", ROW, body, JSON, expected) for body, expected in REPLACEMENTS]
    assert await mistaken(api, [*others, *ELSEWHERE]) == []
    assert await contents(api.url) == before


async def test_hostile_text_is_stored_and_shown_as_it_is_and_nothing_else_happens(serve_hostile, contents):
    api = await serve_hostile()
    before = await contents(api.url)
    for text in TAKEN:
        row = {"email": text, "tags": [text], "meta": {text: text}, "place": {"street": text[:10]}}
        status, made = await api.send("POST", "accounts", row)
        assert status == 201, (text, made)
        assert {name: made[name] for name in ("email", "tags", "meta")} == {
            name: row[name] for name in ("email", "tags", "meta")
        }
        assert made["place"]["street"] == text[:10]
        assert (await api.send("DELETE", f"accounts/{made['id']}"))[0] == 204
        assert (await api.send("POST", "words", {"word": text})) == (201, {"word": text})
        place = api.headers["Location"].removeprefix("/api/v1/")
        assert await api.get(place) == (200, {"word": text})
        assert (await api.send("DELETE", place))[0] == 204
    assert await contents(api.url) == before

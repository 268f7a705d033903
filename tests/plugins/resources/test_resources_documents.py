"""JSON of a client's is read strictly, and written again as it was."""

from __future__ import annotations

import json
import time

import pytest

from plugins.resources.parse.documents import (
    MAX_DEPTH,
    Malformed,
    Number,
    read_document,
    write_document,
)
from plugins.resources.schema.kinds import MAX_DIGITS


def test_numbers_keep_their_digits_and_are_no_texts() -> None:
    document = read_document('{"a": 12345678901234567890.10, "b": "1", "c": -0, "d": 1E5}')
    assert document == {"a": "12345678901234567890.10", "b": "1", "c": "-0", "d": "1E5"}
    assert isinstance(document, dict)
    assert [isinstance(each, Number) for each in document.values()] == [True, False, True, True]


@pytest.mark.parametrize(
    "text",
    ['{"a":[1.10,"é\\n\\"",true,false,null,{}],"ü":[]}', "[]", '"x"', "10.50", "null", '"\U0001f600"'],
)
def test_what_is_read_is_written_again(text: str) -> None:
    assert write_document(read_document(text)) == text


def test_depth_up_to_the_limit_is_read() -> None:
    assert read_document("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))  # the innermost has nothing in it
    assert json.loads(write_document(read_document("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is not JSON at line 1, column 1: expecting value"),
        (b"{", "is not JSON at line 1, column 2: expecting property name enclosed in double quotes"),
        (b'{"a": 1,\n "b" 2}', "is not JSON at line 2, column 6: expecting ':' delimiter"),
        (b'{"a": 1} x', "is not JSON at line 1, column 10: extra data"),
        (b"'a'", "is not JSON at line 1, column 1: expecting value"),
        (b"01", "is not JSON at line 1, column 2: extra data"),
        (b'"a\tb"', "is not JSON at line 1, column 3: invalid control character"),
        (b'"\xff"', "is not UTF-8 at byte 2"),
        (b"\xef\xbb\xbf{}", "is not JSON at line 1, column 1: unexpected byte order mark"),
        (b"NaN", "has NaN, which is no JSON number"),
        (b"[-Infinity]", "has -Infinity, which is no JSON number"),
        (b'{"a": 1, "a": 2}', "has the name a twice in one object"),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', "has the name a twice in one object"),
        (b'"\\u0000"', "has a NUL character in a text"),
        (b'{"\\u0000": 1}', "has a NUL character in a text"),
        (b'["\\ud800"]', "has half of a surrogate pair in a text"),
        (b"1e1000", "has a number of more than 400 digits: 1e1000"),
        (b"1e400", "has a number of more than 400 digits: 1e400"),
        (b"1e-400", "has a number of more than 400 digits: 1e-400"),
        (b"1e99999999999999999999", "has a number of more than 400 digits: 1e99999999999999999999"),
        (b"[" + b"1e399," * 1_000 + b"0]", "has numbers whose exponents stand for more than 100,000 digits"),
        (b"-1.5E-0001000", "has a number of more than 400 digits: -1.5E-0001000"),
        (b"1" * (MAX_DIGITS + 1), f"has a number of more than 400 digits: {'1' * 100}..."),
        (b"[" * 66 + b"1" + b"]" * 66, "has more than 64 objects and lists inside each other"),
        (b"[" * 100_000, "has more than 64 objects and lists inside each other"),
        (b'{"a":' * 100_000, "has more than 64 objects and lists inside each other"),
    ],
)
def test_what_is_ambiguous_or_cannot_be_stored_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_document(text)
    assert str(caught.value) == said


def test_one_name_twice_among_100000_is_found_without_comparing_each_with_each() -> None:
    text = "{" + "".join([f'"{number}": 1,' for number in range(100_000)]) + '"99999": 1}'
    began_s = time.process_time()
    with pytest.raises(Malformed, match="has the name 99999 twice in one object"):
        read_document(text)
    assert time.process_time() - began_s < 10  # 0.1 s; each with each takes 100


@pytest.mark.parametrize(
    "text",
    ["1", "-0", "999", "1000", "9" * MAX_DIGITS, "1.5", "1e3", "0.0", "1E-399", "1e399", "-12.5e-397", "12.5e398"],
)
def test_number_is_read_as_it_is_spelled_whatever_its_length(text: str) -> None:
    for document in (read_document(text), read_document(f'{{"a": [{text}]}}')):
        found = document["a"] if isinstance(document, dict) else [document]
        assert found == [text]
        assert type(found[0]) is Number


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r'{"a": ["\\u0000 is an escape of a backslash", "\u0000"]}', "has a NUL character in a text"),
        (r'{"a": [[["\udc00"]]]}', "has half of a surrogate pair in a text"),
        ('{"a": [' + "[]," * 100 + '{"b": ' + "[" * 65 + "]" * 65 + "}]}", "has more than 64 objects and lists"),
        ('{"a": {"b": 1e1000}}', "has a number of more than 400 digits"),
        ('{"a": {"b": ' + "1" * 401 + "}}", "has a number of more than 400 digits"),
        ('{"a": {"b": 1.' + "1" * 400 + "}}", "has a number of more than 400 digits"),
    ],
)
def test_what_cannot_be_stored_is_found_wherever_it_stands(text: str, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        read_document(text)


def test_text_that_only_looks_like_an_escape_of_nul_is_kept() -> None:
    assert read_document(r'["\\u0000", "\u0041", "' + "[" * 100 + '"]') == ["\\u0000", "A", "[" * 100]

"""JSON of a client's is read strictly, and written again as it was."""

from __future__ import annotations

import json

import pytest

from plugins.resources.parse.documents import (
    MAX_DEPTH,
    MAX_NUMBER_CHARS,
    Malformed,
    Number,
    read_document,
    write_document,
)


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
        (b'"a\tb"', "is not JSON at line 1, column 3: invalid control character at"),
        (b'"\xff"', "is not UTF-8 at byte 2"),
        (b"\xef\xbb\xbf{}", "is not JSON at line 1, column 1: unexpected byte order mark"),
        (b"NaN", "has NaN, which is no JSON number"),
        (b"[-Infinity]", "has -Infinity, which is no JSON number"),
        (b'{"a": 1, "a": 2}', "has the name a twice in one object"),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', "has the name a twice in one object"),
        (b'"\\u0000"', "has a NUL character in a text"),
        (b'{"\\u0000": 1}', "has a NUL character in a text"),
        (b'["\\ud800"]', "has half of a surrogate pair in a text"),
        (b"1e1000", "has a number that is too long: 1e1000"),
        (b"-1.5E-0001000", "has a number that is too long: -1.5E-0001000"),
        (b"1" * (MAX_NUMBER_CHARS + 1), f"has a number that is too long: {'1' * 100}..."),
        (b"[" * 66 + b"1" + b"]" * 66, "has more than 64 objects and lists inside each other"),
        (b"[" * 100_000, "has more than 64 objects and lists inside each other"),
        (b'{"a":' * 100_000, "has more than 64 objects and lists inside each other"),
    ],
)
def test_what_is_ambiguous_or_cannot_be_stored_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_document(text)
    assert str(caught.value) == said


def test_name_that_is_there_twice_among_very_many_is_found_in_one_pass() -> None:
    """Looked for name by name, this took minutes, in which nobody else was served."""
    names = [f"n{number}" for number in range(60_000)]
    body = json.dumps(dict.fromkeys(names, 1))[:-1] + ', "n59999": 2}'
    with pytest.raises(Malformed, match="has the name n59999 twice in one object"):
        read_document(body.encode())

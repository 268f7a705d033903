"""JSON from a client, read strictly: what one reader could take for something else than another is refused.

Numbers keep their digits (`Number`), names of one object are all different, and whatever PostgreSQL cannot hold (NUL,
lone surrogates, numbers without end) is told here and not there. Source: RFC 8259; RFC 7493 (I-JSON) on names,
surrogates and numbers.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring as quote
from typing import Final, NoReturn

from plugins.resources.parse.faults import cut
from plugins.resources.schema.kinds import MAX_DIGITS, digits_of

MAX_DEPTH: Final = 64
"""Objects and lists inside each other (chosen)."""

SMALL_INTEGERS: Final = 1_000
"""Those below are made once: a body of 1 MiB may have 500,000 of them (measured: 40 ms instead of 150 to read)."""

MAX_ADDED_DIGITS: Final = 100_000
"""By which the numbers of one document may grow where their exponents are written out (chosen): `1e399` has 5
characters, and 400 in the answer."""


class Malformed(ValueError):
    """It cannot be read; the message goes on after what it is: `is not JSON ...`."""


class Number(str):
    """A number as it was spelled."""

    __slots__ = ()


Document = str | bool | None | list["Document"] | dict[str, "Document"]
"""What JSON can say; a number is a `Number`."""


def read_document(text: str | bytes) -> Document:
    """The value that is spelled there. Raises Malformed, with the position where the grammar was left."""
    try:
        if isinstance(text, bytes):
            text = text.decode()
        if text.startswith("\ufeff"):
            raise Malformed("is not JSON at line 1, column 1: unexpected byte order mark")
        document: Document = _decoder().decode(text)
        if "\\u" in text or text.count("[") + text.count("{") > MAX_DEPTH:  # else there is nothing to be found
            _check(document, MAX_DEPTH)
    except UnicodeDecodeError as error:
        raise Malformed(f"is not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        what = error.msg[0].lower() + error.msg[1:].removesuffix(" at").removesuffix(" starting")
        raise Malformed(f"is not JSON at line {error.lineno}, column {error.colno}: {what}") from None
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    return document


def write_document(document: Document) -> str:
    """The same value as JSON, numbers with all of their digits."""
    if isinstance(document, Number):
        return str(document)
    if isinstance(document, str):
        return quote(document)
    if isinstance(document, list):
        return f"[{','.join([each if type(each) is Number else write_document(each) for each in document])}]"
    if isinstance(document, dict):
        return f"{{{','.join([f'{quote(name)}:{write_document(each)}' for name, each in document.items()])}}}"
    return _WORDS[document]


_TOO_DEEP: Final = f"has more than {MAX_DEPTH} objects and lists inside each other"
_WORDS: Final = {True: "true", False: "false", None: "null"}


class _Integers(dict[str, Number]):
    """What integers are read as, by how they are spelled; the small ones are there already."""

    def __missing__(self, text: str) -> Number:
        if len(text) > MAX_DIGITS:
            raise _too_long(text)
        return Number(text)


class _Fractions:
    """What numbers with a point or an exponent are read as, in one document."""

    __slots__ = ("_added",)

    def __init__(self) -> None:
        self._added = 0

    def __call__(self, text: str) -> Number:
        digits = digits_of(text)
        if digits > MAX_DIGITS:
            raise _too_long(text)
        self._added += max(digits - len(text), 0)
        if self._added > MAX_ADDED_DIGITS:
            raise Malformed(f"has numbers whose exponents stand for more than {MAX_ADDED_DIGITS:,} digits")
        return Number(text)


def _too_long(text: str) -> Malformed:
    return Malformed(f"has a number of more than {MAX_DIGITS} digits: {cut(text)}")


def _refuse(word: str) -> NoReturn:
    raise Malformed(f"has {word}, which is no JSON number")


def _object(pairs: list[tuple[str, Document]]) -> dict[str, Document]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Malformed(f"has the name {cut(name)} twice in one object")
            seen.add(name)
    return made


_INTEGERS: Final = _Integers({str(value): Number(value) for value in range(SMALL_INTEGERS)})


def _decoder() -> json.JSONDecoder:
    """For one document."""
    return json.JSONDecoder(
        parse_int=_INTEGERS.__getitem__,
        parse_float=_Fractions(),
        parse_constant=_refuse,
        object_pairs_hook=_object,
    )


def _check(document: Document, depth: int) -> None:
    """Raises Malformed for what is JSON and cannot be stored: what only an escape can spell, and what is too deep."""
    if isinstance(document, str):
        _check_text(document)
    elif document and isinstance(document, list | dict):
        if not depth:
            raise Malformed(_TOO_DEEP)
        if isinstance(document, dict):
            for name in document:
                _check_text(name)
        for each in document if isinstance(document, list) else document.values():
            if each and type(each) is not Number:  # a body may have 500,000 of them
                _check(each, depth - 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Malformed("has a NUL character in a text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Malformed("has half of a surrogate pair in a text") from None

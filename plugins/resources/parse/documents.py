"""JSON from a client, read strictly: what one reader could take for something else than another is refused.

Numbers keep their digits (`Number`), names of one object are all different, and whatever PostgreSQL cannot hold (NUL,
lone surrogates, numbers without end) is told here and not there. Source: RFC 8259; RFC 7493 (I-JSON) on names,
surrogates and numbers.
"""

from __future__ import annotations

import json
import re
from json.encoder import encode_basestring as quote
from typing import Final, NoReturn

from plugins.resources.parse.faults import cut

MAX_DEPTH: Final = 64
"""Objects and lists inside each other (chosen)."""

MAX_NUMBER_CHARS: Final = 400
"""Characters of a number (chosen; PostgreSQL takes 131,072 digits before the point)."""

SHORT_NUMBER_CHARS: Final = 5
"""No number that is too long has so few."""

_HUGE: Final = re.compile(r"[eE][+-]?0*[1-9][0-9]{3,}")
"""An exponent of four digits and more: more zeros than anybody means."""


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
        document: Document = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise Malformed(f"is not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        what = error.msg[0].lower() + error.msg[1:]
        raise Malformed(f"is not JSON at line {error.lineno}, column {error.colno}: {what}") from None
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    _check(document, MAX_DEPTH)
    return document


def write_document(document: Document) -> str:
    """The same value as JSON, numbers with all of their digits."""
    if isinstance(document, Number):
        return str(document)
    if isinstance(document, str):
        return quote(document)
    if isinstance(document, list):
        return f"[{','.join([write_document(each) for each in document])}]"
    if isinstance(document, dict):
        return f"{{{','.join([f'{quote(name)}:{write_document(each)}' for name, each in document.items()])}}}"
    return _WORDS[document]


_TOO_DEEP: Final = f"has more than {MAX_DEPTH} objects and lists inside each other"
_WORDS: Final = {True: "true", False: "false", None: "null"}


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


_DECODER: Final = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=_refuse, object_pairs_hook=_object
)


def _check(document: Document, depth: int) -> None:
    """Raises Malformed for what is JSON and cannot be stored."""
    if isinstance(document, Number):
        if len(document) > MAX_NUMBER_CHARS or _HUGE.search(document):
            raise Malformed(f"has a number that is too long: {cut(document)}")
    elif isinstance(document, str):
        _check_text(document)
    elif document and isinstance(document, list | dict):
        if not depth:
            raise Malformed(_TOO_DEEP)
        if isinstance(document, dict):
            for name in document:
                _check_text(name)
        for each in document if isinstance(document, list) else document.values():
            if type(each) is not Number or len(each) > SHORT_NUMBER_CHARS:  # a body may have 500,000 of them
                _check(each, depth - 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Malformed("has a NUL character in a text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Malformed("has half of a surrogate pair in a text") from None

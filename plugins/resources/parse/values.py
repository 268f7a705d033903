"""Values of a JSON body: what a client may send for a column, and the text that PostgreSQL reads as the same value.

    integer            a number without fraction or exponent; text too where it has 64 bits
    number             a number; text too for numeric, and "NaN", "Infinity", "-Infinity"
    text, enum, uuid, date, time, timestamp, address     text; how long, which label, of which form
    boolean            true or false
    json               anything
    array              a list of such values or nulls, or lists of lists, all of one length
    binary             Base64
    other              text that PostgreSQL reads

What these take and PostgreSQL refuses is told by PostgreSQL: moments far away, `other`. Whatever is shown is taken.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Final, TypeAlias

from plugins.resources.parse.documents import MAX_NUMBER_CHARS, Document, Number, write_document
from plugins.resources.schema.catalogue import Column, Type
from plugins.resources.schema.kinds import Kind, Unfit

Value: TypeAlias = "str | list[Value] | None"
"""What is bound: text, or lists of it for an array; None is NULL."""

Reader = Callable[[Document], Value]
"""Raises Unfit. None is not asked."""

MAX_DIMENSIONS: Final = 6
"""Lists inside each other (PostgreSQL, MAXDIM)."""
MAX_NAME_BYTES: Final = 63
"""Of the type `name`, which PostgreSQL cuts (NAMEDATALEN - 1)."""

HEADER_BYTES: Final = 4
"""What a modifier of text or numeric is above its meaning (VARHDRSZ)."""

WORDS: Final = frozenset({"NaN", "Infinity", "-Infinity"})

_CLOCK: Final = r"(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00))?"
_DISTANT: Final = re.compile(
    rf"-?infinity|[0-9]{{5,7}}-[0-9]{{2}}-[0-9]{{2}}{_CLOCK}|[0-9]{{4,7}}-[0-9]{{2}}-[0-9]{{2}}{_CLOCK} BC"
)
"""Moments as PostgreSQL shows them that no calendar of Python's has."""

_CHAR: Final = re.compile(r"[\x01-\x7f]?|\\[0-7]{3}", re.DOTALL)
"""A value of the type "char" as PostgreSQL shows it."""


def reader_of(column: Column, kind: Kind) -> Reader:
    """What reads a value for a column."""
    return _reader(column.type, kind, column.modifier)


def _reader(type_: Type, kind: Kind, modifier: int) -> Reader:
    name = type_.name
    match kind.name:
        case "array":
            assert kind.element is not None  # noqa: S101  # an array's kind has one
            element = type_.element or Type("pg_catalog", "unknown")
            is_deep = kind.element.name not in ("json", "binary")  # a list is a value there; and see `shown`
            return _array(_reader(element, kind.element, modifier), MAX_DIMENSIONS if is_deep else 1)
        case "integer":
            return _integer(kind, takes_text=name == "int8")
        case "number":
            return _number(kind, modifier if name == "numeric" else None)
        case "boolean":
            return _boolean
        case "json":
            return write_document
        case "binary":
            return _binary
        case "date" | "time" | "timestamp":
            return _moment(kind)
        case "text":
            return _text(name, modifier)
        case "other":
            return _other(name, modifier)
        case _:
            return lambda document: kind.parse(_as_text(document))


def _as_text(document: Document) -> str:
    if not isinstance(document, str) or isinstance(document, Number):
        raise Unfit("must be text")
    return document


def _text(name: str, modifier: int) -> Reader:
    most = modifier - HEADER_BYTES if name in ("varchar", "bpchar") and modifier >= HEADER_BYTES else None

    def text(document: Document) -> str:
        given = _as_text(document)
        if most is not None and len(given) > most:
            raise Unfit(f"must have at most {most} characters")
        if name == "name" and len(given.encode()) > MAX_NAME_BYTES:
            raise Unfit(f"must have at most {MAX_NAME_BYTES} bytes")
        return given

    return text


def _integer(kind: Kind, *, takes_text: bool) -> Reader:
    def integer(document: Document) -> str:
        if isinstance(document, Number) or (takes_text and isinstance(document, str)):
            return kind.parse(document)
        raise Unfit("must be an integer")

    return integer


def _number(kind: Kind, modifier: int | None) -> Reader:
    """`modifier` is None for floating-point numbers."""
    is_exact = modifier is not None
    check = _limits(modifier) if modifier is not None and modifier >= HEADER_BYTES else None

    def number(document: Document) -> str:
        if not isinstance(document, str):
            raise Unfit("must be a number")
        if not isinstance(document, Number):
            if document in WORDS and (check is None or document == "NaN"):
                return document
            if not is_exact:
                raise Unfit("must be a number")
        text = kind.parse(document)
        if check is not None:
            check(text)
        return text

    return number


_EXACT: Final = Context(prec=MAX_NUMBER_CHARS)
"""As many digits as a number may have: the usual context rounds to 28."""


def _limits(modifier: int) -> Callable[[str], None]:
    """The check of a numeric(precision, scale): PostgreSQL would round silently what has more digits."""
    precision = (modifier - HEADER_BYTES) >> 16
    scale = ((modifier - HEADER_BYTES & 0x7FF) ^ 1024) - 1024
    bound = Decimal(1).scaleb(precision - scale)

    def check(text: str) -> None:
        value = Decimal(text)
        if value.copy_abs() >= bound:
            raise Unfit(f"must be below {bound:f} and above -{bound:f}")
        exponent = _EXACT.normalize(value).as_tuple().exponent
        if isinstance(exponent, int) and value and -exponent > scale:
            raise Unfit(
                f"must have at most {scale} digits after the point"
                if scale > 0
                else f"must be a multiple of {Decimal(1).scaleb(-scale):f}"
            )

    return check


def _boolean(document: Document) -> str:
    if isinstance(document, bool):
        return "true" if document else "false"
    raise Unfit("must be true or false")


def _binary(document: Document) -> str:
    text = _as_text(document)
    try:
        return f"\\x{b64decode(text, validate=True).hex()}"
    except (NotBase64, ValueError):
        raise Unfit("must be Base64") from None


def _moment(kind: Kind) -> Reader:
    is_time = kind.name == "time"

    def moment(document: Document) -> str:
        text = _as_text(document)
        if (text == "24:00:00") if is_time else _DISTANT.fullmatch(text):
            return text
        if " " in text[11:]:  # in a URL that is a plus
            return kind.parse("")
        return kind.parse(text)

    return moment


def _other(name: str, modifier: int) -> Reader:
    def other(document: Document) -> str:
        if isinstance(document, bool):
            return "true" if document else "false"
        if not isinstance(document, str):
            raise Unfit("must be text")
        if name == "char" and not _CHAR.fullmatch(document):
            raise Unfit("must be one character of ASCII, or a backslash and three octal digits")
        if name in ("bit", "varbit"):
            _check_bits(document, modifier, is_varying=name == "varbit")
        return document

    return other


def _check_bits(text: str, modifier: int, *, is_varying: bool) -> None:
    if text.strip("01"):
        raise Unfit("must be zeros and ones")
    if modifier >= 0 and (len(text) > modifier or (len(text) < modifier and not is_varying)):
        raise Unfit(f"must have {'at most ' if is_varying else ''}{modifier} bits")


def _array(read: Reader, most: int) -> Reader:
    def array(document: Document) -> Value:
        if not isinstance(document, list):
            raise Unfit("must be a list")
        lengths = _lengths(document, most) if document else ()
        return _level(document, lengths, "")

    def _level(documents: list[Document], lengths: tuple[int, ...], place: str) -> list[Value]:
        values: list[Value] = []
        for at, document in enumerate(documents):
            where = f"{place}[{at}]"
            if len(lengths) > 1:
                if not isinstance(document, list) or len(document) != lengths[1]:
                    raise Unfit(f"must have lists of {lengths[1]} throughout, and has not at {where}")
                values.append(_level(document, lengths[1:], where))
            elif document is None:
                values.append(None)
            else:
                try:
                    values.append(read(document))
                except Unfit as unfit:
                    raise Unfit(f"is wrong at {where}, which {unfit}") from None
        return values

    return array


def _lengths(document: list[Document], most: int) -> tuple[int, ...]:
    """How many values there are in each dimension, going by the first of them."""
    lengths: list[int] = []
    level: Document = document
    while isinstance(level, list) and len(lengths) < most:
        if not level:
            raise Unfit("must not have an empty list inside")
        lengths.append(len(level))
        level = level[0]
    return tuple(lengths)

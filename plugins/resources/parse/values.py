"""Values of a JSON body: what a client may send for a column, and the text that PostgreSQL reads as the same value.

    integer            a number without fraction or exponent; text too where it has 64 bits
    number             a number; text too for numeric, and "NaN", "Infinity", "-Infinity"
    text, enum, uuid, date, time, timestamp, address     text; how long, which label, of which form
    boolean            true or false
    json               anything
    array              a list of such values or nulls, or lists of lists, all of one length
    composite          an object of such values, by the names of its attributes; those that are absent are NULL
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
from typing import Final

from plugins.resources.parse.composed import MAX_DIMENSIONS, Part, Reader, array_of, composite_of
from plugins.resources.parse.documents import Document, Number, write_document
from plugins.resources.schema.catalogue import Column, Type
from plugins.resources.schema.kinds import MAX_DIGITS, NO_DIGITS, Kind, Unfit

HEADER_BYTES: Final = 4
"""What a modifier of text or numeric is above its meaning (VARHDRSZ)."""

SAFE_DIGITS: Final = {"int2": 4, "int4": 9, "int8": 18}
"""So many are always within the type's range."""

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
            return array_of(
                _reader(element, kind.element, modifier),
                most=1 if kind.element.name == "json" else MAX_DIMENSIONS,  # a list is a value there
                delimiter=type_.delimiter,
                is_plain=kind.element.name in ("integer", "number", "boolean"),
            )
        case "composite":
            attributes = zip(type_.attributes or (), kind.attributes, strict=True)
            return composite_of(
                {
                    each.name: Part(_reader(each.type, inner, each.modifier), is_nullable=each.is_nullable)
                    for each, inner in attributes
                }
            )
        case "integer":
            return _integer(kind, SAFE_DIGITS[name], takes_text=name == "int8")
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
            return _text(kind, modifier if name in ("varchar", "bpchar") else -1)
        case "other":
            return _other(name, modifier)
        case _:
            return lambda document: kind.parse(_as_text(document))


def _as_text(document: Document) -> str:
    if not isinstance(document, str) or isinstance(document, Number):
        raise Unfit("must be text")
    return document


def _text(kind: Kind, modifier: int) -> Reader:
    most = modifier - HEADER_BYTES if modifier >= HEADER_BYTES else None

    def text(document: Document) -> str:
        given = _as_text(document)
        if most is not None and len(given) > most:
            raise Unfit(f"must have at most {most} characters")
        return kind.parse(given)

    return text


def _integer(kind: Kind, safe_digits: int, *, takes_text: bool) -> Reader:
    def integer(document: Document) -> str:
        if isinstance(document, Number) and len(document) <= safe_digits and document.isdigit():
            return document  # JSON has one way to spell it
        if isinstance(document, Number) or (takes_text and isinstance(document, str)):
            return kind.parse(document)
        raise Unfit("must be an integer")

    return integer


def _number(kind: Kind, modifier: int | None) -> Reader:
    """`modifier` is None for floating-point numbers."""
    is_exact = modifier is not None
    check = _limits(modifier) if modifier is not None and modifier >= HEADER_BYTES else None

    def number(document: Document) -> str:
        if not isinstance(document, str) or not (isinstance(document, Number) or is_exact or document in NO_DIGITS):
            raise Unfit("must be a number")
        text = kind.parse(document)
        if check is not None and text != "NaN":
            check(text)
        return text

    return number


_EXACT: Final = Context(prec=MAX_DIGITS)
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
        if not is_time and _DISTANT.fullmatch(text):
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

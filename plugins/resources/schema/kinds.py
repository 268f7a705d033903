"""Kinds of columns: how a value is read from text before it reaches SQL, and what may be asked of it.

    integer    eq ne gt gte lt lte in nin between null                           range of the type
    number     the same                                                          NaN, Infinity, -Infinity too
    text       the same, and like ilike contains startswith endswith             text, varchar, char, citext, name
    boolean    eq ne in nin null                                                 true, false
    uuid, date, time, timestamp, enum, address   as integer                      timestamps: RFC 3339, UTC unless said
    array      has overlaps null, where its elements are of a kind above         compared by its elements
    json, binary, composite, other               null                            shown, and not compared

A parser gives the text that PostgreSQL reads as this very value, or raises `Unfit`: whatever passes here is not
refused there.
"""

from __future__ import annotations

import ipaddress
import math
import re
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final, Literal
from uuid import UUID

from plugins.resources.schema.catalogue import Type
from plugins.resources.schema.naming import MAX_NAME_BYTES
from service.api import listed

SAME: Final = ("eq", "ne", "in", "nin", "null")
ORDERED: Final = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "between", "null")
TEXTUAL: Final = (*ORDERED, "like", "ilike", "contains", "startswith", "endswith")
LISTED: Final = ("has", "overlaps", "null")
OPAQUE: Final = ("null",)

OPERATORS: Final = (*TEXTUAL, "has", "overlaps")

VECTORS: Final = frozenset({"int2vector", "oidvector"})
"""PostgreSQL's own, which look like arrays and cannot be made of one."""

MAX_DIGITS: Final = 400
"""Of a number, in a query or a body, once it is written without an exponent, as PostgreSQL shows it (chosen; it takes
131,072 before the point, and has 309 for the largest floating-point number)."""
MAX_LABELS_SHOWN: Final = 50

NO_DIGITS: Final = frozenset({"NaN", "Infinity", "-Infinity"})
"""Numbers without digits, as PostgreSQL shows them and JSON has them as text. NaN equals itself and is the largest."""

ENDLESS: Final = frozenset({"infinity", "-infinity"})
"""Moments later and earlier than any other, as PostgreSQL shows them."""


class Unfit(ValueError):
    """The text is not a value of this kind; the message goes on after the field's name: `must be ...`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column's type means to a client."""

    name: str
    operators: tuple[str, ...]
    parse: Callable[[str], str]
    """Text from a request → the text that PostgreSQL reads as the same value. Raises Unfit."""
    is_sortable: bool = True
    element: Kind | None = None
    """What an array is made of."""
    attributes: tuple[Kind, ...] = ()
    """What a composite value is made of, in its order."""

    @property
    def is_comparable(self) -> bool:
        """True where a whole value can be given in a request, in a filter or as a key."""
        return "eq" in self.operators


_INTEGER: Final = re.compile(r"-?[0-9]+")
_NUMBER: Final = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?")
_INSTANT: Final = re.compile(rf"({_DATE.pattern})(?:[Tt ]({_TIME.pattern})([Zz]|[+\- ][0-9]{{2}}:[0-9]{{2}})?)?")


def _refuse(text: str) -> str:
    raise Unfit("can only be compared with null")


def _any_text(text: str) -> str:
    return text


def _integer(bits: int) -> Callable[[str], str]:
    limit = 1 << (bits - 1)

    def integer(text: str) -> str:
        if not _INTEGER.fullmatch(text):
            raise Unfit("must be an integer")
        if len(text) > MAX_DIGITS or not -limit <= (value := int(text)) < limit:
            raise Unfit(f"must be from {-limit} to {limit - 1}")
        return str(value)

    return integer


def _name(text: str) -> str:
    """What is longer PostgreSQL would cut, and then find what was not asked for."""
    if len(text.encode()) > MAX_NAME_BYTES:
        raise Unfit(f"must have at most {MAX_NAME_BYTES} bytes")
    return text


def _number(text: str) -> str:
    if text in NO_DIGITS:
        return text
    if not _NUMBER.fullmatch(text):
        raise Unfit("must be a number")
    if digits_of(text) > MAX_DIGITS:
        raise Unfit(f"must have at most {MAX_DIGITS} digits")
    return text


def digits_of(text: str) -> int:
    """How many digits a number has without its exponent; of a text that is too long to be looked at, its length."""
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_DIGITS else None
    if match is None:
        return len(text)
    shift, fraction = int(match[3] or 0), match[2] or ""
    return max(len(match[1]) + shift, 1) + max(len(fraction) - shift, 0)


def _float(code: Literal["f", "d"]) -> Callable[[str], str]:
    def floating(text: str) -> str:
        if text in NO_DIGITS:
            return text
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise Unfit("must be a number")
        try:
            (value,) = struct.unpack(code, struct.pack(code, float(text)))
        except OverflowError:
            value = math.inf
        vanished = value == 0 and f"{match[1]}{match[2] or ''}".strip("0") != ""
        if math.isinf(value) or vanished:  # PostgreSQL refuses both
            raise Unfit(f"is out of range for a floating-point number of {struct.calcsize(code)} bytes")
        return text

    return floating


def _boolean(text: str) -> str:
    if text not in ("true", "false"):
        raise Unfit("must be true or false")
    return text


def _uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise Unfit("must be a UUID")
    return str(UUID(text))


def _date(text: str) -> str:
    if text in ENDLESS:
        return text
    if _DATE.fullmatch(text):
        with suppress(ValueError):
            return date.fromisoformat(text).isoformat()
    raise Unfit("must be a date like 2026-01-31")


def _time(text: str) -> str:
    if text == "24:00:00":  # PostgreSQL's own, a day's end
        return text
    if _TIME.fullmatch(text):
        with suppress(ValueError):
            return time.fromisoformat(text).isoformat()
    raise Unfit("must be a time like 13:30:00")


def _instant(text: str, zone: str = "") -> str:
    """A timestamp in UTC, with `zone` behind it. A space may stand for the plus of an offset that was not
    percent-encoded."""
    if text in ENDLESS:
        return text
    match = _INSTANT.fullmatch(text)
    if match is not None:
        day, clock, offset = match[1], match[2] or "00:00", match[3] or "Z"
        with suppress(ValueError, OverflowError):
            instant = datetime.fromisoformat(f"{day}T{clock}{offset.upper().replace(' ', '+')}")
            return f"{instant.astimezone(UTC).replace(tzinfo=None).isoformat()}{zone}"
    raise Unfit("must be a timestamp like 2026-01-31T13:30:00Z")


def _one_of(labels: tuple[str, ...]) -> Callable[[str], str]:
    known = frozenset(labels)

    def label(text: str) -> str:
        if text not in known:
            raise Unfit(f"must be one of {listed(labels, most=MAX_LABELS_SHOWN)}")
        return text

    return label


def _address(text: str) -> str:
    if "%" not in text:  # a zone, as in fe80::1%eth0, which PostgreSQL does not take
        with suppress(ValueError):
            return str(ipaddress.ip_interface(text))
    raise Unfit("must be an IP address")


def _network(text: str) -> str:
    if "%" not in text:
        with suppress(ValueError):
            return str(ipaddress.ip_network(text))
    raise Unfit("must be an IP network like 10.0.0.0/8")


TEXT: Final = Kind("text", TEXTUAL, _any_text)
OTHER: Final = Kind("other", OPAQUE, _refuse, is_sortable=False)
SORTED_OTHER: Final = Kind("other", OPAQUE, _refuse)
JSON: Final = Kind("json", OPAQUE, _refuse, is_sortable=False)

KINDS: Final[Mapping[str, Kind]] = {
    "int2": Kind("integer", ORDERED, _integer(16)),
    "int4": Kind("integer", ORDERED, _integer(32)),
    "int8": Kind("integer", ORDERED, _integer(64)),
    "numeric": Kind("number", ORDERED, _number),
    "float4": Kind("number", ORDERED, _float("f")),
    "float8": Kind("number", ORDERED, _float("d")),
    "bool": Kind("boolean", SAME, _boolean),
    "text": TEXT,
    "varchar": TEXT,
    "bpchar": TEXT,
    "name": Kind("text", TEXTUAL, _name),
    "uuid": Kind("uuid", ORDERED, _uuid),
    "date": Kind("date", ORDERED, _date),
    "time": Kind("time", ORDERED, _time),
    "timestamp": Kind("timestamp", ORDERED, _instant),
    "timestamptz": Kind("timestamp", ORDERED, lambda text: _instant(text, "+00")),
    "inet": Kind("address", ORDERED, _address),
    "cidr": Kind("address", ORDERED, _network),
    "json": JSON,
    "jsonb": JSON,
    "bytea": Kind("binary", OPAQUE, _refuse),
    **dict.fromkeys(("bit", "interval", "macaddr", "macaddr8", "money", "oid", "timetz", "varbit"), SORTED_OTHER),
}
"""By `pg_type.typname`, for types of pg_catalog."""


def kind_of(type_: Type) -> Kind:
    """The kind of a column of this type; `other` where the type is not known here."""
    if type_.labels is not None:
        return Kind("enum", ORDERED, _one_of(type_.labels))
    if type_.is_array and type_.name not in VECTORS:
        element = kind_of(type_.element) if type_.element is not None else OTHER
        operators = LISTED if element.is_comparable else OPAQUE
        return Kind("array", operators, _refuse, is_sortable=False, element=element)
    if type_.attributes is not None:
        attributes = tuple([kind_of(each.type) for each in type_.attributes])
        return Kind("composite", OPAQUE, _refuse, is_sortable=False, attributes=attributes)
    if type_.name == "citext":
        return TEXT
    return KINDS.get(type_.name, OTHER) if type_.schema == "pg_catalog" else OTHER

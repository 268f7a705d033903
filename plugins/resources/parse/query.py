"""The query string: text in, a frozen `ListQuery` out, and every fault of it at once.

    field=value                         the same as field[eq]=value
    field[op]=value                     eq ne gt gte lt lte in nin null contains startswith endswith, all ANDed
    sort=-createdAt,id                  minus for descending
    fields=id,email                     these only
    page=2   limit=50                   from 1; a limit over the resource's largest is lowered to it

A bare reserved word is never a column: `page[eq]=5` is how a column called page is filtered. `ne` and `nin` are the
exact complements of `eq` and `in`: rows with NULL are among them. In lists (`in`, `nin`, `sort`, `fields`, a key of
several columns) a comma separates, `\\,` is a comma and `\\\\` a backslash.

Pure: it knows neither aiohttp nor SQL. Source of the syntax around it: WHATWG URL, application/x-www-form-urlencoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from plugins.resources.parse.faults import Fault, cut
from plugins.resources.schema.kinds import OPERATORS, Unfit
from plugins.resources.schema.resource import Field, Order, Resource
from service.api import nearest

RESERVED: Final = frozenset({"sort", "fields", "page", "limit", "cursor", "count", "filter"})
"""Never columns when bare; the last three mean nothing yet."""

MAX_PARAMETERS: Final = 100
"""Parameters of one request (chosen: faults are answered one by one)."""

MAX_IN_VALUES: Final = 1_000
"""Values of one `in` or `nin` (chosen)."""

MAX_OFFSET_ROWS: Final = 2**63 - 1
"""What OFFSET takes (bigint)."""

MAX_SUGGESTIONS: Final = 5
"""Names that are looked for per request (chosen: looking for one takes up to a millisecond)."""

_DIGITS: Final = re.compile(r"[0-9]+")
_OPERATION: Final = re.compile(r"(.*)\[([^\[\]]*)\]", re.DOTALL)
_LIST_PART: Final = re.compile(r"\\[\\,]|,|[^\\,]+|\\")


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition."""

    field: Field
    operator: str
    value: str | tuple[str, ...]
    """Text that PostgreSQL reads as the field's type; several for `in` and `nin`; `true` or `false` for `null`."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a client asks of a list."""

    filters: tuple[Filter, ...] = ()
    """By column, then operator, however they were written: one order, so one SQL text."""
    sort: tuple[Order, ...] | None = None
    """None is the resource's own."""
    fields: tuple[Field, ...] | None = None
    """In the resource's order; None is all."""
    page: int = 1
    limit: int = 10


def parse_list(query: str, resource: Resource, faults: list[Fault]) -> ListQuery:
    """The meaning of a list's query string, as sent, still percent-encoded. Appends to `faults` what is wrong."""
    return _Reading(resource, faults).read_list(query)


def parse_item(query: str, resource: Resource, faults: list[Fault]) -> tuple[Field, ...] | None:
    """The fields that a single row's query string asks for; None is all. Appends to `faults` what is wrong."""
    return _Reading(resource, faults).read_item(query)


def parse_nothing(query: str, faults: list[Fault]) -> None:
    """The query string of what takes no parameters. Appends each one to `faults`."""
    faults += [Fault(cut(name), "means nothing here.") for name, _ in _pairs(query, faults)]


def parse_key(text: str, resource: Resource, faults: list[Fault]) -> list[str]:
    """The values of a key as it stands in a path, percent-decoded. Appends to `faults` what is wrong."""
    key = resource.key
    values = split_list(text) if len(key) > 1 else (text,)
    if len(values) != len(key):
        names = ",".join(part.name for part in key)
        faults.append(Fault("id", f"must be {len(key)} values joined by commas: {names}."))
        return []
    parsed = []
    for part, value in zip(key, values, strict=True):
        try:
            parsed.append(part.kind.parse(_sendable(value)))
        except Unfit as unfit:
            faults.append(Fault("id", f"{unfit}." if len(key) == 1 else f"is wrong in {part.name}, which {unfit}."))
    return parsed


def split_list(text: str) -> tuple[str, ...]:
    r"""`a,b` → a and b; `\,` is a comma, `\\` a backslash, and a backslash before anything else itself."""
    if "\\" not in text:
        return tuple(text.split(","))
    parts = [""]
    for piece in _LIST_PART.findall(text):
        if piece == ",":
            parts.append("")
        else:
            parts[-1] += piece[1] if len(piece) == 2 and piece[0] == "\\" else piece
    return tuple(parts)


def _sendable(text: str) -> str:
    """The text, if PostgreSQL can take it."""
    if "\0" in text:
        raise Unfit("must not contain a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unfit("must be UTF-8") from None
    return text


def _decode(text: str) -> str:
    """Percent-decoding as browsers and forms do it: `+` is a space, a stray `%` itself. Raises Unfit."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return _sendable(text)
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Unfit("must be percent-encoded UTF-8") from None
    return _sendable(decoded)


def _pairs(query: str, faults: list[Fault]) -> Iterator[tuple[str, str]]:
    """Names and values, decoded; each name once."""
    pieces = [piece for piece in query.split("&") if piece]
    if len(pieces) > MAX_PARAMETERS:
        faults.append(Fault("query", f"has more than {MAX_PARAMETERS} parameters."))
        return
    seen = set()
    for piece in pieces:
        raw_name, _, raw_value = piece.partition("=")
        name = raw_name
        try:
            name = _decode(raw_name)
            if name in seen:
                raise Unfit("is given more than once")
            seen.add(name)
            value = _decode(raw_value)
        except Unfit as unfit:
            faults.append(Fault(cut(name), f"{unfit}."))
        else:
            yield name, value


class _Reading:
    """One query string being read."""

    def __init__(self, resource: Resource, faults: list[Fault]) -> None:
        self._resource = resource
        self._faults = faults
        self._suggestions = 0

    def read_list(self, query: str) -> ListQuery:
        resource = self._resource
        filters: dict[tuple[str, str], Filter] = {}
        sort, fields, page, limit = None, None, 1, resource.limit
        for name, value in _pairs(query, self._faults):
            if name == "page":
                page = self._positive(name, value)
            elif name == "limit":
                limit = min(self._positive(name, value), resource.max_limit)
            elif name == "sort":
                sort = tuple(self._sort(value))
            elif name == "fields":
                fields = self._fields(value)
            elif (condition := self._filter(name, value)) is not None:
                column = condition.field.name
                if (column, condition.operator) in filters:
                    self._blame(name, f"is {column}[{condition.operator}] a second time.")
                filters[column, condition.operator] = condition
        if (page - 1) * limit > MAX_OFFSET_ROWS:
            self._blame("page", "is too large.")
        ordered = tuple(filters[place] for place in sorted(filters)) if len(filters) > 1 else tuple(filters.values())
        return ListQuery(ordered, sort, fields, page, limit)

    def read_item(self, query: str) -> tuple[Field, ...] | None:
        fields = None
        for name, value in _pairs(query, self._faults):
            if name == "fields":
                fields = self._fields(value)
            else:
                self._blame(name, "means nothing for a single row, which takes fields only.")
        return fields

    # --- parameters

    def _positive(self, name: str, value: str) -> int:
        """A whole number from 1 up; what is longer than any number that fits is as good as the largest."""
        digits = value.lstrip("0")
        if not _DIGITS.fullmatch(value) or not digits:
            self._blame(name, "must be a whole number from 1.")
            return 1
        return int(digits) if len(digits) <= len(str(MAX_OFFSET_ROWS)) else MAX_OFFSET_ROWS + 2

    def _sort(self, value: str) -> Iterator[Order]:
        seen = set()
        for part in split_list(value):
            is_descending = part.startswith("-")
            field = self._field("sort", part[1:] if is_descending else part)
            if field is None:
                continue
            if field.name in seen:
                self._blame("sort", f"names {field.name} twice.")
            elif not field.kind.is_sortable:
                self._blame("sort", f"names {field.name}, which has no order.")
            else:
                yield Order(field, is_descending)
            seen.add(field.name)

    def _fields(self, value: str) -> tuple[Field, ...]:
        wanted = set()
        for part in split_list(value):
            if (field := self._field("fields", part)) is None:
                continue
            if field.name in wanted:
                self._blame("fields", f"names {field.name} twice.")
            wanted.add(field.name)
        return tuple(field for name, field in self._resource.fields.items() if name in wanted)

    def _filter(self, name: str, value: str) -> Filter | None:
        operation = _OPERATION.fullmatch(name)
        if operation is None:
            if name in RESERVED:
                self._blame(name, self._reserved(name))
                return None
            field, operator = self._field(name, name, is_parameter=True), "eq"
        else:
            field, operator = self._field(name, operation[1]), operation[2]
        if operator not in OPERATORS:
            known = field.kind.operators if field is not None else sorted(OPERATORS)
            self._blame(name, f"has no operator {cut(operator)}; it takes {', '.join(known)}.")
            return None
        if field is None:
            return None
        if operator not in field.kind.operators:
            takes = ", ".join(field.kind.operators)
            self._blame(name, f"is of kind {field.kind.name} and has no operator {operator}; it takes {takes}.")
            return None
        return self._condition(name, field, operator, value)

    def _condition(self, name: str, field: Field, operator: str, value: str) -> Filter | None:
        try:
            if operator == "null":
                if value not in ("true", "false"):
                    raise Unfit("must be true or false")
                return Filter(field, operator, value)
            if operator not in ("in", "nin"):
                return Filter(field, operator, field.kind.parse(value))
            values = split_list(value)
            if len(values) > MAX_IN_VALUES:
                raise Unfit(f"must have at most {MAX_IN_VALUES} values")
            return Filter(field, operator, tuple(field.kind.parse(each) for each in values))
        except Unfit as unfit:
            self._blame(name, f"{unfit}.")
            return None

    # --- names and faults

    def _field(self, parameter: str, name: str, *, is_parameter: bool = False) -> Field | None:
        """The field called `name`; one that is hidden is as unknown as one that is not there."""
        fields = self._resource.fields
        if (field := fields.get(name)) is not None:
            return field
        meant = None
        if self._suggestions < MAX_SUGGESTIONS:
            self._suggestions += 1
            meant = nearest(name, [*fields, "page", "limit", "sort", "fields"] if is_parameter else fields)
        called = cut(name) or "an empty name"
        what = "is neither a field nor a parameter" if is_parameter else f"names {called}, which is no field"
        self._blame(parameter, f"{what}; did you mean {meant}?" if meant else f"{what}.")
        return None

    def _reserved(self, name: str) -> str:
        if name in self._resource.fields:
            return f"is reserved; {name}[eq]= filters by the field."
        return "is reserved and means nothing yet."

    def _blame(self, parameter: str, message: str) -> None:
        self._faults.append(Fault(cut(parameter), message))

r"""The query string: text in, a frozen `ListQuery` out, and every fault of it at once.

    field=value                         the same as field[eq]=value
    field[op]=value                     the operators of `filters.py`, all ANDed
    filter={"or":[...]}                 a tree of them, in JSON
    sort=-createdAt,id                  minus for descending
    fields=id,email                     these only
    page=2   limit=50                   from 1; a limit over the resource's largest is lowered to it
    cursor=...                          in place of page: where the last page told to go on
    count=auto                          how the total is found out: auto, exact, estimated, none

A bare reserved word is never a column: `page[eq]=5` is how a column called page is filtered. In lists (`in`, `sort`,
`fields`, a key of several columns) a comma separates, `\,` is a comma and `\\` a backslash.

Pure: it knows neither aiohttp nor SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from plugins.resources.parse.cursors import Cursor, fingerprint, read_cursor
from plugins.resources.parse.faults import MAX_UNKNOWN, Fault, cut
from plugins.resources.parse.filters import Condition, Filter, read_filter, read_tree
from plugins.resources.parse.names import RESERVED, Names
from plugins.resources.parse.texts import read_pairs, split_list
from plugins.resources.schema.kinds import Unfit
from plugins.resources.schema.resource import Field, Order, Resource
from service.api import listed

MAX_OFFSET_ROWS: Final = 100_000
"""Rows before a page (chosen: PostgreSQL reads and drops each of them)."""

MAX_SORT_FIELDS: Final = 10
"""Fields of one `sort` (chosen: where a cursor goes on, each may take two index scans)."""

Count = Literal["auto", "exact", "estimated", "none"]
COUNTS: Final = ("auto", "exact", "estimated", "none")

_DIGITS: Final = re.compile(r"[0-9]+")
_OPERATION: Final = re.compile(r"(.*)\[([^\[\]]*)\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a client asks of a list."""

    conditions: tuple[Condition, ...] = ()
    """All must hold. By column, then operator, however they were written: one order, so one SQL text; a tree last."""
    sort: tuple[Order, ...] | None = None
    """None is the resource's own."""
    fields: tuple[Field, ...] | None = None
    """In the resource's order; None is all."""
    page: int = 1
    limit: int = 10
    cursor: Cursor | None = None
    """In place of `page`."""
    count: Count = "auto"


def parse_list(query: str, resource: Resource, faults: list[Fault], scope: Sequence[str]) -> ListQuery:
    """The meaning of a list's query string, as sent, still percent-encoded. Appends to `faults` what is wrong.

    `scope` is what its cursors are bound to beside sort and filters.
    """
    return _Reading(resource, faults).read_list(query, scope)


def parse_item(query: str, resource: Resource, faults: list[Fault]) -> tuple[Field, ...] | None:
    """The fields that a single row's query string asks for; None is all. Appends to `faults` what is wrong."""
    return _Reading(resource, faults).read_item(query)


def parse_nothing(query: str, faults: list[Fault]) -> None:
    """The query string of what takes no parameters. Appends each one to `faults`."""
    faults += [Fault(cut(name), "means nothing here.") for name, _ in read_pairs(query, faults)]


class _Reading:
    """One query string being read."""

    def __init__(self, resource: Resource, faults: list[Fault]) -> None:
        self._resource = resource
        self._faults = faults
        self._names = Names(resource, faults)

    def read_list(self, query: str, scope: Sequence[str]) -> ListQuery:
        resource, blame = self._resource, self._names.blame
        filters: dict[tuple[str, str], Filter] = {}
        tree: Condition | None = None
        sort, fields, page, limit, token, count = None, None, None, resource.limit, None, None
        for name, value in read_pairs(query, self._faults):
            if name not in RESERVED:
                self._filter(name, value, filters)
            elif name == "page":
                page = self._positive(name, value)
            elif name == "limit":
                limit = min(self._positive(name, value), resource.max_limit)
            elif name == "sort":
                sort = tuple(self._sort(value))
            elif name == "fields":
                fields = self._fields(value)
            elif name == "filter":
                tree = read_tree(self._names, name, value)
            elif name == "cursor":
                token = value
            else:
                count = self._count(value)
        if token is not None and page is not None:
            blame("cursor", "cannot be given together with page.")
        if page is not None and (page - 1) * limit > MAX_OFFSET_ROWS:
            way_out = "narrow the list by filters" if resource.cursorless else "go on by cursor, from a page before it"
            blame("page", f"begins after more than {MAX_OFFSET_ROWS:,} rows; {way_out}.")
        conditions: tuple[Condition, ...] = tuple([filters[place] for place in sorted(filters)])
        if tree is not None:
            conditions = (*conditions, tree)
        cursor = self._cursor(token, conditions, sort, scope) if token is not None else None
        if count is None:
            count = "none" if cursor is not None else "auto"
        return ListQuery(conditions, sort, fields, page or 1, limit, cursor, count)

    def read_item(self, query: str) -> tuple[Field, ...] | None:
        fields = None
        for name, value in read_pairs(query, self._faults):
            if name == "fields":
                fields = self._fields(value)
            else:
                self._names.blame(name, "means nothing for a single row, which takes fields only.")
        return fields

    # --- parameters

    def _filter(self, name: str, value: str, filters: dict[tuple[str, str], Filter]) -> None:
        operation = _OPERATION.fullmatch(name)
        if operation is None:
            field, operator = self._names.field(name, name, is_parameter=True), "eq"
        else:
            field, operator = self._names.field(name, operation[1]), operation[2]
        condition = read_filter(self._names, name, field, operator, value)
        if condition is not None:
            column = condition.field.name
            if (column, operator) in filters:
                self._names.blame(name, f"is {column}[{operator}] a second time.")
            filters[column, operator] = condition

    def _positive(self, name: str, value: str) -> int:
        """A whole number from 1 up; what is longer than any number that is taken is as good as a large one."""
        digits = value.lstrip("0")
        if not _DIGITS.fullmatch(value) or not digits:
            self._names.blame(name, "must be a whole number from 1.")
            return 1
        return int(digits) if len(digits) <= len(str(MAX_OFFSET_ROWS)) else MAX_OFFSET_ROWS + 2

    def _sort(self, value: str) -> Iterator[Order]:
        parts = split_list(value)
        if len(parts) > MAX_SORT_FIELDS:
            self._names.blame("sort", f"names more than {MAX_SORT_FIELDS} fields.")
            return
        seen = set()
        for part in parts:
            is_descending = part.startswith("-")
            field = self._names.field("sort", part[1:] if is_descending else part)
            if field is None:
                continue
            if field.name in seen:
                self._names.blame("sort", f"names {field.name} twice.")
            elif not field.kind.is_sortable:
                self._names.blame("sort", f"names {field.name}, which has no order.")
            else:
                yield Order(field, is_descending)
            seen.add(field.name)

    def _fields(self, value: str) -> tuple[Field, ...]:
        parts = split_list(value)
        if len(parts) > len(self._resource.fields) + MAX_UNKNOWN:
            self._names.blame("fields", "names more fields than there are.")
            return ()
        wanted = set()
        for part in parts:
            if (field := self._names.field("fields", part)) is None:
                continue
            if field.name in wanted:
                self._names.blame("fields", f"names {field.name} twice.")
            wanted.add(field.name)
        return tuple(field for name, field in self._resource.fields.items() if name in wanted)

    def _count(self, value: str) -> Count:
        if value not in COUNTS:
            self._names.blame("count", f"must be one of {listed(COUNTS)}.")
            return "auto"
        return cast(Count, value)

    def _cursor(
        self, token: str, conditions: Sequence[Condition], sort: tuple[Order, ...] | None, scope: Sequence[str]
    ) -> Cursor | None:
        """Read where all else is right: it is bound to sort and filters."""
        resource = self._resource
        if resource.cursorless:
            self._names.blame("cursor", f"is not taken by {resource.name}, since {resource.cursorless}; use page.")
        elif not self._faults:
            order = resource.total_order(resource.sort if sort is None else sort)
            try:
                return read_cursor(token, fingerprint(scope, order, conditions), len(order))
            except Unfit as unfit:
                self._names.blame("cursor", f"{unfit}.")
        return None

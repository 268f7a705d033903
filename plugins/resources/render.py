"""The bytes of answers: lists, what there is, and refusals. Rows are bytes, never decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from plugins.resources.parse.faults import Fault
from plugins.resources.schema.resource import Resource
from service.api import Detail, InvalidRequest

WORDS: Final = {True: b"true", False: b"false"}

PAGINATION: Final = (
    b',"pagination":{"page":%b,"limit":%d,"total":%b,"totalPages":%b,"hasNext":%b,"hasPrev":%b,'
    b'"nextCursor":%b,"prevCursor":%b,"totalIsEstimate":%b}}'
)
"""What follows the rows of a page."""


class Page(NamedTuple):
    """What PostgreSQL gave for a list."""

    rows: memoryview
    """A JSON list."""
    has_more: bool
    total: int | None
    first: Sequence[str | None]
    """The values of the total order in the first row, as text; in a list without cursors there are none."""
    last: Sequence[str | None]

    @property
    def is_empty(self) -> bool:
        return len(self.rows) == len(b"[]")


class Pagination(NamedTuple):
    """What a list says beside its rows."""

    page: int | None
    limit: int
    total: int | None
    has_next: bool
    has_prev: bool
    next_cursor: str | None = None
    prev_cursor: str | None = None
    is_estimate: bool = False

    @property
    def pages(self) -> int | None:
        """How many pages there are."""
        return None if self.total is None else -(-self.total // self.limit)


def description(resource: Resource, root: str) -> dict[str, object]:
    """What a client finds out about a resource: where it is, and what its rows are made of."""
    path = f"{root}/{resource.path}"
    return {
        "name": resource.name,
        "path": path,
        "itemPath": f"{path}/{{id}}" if resource.has_items else None,
        "children": [f"{path}/{{id}}/{child.segment}" for child in resource.children],
        "methods": ["GET", "HEAD", "OPTIONS"],
        "key": [part.name for part in resource.key] if resource.has_items else [],
        "fields": [
            {
                "name": field.name,
                "type": field.kind.name,
                "nullable": field.column.is_nullable,
            }
            | ({"values": field.column.type.labels} if field.column.type.labels is not None else {})
            for field in resource.fields.values()
        ],
    }


def read_page(body: bytes) -> Page:
    """The parts of `[rows, facts]` as PostgreSQL prints it: the last line break stands before the facts."""
    at = body.rindex(b"\n")
    has_more, total, *ends = orjson.loads(memoryview(body)[at:-1])
    first, last = ends or ((), ())
    return Page(memoryview(body)[1 : at - 2], has_more, total, first, last)


def list_body(rows: bytes | memoryview, pagination: Pagination) -> bytes:
    """The answer to a list; the rows are copied once."""
    tail = PAGINATION % (
        _number(pagination.page),
        pagination.limit,
        _number(pagination.total),
        _number(pagination.pages),
        WORDS[pagination.has_next],
        WORDS[pagination.has_prev],
        _text(pagination.next_cursor),
        _text(pagination.prev_cursor),
        WORDS[pagination.is_estimate],
    )
    return b"".join((b'{"data":', rows, tail))


def _number(number: int | None) -> bytes:
    return b"null" if number is None else b"%d" % number


def _text(cursor: str | None) -> bytes:
    """A cursor has no character that JSON would escape."""
    return b"null" if cursor is None else b'"%b"' % cursor.encode("ascii")


def refusal(faults: Sequence[Fault]) -> InvalidRequest:
    """The answer to a request with these faults."""
    details = [Detail(fault.field, fault.message) for fault in faults]
    first = details[0]
    message = f"{first.field} {first.message}" if len(details) == 1 else f"{len(details)} parameters are wrong."
    return InvalidRequest(message, details=details)

"""The bytes of answers: lists, what there is, and refusals. Rows are bytes, never decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from plugins.resources.parse.faults import Fault
from plugins.resources.schema.resource import Field, Resource
from service.api import Detail, InvalidBody, InvalidRequest, NotFound

WORDS: Final = {True: "true", False: "false"}

PAGINATION: Final = (
    ',"pagination":{"page":%s,"limit":%d,"total":%s,"totalPages":%s,"hasNext":%s,"hasPrev":%s,'
    '"nextCursor":%s,"prevCursor":%s,"totalIsEstimate":%s}}'
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
    """What a list says beside its rows; None is not known, or not there."""

    page: int | None
    limit: int
    total: int | None
    pages: int | None
    has_next: bool
    has_prev: bool
    next_cursor: str | None = None
    prev_cursor: str | None = None
    is_estimate: bool = False


def description(resource: Resource, root: str) -> dict[str, object]:
    """What a client finds out about a resource: where it is, and what its rows are made of."""
    path = f"{root}/{resource.path}"
    actions = resource.writes.actions
    creatable = resource.writes.creatable if "create" in actions else frozenset()
    writable = creatable | (resource.writes.changeable if "update" in actions else frozenset())
    return {
        "name": resource.name,
        "description": resource.table.comment,
        "path": path,
        "itemPath": f"{path}/{{id}}" if resource.has_items else None,
        "children": [f"{path}/{{id}}/{child.segment}" for child in resource.children],
        "methods": resource.methods,
        "itemMethods": resource.item_methods,
        "key": [part.name for part in resource.key] if resource.has_items else [],
        "fields": [_field(field, is_writable=field.name in writable) for field in resource.fields.values()],
    }


def _field(field: Field, *, is_writable: bool) -> dict[str, object]:
    """What a client finds out about a field; what is seldom there to be told is absent then."""
    facts: dict[str, object] = {
        "name": field.name,
        "type": field.kind.name,
        "nullable": field.column.is_nullable,
        "readOnly": not is_writable,
    }
    if field.is_shown_as_text:
        facts["shownAs"] = "text"
    if field.column.type.labels is not None:
        facts["values"] = field.column.type.labels
    if field.column.comment is not None:
        facts["description"] = field.column.comment
    return facts


def read_page(body: bytes) -> Page:
    """The parts of `[rows, facts]` as PostgreSQL prints it: the last line break stands before the facts."""
    at = body.rindex(b"\n")
    has_more, total, *ends = orjson.loads(body[at:-1])
    first, last = ends or ((), ())
    return Page(memoryview(body)[1 : at - 2], has_more, total, first, last)


def list_body(rows: bytes | memoryview, pagination: Pagination) -> bytes:
    """The answer to a list; the rows are copied once. A cursor has no character that JSON would escape."""
    page, limit, total, pages, has_next, has_prev, following, preceding, is_estimate = pagination
    tail = PAGINATION % (
        "null" if page is None else page,
        limit,
        "null" if total is None else total,
        "null" if pages is None else pages,
        WORDS[has_next],
        WORDS[has_prev],
        "null" if following is None else f'"{following}"',
        "null" if preceding is None else f'"{preceding}"',
        WORDS[is_estimate],
    )
    return b"".join((b'{"data":', rows, tail.encode("ascii")))


def refusal(faults: Sequence[Fault]) -> InvalidRequest:
    """The answer to a request with these faults."""
    message, details = _told(faults, "parameters")
    return InvalidRequest(message, details=details)


def rejection(faults: Sequence[Fault]) -> InvalidBody:
    """The answer to a well-formed body with these faults."""
    message, details = _told(faults, "fields")
    return InvalidBody(message, details=details)


def _told(faults: Sequence[Fault], what: str) -> tuple[str, list[Detail]]:
    """The message, which is the fault itself where there is one, and the details."""
    details = [Detail(fault.field, fault.message) for fault in faults]
    first = details[0]
    return f"{first.field} {first.message}" if len(details) == 1 else f"{len(details)} {what} are wrong.", details


def absence(resource: Resource) -> NotFound:
    """The answer where no row has the key."""
    return NotFound(f"There is no such row in {resource.name}.")

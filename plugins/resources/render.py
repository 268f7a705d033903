"""The bytes of answers: lists, what there is, and refusals. Rows are bytes, never decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plugins.resources.parse.faults import Fault
from plugins.resources.parse.query import ListQuery
from plugins.resources.schema.resource import Resource
from service.api import Detail, InvalidBody, InvalidRequest

LIST_BODY: Final = (
    b',"pagination":{"page":%d,"limit":%d,"total":%d,"totalPages":%d,"hasNext":%b,"hasPrev":%b,'
    b'"nextCursor":null,"prevCursor":null,"totalIsEstimate":false}}'
)
"""What follows the rows of a page."""


def description(resource: Resource, root: str) -> dict[str, object]:
    """What a client finds out about a resource: where it is, and what its rows are made of."""
    path = f"{root}/{resource.path}"
    actions = resource.writes.actions
    writable = resource.writes.creatable | resource.writes.changeable
    return {
        "name": resource.name,
        "path": path,
        "itemPath": f"{path}/{{id}}" if resource.has_items else None,
        "children": [f"{path}/{{id}}/{child.segment}" for child in resource.children],
        "methods": ["GET", "HEAD", "OPTIONS", *(["POST"] if "create" in actions else [])],
        "itemMethods": item_methods(resource) if resource.has_items else [],
        "key": [part.name for part in resource.key] if resource.has_items else [],
        "fields": [
            {
                "name": field.name,
                "type": field.kind.name,
                "nullable": field.column.is_nullable,
                "readOnly": not actions or field.name not in writable,
            }
            | ({"values": field.column.type.labels} if field.column.type.labels is not None else {})
            for field in resource.fields.values()
        ],
    }


def item_methods(resource: Resource) -> list[str]:
    """What a single row takes."""
    actions = resource.writes.actions
    changing = ["PUT", "PATCH"] if "update" in actions else []
    return ["GET", "HEAD", "OPTIONS", *changing, *(["DELETE"] if "delete" in actions else [])]


def list_body(page: bytes, query: ListQuery) -> bytes:
    """The answer to a list, of `[rows, has more, total]` as PostgreSQL prints it; the rows are copied once."""
    at_total = page.rindex(b", ")
    at_more = page.rindex(b", ", 0, at_total)
    total = int(page[at_total + 2 : -1])
    tail = LIST_BODY % (
        query.page,
        query.limit,
        total,
        -(-total // query.limit),
        page[at_more + 2 : at_total],
        b"true" if query.page > 1 else b"false",
    )
    return b"".join((b'{"data":', memoryview(page)[1:at_more], tail))


def refusal(faults: Sequence[Fault]) -> InvalidRequest:
    """The answer to a request with these faults."""
    details = [Detail(fault.field, fault.message) for fault in faults]
    first = details[0]
    message = f"{first.field} {first.message}" if len(details) == 1 else f"{len(details)} parameters are wrong."
    return InvalidRequest(message, details=details)


def rejection(faults: Sequence[Fault]) -> InvalidBody:
    """The answer to a well-formed body with these faults."""
    details = [Detail(fault.field, fault.message) for fault in faults]
    first = details[0]
    message = f"{first.field} {first.message}" if len(details) == 1 else f"{len(details)} fields are wrong."
    return InvalidBody(message, details=details)

"""Run and render: what is bound to the routes. `fetch_json` is all that waits; rows are bytes, never decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson
from aiohttp.web import Request

from plugins.resources.grammar import Fault, ListQuery, parse_item, parse_key, parse_list, parse_nothing
from plugins.resources.resource import Resource
from plugins.resources.statements import Below, ItemStatement, ListStatement
from service.api import Answer, Database, Detail, InvalidRequest, NotFound

LIST_BODY: Final = (
    b',"pagination":{"page":%d,"limit":%d,"total":%d,"totalPages":%d,"hasNext":%b,"hasPrev":%b,'
    b'"nextCursor":null,"prevCursor":null,"totalIsEstimate":false}}'
)
"""What follows the rows of a page."""


class ListHandler:
    """`GET /{resource}`, and with `below` `GET /{parent}/{id}/{child}`: a page of rows."""

    def __init__(self, resource: Resource, database: Database, *, below: Below | None = None) -> None:
        self._resource = resource
        self._parent = below.parent if below is not None else None
        self._fetch_json = database.fetch_json
        self._statement = ListStatement(resource, below)
        self._plain = ListQuery(limit=resource.limit)

    async def list_rows(self, request: Request) -> Answer:
        faults: list[Fault] = []
        key = parse_key(request.match_info["id"], self._parent, faults) if self._parent is not None else ()
        text = request.rel_url.raw_query_string
        query = parse_list(text, self._resource, faults) if text else self._plain
        if faults:
            raise refusal(faults)
        sql, arguments = self._statement.plan(query, key)
        page = await self._fetch_json(sql, *arguments)
        if page is None:
            raise NotFound(f"There is no such row in {(self._parent or self._resource).name}.")
        return Answer(200, list_body(page, query))


class ItemHandler:
    """`GET /{resource}/{id}`: one row."""

    def __init__(self, resource: Resource, database: Database) -> None:
        self._resource = resource
        self._fetch_json = database.fetch_json
        self._statement = ItemStatement(resource)

    async def read_row(self, request: Request) -> Answer:
        faults: list[Fault] = []
        key = parse_key(request.match_info["id"], self._resource, faults)
        text = request.rel_url.raw_query_string
        fields = parse_item(text, self._resource, faults) if text else None
        if faults:
            raise refusal(faults)
        row = await self._fetch_json(self._statement.sql(fields), *key)
        if row is None:
            raise NotFound(f"There is no such row in {self._resource.name}.")
        return Answer(200, row)


class IndexHandler:
    """`GET /`: what there is, as a list of one page."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = resources
        self._rendered = ("", b"")

    def list_resources(self, request: Request) -> Answer:
        faults: list[Fault] = []
        parse_nothing(request.rel_url.raw_query_string, faults)
        if faults:
            raise refusal(faults)
        root, body = self._rendered
        if not body or root != request.rel_url.raw_path:
            root = request.rel_url.raw_path
            self._rendered = root, body = root, self._body(root.rstrip("/"))
        return Answer(200, body)

    def _body(self, root: str) -> bytes:
        """The list below `root`, the path that was asked for; it differs only where a version may be left out."""
        rows = orjson.dumps([description(resource, root) for resource in self._resources])
        count = len(self._resources)
        return b'{"data":%b' % rows + LIST_BODY % (1, max(count, 1), count, min(count, 1), b"false", b"false")


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
    details = [Detail(fault.parameter, fault.message) for fault in faults]
    first = details[0]
    message = f"{first.field} {first.message}" if len(details) == 1 else f"{len(details)} parameters are wrong."
    return InvalidRequest(message, details=details)

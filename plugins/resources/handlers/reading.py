"""Reading: what is bound to the routes of lists and of single rows."""

from __future__ import annotations

from aiohttp.web import Request

from plugins.resources.parse.faults import Fault
from plugins.resources.parse.query import ListQuery, parse_item, parse_key, parse_list
from plugins.resources.plan.items import ItemStatement
from plugins.resources.plan.lists import Below, ListStatement
from plugins.resources.render import list_body, refusal
from plugins.resources.schema.resource import Resource
from service.api import Answer, Database, NotFound


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

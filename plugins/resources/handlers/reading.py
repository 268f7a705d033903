"""Reading: what is bound to the routes of lists and of single rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp.web import Request

from plugins.resources.handlers.blaming import untaken
from plugins.resources.handlers.counting import Totals
from plugins.resources.handlers.healing import Healing
from plugins.resources.links import link_header
from plugins.resources.parse.cursors import OTHER_SIDE, fingerprint, write_cursor
from plugins.resources.parse.faults import Fault
from plugins.resources.parse.keys import parse_key
from plugins.resources.parse.query import ListQuery, parse_item, parse_list
from plugins.resources.plan.items import ItemStatement
from plugins.resources.plan.lists import Below, ListStatement
from plugins.resources.render import Page, Pagination, absence, list_body, read_page, refusal
from plugins.resources.schema.granted import UNRESTRICTED, Rows
from plugins.resources.schema.resource import Order, Resource
from plugins.resources.shapes import Shapes
from service.api import Answer, Clock, InvalidRequest, ServiceError

UNFIT_CURSOR: Final = Fault("cursor", "has a value that its field cannot have; begin again without it.")


class ListHandler:
    """`GET /{resource}`, and with `below` `GET /{parent}/{id}/{child}`: a page of rows."""

    def __init__(
        self,
        resource: Resource,
        database: Healing,
        clock: Clock,
        shapes: Shapes,
        *,
        name: str,
        below: Below | None = None,
        rows: Rows = UNRESTRICTED,
    ) -> None:
        """`name` is that of its route, which no other list has: its cursors are bound to it. Only `rows` are there."""
        self._resource = resource
        self._parent = below.parent if below is not None else None
        self._database = database
        self._statement = ListStatement(resource, below, rows)
        self._watch = shapes.watch(self._statement.shape)
        self._totals = Totals(self._statement, database, clock, self._watch)
        self._plain = ListQuery(limit=resource.limit)
        self._scope = (name,)
        self._plain_bound = fingerprint(self._scope, self._statement.order(self._plain), ())

    async def list_rows(self, request: Request, bound: Sequence[str] = ()) -> Answer:
        """`bound` are the values of the rows that the row above is one of, and then of those that are there."""
        faults: list[Fault] = []
        key = parse_key(request.match_info["id"], self._parent, faults) if self._parent is not None else ()
        text = request.rel_url.raw_query_string
        query = parse_list(text, self._resource, faults, (*self._scope, *key)) if text else self._plain
        if faults:
            raise refusal(faults)
        chosen, order = self._statement.choose(query, (*key, *bound)), self._statement.order(query)
        is_counted = query.count == "auto" and not self._totals.is_known_large(chosen)
        sql, arguments = self._statement.plan(query, chosen, order, is_counted=is_counted)
        began_s = self._watch.now_s()
        try:
            body = await self._database.fetch_json(sql, *arguments)
        except InvalidRequest as refused:
            raise await self._fault(refused, query, order, sql, arguments) from refused.__cause__
        finally:  # what takes too long is what advice is most wanted for
            self._watch.note(query, "capped" if is_counted else "", began_s)
        if body is None:
            raise absence(self._parent or self._resource)
        page = read_page(body)
        total, is_estimate = page.total, False
        if query.count == "none":
            total = None
        elif total is None:
            total, is_estimate = await self._totals.find(chosen, query)
        bound_to = ""
        if page.first and (page.has_more or query.page > 1 or query.cursor is not None):
            is_plain = not key and not query.conditions and query.sort is None
            bound_to = self._plain_bound if is_plain else fingerprint((*self._scope, *key), order, query.conditions)
        pagination = _paginate(query, page, total, is_estimate=is_estimate, bound_to=bound_to)
        answer = Answer(200, list_body(page.rows, pagination))
        links = link_header(text, pagination)
        if links:
            answer.add("Link", links)
        return answer

    async def _fault(
        self, refused: InvalidRequest, query: ListQuery, order: Sequence[Order], sql: str, arguments: Sequence[object]
    ) -> ServiceError:
        """What is answered where a value was refused: that of a cursor, which nothing has read, or another one."""
        if query.cursor is not None:
            fields = [each.field for each in order]
            if await untaken(self._database.fetch_json, fields, query.cursor.values):
                return refusal([UNFIT_CURSOR])
        return await self._database.fault(refused, sql, *arguments)


def _paginate(query: ListQuery, page: Page, total: int | None, *, is_estimate: bool, bound_to: str) -> Pagination:
    """What a list says beside its rows; without `bound_to`, the fingerprint of its cursors, it has none.

    Backward the row more is one before the page, and what the cursor stands at comes after it.
    """
    cursor, limit = query.cursor, query.limit
    if cursor is None:
        number, has_next, has_prev = query.page, page.has_more, query.page > 1
    elif cursor.is_backward:
        number, has_next, has_prev = None, True, page.has_more
    else:
        number, has_next, has_prev = None, page.has_more, True
    if is_estimate and total is not None and page.has_more:
        total = max(total, query.page * limit + 1)
    following, preceding = None, None
    if bound_to and not page.is_empty:
        following = write_cursor(">", bound_to, page.last) if has_next else None
        preceding = write_cursor("<", bound_to, page.first) if has_prev else None
    elif cursor is not None:  # an end, from where all is on the other side
        back = write_cursor(OTHER_SIDE[cursor.direction], bound_to, cursor.values)
        following, preceding = (back, None) if cursor.is_backward else (None, back)
    pages = None if total is None else -(-total // limit)
    return Pagination(number, limit, total, pages, has_next, has_prev, following, preceding, is_estimate)


class ItemHandler:
    """`GET /{resource}/{id}`: one row."""

    def __init__(self, resource: Resource, database: Healing, rows: Rows = UNRESTRICTED) -> None:
        self._resource = resource
        self._database = database
        self._statement = ItemStatement(resource, rows)

    async def read_row(self, request: Request, bound: Sequence[str] = ()) -> Answer:
        """`bound` are the values of the rows that there are."""
        faults: list[Fault] = []
        key = parse_key(request.match_info["id"], self._resource, faults)
        text = request.rel_url.raw_query_string
        fields = parse_item(text, self._resource, faults) if text else None
        if faults:
            raise refusal(faults)
        sql, arguments = self._statement.sql(fields), (*key, *bound)
        try:
            row = await self._database.fetch_json(sql, *arguments)
        except InvalidRequest as refused:
            raise await self._database.fault(refused, sql, *arguments) from refused.__cause__
        if row is None:
            raise absence(self._resource)
        return Answer(200, row)

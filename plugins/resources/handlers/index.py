"""The index: what is bound to the route that lists the resources."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from aiohttp.web import Request

from plugins.resources.parse.faults import Fault
from plugins.resources.parse.query import parse_nothing
from plugins.resources.render import Pagination, description, list_body, refusal
from plugins.resources.schema.resource import Resource
from service.api import Answer


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
        return list_body(rows, Pagination(1, max(count, 1), count, min(count, 1), has_next=False, has_prev=False))

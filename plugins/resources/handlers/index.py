"""The index: what is bound to the route that lists the resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, get_args

import orjson
from aiohttp.web import Request

from plugins.resources.handlers.permitting import Permits
from plugins.resources.parse.faults import Fault
from plugins.resources.parse.query import parse_nothing
from plugins.resources.render import Pagination, description, list_body, refusal
from plugins.resources.schema.granted import leads_to, narrowed
from plugins.resources.schema.resource import Resource, Writes
from service.api import PRINCIPAL, Action, Answer, Grant

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

MAX_RENDERED: Final = 64
"""Bodies that are kept (chosen): there are as many as sets of columns that rules tell apart."""

Grants = dict[Action, Grant]


class IndexHandler:
    """`GET /`: what there is, as a list of one page; with `permits`, what there is for whoever asks."""

    def __init__(self, resources: Sequence[Resource], permits: Permits | None = None) -> None:
        self._resources = resources
        self._permits = permits
        self._rendered: dict[tuple[object, ...], bytes] = {}

    def list_resources(self, request: Request) -> Answer:
        faults: list[Fault] = []
        parse_nothing(request.rel_url.raw_query_string, faults)
        if faults:
            raise refusal(faults)
        root = request.rel_url.raw_path
        granted = self._granted(request, self._permits) if self._permits is not None else None
        key = root, *(_columns(each) for each in granted or ())
        body = self._rendered.get(key)
        if body is None:
            body = self._body(root.rstrip("/"), granted)
            if len(self._rendered) >= MAX_RENDERED:
                self._rendered.clear()
            self._rendered[key] = body
        return Answer(200, body)

    def _granted(self, request: Request, permits: Permits) -> list[Grants]:
        """What whoever asks may do to each of the resources."""
        principal, grant = request[PRINCIPAL], permits.access.grant
        return [
            {
                action: found
                for action in ACTIONS
                if (found := grant(principal, permits.names[resource.name], action)) is not None
            }
            for resource in self._resources
        ]

    def _body(self, root: str, granted: Sequence[Grants] | None) -> bytes:
        """The list below `root`, the path that was asked for; it differs only where a version may be left out."""
        if granted is None:
            rows = [description(resource, root) for resource in self._resources]
        else:
            by_name = {resource.name: each for resource, each in zip(self._resources, granted, strict=True)}
            rows = [told for resource in self._resources if (told := _told(resource, by_name, root)) is not None]
        count = len(rows)
        pagination = Pagination(1, max(count, 1), count, min(count, 1), has_next=False, has_prev=False)
        return list_body(orjson.dumps(rows), pagination)


def _columns(grants: Grants) -> tuple[object, ...]:
    """What a description depends on: no row, and so nobody's claims."""
    return tuple([(action, grant.readable, grant.writable) for action, grant in grants.items()])


def _told(resource: Resource, by_name: dict[str, Grants], root: str) -> dict[str, object] | None:
    """The resource for whoever has these grants; None where they may not list it."""
    grants = by_name[resource.name]
    seen = _narrowed(resource, grants, "list")
    if seen is None:
        return None
    read = _narrowed(resource, grants, "read")
    made, changed = _narrowed(resource, grants, "create"), _narrowed(resource, grants, "update")
    removed = _narrowed(resource, grants, "delete")
    keyed = {"update": changed, "delete": removed}
    actions = {action for action, found in keyed.items() if found is not None and found.has_items}
    if made is not None:
        actions.add("create")
    writes = Writes(
        frozenset(action for action in resource.writes.actions if action in actions),
        made.writes.creatable if made is not None else frozenset(),
        changed.writes.changeable if changed is not None else frozenset(),
    )
    is_read = read is not None and read.has_items
    children = [
        child
        for child in resource.children
        if read is not None
        and (rows := _narrowed(child.resource, by_name[child.resource.name], "list")) is not None
        and leads_to(read, child, rows)
    ]
    has_items = seen.has_items and (is_read or bool(writes.actions & {"update", "delete"}))
    told = replace(seen, writes=writes, children=tuple(children), has_items=has_items)
    methods = [method for method in told.item_methods if is_read or method not in ("GET", "HEAD")]
    return description(told, root) | {"itemMethods": methods}


def _narrowed(resource: Resource, grants: Grants, action: Action) -> Resource | None:
    grant = grants.get(action)
    return narrowed(resource, grant.readable, grant.writable) if grant is not None else None

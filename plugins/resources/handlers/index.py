"""The index: what is bound to the route that lists the resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, get_args

import orjson
from aiohttp.web import Request

from plugins.resources.handlers.permitting import Permits
from plugins.resources.parse.faults import Fault
from plugins.resources.parse.query import parse_nothing
from plugins.resources.render import Pagination, description, list_body, refusal
from plugins.resources.schema.granted import as_granted, is_served, leads_to, rows_of
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
        grants = self._grants(request, self._permits) if self._permits is not None else {}
        key = root, *(_columns(resource, grants[resource.name]) for resource in self._resources if grants)
        body = self._rendered.get(key)
        if body is None:
            body = self._body(root.rstrip("/"), grants)
            if len(self._rendered) >= MAX_RENDERED:
                self._rendered.clear()
            self._rendered[key] = body
        return Answer(200, body)

    def _grants(self, request: Request, permits: Permits) -> dict[str, Grants]:
        """What whoever asks may do, by the names of resources."""
        principal, grant = request[PRINCIPAL], permits.access.grant
        return {
            resource.name: {
                action: found
                for action in ACTIONS
                if (found := grant(principal, permits.names[resource.name], action)) is not None
            }
            for resource in self._resources
        }

    def _body(self, root: str, grants: Mapping[str, Grants]) -> bytes:
        """The list below `root`, the path that was asked for; it differs only where a version may be left out."""
        if self._permits is None:
            rows = [description(resource, root) for resource in self._resources]
        else:
            by_name = {resource.name: _served(resource, grants[resource.name]) for resource in self._resources}
            rows = [told for resource in self._resources if (told := _told(resource, by_name, root)) is not None]
        count = len(rows)
        pagination = Pagination(1, max(count, 1), count, min(count, 1), has_next=False, has_prev=False)
        return list_body(orjson.dumps(rows), pagination)


def _columns(resource: Resource, grants: Grants) -> tuple[object, ...]:
    """What a description depends on: nobody's claims, and of rows only what tells those apart that may be changed."""
    return tuple(
        [
            (
                action,
                grant.readable,
                grant.writable,
                rows_of(grant.where, resource.table)[0] if action == "update" else (),
            )
            for action, grant in grants.items()
        ]
    )


def _served(resource: Resource, grants: Grants) -> dict[Action, Resource]:
    """The resource as each action leaves it; without those for which there is no place then."""
    found = {action: as_granted(resource, grant)[0] for action, grant in grants.items()}
    return {
        action: part.resource for action, part in found.items() if part is not None and is_served(part.resource, action)
    }


def _told(resource: Resource, by_name: Mapping[str, Mapping[Action, Resource]], root: str) -> dict[str, object] | None:
    """The resource for whoever is granted this; None where they may not list it."""
    served = by_name[resource.name]
    if "list" not in served:
        return None
    listed, actions = served["list"], resource.writes.actions & served.keys()
    writes = Writes(
        actions,
        served["create"].writes.creatable if "create" in actions else frozenset(),
        served["update"].writes.changeable if "update" in actions else frozenset(),
    )
    children = [
        child
        for child in resource.children
        if "read" in served
        and (below := by_name[child.resource.name].get("list")) is not None
        and leads_to(served["read"], child, below)
    ]
    has_items = listed.has_items and ("read" in served or not actions.isdisjoint(("update", "delete")))
    told = replace(listed, writes=writes, children=tuple(children), has_items=has_items)
    methods = [method for method in told.item_methods if "read" in served or method not in ("GET", "HEAD")]
    return description(told, root) | {"itemMethods": methods}

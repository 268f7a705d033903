"""The routes of all resources, and of the index that lists them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from aiohttp.web import Request

from plugins.resources.handlers.healing import Healing
from plugins.resources.handlers.index import IndexHandler
from plugins.resources.handlers.permitting import Handle, Make, Need, Permits, absent
from plugins.resources.handlers.reading import ItemHandler, ListHandler
from plugins.resources.handlers.writing import WriteHandler
from plugins.resources.plan.lists import Below
from plugins.resources.schema.catalogue import Action
from plugins.resources.schema.granted import Granted, is_served, leads_to
from plugins.resources.schema.resource import Child, Resource
from plugins.resources.shapes import Shapes
from service.api import Answer, Clock, Route

Handler = Callable[[Request], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Means:
    """What handlers work with."""

    database: Callable[[Resource], Healing]
    """What the handlers of a resource ask."""
    clock: Clock
    shapes: Shapes
    writer: Callable[[Granted, Granted | None], WriteHandler]
    """Makes what writes to a resource as far as it is granted, and shows the row as far as that is."""
    permits: Permits | None = None
    """Absent where everyone may do everything."""

    def handler(self, route: str, needs: Sequence[Need], make: Make) -> Handler:
        """What is bound to the route of this name."""
        if self.permits is not None:
            return self.permits.handler(route, needs, make)
        return cast(Handler, make([Granted(need.resource) for need in needs]))  # what it takes beside has a default


def declare(resources: Sequence[Resource], means: Means, *, instance: str, top: str, prefix: str) -> Iterator[Route]:
    """The routes of all resources, and of the index that lists them: below the path `top`, their names, and those of
    what they read and write, with `prefix`. The index goes by the name of the instance, with a path and without."""
    index = IndexHandler(resources, means.permits)
    yield Route("GET", top, index.list_resources, name=f"{instance}.index", summary="List what there is.")
    for resource in resources:
        name, tags = f"{prefix}{resource.name}", (f"{prefix}{resource.name}",)
        path = f"{top}/{resource.path}".lstrip("/")
        yield Route(
            "GET",
            path,
            _listing(resource, means, f"{name}.list"),
            name=f"{name}.list",
            tags=tags,
            reads=(name,),
            summary=f"List {resource.name}.",
        )
        if resource.writes.actions:
            yield from _writing(resource, means, path, name, tags)
        if not resource.has_items:
            continue
        item = f"{path}/{{id}}"
        yield Route(
            "GET",
            item,
            _reading(resource, means, f"{name}.read"),
            name=f"{name}.read",
            tags=tags,
            reads=(name,),
            summary=f"Read one row of {resource.name}.",
        )
        for child in resource.children:
            called = f"{name}.{child.name}.list"
            yield Route(
                "GET",
                f"{item}/{child.segment}",
                _listing_below(resource, child, means, called),
                name=called,
                tags=tags,
                reads=(f"{prefix}{child.resource.name}", name),
                summary=f"List the rows of {child.resource.name} that belong to one row of {resource.name}.",
            )


def _listing(resource: Resource, means: Means, route: str) -> Handler:
    database = means.database(resource)

    def make(parts: Sequence[Granted | None]) -> Handle:
        (listed,) = there(parts)
        return ListHandler(listed.resource, database, means.clock, means.shapes, name=route, rows=listed.rows).list_rows

    return means.handler(route, [Need(resource, "list")], make)


def _listing_below(resource: Resource, child: Child, means: Means, route: str) -> Handler:
    database = means.database(child.resource)

    def make(parts: Sequence[Granted | None]) -> Handle:
        parent, listed = there(parts)
        if not leads_to(parent.resource, child, listed.resource):
            return absent(resource)
        below = Below(parent.resource, child, parent.rows)
        return ListHandler(
            listed.resource, database, means.clock, means.shapes, name=route, below=below, rows=listed.rows
        ).list_rows

    return means.handler(route, [Need(resource, "read"), Need(child.resource, "list")], make)


def _reading(resource: Resource, means: Means, route: str) -> Handler:
    database = means.database(resource)

    def make(parts: Sequence[Granted | None]) -> Handle:
        (read,) = there(parts)
        return (
            ItemHandler(read.resource, database, read.rows).read_row
            if is_served(read.resource, "read")
            else absent(resource)
        )

    return means.handler(route, [Need(resource, "read")], make)


def _writing(resource: Resource, means: Means, path: str, name: str, tags: tuple[str, ...]) -> Iterator[Route]:
    """The routes by which rows are written, as far as clients may."""
    what, item, actions = resource.name, f"{path}/{{id}}", resource.writes.actions
    whole = means.writer(Granted(resource), Granted(resource))
    served: list[tuple[Action, str, str, str, Callable[[WriteHandler], Handle], str]] = [
        ("create", "POST", path, "create", lambda handler: handler.create, f"Make a row of {what}."),
        ("update", "PATCH", item, "update", lambda handler: handler.update, f"Change fields of one row of {what}."),
        ("update", "PUT", item, "replace", lambda handler: handler.replace, f"Replace one row of {what}."),
        ("delete", "DELETE", item, "delete", lambda handler: handler.delete, f"Remove one row of {what}."),
    ]
    for action, method, place, verb, handle, summary in served:
        if action in actions:
            route = f"{name}.{verb}"
            handler = _changing(resource, action, handle, means, route, whole=whole)
            yield Route(method, place, handler, name=route, tags=tags, writes=(name,), summary=summary)
    if "update" in actions:  # Accept-Patch is more than the core knows to say (RFC 5789, section 3.1)
        summary = f"What may be done to one row of {what}."
        yield Route("OPTIONS", item, whole.options, name=f"{name}.options", tags=tags, summary=summary)


def _changing(
    resource: Resource,
    action: Action,
    handle: Callable[[WriteHandler], Handle],
    means: Means,
    route: str,
    *,
    whole: WriteHandler,
) -> Handler:
    """`whole` is what serves those who may write and read all of it."""
    shows = action != "delete"

    def make(parts: Sequence[Granted | None]) -> Handle:
        written, shown = parts if shows else (*parts, None)
        assert written is not None  # noqa: S101  # what is not optional is there
        if not is_served(written.resource, action):
            return absent(resource)
        is_whole = all(part is not None and part.resource is resource and part.rows.are_all for part in parts)
        return handle(whole if is_whole else means.writer(written, shown))

    needs = [Need(resource, action), *([Need(resource, "read", is_optional=True)] if shows else [])]
    return means.handler(route, needs, make)


def there(parts: Sequence[Granted | None]) -> list[Granted]:
    """Those that are there: all, where none was optional."""
    return [part for part in parts if part is not None]

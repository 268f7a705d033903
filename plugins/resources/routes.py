"""The routes of all resources, and of the index that lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from plugins.resources.handlers.healing import Healing
from plugins.resources.handlers.index import IndexHandler
from plugins.resources.handlers.reading import ItemHandler, ListHandler
from plugins.resources.handlers.writing import WriteHandler
from plugins.resources.plan.lists import Below
from plugins.resources.schema.resource import Resource
from plugins.resources.shapes import Shapes
from service.api import Clock, Route


@dataclass(frozen=True, slots=True)
class Means:
    """What handlers work with."""

    database: Callable[[Resource], Healing]
    """What the handlers of a resource ask."""
    clock: Clock
    shapes: Shapes
    writer: Callable[[Resource], WriteHandler]
    """Makes what writes to a resource."""


def declare(resources: Sequence[Resource], means: Means, *, instance: str, top: str, prefix: str) -> Iterator[Route]:
    """The routes of all resources, and of the index that lists them: below the path `top`, their names, and those of
    what they read and write, with `prefix`. The index goes by the name of the instance, with a path and without."""
    index = IndexHandler(resources)
    yield Route("GET", top, index.list_resources, name=f"{instance}.index", summary="List what there is.")
    for resource in resources:
        name, tags = f"{prefix}{resource.name}", (f"{prefix}{resource.name}",)
        path, database = f"{top}/{resource.path}".lstrip("/"), means.database(resource)
        yield Route(
            "GET",
            path,
            ListHandler(resource, database, means.clock, means.shapes, name=f"{name}.list").list_rows,
            name=f"{name}.list",
            tags=tags,
            reads=(name,),
            summary=f"List {resource.name}.",
        )
        if resource.writes.actions:
            yield from _writing(resource, means.writer(resource), path, name, tags)
        if not resource.has_items:
            continue
        item = f"{path}/{{id}}"
        yield Route(
            "GET",
            item,
            ItemHandler(resource, database).read_row,
            name=f"{name}.read",
            tags=tags,
            reads=(name,),
            summary=f"Read one row of {resource.name}.",
        )
        for child in resource.children:
            below, called = Below(resource, child), f"{name}.{child.name}.list"
            asked = means.database(child.resource)
            handler = ListHandler(child.resource, asked, means.clock, means.shapes, name=called, below=below)
            yield Route(
                "GET",
                f"{item}/{child.segment}",
                handler.list_rows,
                name=called,
                tags=tags,
                reads=(f"{prefix}{child.resource.name}", name),
                summary=f"List the rows of {child.resource.name} that belong to one row of {resource.name}.",
            )


def _writing(resource: Resource, handler: WriteHandler, path: str, name: str, tags: tuple[str, ...]) -> Iterator[Route]:
    """The routes by which rows are written, as far as clients may."""
    what, item, actions = resource.name, f"{path}/{{id}}", resource.writes.actions
    served = [
        ("create", "POST", path, "create", handler.create, f"Make a row of {what}."),
        ("update", "PATCH", item, "update", handler.update, f"Change fields of one row of {what}."),
        ("update", "PUT", item, "replace", handler.replace, f"Replace one row of {what}."),
        ("delete", "DELETE", item, "delete", handler.delete, f"Remove one row of {what}."),
    ]
    for action, method, place, verb, handle, summary in served:
        if action in actions:
            yield Route(method, place, handle, name=f"{name}.{verb}", tags=tags, writes=(name,), summary=summary)
    if "update" in actions:  # Accept-Patch is more than the core knows to say (RFC 5789, section 3.1)
        summary = f"What may be done to one row of {what}."
        yield Route("OPTIONS", item, handler.options, name=f"{name}.options", tags=tags, summary=summary)

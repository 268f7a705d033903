"""The routes of all resources, and of the index that lists them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plugins.resources.handlers.index import IndexHandler
from plugins.resources.handlers.reading import ItemHandler, ListHandler
from plugins.resources.plan.lists import Below
from plugins.resources.schema.resource import Resource
from plugins.resources.shapes import Shapes
from service.api import Clock, Database, Route


@dataclass(frozen=True, slots=True)
class Means:
    """What handlers work with."""

    database: Database
    clock: Clock
    shapes: Shapes


def declare(resources: Sequence[Resource], means: Means, *, top: str, prefix: str) -> Iterator[Route]:
    """The routes of all resources, and of the index that lists them: below the path `top`, their names, and those of
    what they read, with `prefix`."""
    index = IndexHandler(resources)
    name = f"{prefix or 'resources.'}index"
    yield Route("GET", top, index.list_resources, name=name, summary="List what there is.")
    for resource in resources:
        name, tags = f"{prefix}{resource.name}", (f"{prefix}{resource.name}",)
        path = f"{top}/{resource.path}".lstrip("/")
        yield Route(
            "GET",
            path,
            ListHandler(resource, means.database, means.clock, means.shapes.watch(resource)).list_rows,
            name=f"{name}.list",
            tags=tags,
            reads=(name,),
            summary=f"List {resource.name}.",
        )
        if not resource.has_items:
            continue
        item = f"{path}/{{id}}"
        yield Route(
            "GET",
            item,
            ItemHandler(resource, means.database).read_row,
            name=f"{name}.read",
            tags=tags,
            reads=(name,),
            summary=f"Read one row of {resource.name}.",
        )
        for child in resource.children:
            yield Route(
                "GET",
                f"{item}/{child.segment}",
                ListHandler(
                    child.resource,
                    means.database,
                    means.clock,
                    means.shapes.watch(child.resource, child.columns),
                    below=Below(resource, child),
                ).list_rows,
                name=f"{name}.{child.name}.list",
                tags=tags,
                reads=(f"{prefix}{child.resource.name}", name),
                summary=f"List the rows of {child.resource.name} that belong to one row of {resource.name}.",
            )

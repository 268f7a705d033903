"""Resources that refer to each other: along each foreign key, a row has a list of the rows that refer to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote

from plugins.resources.catalogue import ForeignKey
from plugins.resources.findings import Findings
from plugins.resources.resource import Child, Resource
from plugins.resources.shaping import SEGMENT_CHARS


def with_children(resources: Sequence[Resource], findings: Findings) -> tuple[Resource, ...]:
    """The same resources, each with its children."""
    names = {resource.name for resource in resources}
    found = []
    for parent in resources:
        children = []
        for child in _children(parent, resources, findings) if parent.has_items else ():
            if f"{parent.name}.{child.name}" in names:  # its routes would have the names of that table's
                findings.say(
                    f"/{parent.path}/{{id}}/{child.segment} is not served, since there is a table called "
                    f"{parent.name}.{child.name}."
                )
            else:
                children.append(child)
        found.append(replace(parent, children=tuple(children)))
    return tuple(found)


def _children(parent: Resource, resources: Sequence[Resource], findings: Findings) -> Iterator[Child]:
    for resource in resources:
        keys = list(_references(resource, parent))
        if len(keys) == 1:
            yield _child(resource, parent, keys[0], is_only=True)
        elif keys:
            several = [_child(resource, parent, key, is_only=False) for key in keys]
            yield from several
            findings.say(
                f"{resource.name} refers to {parent.name} in {len(keys)} ways: "
                + ", ".join(f"/{parent.path}/{{id}}/{child.segment}" for child in several)
                + "."
            )


def _references(resource: Resource, parent: Resource) -> Iterator[ForeignKey]:
    """The foreign keys from one to the other whose columns clients may see, the same columns once."""
    visible = {field.column.name for field in resource.fields.values()}
    seen = set()
    for key in resource.table.foreign_keys:
        if key.target != parent.name or key.columns in seen or not visible.issuperset(key.columns):
            continue
        if all(parent.table.columns[column].is_readable for column in key.target_columns):
            seen.add(key.columns)
            yield key


def _child(resource: Resource, parent: Resource, key: ForeignKey, *, is_only: bool) -> Child:
    """`orders`, or where several keys lead to one parent `orders.by-userId`: API names in URLs, columns in names."""
    names = {field.column.name: field.name for field in resource.fields.values()}
    by_fields = "" if is_only else ".by-" + ",".join(names[column] for column in key.columns)
    by_columns = "" if is_only else ".by-" + ",".join(key.columns)
    return Child(
        resource=resource,
        segment=resource.path + quote(by_fields, safe=SEGMENT_CHARS),
        name=resource.name + by_columns,
        columns=tuple(resource.table.columns[column] for column in key.columns),
        targets=tuple(parent.table.columns[column] for column in key.target_columns),
    )

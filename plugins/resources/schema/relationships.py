"""Resources that refer to each other: along each foreign key, a row has a list of the rows that refer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from plugins.resources.schema.catalogue import ForeignKey
from plugins.resources.schema.findings import Findings
from plugins.resources.schema.naming import SEGMENT_CHARS
from plugins.resources.schema.resource import Child, Resource


def with_children(resources: Sequence[Resource], findings: Findings, *, top: str) -> tuple[Resource, ...]:
    """The same resources, each with its children. `top` is what stands before their paths."""
    parents = {resource.name: resource for resource in resources if resource.has_items}
    children: dict[str, list[Child]] = {name: [] for name in parents}
    for resource in resources:
        references = _references(resource, parents)
        for name, keys in references.items():
            found = [_child(resource, parents[name], key, is_only=len(keys) == 1) for key in keys]
            if len(found) > 1:
                path = f"{top}/{parents[name].path}".lstrip("/")
                paths = ", ".join(f"/{path}/{{id}}/{child.segment}" for child in found)
                findings.say(f"{resource.name} refers to {name} in {len(found)} ways: {paths}.")
            children[name] += found
    served = {resource.name for resource in resources}
    for name, found in children.items():
        for child in [child for child in found if f"{name}.{child.name}" in served]:
            found.remove(child)  # its route would have the name of that table's
            findings.say(f"{child.name} of {name} is not served, since there is a table called {name}.{child.name}.")
    return tuple(replace(resource, children=tuple(children.get(resource.name, ()))) for resource in resources)


def _references(resource: Resource, parents: Mapping[str, Resource]) -> dict[str, list[ForeignKey]]:
    """Foreign keys by the parent that they lead to, the same columns once.

    Those whose columns clients see at both ends: a row that is found along one tells what stands in the other.
    """
    visible = _columns(resource)
    found: dict[tuple[str, tuple[str, ...]], ForeignKey] = {}
    for key in resource.table.foreign_keys:
        parent = parents.get(key.target)
        if parent is None or not visible.issuperset(key.columns):
            continue
        if _columns(parent).issuperset(key.target_columns):
            found.setdefault((key.target, key.columns), key)
    by_parent: dict[str, list[ForeignKey]] = {}
    for (name, _), key in found.items():
        by_parent.setdefault(name, []).append(key)
    return by_parent


def _columns(resource: Resource) -> set[str]:
    """Those that clients see."""
    return {field.column.name for field in resource.fields.values()}


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

"""What of the catalogue is served: `select` makes `Resource`s of tables and the operator's settings.

Pure: mistakes come back as faults, what the operator should know as sentences, both ready to be read. A name that
the database lacks is a fault; what cannot be served is left out with one sentence that says why. For a table that only
`"*"` has found, what the settings say of columns that it lacks is no fault: one file serves several databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.resources.catalogue import Catalogue, Table
from plugins.resources.findings import Findings, listed, quoted, quoted_list
from plugins.resources.relating import with_children
from plugins.resources.resource import Resource
from plugins.resources.shaping import shape
from service.api import nearest

if TYPE_CHECKING:
    from plugins.resources import Settings

EVERY = "*"
"""In `tables`: each table and view that has a key."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is served, and what there is to say about it."""

    resources: tuple[Resource, ...]
    absent: tuple[str, ...]
    """Tables that have settings and that the database lacks, where that is no fault."""
    faults: tuple[str, ...]
    """With any of them nothing is served."""
    sentences: tuple[str, ...]


def select(catalogue: Catalogue, settings: Settings, *, plugin: str) -> Selection:
    """The resources that the settings of the instance called `plugin` ask for, by name."""
    findings = Findings(plugin)
    resources: list[Resource] = []
    if not catalogue.tables and catalogue.schema not in catalogue.schemas:
        meant = nearest(catalogue.schema, catalogue.schemas) or "..."
        findings.faults.append(
            f"[plugins.{plugin}] the database has no schema {quoted(catalogue.schema)}, it has "
            f"{listed(catalogue.schemas)}; write schema = {quoted(meant)}."
        )
    else:
        _check_names(catalogue, settings, findings)
        for table in _chosen(catalogue, settings, findings):
            is_named = table.name in settings.tables
            resource = shape(table, settings.options(table.name), findings, is_named=is_named)
            if resource is not None:
                resources.append(resource)
        _check_paths(resources, findings)
    if not resources and not findings.faults:
        findings.say(
            f"Schema {catalogue.schema} has nothing that is served, of {listed(catalogue.tables)}; write tables = "
            f'["*"], or other names, under [plugins.{plugin}].'
        )
    served = () if findings.faults else with_children(resources, findings)
    absent = tuple(name for name in settings.table if EVERY in settings.tables and name not in catalogue.tables)
    return Selection(served, absent, tuple(findings.faults), tuple(findings.sentences))


def _check_names(catalogue: Catalogue, settings: Settings, findings: Findings) -> None:
    """Every table that the settings name is there, and is served."""
    schema, tables, asked = catalogue.schema, catalogue.tables, settings.tables
    for name in asked:
        if name != EVERY and name not in tables:
            meant = nearest(name, tables)
            corrected = [meant if meant and each == name else each for each in asked if each != name or meant]
            findings.faults.append(
                f"[plugins.{findings.plugin}] tables names {quoted(name)}, which schema {schema} lacks, it has "
                f"{listed(tables)}; write tables = {quoted_list(corrected)}."
            )
    for name in settings.table:
        if name in asked or (EVERY in asked and name in tables):
            continue
        meant = nearest(name, tables if EVERY in asked else asked)
        way_out = f"write {findings.header(meant)}" if meant else "remove it"
        if EVERY in asked:
            guess = f", or write {findings.header(meant)}" if meant else ""
            findings.say(
                f"{findings.header(name)} changes nothing: schema {schema} has no such table; remove it{guess}."
            )
        elif name in tables:
            findings.blame(name, f"is for a table that is not served; write tables = {quoted_list([*asked, name])}")
        else:
            findings.blame(name, f"is for a table that schema {schema} lacks; {way_out}")


def _chosen(catalogue: Catalogue, settings: Settings, findings: Findings) -> Iterator[Table]:
    """The tables to serve. Partitions are served by their parent, and an extension's tables are its own affair."""
    for name, table in catalogue.tables.items():
        if name in settings.tables:
            yield table
        elif EVERY in settings.tables and not table.is_partition and not table.is_from_extension:
            if table.keys or settings.options(name).key is not None:
                yield table
            else:
                findings.say(
                    f"{table.relation} {name} has no key and is not served; name the columns that identify a row: "
                    f"key = [...] under {findings.header(name)}."
                )


def _check_paths(resources: Iterable[Resource], findings: Findings) -> None:
    taken: dict[str, str] = {}
    for resource in resources:
        other = taken.setdefault(resource.path, resource.name)
        if other != resource.name:
            findings.blame(
                resource.name,
                f"has the path of table {other}, {quoted(resource.path)}; write path = {quoted(f'{resource.name}-2')}",
            )

"""What of the catalogue is served: `select` makes `Resource`s of tables and the operator's settings.

Pure: mistakes in the settings and sentences for the operator come back as values. A name that the database lacks is a
mistake; what cannot be served is left out with one sentence that says why. For a table that only
`"*"` has found, what the settings say of columns that it lacks is none: one file serves several databases.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from plugins.resources.schema.allowing import ACTIONS
from plugins.resources.schema.catalogue import Action, Catalogue, Table
from plugins.resources.schema.findings import Findings, Mistake, hint
from plugins.resources.schema.keys import TABLES
from plugins.resources.schema.naming import SEGMENT_CHARS, encoded
from plugins.resources.schema.relationships import with_children
from plugins.resources.schema.resource import Resource
from plugins.resources.schema.shaping import shape
from plugins.resources.schema.visibility import betraying_columns, closed_columns
from plugins.resources.settings import Settings
from service.api import Hidden, listed, nearest, toml

EVERY = "*"
"""In `tables`: each table and view that has a key."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is served, and what there is to say about it."""

    resources: tuple[Resource, ...]
    absent: tuple[str, ...]
    """Tables that have settings and that the database lacks, where that is no mistake."""
    mistakes: tuple[Mistake, ...]
    """With any of them nothing is served."""
    sentences: tuple[str, ...]


def select(catalogue: Catalogue, settings: Settings, *, plugin: str, hidden: Iterable[Hidden] = ()) -> Selection:
    """The resources that the settings of the instance called `plugin` ask for, by name; none shows what is `hidden`."""
    findings = Findings(plugin)
    resources: list[Resource] = []
    if not catalogue.tables and catalogue.schema not in catalogue.schemas:
        meant = nearest(catalogue.schema, catalogue.schemas)
        message = f"the database has no schema {toml(catalogue.schema)}; {hint(meant, catalogue.schemas)}"
        findings.blame("schema", message=message, write=meant or next(iter(catalogue.schemas), "public"))
    else:
        _check_names(catalogue, settings, findings)
        closed = closed_columns(catalogue, hidden)
        betraying = betraying_columns(catalogue, settings, closed)
        for table in _chosen(catalogue, settings, findings):
            resource = shape(
                table,
                settings.options(table.name),
                findings,
                betraying=betraying.get(table.name, {}),
                is_named=table.name in settings.tables,
                asked=_asked(table.name, settings),
                closed=closed.get(table.name, frozenset()),
            )
            if resource is not None:
                resources.append(resource)
        _check_paths(resources, settings, findings)
    if not resources and not findings.mistakes:
        findings.say(
            f"Schema {catalogue.schema} has nothing that is served, of {listed(catalogue.tables)}; write tables = "
            f'["*"], or other names, under [plugins.{plugin}].'
        )
    served = () if findings.mistakes else with_children(resources, findings, top=encoded(settings.path))
    absent = tuple(name for name in settings.table if EVERY in settings.tables and name not in catalogue.tables)
    return Selection(served, absent, tuple(findings.mistakes), tuple(findings.sentences))


def _check_names(catalogue: Catalogue, settings: Settings, findings: Findings) -> None:
    """Every table that the settings name is there, and is served."""
    schema, tables, asked = catalogue.schema, catalogue.tables, settings.tables
    right: dict[str, None] = {}
    messages: list[str] = []
    for name in asked:
        meant = name if name == EVERY or name in tables else nearest(name, tables)
        if meant:
            right.setdefault(meant)
        if meant != name:
            messages.append(f"names {toml(name)}, which schema {schema} lacks; {hint(meant, tables)}")
    for name in settings.table:
        if name in tables:
            if EVERY not in asked and name not in right:
                right.setdefault(name)
                messages.append(f"does not name {toml(name)}, which has settings of its own")
            continue
        meant = nearest(name, tables if EVERY in asked else right)
        if EVERY in asked and name not in asked:
            guess = f", or write {findings.header(meant)}" if meant else ""
            findings.say(
                f"{findings.header(name)} changes nothing: schema {schema} has no such table; remove it{guess}."
            )
        else:
            message = f"schema {schema} has no such table" + (f"; did you mean {toml(meant)}?" if meant else "")
            rename = meant if meant not in settings.table else None  # else that would be there twice
            findings.blame("table", name, message=message, rename=rename)
    for message in messages:
        findings.blame("tables", message=message, write=list(right) or [EVERY])
    _check_writes(catalogue, settings, findings, served=tables if EVERY in asked else right)


def _check_writes(catalogue: Catalogue, settings: Settings, findings: Findings, *, served: Collection[str]) -> None:
    """Every table that `writes` names is there, and is served."""
    right: dict[str, None] = {}
    messages: list[str] = []
    for name in settings.writes:
        meant = name if name in served else nearest(name, served)
        if meant:
            right.setdefault(meant)
        if name == EVERY:
            messages.append('names "*", while writing is switched on by the names of tables')
        elif name not in catalogue.tables:
            messages.append(f"names {toml(name)}, which schema {catalogue.schema} lacks; {hint(meant, served)}")
        elif name not in served:
            messages.append(f"names {toml(name)}, which tables does not name")
    for message in messages:
        findings.blame("writes", message=message, write=list(right))


def _asked(name: str, settings: Settings) -> frozenset[Action]:
    """What the settings say that clients may do to rows of a table; its own table has the last word."""
    own = settings.options(name).writes
    if own is None:
        own = name in settings.tables or name in settings.writes
    return frozenset(ACTIONS if own is True else own or ())


def _chosen(catalogue: Catalogue, settings: Settings, findings: Findings) -> Iterator[Table]:
    """The tables to serve. Partitions are served by their parent, and an extension's tables are its own affair."""
    for name, table in catalogue.tables.items():
        if table.is_broken:
            if name in settings.tables or EVERY in settings.tables:
                findings.say(f"{table.relation} {name} is not served: its foreign-data wrapper cannot read.")
        elif name in settings.tables:
            yield table
        elif EVERY in settings.tables and not table.is_partition and not table.is_from_extension:
            if table.keys or settings.options(name).key is not None:
                yield table
            else:
                way_out = f"name the columns that identify a row: key = [...] under {findings.header(name)}"
                if table.relation in TABLES:
                    way_out = "give it a primary key, or name it in tables, as a list without single rows"
                findings.say(f"{table.relation} {name} has no key and is not served; {way_out}.")


def _check_paths(resources: Sequence[Resource], settings: Settings, findings: Findings) -> None:
    """No two tables have one path. By their names they have not, so one of the two says so in its settings."""
    taken: dict[str, str] = {}
    for resource in resources:
        name, other = resource.name, taken.setdefault(resource.path, resource.name)
        if other == name:
            continue
        if settings.options(name).path is None:
            name, other = other, name
        is_free = quote(name, safe=SEGMENT_CHARS) not in [each.path for each in resources]
        message = f"{toml(settings.options(name).path or name)} is the path of table {other} too"
        findings.blame("table", name, "path", message=message, write=None if is_free else f"{name}-2".replace("/", "-"))

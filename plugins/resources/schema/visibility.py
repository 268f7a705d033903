"""Which columns clients see, of those that a table has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set

from plugins.resources.schema.catalogue import Catalogue, Table
from plugins.resources.schema.findings import Findings, names
from plugins.resources.settings import Settings, TableSettings
from service.api import Hidden, listed, looks_secret


def visible_columns(
    table: Table,
    options: TableSettings,
    betraying: Mapping[str, str],
    findings: Findings,
    *,
    closed: Set[str],
    may_lack: bool,
) -> list[str]:
    """The columns to show: those in `fields`, else all that are not hidden, do not look like a secret and are not
    `betraying` one. Those that are `closed` are shown to nobody, whatever the settings say."""
    if options.fields is not None:
        shown = findings.standing(table, "fields", options.fields)

        def refuse(name: str) -> str | None:
            return "which fields names too" if name in shown else None

        findings.standing(table, "hidden", options.hidden, refuse=refuse, may_lack=may_lack)
        if closed & set(shown):
            secret = [name for name in shown if name in closed]
            findings.say(f"{table.name}: {listed(secret)} hidden, because people log in by it.")
            shown = [name for name in shown if name not in closed]
    else:
        hidden = findings.standing(table, "hidden", options.hidden, may_lack=may_lack)
        shown = [name for name in table.columns if name not in hidden and name not in closed]
        header = findings.header(table.name)
        secret = [name for name in shown if looks_secret(name)]
        if secret:
            findings.say(
                f"{table.name}: {listed(secret)} hidden, because of the name; to show {_it(secret)}, "
                f"name {_it(secret)} in fields = [...] under {header}."
            )
        shown = [name for name in shown if name not in secret]
        for name in [name for name in shown if name in betraying]:
            findings.say(
                f"{table.name}: {name} hidden, because it refers to {betraying[name]}, which is hidden; to show it, "
                f"name it in fields = [...] under {header}."
            )
        shown = [name for name in shown if name not in betraying]
    forbidden = [name for name in shown if not table.columns[name].is_readable]
    if forbidden:
        findings.say(
            f"{table.name}: {listed(forbidden)} left out, because the database role may not read {_it(forbidden)}; "
            f"grant SELECT to show {_it(forbidden)}."
        )
    return [name for name in shown if name not in forbidden]


def closed_columns(catalogue: Catalogue, hidden: Iterable[Hidden]) -> dict[str, frozenset[str]]:
    """The columns of each table of this schema that another plugin says are for nobody."""
    found: dict[str, frozenset[str]] = {}
    for each in hidden:
        if each.schema == catalogue.schema:
            found[each.table] = found.get(each.table, frozenset()) | each.columns
    return found


def betraying_columns(
    catalogue: Catalogue, settings: Settings, closed: Mapping[str, Set[str]]
) -> dict[str, dict[str, str]]:
    """The columns of each table that hold what a hidden one holds, since they refer to it, and which one that is.

    One that `fields` names betrays nothing that is not meant to be seen, and neither does what refers to it.
    """
    found: dict[str, dict[str, str]] = {}

    def is_hidden(table: str, column: str) -> bool:
        options = settings.options(table)
        if column in closed.get(table, ()):
            return True
        if options.fields is not None:
            return column not in names(options.fields)
        return column in names(options.hidden) or looks_secret(column) or column in found.get(table, ())

    references = list(_references(catalogue))
    before = -1
    while before < (before := sum(map(len, found.values()))):  # what refers to one that has just been found
        for table, column, target, target_column in references:
            if column not in found.get(table, ()) and is_hidden(target, target_column):
                found.setdefault(table, {})[column] = f"{target}.{target_column}"
    return found


def _references(catalogue: Catalogue) -> Iterator[tuple[str, str, str, str]]:
    """Each column of a foreign key, with the one that it refers to."""
    for table in catalogue.tables.values():
        for key in table.foreign_keys:
            for column, target in zip(key.columns, key.target_columns, strict=True):
                yield table.name, column, key.target, target


def _it(columns: Collection[str]) -> str:
    return "it" if len(columns) == 1 else "them"

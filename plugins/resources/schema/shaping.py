"""One table and the operator's settings for it become a `Resource`: its columns, key, sort and limits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from urllib.parse import quote

from plugins.resources.schema.allowing import allowed
from plugins.resources.schema.catalogue import Action, Column, Table
from plugins.resources.schema.findings import Findings
from plugins.resources.schema.kinds import kind_of
from plugins.resources.schema.naming import SEGMENT_CHARS, api_names, is_segment
from plugins.resources.schema.resource import Field, Order, Resource
from plugins.resources.settings import TableSettings
from service.api import listed, looks_secret

TIMES = frozenset({"timestamp", "timestamptz"})
"""What a column can be that holds the time of a change."""

DEFAULT_LIMIT = 10
"""Rows a page, where neither client nor operator says."""


def shape(
    table: Table,
    options: TableSettings,
    findings: Findings,
    *,
    is_named: bool = True,
    asked: frozenset[Action] = frozenset(),
    closed: frozenset[str] = frozenset(),
) -> Resource | None:
    """The resource, without children; None if it has faults or nothing to show. `is_named` is false for a table that
    only `"*"` has found: settings meant for another database's table of this name are no fault then. `asked` is what
    clients should be able to do. Columns that are `closed` are shown to nobody, whatever the settings say."""
    mistakes_before = len(findings.mistakes)
    visible = _visible(table, options, findings, closed, may_lack=not is_named)
    names = api_names(visible, in_camel_case=options.names == "camel")
    readable = {
        column.name: Field(
            names.get(column.name, column.name),
            column,
            kind_of(column.type),
            are_digits_text=options.bigint == "string",
        )
        for column in table.columns.values()
        if column.is_readable and column.name not in closed
    }
    fields = {names[name]: readable[name] for name in visible}
    key = _key(table, options, readable, visible, findings)
    sort = tuple(_sort(table, options, readable, visible, findings, may_lack=not is_named))
    modified = _modified(table, options, findings, may_lack=not is_named)
    limit = min(DEFAULT_LIMIT, options.max_limit) if options.limit is None else options.limit
    if len(findings.mistakes) > mistakes_before:
        return None
    if not fields:
        findings.say(f"{table.relation} {table.name} is not served, since none of its columns may be shown.")
        return None
    path = options.path or table.name
    if not is_segment(path):
        findings.say(
            f"{table.relation} {table.name} is not served, since no path can hold its name; write path = ... under "
            f"{findings.header(table.name)}."
        )
        return None
    has_items = bool(key) and _fits_url(key, visible)
    writes = allowed(table, asked, fields.values(), key=key if has_items else (), modified=modified, findings=findings)
    resource = Resource(
        name=table.name,
        path=quote(path, safe=SEGMENT_CHARS),
        table=table,
        fields=fields,
        key=key,
        has_items=has_items,
        tie_break=key or tuple(field for field in fields.values() if field.kind.is_sortable),
        sort=sort,
        limit=limit,
        max_limit=options.max_limit,
        writes=writes,
    )
    if not has_items:
        without = "without items and cursors" if resource.cursorless else "without items"
        reason = f"its key {listed([part.column.name for part in key])} is hidden or of a type that no URL can hold"
        findings.say(f"{table.name} is served as a list {without}, since {reason if key else 'it has no key'}.")
    return resource


def _modified(table: Table, options: TableSettings, findings: Findings, *, may_lack: bool) -> Column | None:
    """The column that holds the time of a change."""

    def refuse(name: str) -> str | None:
        column = table.columns[name]
        if column.type.name not in TIMES:
            return f"of type {column.type.name}, which holds no time of a change"
        return "which PostgreSQL itself fills" if column.is_generated else None

    if options.modified is None:
        return None
    named = (options.modified,) if "," in options.modified else options.modified  # a text may be a list of names
    standing = findings.standing(table, "modified", named, refuse=refuse, may_lack=may_lack)
    return table.columns[standing[0]] if standing else None


def _visible(
    table: Table, options: TableSettings, findings: Findings, closed: frozenset[str], *, may_lack: bool
) -> list[str]:
    """The columns to show: those in `fields`, else all that are not hidden and do not look like a secret."""
    if options.fields is not None:
        shown = list(dict.fromkeys(findings.standing(table, "fields", options.fields)))
        secret = [name for name in shown if name in closed]
        if secret:
            shown = [name for name in shown if name not in closed]
            findings.say(f"{table.name}: {listed(secret)} hidden, because people log in by it.")

        def refuse(name: str) -> str | None:
            return "which fields names too" if name in shown else None

        findings.standing(table, "hidden", options.hidden, refuse=refuse, may_lack=may_lack)
    else:
        hidden = findings.standing(table, "hidden", options.hidden, may_lack=may_lack)
        shown = [name for name in table.columns if name not in hidden and name not in closed]
        secret = [name for name in shown if looks_secret(name)]
        if secret:
            shown = [name for name in shown if name not in secret]
            findings.say(
                f"{table.name}: {listed(secret)} hidden, because of the name; to show it, name it in fields = [...] "
                f"under {findings.header(table.name)}."
            )
    forbidden = [name for name in shown if not table.columns[name].is_readable]
    if forbidden:
        findings.say(
            f"{table.name}: {listed(forbidden)} left out, because the database role may not read it; grant SELECT to "
            f"show it."
        )
    return [name for name in shown if name not in forbidden]


def _key(
    table: Table,
    options: TableSettings,
    readable: Mapping[str, Field],
    visible: Collection[str],
    findings: Findings,
) -> tuple[Field, ...]:
    """What the operator says, else the first key that a URL can hold, else the first that can be read."""
    if options.key is not None:

        def refuse(name: str) -> str | None:
            if name not in readable:
                return "which the database role may not read"
            is_comparable = readable[name].kind.is_comparable
            return None if is_comparable else f"of type {table.columns[name].type.name}, which no URL can hold"

        return tuple(readable[name] for name in findings.standing(table, "key", options.key, refuse=refuse))
    keys = [tuple(readable[name] for name in key) for key in table.keys if readable.keys() >= set(key)]
    return next((key for key in keys if _fits_url(key, visible)), keys[0] if keys else ())


def _fits_url(key: tuple[Field, ...], visible: Collection[str]) -> bool:
    return all(part.column.name in visible and part.kind.is_comparable for part in key)


def _sort(
    table: Table,
    options: TableSettings,
    readable: Mapping[str, Field],
    visible: Collection[str],
    findings: Findings,
    *,
    may_lack: bool,
) -> Iterator[Order]:

    def refuse(name: str) -> str | None:
        if name not in visible:
            return "which is hidden"
        is_sortable = readable[name].kind.is_sortable
        return None if is_sortable else f"of type {table.columns[name].type.name}, which has no order"

    standing = findings.standing(table, "sort", options.sort, refuse=refuse, may_lack=may_lack)
    descending = {name.removeprefix("-"): name.startswith("-") for name in standing}
    for name, is_descending in descending.items():
        yield Order(readable[name], is_descending)

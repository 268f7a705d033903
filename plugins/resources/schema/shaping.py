"""One table and the operator's settings for it become a `Resource`: its columns, key, sort and limits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from urllib.parse import quote

from plugins.resources.schema.allowing import allowed
from plugins.resources.schema.catalogue import Action, Column, Table
from plugins.resources.schema.findings import Findings
from plugins.resources.schema.keys import key_of
from plugins.resources.schema.kinds import kind_of
from plugins.resources.schema.naming import SEGMENT_CHARS, api_names, is_segment
from plugins.resources.schema.resource import Field, Order, Resource
from plugins.resources.schema.visibility import visible_columns
from plugins.resources.settings import TableSettings

TIMES = frozenset({"timestamp", "timestamptz"})
"""What a column can be that holds the time of a change."""

DEFAULT_LIMIT = 10
"""Rows a page, where neither client nor operator says."""


def shape(
    table: Table,
    options: TableSettings,
    findings: Findings,
    *,
    betraying: Mapping[str, str],
    is_named: bool = True,
    asked: frozenset[Action] = frozenset(),
    closed: Set[str] = frozenset(),
) -> Resource | None:
    """The resource, without children; None if it has faults or nothing to show. `betraying` are columns that show what
    is hidden elsewhere. `is_named` is false for a table that only `"*"` has found: settings meant for another
    database's table of this name are no fault then. `asked` is what clients should be able to do. Columns that are
    `closed` are for nobody."""
    mistakes_before = len(findings.mistakes)
    visible = visible_columns(table, options, betraying, findings, closed=closed, may_lack=not is_named)
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
    key = key_of(table, options.key, readable, frozenset(visible), findings)
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
    writes = allowed(
        table, asked, fields.values(), key=key.fields if key.has_items else (), modified=modified, findings=findings
    )
    resource = Resource(
        name=table.name,
        path=quote(path, safe=SEGMENT_CHARS),
        table=table,
        fields=fields,
        key=key.fields,
        is_key_unique=key.is_unique,
        keyless=key.lack,
        has_items=key.has_items,
        tie_break=key.fields or tuple(field for field in fields.values() if field.kind.is_sortable),
        sort=sort,
        limit=limit,
        max_limit=options.max_limit,
        writes=writes,
    )
    if not key.has_items:
        without = "without items and cursors" if resource.cursorless else "without items"
        findings.say(f"{table.name} is served as a list {without}, since {key.reason}.")
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

    for name in findings.standing(table, "sort", options.sort, refuse=refuse, may_lack=may_lack):
        yield Order(readable[name.removeprefix("-")], name.startswith("-"))

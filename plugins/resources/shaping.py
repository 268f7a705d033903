"""One table and the operator's settings for it become a `Resource`: its columns, key, sort and limits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from plugins.resources.catalogue import Table
from plugins.resources.findings import Findings, listed, quoted
from plugins.resources.kinds import kind_of
from plugins.resources.naming import api_names
from plugins.resources.resource import Field, Order, Resource
from service.api import looks_secret

if TYPE_CHECKING:
    from plugins.resources import Columns, TableSettings

DEFAULT_LIMIT = 10
"""Rows a page, where neither client nor operator says."""

SEGMENT_CHARS = "!$&'()*+,;=:@"
"""What stands unescaped in a path segment beside letters, digits and `-._~` (RFC 3986, section 3.3)."""

PLACEHOLDER_CHARS = frozenset("{}")
"""What routes read as a placeholder."""


def shape(table: Table, options: TableSettings, findings: Findings, *, is_named: bool = True) -> Resource | None:
    """The resource, without children; None if it has faults or nothing to show. `is_named` is false for a table that
    only `"*"` has found: settings meant for another database's table of this name are no fault then."""
    faults_before = len(findings.faults)
    visible = _visible(table, options, findings, may_lack=not is_named)
    names = api_names(visible, in_camel_case=options.names == "camel")
    readable = {
        column.name: Field(names.get(column.name, column.name), column, kind_of(column.type))
        for column in table.columns.values()
        if column.is_readable
    }
    fields = {names[name]: readable[name] for name in visible}
    key = _key(table, options, readable, visible, findings)
    sort = tuple(_sort(table, options, readable, visible, findings, may_lack=not is_named))
    limit = min(DEFAULT_LIMIT, options.max_limit) if options.limit is None else options.limit
    if limit > options.max_limit:
        findings.blame(table.name, f"limit {limit} is over max_limit {options.max_limit}; write max_limit = {limit}")
    if options.path is not None and (not _is_segment(options.path) or "/" in options.path):
        findings.blame(table.name, f"path {quoted(options.path)} is not one segment; write one without / and {{}}")
    if len(findings.faults) > faults_before:
        return None
    if not fields:
        findings.say(f"{table.relation} {table.name} is not served, since none of its columns may be shown.")
        return None
    path = options.path or table.name
    if not _is_segment(path):
        findings.say(
            f"{table.relation} {table.name} is not served, since no path can hold its name; write path = ... under "
            f"{findings.header(table.name)}."
        )
        return None
    has_items = bool(key) and _fits_url(key, visible)
    if not has_items:
        reason = f"its key {listed([part.column.name for part in key])} is hidden or of a type that no URL can hold"
        findings.say(f"{table.name} is served as a list without items, since {reason if key else 'it has no key'}.")
    return Resource(
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
    )


def _names(setting: Columns) -> tuple[str, ...]:
    """`"a, b"` is `["a", "b"]`; a name with a comma in it needs the list."""
    return tuple(name.strip() for name in setting.split(",")) if isinstance(setting, str) else setting


def _visible(table: Table, options: TableSettings, findings: Findings, *, may_lack: bool) -> list[str]:
    """The columns to show: those in `fields`, else all that are not hidden and do not look like a secret."""
    hidden = findings.known(table.name, "hidden", _names(options.hidden), table.columns, may_lack=may_lack)
    if options.fields is not None:
        shown = list(dict.fromkeys(findings.known(table.name, "fields", _names(options.fields), table.columns)))
        for name in set(hidden).intersection(shown):
            findings.blame(table.name, f"{quoted(name)} is in fields and in hidden; remove it from one of them")
    else:
        shown = [name for name in table.columns if name not in hidden]
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
        known = findings.known(table.name, "key", _names(options.key), table.columns)
        asked = tuple(readable[name] for name in known if name in readable)
        for name in known:
            if name not in readable or not readable[name].kind.is_comparable:
                type_name = table.columns[name].type.name
                findings.blame(
                    table.name, f"key names {quoted(name)}, of type {type_name}, which no URL can hold; name another"
                )
        return asked
    keys = [tuple(readable[name] for name in key) for key in table.keys if readable.keys() >= set(key)]
    return next((key for key in keys if _fits_url(key, visible)), keys[0] if keys else ())


def _is_segment(text: str) -> bool:
    return text not in (".", "..") and text.isprintable() and not PLACEHOLDER_CHARS.intersection(text)


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
    descending = {name.removeprefix("-"): name.startswith("-") for name in _names(options.sort)}
    for name in findings.known(table.name, "sort", descending, table.columns, may_lack=may_lack):
        if name not in visible:
            findings.blame(table.name, f"sort names {quoted(name)}, which is hidden; remove it, or name it in fields")
        elif not readable[name].kind.is_sortable:
            type_name = table.columns[name].type.name
            findings.blame(table.name, f"sort names {quoted(name)}, of type {type_name}, which has no order; remove it")
        else:
            yield Order(readable[name], is_descending=descending[name])

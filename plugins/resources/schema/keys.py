"""What identifies a row: one of the table's own keys, or the one that the settings name.

A table's key is unique because the database says so, and the settings cannot name one that it does not vouch for. Of
views and foreign tables it knows nothing, so there the settings are believed, and writes look for a second row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from plugins.resources.schema.catalogue import Table
from plugins.resources.schema.findings import Findings
from plugins.resources.schema.naming import quoted, relation
from plugins.resources.schema.resource import Field
from plugins.resources.settings import Columns
from service.api import listed, toml

TABLES = frozenset({"table", "partitioned table"})
"""What PostgreSQL can keep unique."""


@dataclass(frozen=True, slots=True)
class Key:
    """What identifies a row, as far as clients see it."""

    fields: tuple[Field, ...]
    """Empty where nothing identifies a row, or something hidden does: that orders nothing either."""
    is_unique: bool
    """False where only the settings say so."""
    has_items: bool
    """Whether a URL can hold it."""
    lack: str = ""
    """Why there is none, for clients: goes on after `since`."""
    reason: str = ""
    """Why there are no items, for the operator: goes on after `since`."""


def key_of(
    table: Table, named: Columns | None, readable: Mapping[str, Field], visible: Set[str], findings: Findings
) -> Key:
    """What the settings have `named`, else the first key that a URL can hold, else the first that clients see."""
    if named is not None:
        key = _named(table, named, readable, visible, findings)
        keys = [key] if key else []
    elif table.has_heirs:
        keys = []
    else:
        keys = [tuple(readable[name] for name in key) for key in table.keys if readable.keys() >= set(key)]
    is_unique = table.relation in TABLES
    seen = [key for key in keys if visible >= {part.column.name for part in key}]
    for key in seen:
        if _fits_url(key):
            return Key(key, is_unique, has_items=True)
    if seen:
        reason = f"its key {_called(seen[0])} is of a type that no URL can hold"
        return Key(seen[0], is_unique, has_items=False, reason=reason)
    if keys:
        return Key(
            (), is_unique, has_items=False, lack="its key is hidden", reason=f"its key {_called(keys[0])} is hidden"
        )
    reason = lack = "it has no key"
    if table.has_heirs and table.keys:
        called = listed(table.keys[0])
        reason = f"tables that inherit from it can have rows with the same {called}; a view of it may have a key"
    return Key((), is_unique, has_items=False, lack=lack, reason=reason)


def _named(
    table: Table, named: Columns, readable: Mapping[str, Field], visible: Set[str], findings: Findings
) -> tuple[Field, ...]:
    """The columns that the settings name, where they can be a key."""

    def refuse(name: str) -> str | None:
        if name not in readable:
            return "which the database role may not read"
        is_comparable = readable[name].kind.is_comparable
        return None if is_comparable else f"of type {table.columns[name].type.name}, which no URL can hold"

    mistakes_before = len(findings.mistakes)
    key = tuple(readable[name] for name in findings.standing(table, "key", named, refuse=refuse))
    if key and len(findings.mistakes) == mistakes_before and table.relation in TABLES:
        message = _doubt(table, key)
        if message is not None:
            findings.blame("table", table.name, "key", message=message, write=_better(table, readable, visible))
    return key


def _doubt(table: Table, key: Sequence[Field]) -> str | None:
    """Why it may not identify a row, and the way out; None where the database vouches for it."""
    called = listed([toml(part.column.name) for part in key])
    if table.has_heirs:
        return (
            f"names {called}, while tables that inherit from {table.name} can have rows with the same; a view of it "
            f"may have such a key"
        )
    names = {part.column.name for part in key}
    nullable = [part.column.name for part in key if part.column.is_nullable]
    if any(names.issuperset(each) for each in table.keys):
        if not nullable:
            return None
        return f"names {listed(map(toml, nullable))}, which can be NULL, and no URL names such a row"
    where = relation(table)
    sql = f"CREATE UNIQUE INDEX ON {where} ({', '.join([quoted(part.column.name) for part in key])});"
    if nullable:
        sql = f"ALTER TABLE {where} {', '.join([f'ALTER {quoted(name)} SET NOT NULL' for name in nullable])}; {sql}"
    return f"names {called}, and several rows can have the same; to make it a key: {sql}"


def _better(table: Table, readable: Mapping[str, Field], visible: Set[str]) -> list[str] | None:
    """A key of the table that would do."""
    if table.has_heirs:
        return None
    for key in table.keys:
        if visible >= set(key) and _fits_url([readable[name] for name in key]):
            return list(key)
    return None


def _fits_url(key: Sequence[Field]) -> bool:
    return all(part.kind.is_comparable for part in key)


def _called(key: Sequence[Field]) -> str:
    return listed([part.column.name for part in key])

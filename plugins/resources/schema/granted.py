"""A resource as a grant leaves it: the fields that exist for a principal, and the rows.

What cannot be read is not there: fields, key, sorts and everything that is made of a `Resource` go without it. Values
of a filter of rows are read as those of a query are, before any SQL: one that is no value of its column's type matches
nothing, and nobody is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from typing import Final

from plugins.resources.parse.texts import sendable
from plugins.resources.schema.allowing import must_be_given
from plugins.resources.schema.catalogue import Column, Table
from plugins.resources.schema.kinds import Unfit, kind_of
from plugins.resources.schema.resource import Child, Field, Resource
from service.api import Action, Grant, Grantable, Where

HIDDEN_KEY: Final = "its key is hidden"


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows there are, but for the values: alternatives, each of columns that must all have theirs."""

    alternatives: tuple[tuple[Column, ...], ...] = ((),)

    @property
    def are_all(self) -> bool:
        return () in self.alternatives

    @property
    def are_none(self) -> bool:
        return not self.alternatives

    @property
    def size(self) -> int:
        """How many values there are to bind."""
        return sum(map(len, self.alternatives))


UNRESTRICTED: Final = Rows()


@dataclass(frozen=True, slots=True)
class Granted:
    """A resource as far as it is granted."""

    resource: Resource
    rows: Rows = UNRESTRICTED


def rows_of(where: Where, table: Table) -> tuple[Rows, tuple[str, ...]]:
    """The rows that a grant is for, and the values to bind. An alternative that nothing can match is left out."""
    found: dict[tuple[tuple[str, str], ...], tuple[Column, ...]] = {}
    for alternative in where:
        pairs = [(column, _value(table, column, text)) for column, text in alternative]
        texts = tuple([(column, text) for column, text in pairs if text is not None])
        if len(texts) == len(pairs):
            found[texts] = tuple([table.columns[column] for column, _ in texts])
    if () in found:
        return UNRESTRICTED, ()
    return Rows(tuple(found.values())), tuple([text for pairs in found for _, text in pairs])


def _value(table: Table, column: str, text: str) -> str | None:
    """The text that PostgreSQL reads as this value of the column; None where it is none."""
    found = table.columns.get(column)
    if found is None or not found.is_readable:
        return None
    kind = kind_of(found.type)
    if not kind.is_comparable:
        return None
    try:
        return kind.parse(sendable(text))
    except Unfit:
        return None


def narrowed(resource: Resource, readable: Set[str] | None, writable: Set[str] | None) -> Resource | None:
    """The resource with these columns; None where it has no field left. Its children are those that can still be
    found by what is visible here."""
    if readable is None and writable is None:
        return resource
    fields = {
        name: field for name, field in resource.fields.items() if readable is None or field.column.name in readable
    }
    if not fields:
        return None
    has_key = all(fields.get(part.name) is part for part in resource.key)
    writes = resource.writes
    open_ = {name for name, field in fields.items() if writable is None or field.column.name in writable}
    seen = {field.column.name for field in fields.values()}
    return replace(
        resource,
        fields=fields,
        key=resource.key if has_key else (),
        keyless=resource.keyless if has_key else HIDDEN_KEY,
        has_items=resource.has_items and has_key,
        tie_break=_tie_break(resource, fields.values(), has_key=has_key),
        sort=tuple([order for order in resource.sort if order.field.column.name in seen]),
        writes=replace(writes, creatable=writes.creatable & open_, changeable=writes.changeable & open_),
        children=tuple([child for child in resource.children if seen.issuperset(_names(child.targets))]),
    )


def _tie_break(resource: Resource, fields: Iterable[Field], *, has_key: bool) -> tuple[Field, ...]:
    """What orders rows that a sort leaves equal: never what is not seen."""
    if has_key and resource.key:
        return resource.tie_break
    return tuple([field for field in fields if field.kind.is_sortable])


def leads_to(parent: Resource, child: Child, rows: Resource) -> bool:
    """Whether what leads from the parent to `rows`, the child's, is seen at both ends."""
    seen = {field.column.name for field in rows.fields.values()}
    is_led = any(each is child for each in parent.children)
    return is_served(parent, "read") and is_led and seen.issuperset(_names(child.columns))


def _names(columns: Iterable[Column]) -> list[str]:
    return [column.name for column in columns]


def as_granted(resource: Resource, grant: Grant) -> tuple[Granted | None, tuple[str, ...]]:
    """The resource as the grant leaves it, and the values of its rows; None where no field is left."""
    narrow = narrowed(resource, grant.readable, grant.writable)
    if narrow is None:
        return None, ()
    rows, values = rows_of(grant.where, resource.table)
    return Granted(settled(narrow, rows), rows), values


def settled(resource: Resource, rows: Rows) -> Resource:
    """The resource as its rows can be changed: where there are several alternatives, what tells them apart stays as it
    is. Else a row could be taken from what one of them is for to what only another one is for."""
    if len(rows.alternatives) < 2:
        return resource
    columns = [column for alternative in rows.alternatives for column in alternative]
    names = {column.name for column in columns}
    origins = {column.origin for column in columns} - {None}  # a view may show one column twice
    writes = resource.writes
    fixed = {
        name for name, field in resource.fields.items() if field.column.name in names or field.column.origin in origins
    }
    return replace(resource, writes=replace(writes, changeable=writes.changeable - fixed))


def is_served(resource: Resource, action: Action) -> bool:
    """Whether there is a place where a resource, as it is granted for this action, is served: one row needs its key."""
    return action in ("list", "create") or resource.has_items


def grantable(resource: Resource, name: str) -> Grantable:
    """What there is to be granted of it."""

    def fits(column: Column) -> Callable[[str], bool]:
        return lambda text: _value(resource.table, column.name, text) is not None

    table, writes = resource.table, resource.writes
    readable = [column for column in table.columns.values() if column.is_readable]
    columns = {field.name: field.column for field in resource.fields.values()}
    given: dict[str, Set[str]] = {"create": writes.creatable, "update": writes.changeable}
    return Grantable(
        name,
        {column.name: fits(column) for column in readable if kind_of(column.type).is_comparable},
        shown=frozenset(column.name for column in columns.values()),
        key=frozenset(part.column.name for part in resource.key) if resource.has_items else frozenset(),
        required=frozenset(columns[name].name for name in writes.creatable if must_be_given(columns[name])),
        empty=frozenset(column.name for column in table.columns.values() if is_empty(column, resource)),
        writes={action: frozenset(columns[name].name for name in given.get(action, ())) for action in writes.actions},
    )


def is_empty(column: Column, resource: Resource) -> bool:
    """Whether a new row that is given no value for it has none. Of views, and of what a trigger does first, nobody
    knows."""
    table = resource.table
    is_known = table.relation in ("table", "partitioned table") and "create" not in table.kept
    return is_known and not column.is_filled and column is not resource.writes.modified

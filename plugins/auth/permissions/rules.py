"""What the rules of a principal's roles come to: one `Grant`. Pure.

Each rule grants a rectangle, its rows by its columns; several grant no rectangle together. So that no cell is shown
that no single rule shows:

1. rules of the same rows are one, of all their columns;
2. a rule of which another one grants all is left out;
3. where several are left, the rows are those of any of them, and the columns those that all of them have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plugins.auth.permissions.settings import CLAIM, LITERAL, TableRule
from service.api import NO_ROW, Action, Grant, Principal

Terms = frozenset[tuple[str, str]]
"""What must all hold: columns and what they equal. More of them are fewer rows."""

Columns = frozenset[str] | None
"""None is all."""

NONE: frozenset[str] = frozenset()

WRITES: frozenset[Action] = frozenset({"create", "update"})
"""The actions that give columns a value."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A value that the principal brings."""

    name: str

    def of(self, principal: Principal) -> str | None:
        """Its text; None where it is missing, or nothing that could stand in a column."""
        if self.name == "sub":  # also of schemes that have no claims
            return principal.subject
        return as_text((principal.claims or {}).get(self.name))


def as_text(value: object) -> str | None:
    """Text, number or boolean as PostgreSQL reads it; None for all else."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return _digits(value)
        case float() if math.isfinite(value):
            return repr(value)
    return None


def _digits(value: int) -> str | None:
    try:
        return str(value)
    except ValueError:  # more digits than Python spells out, and than any column has
        return None


@dataclass(frozen=True, slots=True)
class Rule:
    """What one role grants on one table."""

    where: tuple[tuple[str, Claim | str], ...]
    readable: Columns
    writable: Columns

    @property
    def claims(self) -> tuple[Claim, ...]:
        return tuple([value for _, value in self.where if isinstance(value, Claim)])

    def rows(self, principal: Principal) -> Terms | None:
        """None is no row: a claim is missing."""
        found = []
        for column, value in self.where:
            text = value.of(principal) if isinstance(value, Claim) else value
            if text is None:
                return None
            found.append((column, text))
        return frozenset(found)


def rule_of(settings: TableRule, action: Action) -> Rule:
    """What the settings grant for one of their actions."""
    return Rule(
        tuple([(column, source_of(value)) for column, value in sorted(settings.where.items())]),
        columns_of(settings.readable),
        columns_of(settings.writable) if action in WRITES else NONE,
    )


def source_of(value: str | float) -> Claim | str:
    """Where a value of `where` comes from: the principal, or the settings themselves."""
    if isinstance(value, str) and value.startswith(CLAIM):
        return Claim(value.removeprefix(CLAIM))
    return (as_text(value) or "").removeprefix(LITERAL)


def columns_of(names: Sequence[str] | None) -> Columns:
    return None if names is None else frozenset(names)


@dataclass(frozen=True, slots=True)
class _Area:
    """Rows by columns."""

    rows: Terms
    readable: Columns
    writable: Columns

    def is_within(self, other: _Area) -> bool:
        return (
            self.rows >= other.rows
            and _is_within(self.readable, other.readable)
            and _is_within(self.writable, other.writable)
        )


def granted(rules: Sequence[Rule], principal: Principal) -> Grant | None:
    """What `rules`, of which there is at least one, come to; None where they have no column in common."""
    areas: dict[Terms, _Area] = {}
    for rule in rules:
        rows = rule.rows(principal)
        if rows is None:
            continue
        same = areas.get(rows, _Area(rows, NONE, NONE))
        areas[rows] = _Area(rows, _union(same.readable, rule.readable), _union(same.writable, rule.writable))
    found = [area for area in areas.values() if not _is_spared(area, areas.values())]
    where = [area.rows for area in found if not any(area.rows > other.rows for other in found)]
    readable = _intersection([each.readable for each in found or rules])
    writable = _intersection([each.writable for each in found or rules])
    if readable is not None and not readable:
        return None
    return Grant(tuple([tuple(rows) for rows in where]) if where else NO_ROW, readable, writable)


def _is_spared(area: _Area, areas: Iterable[_Area]) -> bool:
    """Whether another one grants all of it; of two that grant the same, the rows differ."""
    return any(area is not other and area.is_within(other) for other in areas)


def _is_within(columns: Columns, others: Columns) -> bool:
    return others is None or (columns is not None and columns <= others)


def _union(columns: Columns, others: Columns) -> Columns:
    return None if columns is None or others is None else columns | others


def _intersection(every: Iterable[Columns]) -> Columns:
    found: Columns = None
    for columns in every:
        if columns is not None:
            found = columns if found is None else found & columns
    return found

"""The index that a list wants, and how far one that is there serves it. Pure.

What equals a value comes first, in any order; then the order of the list, forwards or backwards, so that a page is read
off the index; or, where the list has a range in it that its order does not begin with, that. A list that is only
searched for parts of texts wants trigrams, one that looks into arrays an inverted index. Where only alternatives narrow
a list, each of them wants an index of its own: PostgreSQL joins what these find (BitmapOr).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from plugins.resources.advice.facts import Index, IndexColumn
from plugins.resources.schema.catalogue import Table
from plugins.resources.schema.naming import quoted, relation
from plugins.resources.shapes import Conditions, Shape

EQUAL: Final = frozenset({"eq", "in"})
RANGES: Final = frozenset({"gt", "gte", "lt", "lte", "between"})
PARTS: Final = frozenset({"contains", "endswith", "like", "ilike"})
ELEMENTS: Final = frozenset({"has", "overlaps"})

PATTERN_OPS: Final = {"text": "text_pattern_ops", "varchar": "varchar_pattern_ops"}
"""What LIKE 'abc%' goes by, whatever the collation."""

MOST_COLUMNS: Final = 32
"""PostgreSQL's own limit of an index."""


class Served(IntEnum):
    """How far an index serves a list."""

    NOT = 0
    PARTLY = 1
    """It finds rows by what equals a value, or begins with the order; the rest is read and sorted."""
    FULLY = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One column of an index behind those that equal a value."""

    column: str
    is_descending: bool = False
    is_ordered: bool = False
    """False where it may run either way: a range."""
    opclass: str = ""
    """Empty for the usual one."""

    def fits(self, column: IndexColumn) -> bool:
        is_same = column.opclass == self.opclass if self.opclass else column.is_usual
        return column.name == self.column and is_same and column.nulls_first == column.is_descending


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index."""

    table: Table
    equal: tuple[str, ...]
    then: tuple[Part, ...] = ()
    method: Literal["btree", "gin"] = "btree"

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.equal, *[part.column for part in self.then])

    @property
    def line(self) -> str:
        """What makes it."""
        concurrently = "" if self.table.relation == "partitioned table" else " CONCURRENTLY"
        using = "" if self.method == "btree" else f" USING {self.method}"
        is_backwards = all(part.is_descending for part in self.then if part.is_ordered)
        terms = [quoted(name) for name in self.equal]
        for part in self.then:
            opclass = f" {part.opclass}" if part.opclass else ""
            terms.append(f"{quoted(part.column)}{opclass}{' DESC' * (part.is_descending and not is_backwards)}")
        return f"CREATE INDEX{concurrently} ON {relation(self.table)}{using} ({', '.join(terms)});"

    def begins(self, other: Candidate) -> bool:
        """Whether an index of the other's makes this one needless."""
        return (
            self.table.name == other.table.name
            and self.method == other.method == "btree"
            and not self.then
            and set(self.equal) == set(other.columns[: len(self.equal)])
            and len(other.columns) > len(self.equal)
        )


def candidates_for(shape: Shape, table: Table, *, has_key: bool, is_selective: bool = True) -> tuple[Candidate, ...]:
    """The indexes that would serve the list best: none where none would, several for alternatives. `has_key` is false
    where the order of the list ends with every column that there is, for want of a key; `is_selective` too where most
    rows pass its ranges or alternatives: then its order is worth more."""
    where = shape.where
    if where.either and is_selective and _candidate(where, (), table) is None:
        for alternatives in where.either:
            if found := _candidates_of_each(alternatives, table):
                return found
    best = _candidate(where, shape.order, table, has_key=has_key, is_selective=is_selective)
    return (best,) if best is not None else ()


def _candidates_of_each(alternatives: Iterable[Conditions], table: Table) -> tuple[Candidate, ...]:
    """An index for each of them; none where one of them wants none, since all rows are then read for it anyway."""
    found: list[Candidate] = []
    for each in alternatives:
        best = _candidate(each, (), table)
        inner = [_candidates_of_each(others, table) for others in each.either] if best is None else [(best,)]
        narrowed = next((several for several in inner if several), ())
        if not narrowed:
            return ()
        found += narrowed
    return tuple(found)


def _candidate(
    where: Conditions, names: Sequence[str], table: Table, *, has_key: bool = True, is_selective: bool = True
) -> Candidate | None:
    """The index for what must all hold, in this order."""
    operators: dict[str, set[str]] = {}
    for column, operator in where.filters:
        operators.setdefault(column, set()).add(operator)
    equal = tuple([column for column, used in operators.items() if used & EQUAL])
    others = {column: used for column, used in operators.items() if column not in equal}
    parts = [Part(name.removeprefix("-"), name.startswith("-"), is_ordered=True) for name in names]
    order = [part for part in parts if part.column not in equal]
    ordered = tuple(order if has_key else order[:1])
    ranges = [column for column, used in others.items() if used & RANGES]
    prefixes = [
        Part(column, opclass=PATTERN_OPS[type_name])
        for column, used in others.items()
        if "startswith" in used and (type_name := table.columns[column].type.name) in PATTERN_OPS
    ]
    begins_with_range = bool(ordered) and ordered[0].column in ranges
    if ranges and is_selective and not begins_with_range:
        return Candidate(table, equal, (Part(ranges[0]),))
    if prefixes and is_selective and not begins_with_range:
        return Candidate(table, equal, (prefixes[0],))
    if not equal and not ranges and is_selective:
        for column, used in others.items():
            if used & ELEMENTS:
                return Candidate(table, (), (Part(column, opclass="array_ops"),), "gin")
            if used & PARTS and table.columns[column].type.name in PATTERN_OPS:
                return Candidate(table, (), (Part(column, opclass="gin_trgm_ops"),), "gin")
    if not equal and not ordered:
        return None
    return Candidate(table, equal, ordered[: MOST_COLUMNS - len(equal)])


def served(candidate: Candidate, indexes: Iterable[Index]) -> Served:
    """How far the best of them serves it."""
    return max([_served_by(index, candidate) for index in indexes if index.is_valid], default=Served.NOT)


def _served_by(index: Index, candidate: Candidate) -> Served:
    names = [column.name for column in index.columns]
    has_rows = index.rows == "all" or (index.rows == "not null" and names[0] in candidate.equal)
    if not has_rows:
        return Served.NOT
    if candidate.method == "gin":
        fits = index.method == "gin" and any(candidate.then[0].fits(column) for column in index.columns)
        return Served.FULLY if fits else Served.NOT
    if index.method == "hash":
        fits = (*names,) == candidate.equal and not candidate.then
        return Served.FULLY if fits else Served.NOT
    if index.method != "btree":
        return Served.NOT
    if index.is_unique and index.rows == "all" and set(names) <= set(candidate.equal):
        return Served.FULLY  # one row at most
    found = _leading(index.columns, candidate.equal)
    if found < len(candidate.equal):
        return Served.PARTLY if found else Served.NOT
    matched = _in_order(index.columns[found:], candidate.then)
    known = {*candidate.equal, *[part.column for part in candidate.then[:matched]]}
    if matched == len(candidate.then) or any(known.issuperset(key) for key in candidate.table.keys):
        return Served.FULLY
    return Served.PARTLY if known else Served.NOT


def _leading(columns: Sequence[IndexColumn], equal: Sequence[str]) -> int:
    """How many columns the index begins with that equal a value."""
    count = 0
    while count < len(columns) and columns[count].name in equal and columns[count].is_usual:
        count += 1
    return count


def _in_order(columns: Sequence[IndexColumn], parts: Sequence[Part]) -> int:
    """How many parts the index goes on with, all of them forwards or all of them backwards."""
    is_backwards: bool | None = None
    matched = 0
    for column, part in zip(columns, parts, strict=False):
        if not part.fits(column):
            break
        if part.is_ordered:
            turned = column.is_descending != part.is_descending
            if is_backwards not in (None, turned):
                break
            is_backwards = turned
        matched += 1
    return matched

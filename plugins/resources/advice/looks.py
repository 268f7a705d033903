"""Which lists are looked at, each once, and how they are called.

Those along every foreign key of what is served, those in the order that a resource has by itself, and those that
clients ask for and that take the most time. Where rows are counted, the count is looked at by itself: what makes a page
quick need not make its count so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from plugins.resources.advice.explaining import NoPlan, Plan
from plugins.resources.advice.facts import Facts
from plugins.resources.advice.findings import Looked, in_bytes
from plugins.resources.schema.catalogue import ForeignKey
from plugins.resources.schema.kinds import OPERATORS
from plugins.resources.schema.resource import Resource
from plugins.resources.shapes import Conditions, Counting, Seen, Shape, merged, shape_of

MOST_SEEN: Final = 20
"""Shapes that clients ask for and that are looked at (chosen: each is explained)."""

CALLED: Final[dict[Counting, str]] = {"": "list", "capped": "capped count", "exact": "exact count"}


@dataclass(slots=True)
class Look:
    """A list to look at, or a count."""

    resource: Resource
    shape: Shape
    keys: list[ForeignKey] = field(default_factory=list)
    """The foreign keys that it goes along."""
    is_default: bool = False
    """Whether it is in the order that the resource has by itself."""
    seen: list[tuple[str, Seen]] = field(default_factory=list)
    """By whom."""

    @property
    def seconds(self) -> float:
        return max([each.seconds for _, each in self.seen], default=0.0)

    @property
    def mean_s(self) -> float:
        """Of one time that it was asked for, as the one saw it who saw the slowest."""
        return max([each.seconds / max(each.calls, 1) for _, each in self.seen], default=0.0)

    @property
    def what(self) -> str:
        """`list of orders filtered by status, total[gte], sorted by -created_at, id`."""
        resource, shape = self.resource, self.shape
        by = f" filtered by {', '.join(_terms(shape.where))}" if shape.where != Conditions() else ""
        order = shape.order if resource.key else shape.order[:1]
        sorted_by = f"{',' if by else ''} sorted by {', '.join(order)}" if order else ""
        return f"{CALLED[shape.count]} of {resource.name}{by}{sorted_by}"

    def looked(self, plan: Plan | NoPlan) -> Looked:
        there = plan if isinstance(plan, Plan) else None
        return Looked(
            self.what.removeprefix(f"{CALLED['']} of "),
            there,
            plan.reason if isinstance(plan, NoPlan) else "",
            tuple(self._seen()),
        )

    def evidence(self, plan: Plan | NoPlan, name: str, facts: Facts) -> tuple[str, ...]:
        """`name` is that of the table that the facts are of."""
        rows = (
            f"has about {facts.rows:,} rows and" if facts.rows is not None else "has rows that nobody has counted and"
        )
        size = f"{name} {rows} takes {in_bytes(facts.bytes)}."
        return (size, self.tried(plan), *self._seen())

    def tried(self, plan: Plan | NoPlan) -> str:
        if isinstance(plan, NoPlan):
            return f"The {self.what} {plan.reason}."
        rows = "" if self.shape.count else f" for {plan.rows:,}"
        start = "With a text that hardly any row has, the" if plan.is_in_vain else "The"
        return f"{start} {self.what} takes {plan.ms:,.1f} ms and reads {plan.read:,} rows{rows}."

    def _seen(self) -> Iterator[str]:
        for origin, each in self.seen:
            times = f"{each.calls:,} {'time' if each.calls == 1 else 'times'}"
            mean_ms, worst_ms = each.seconds / max(each.calls, 1) * 1000, each.worst_s * 1000
            yield f"Seen by {origin} {times}, {mean_ms:,.1f} ms each, {worst_ms:,.1f} ms at most."


def _terms(where: Conditions) -> Iterator[str]:
    """`status`, `total[gte]`, `(status or total[gte])`."""
    yield from [name if operator == "eq" else f"{name}[{operator}]" for name, operator in where.filters]
    for alternatives in where.either:
        yield f"({' or '.join([' and '.join(_terms(each)) for each in alternatives])})"


def looks_at(resources: Sequence[Resource], seen: Mapping[str, Iterable[Seen]]) -> list[Look]:
    """Every list to look at, each once. `seen` is by who has seen it."""
    looks: dict[Shape, Look] = {}
    named = {resource.table.name: resource for resource in resources}

    def look(resource: Resource, shape: Shape) -> Look:
        return looks.setdefault(shape, Look(resource, shape))

    for resource in resources:
        columns = resource.table.columns
        for key in resource.table.foreign_keys:
            look(resource, shape_of(resource, columns=[columns[name] for name in key.columns])).keys.append(key)
        if resource.key or resource.sort:
            look(resource, shape_of(resource)).is_default = True
    for origin, shapes in seen.items():
        there = [each for each in shapes if _is_of(each.shape, named)][:MOST_SEEN]
        for each in merged([part for whole in there for part in _parts(whole)]):
            look(named[each.shape.table], each.shape).seen.append((origin, each))
    return list(looks.values())


def _is_of(shape: Shape, resources: Mapping[str, Resource]) -> bool:
    """Whether there is such a list here: who has seen it may know another schema, or be of another version."""
    resource = resources.get(shape.table)
    leaves = list(shape.where.leaves())
    columns = {name for name, _ in leaves} | {name.removeprefix("-") for name in shape.order}
    is_known = {operator for _, operator in leaves} <= {*OPERATORS}
    return resource is not None and columns <= resource.table.columns.keys() and is_known


def _parts(seen: Seen) -> Iterator[Seen]:
    """The page, and the count: that of all rows of a table reads as many as it may whatever the indexes are."""
    shape = seen.shape
    if shape.count != "exact":
        yield replace(seen, shape=replace(shape, count=""))
    if shape.count == "exact" or (shape.count and shape.where != Conditions()):
        yield replace(seen, shape=replace(shape, order=()))

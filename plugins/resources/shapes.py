"""Which lists clients ask for and how long their rows take: counted while the service runs, for `pegboard db advise`.

What is kept is the shape of a list, never a value of it: the columns that it is filtered by, with which operators, its
order, and whether its rows are counted. A worker counts for itself and tells it to whoever asks (`SERVING.answer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from plugins.resources.parse.filters import Condition, Filter, Group
from plugins.resources.parse.query import ListQuery
from plugins.resources.schema.catalogue import Column
from plugins.resources.schema.resource import Resource

MOST_SHAPES: Final = 500
"""That are counted (chosen); beyond it the half that has taken the least time is forgotten."""

MOST_TOLD: Final = 100
"""Those that have taken the most time are told (chosen: 25 KB of JSON)."""

Leaf = tuple[str, str]
"""Column and operator of a filter."""

Counting = Literal["", "capped", "exact"]
"""What of a list a statement counts: nothing; beside the rows of a page all rows, up to a cap; all rows, and no more
than that, in a statement of its own."""


@dataclass(frozen=True, slots=True, order=True)
class Conditions:
    """What must all hold, whatever its values."""

    filters: tuple[Leaf, ...] = ()
    """Sorted."""
    either: tuple[tuple[Conditions, ...], ...] = ()
    """Alternatives: one of each must hold."""

    def leaves(self) -> Iterator[Leaf]:
        """All filters, those of alternatives too."""
        yield from self.filters
        for alternatives in self.either:
            for each in alternatives:
                yield from each.leaves()


@dataclass(frozen=True, slots=True)
class Shape:
    """A list, whatever its values. Columns go by their names in the database."""

    table: str
    where: Conditions = Conditions()
    """Those that lead to the row above are among them, with `eq`."""
    order: tuple[str, ...] = ()
    """The whole of it, tie-break and all: `-created_at` is descending. Empty where rows are only counted."""
    count: Counting = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """How often a shape was asked for, and how long its statement took."""

    shape: Shape
    calls: int
    seconds: float
    worst_s: float


PLAIN: Final = ListQuery()

Shaping = Callable[[ListQuery, Counting], Shape]
"""Says what shape a query has, of one route of lists."""


def shape_of(
    resource: Resource, query: ListQuery = PLAIN, columns: Iterable[Column] = (), *, count: Counting = ""
) -> Shape:
    """The shape of a list of the resource. `columns` are those that equal what identifies the row above."""
    where = _conditions(query.conditions, [(column.name, "eq") for column in columns])
    if count == "exact":
        return Shape(resource.table.name, where, (), count)
    order = resource.total_order(resource.sort if query.sort is None else query.sort)
    names = tuple([f"{'-' if each.is_descending else ''}{each.field.column.name}" for each in order])
    return Shape(resource.table.name, where, names, count)


def _conditions(conditions: Iterable[Condition], filters: Iterable[Leaf] = ()) -> Conditions:
    """All of these, those of an `and` among them."""
    leaves, either, rest = set(filters), set(), list(conditions)
    while rest:
        each = rest.pop()
        if isinstance(each, Filter):
            leaves.add((each.field.column.name, each.operator))
        elif each.is_any:
            either.add(tuple(sorted({_conditions([member]) for member in each.members})))
        else:
            rest += each.members
    return Conditions(tuple(sorted(leaves)), tuple(sorted(either)))


class Shapes:
    """The shapes that one worker has seen, of a bounded number."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s` is a clock that never goes back."""
        self.now_s = now_s
        self._seen: dict[tuple[object, ...], _Figures] = {}

    def watch(self, shaping: Shaping) -> Watch:
        """Of one route of lists."""
        return Watch(self, shaping)

    def note(self, watch: Watch, query: ListQuery, count: Counting, took_s: float) -> None:
        """Count one. Costs less than a microsecond."""
        parts: list[object] = [watch, count]
        for condition in query.conditions:
            if isinstance(condition, Filter):  # flat: half the time of pairs (measured)
                parts.append(condition.field.name)
                parts.append(condition.operator)
            else:
                parts.append(_structure(condition))
        for each in query.sort or ():
            parts.append(each.is_descending)
            parts.append(each.field.name)
        key = tuple(parts)
        figures = self._seen.get(key)
        if figures is None:
            if len(self._seen) >= MOST_SHAPES:
                self._forget()
            figures = self._seen[key] = _Figures(watch.shaping(query, count))
        figures.calls += 1
        figures.seconds += took_s
        if took_s > figures.worst_s:
            figures.worst_s = took_s

    def told(self) -> list[Seen]:
        """Those that have taken the most time, first the most."""
        figures = sorted(self._seen.values(), key=_seconds, reverse=True)[:MOST_TOLD]
        return [Seen(each.shape, each.calls, each.seconds, each.worst_s) for each in figures]

    def _forget(self) -> None:
        kept = sorted(self._seen.items(), key=lambda item: item[1].seconds, reverse=True)
        self._seen = dict(kept[: MOST_SHAPES // 2])


class Watch:
    """What the handler of one route of lists tells."""

    def __init__(self, shapes: Shapes, shaping: Shaping) -> None:
        self.now_s = shapes.now_s
        self.shaping = shaping
        self._shapes = shapes

    def note(self, query: ListQuery, count: Counting, began_s: float) -> None:
        """A list was asked for at `began_s`, and now its rows are there, or it has failed."""
        self._shapes.note(self, query, count, self.now_s() - began_s)


class _Figures:
    """What was counted of one shape."""

    __slots__ = ("calls", "seconds", "shape", "worst_s")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.calls = 0
        self.seconds = 0.0
        self.worst_s = 0.0


def _structure(group: Group) -> tuple[object, ...]:
    """A tree without its values."""
    members = [
        (each.field.name, each.operator) if isinstance(each, Filter) else _structure(each) for each in group.members
    ]
    return (group.is_any, *members)


def _seconds(figures: _Figures) -> float:
    return figures.seconds


def merged(seen: Iterable[Seen]) -> list[Seen]:
    """The same shape once, whoever has seen it; first what has taken the most time."""
    by_shape: dict[Shape, Seen] = {}
    for each in seen:
        other = by_shape.get(each.shape, Seen(each.shape, 0, 0.0, 0.0))
        by_shape[each.shape] = Seen(
            each.shape,
            other.calls + each.calls,
            other.seconds + each.seconds,
            max(other.worst_s, each.worst_s),
        )
    return sorted(by_shape.values(), key=lambda each: each.seconds, reverse=True)

"""Which lists clients ask for and how long their rows take: counted while the service runs, for `pegboard db advise`.

What is kept is the shape of a list, never a value of it: the columns that it is filtered by, with which operators, and
its order. A worker counts for itself and tells it to whoever asks (`SERVING.answer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from plugins.resources.parse.filters import Condition, Filter, Group
from plugins.resources.parse.query import ListQuery
from plugins.resources.schema.catalogue import Column
from plugins.resources.schema.resource import Order, Resource

MOST_SHAPES: Final = 500
"""That are counted (chosen); beyond it the half that has taken the least time is forgotten."""

MOST_TOLD: Final = 100
"""Those that have taken the most time are told (chosen: 25 KB of JSON)."""


EITHER: Final = ("", "or")
"""In the filters of a shape: conditions of which one must hold. No one index serves these."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A list, whatever its values. Columns go by their names in the database."""

    table: str
    filters: tuple[tuple[str, str], ...] = ()
    """Column and operator, sorted; those that lead to the row above are among them, with `eq`."""
    order: tuple[str, ...] = ()
    """The whole of it, tie-break and all: `-created_at` is descending."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How often a shape was asked for, and how long its rows took."""

    shape: Shape
    calls: int
    seconds: float
    worst_s: float


def shape_of(
    resource: Resource, filters: Iterable[tuple[str, str]] = (), sort: tuple[Order, ...] | None = None
) -> Shape:
    """The shape of a list of the resource; without `sort` in its own order."""
    order = resource.total_order(resource.sort if sort is None else sort)
    names = tuple([f"{'-' if each.is_descending else ''}{each.field.column.name}" for each in order])
    return Shape(resource.table.name, tuple(sorted(set(filters))), names)


class Shapes:
    """The shapes that one worker has seen, of a bounded number."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s` is a clock that never goes back."""
        self.now_s = now_s
        self._seen: dict[tuple[object, ...], _Figures] = {}

    def watch(self, resource: Resource, columns: Iterable[Column] = ()) -> Watch:
        """Of one route of lists; `columns` are those that equal what identifies the row above."""
        return Watch(self, resource, tuple([(column.name, "eq") for column in columns]))

    def note(self, watch: Watch, query: ListQuery, took_s: float) -> None:
        """Count one. Costs less than a microsecond."""
        parts: list[object] = [watch]
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
            figures = self._seen[key] = _Figures(watch, query)
        figures.calls += 1
        figures.seconds += took_s
        if took_s > figures.worst_s:
            figures.worst_s = took_s

    def told(self) -> list[Seen]:
        """Those that have taken the most time, first the most."""
        figures = sorted(self._seen.values(), key=_seconds, reverse=True)[:MOST_TOLD]
        return [Seen(each.watch.shape(each.query), each.calls, each.seconds, each.worst_s) for each in figures]

    def _forget(self) -> None:
        kept = sorted(self._seen.items(), key=lambda item: item[1].seconds, reverse=True)
        self._seen = dict(kept[: MOST_SHAPES // 2])


class Watch:
    """What the handler of one route of lists tells."""

    def __init__(self, shapes: Shapes, resource: Resource, scope: tuple[tuple[str, str], ...]) -> None:
        self.now_s = shapes.now_s
        self._shapes = shapes
        self._resource = resource
        self._scope = scope

    def note(self, query: ListQuery, began_s: float) -> None:
        """A list was asked for at `began_s`, and now its rows are there, or it has failed."""
        self._shapes.note(self, query, self.now_s() - began_s)

    def shape(self, query: ListQuery) -> Shape:
        return shape_of(self._resource, [*self._scope, *_leaves(query.conditions)], query.sort)


class _Figures:
    """What was counted of one shape, and a list that had it."""

    __slots__ = ("calls", "query", "seconds", "watch", "worst_s")

    def __init__(self, watch: Watch, query: ListQuery) -> None:
        self.watch = watch
        self.query = query
        self.calls = 0
        self.seconds = 0.0
        self.worst_s = 0.0


def _structure(group: Group) -> tuple[object, ...]:
    """A tree without its values."""
    members = [
        (each.field.name, each.operator) if isinstance(each, Filter) else _structure(each) for each in group.members
    ]
    return (group.is_any, *members)


def _leaves(conditions: Iterable[Condition]) -> Iterator[tuple[str, str]]:
    """Columns and operators of what must all hold."""
    for each in conditions:
        if isinstance(each, Filter):
            yield each.field.column.name, each.operator
        elif each.is_any:
            yield EITHER
        else:
            yield from _leaves(each.members)


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

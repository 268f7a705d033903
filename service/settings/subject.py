"""The table that is being bound, as its faults need it: data, model and sources, and what follows from all three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

from pydantic import BaseModel

from service.settings.annotations import field_names, inside, mentions_secret, model_of
from service.settings.checking import Error, drop, get, put, validate
from service.settings.references import Resolver, Source
from service.settings.spelling import Path_, looks_secret, nearest, passwords_in

MOST_SHOWN = 40
"""Longer values are not repeated in a message (chosen)."""


class Subject:
    """One table, its data resolved, for one model."""

    def __init__(
        self,
        model: type[BaseModel],
        data: dict[str, object],
        *,
        resolver: Resolver,
        context: Mapping[str, object],
        also: Sequence[str],
    ) -> None:
        self.model = model
        self.data = data
        self.resolver = resolver
        self.also = also
        """Keys that the table has beside the model's: named in suggestions."""
        self._context = context

    def named(self, path: Path_) -> Path_:
        """`path` below the table that is bound, as secrets are named by it."""
        return (*self.resolver.sources[()].path, *path)

    def is_secret(self, path: Path_, annotation: object) -> bool:
        name = next((part for part in reversed(path) if isinstance(part, str)), "")
        return looks_secret(name) or mentions_secret(annotation)

    def shown(self, path: Path_, source: Source) -> object:
        """The value at `path`, where it is a short scalar that stands in the file itself."""
        value = get(self.data, path)
        literal = source.layer.document is not None and source.reference is None and not isinstance(source.raw, Mapping)
        if not literal or not isinstance(value, str | int | float) or len(str(value)) > MOST_SHOWN:
            return None
        return None if isinstance(value, str) and passwords_in(value) else value

    def is_whole(self, path: Path_, source: Source) -> bool:
        """Whether what is at `path` was not looked up by itself, but as part of a list or table that was."""
        return source.reference is not None and path not in self.resolver.sources

    def annotation(self, path: Path_) -> object:
        """The type of what is at `path`."""
        return inside(self.model, path)

    def is_outside(self, source: Source) -> bool:
        """Whether the value comes from a variable, an option or another file: such values are never repeated."""
        return source.layer.document is None or (source.reference is not None and source.reference[0] != "default")

    def holder(self, path: Path_) -> tuple[object, type[BaseModel] | None]:
        """The type around `path`, and its model."""
        parent = inside(self.model, path[:-1]) if path[:-1] else self.model
        return parent, model_of(parent)

    def known(self, path: Path_) -> list[str]:
        """The keys that there are beside `path`."""
        model = self.holder(path)[1]
        return [*(field_names(model) if model else ()), *(self.also if len(path) == 1 else ())]

    def guess(self, error: Error) -> str | None:
        return nearest(str(error.path[-1]), self.known(error.path))

    def pair_of(self, path: Path_, written: Path_) -> tuple[Path_, Path_, bool]:
        """The pair that holds the list item at `path`: its path in the data, as written, and whether there is one."""
        cut = len(path)
        while cut and isinstance(path[cut - 1], int):
            cut -= 1
        dropped = len(path) - cut
        return path[:cut], written[: len(written) - dropped], dropped > 0

    def passes(self, path: Path_, value: object, *, without: Path_ = ()) -> bool:
        """Whether there is no error at or below `path` once `value` is there."""
        if not path:
            return False
        data = deepcopy(self.data)
        if without:
            drop(data, without)
        if not put(data, path, value):
            return False
        errors = validate(self.model, data, self._context)[1]
        return not any(error.path[: len(path)] == path for error in errors)

    def replaced(self, pair: Path_, path: Path_, value: object) -> object:
        """The value of `pair` with `value` at `path` inside, references as they are written."""
        data = deepcopy(self.resolver.sources[pair].raw)
        if not isinstance(data, list):
            data = deepcopy(get(self.data, pair))
        holder: dict[str, object] = {"value": data}
        put(holder, ("value", *path[len(pair) :]), value)
        return holder["value"]

"""The table that is being bound, as its faults need it: data, model and sources, and what follows from all three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

from pydantic import BaseModel

from service.secrets import passwords_in
from service.settings.annotations import field_names, inside, model_of
from service.settings.checking import Error, drop, get, put, validate
from service.settings.references import Resolver, Source
from service.settings.spelling import Path_, nearest
from service.settings.wording import OUR_WORDS

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

    def shown(self, path: Path_, source: Source) -> object:
        """The value at `path`, where it is a short scalar that stands in the file itself."""
        value = get(self.data, path)
        literal = source.place.document is not None and source.reference is None and not isinstance(source.raw, Mapping)
        if not literal or not isinstance(value, str | int | float) or len(str(value)) > MOST_SHOWN:
            return None
        return None if isinstance(value, str) and passwords_in(value) else value

    def may_come_right(self, error: Error) -> bool:
        """Whether keys that the table has elsewhere may make the error go away: one that is missing, or those that a
        rule over several fields looks at. Lists are not merged, so what is wrong inside one stays wrong."""
        if any(isinstance(part, int) for part in error.path):
            return False
        model, value = model_of(self.annotation(error.path)), get(self.data, error.path)
        is_rule = model is not None and error.kind not in OUR_WORDS
        is_whole = model is not None and isinstance(value, Mapping) and value.keys() >= field_names(model).keys()
        return error.kind in ("missing", "crash") or (is_rule and not is_whole)

    def annotation(self, path: Path_) -> object:
        """The type of what is at `path`."""
        return inside(self.model, path)

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

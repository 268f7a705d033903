"""What would make a fault go away: values that pass, found by trying them in the table, as the line to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy

from pydantic import BaseModel

from service.secrets import MASK, passwords_in
from service.settings.annotations import field_names, inner, inside, is_secret, kinds, model_of, samples
from service.settings.checking import Error, drop, get, put, validate
from service.settings.fixing import line_for, line_renamed, safe, secret_reference
from service.settings.merging import Text
from service.settings.references import Resolver, Source
from service.settings.spelling import Path_, nearest, pair_of
from service.settings.units import Secret
from service.settings.wording import OUR_WORDS, WRONG_KIND

MOST_SHOWN = 40
"""Longer values are not repeated in a message (chosen)."""


class Subject:
    """The table that is being bound: its data, where that comes from, and its model."""

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

    def below(self, path: Path_) -> str | None:
        """The one key that there is beside `path`, where what is at `path` is a table as there are in that one."""
        known = self.known(path)
        is_table = len(known) == 1 and isinstance(get(self.data, path), Mapping)
        return known[0] if is_table and model_of(self.annotation((*path[:-1], *known, path[-1]))) else None

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


def remedy(subject: Subject, error: Error) -> str:
    """The line to write for an error at a key that there is, or that has to be."""
    resolver, path = subject.resolver, error.path
    source, annotation = resolver.source(path), subject.annotation(path)
    if source.is_part:
        return _whole(subject, error)
    takes = set(kinds(annotation))
    if path and source.reference is None and takes <= {"text", "list"} and is_secret(path, annotation):
        value: object = "..." if source.place.document is None else secret_reference(resolver.named(path))
        return line_for(source, value if "text" in takes else [value])
    pair = pair_of(path)
    for value in _candidates(subject, error, annotation):
        if isinstance(value, Secret) or not subject.passes(path, value):
            continue
        if pair != path and not error.kind.startswith("missing"):
            whole = subject.replaced(pair, path, value)
            return line_for(resolver.source(pair), safe(whole, resolver.named(pair), subject.annotation(pair)))
        return line_for(source, safe(value, resolver.named(path), annotation))
    return line_for(source, next(_candidates(subject, error, annotation), "...")) if path else ""


def _whole(subject: Subject, error: Error) -> str:
    """The line for an error inside a list or table that was looked up as a whole."""
    resolver = subject.resolver
    top = resolver.known(error.path)
    whole: dict[str, object] = {"value": _silent(get(subject.data, top))}
    annotation = subject.annotation(error.path)
    value = get(subject.data, error.path)
    path: Path_ = ("value", *error.path[len(top) :])
    if error.kind == "extra_forbidden":
        drop(whole, path)
        guess = subject.guess(error)
        path = (*path[:-1], guess) if guess else ()
    else:
        value = next(
            (value for value in _candidates(subject, error, annotation) if subject.passes(error.path, value)), "..."
        )
    if path:
        put(whole, path, value)
    return line_for(resolver.source(top), safe(whole["value"], resolver.named(top), subject.annotation(top)))


def _silent(value: object) -> object:
    """`value` without its texts, which are nobody's business."""
    if isinstance(value, dict):
        return {key: _silent(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_silent(item) for item in value]
    return "..." if isinstance(value, str) else value


def renaming(subject: Subject, error: Error, guess: str) -> str:
    """The line to write for a key that is misspelt, with its value where that passes under the right name."""
    resolver, path = subject.resolver, error.path
    source = resolver.source(path)
    if source.is_part:
        return _whole(subject, error)
    target: Path_ = (*path[:-1], guess)
    parent, model = subject.holder(path)
    field = model.model_fields[field_names(model)[guess]] if model and guess in field_names(model) else None
    if field is None:  # a key that every plugin's table has
        return line_renamed(resolver, path, guess, resolver.raw(path), None)
    annotation = inner(parent, guess)
    data = get(subject.data, path)
    in_file = source.place.document is not None
    is_typed = source.place.layer.name.startswith("--set") and isinstance(source.raw, Text)
    value: object
    if is_secret(target, annotation) or is_secret(path, None):
        value = secret_reference(resolver.named(target)) if in_file else "..."
    elif (in_file or is_typed) and (isinstance(data, dict | list) or subject.passes(target, data, without=path)):
        value = resolver.raw(path)  # not of a variable: what that holds is never repeated
    else:
        passing = (each for each in samples(annotation, field) if subject.passes(target, each, without=path))
        value = next(passing, "...")
    return line_renamed(resolver, path, guess, value, annotation)


def _candidates(subject: Subject, error: Error, annotation: object) -> Iterator[object]:
    """Values to try, the most likely to be meant first."""
    example = error.context.get("example")
    if example not in (None, MASK):
        yield example
    if error.kind in ("literal_error", "enum"):
        guess = nearest(str(get(subject.data, error.path)), [c for c in samples(annotation) if isinstance(c, str)])
        yield from [guess] if guess else []
    value = get(subject.data, error.path)
    if error.kind in WRONG_KIND and not subject.resolver.source(error.path).is_outside:
        yield from _coerced(value)
    yield from [error.context[bound] for bound in ("ge", "le") if bound in error.context]
    model = subject.holder(error.path)[1]
    name = field_names(model).get(str(error.path[-1])) if model and error.path else None
    yield from samples(annotation, model.model_fields[name] if model and name else None)
    yield from [_stepped(error.context[b], by) for b, by in (("gt", 1), ("lt", -1)) if b in error.context]


def _coerced(value: object) -> Iterator[object]:
    """What a value of the wrong kind most likely meant: `"10"` 10, `"true"` true, 5 `"5"`."""
    if isinstance(value, str):
        text = value.strip().lower()
        readers: tuple[Callable[[str], object], ...] = (int, float)
        for read in readers:
            try:
                yield read(text)
            except ValueError:
                continue
        if text in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            yield text in ("true", "yes", "on", "1")
        yield [part.strip() for part in value.split(",")]
    elif isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, int | float):
        yield from [str(value), bool(value)]
        yield from [int(value)] if value == value and abs(value) < 2**63 else []


def _stepped(bound: object, by: int) -> object:
    return bound + by if isinstance(bound, int | float) else bound

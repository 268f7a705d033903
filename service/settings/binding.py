"""From a table to a validated model; what is wrong becomes faults that say where, what, and the line to write.

A validator may end its message with the pair to write: `raise ValueError("min is above max; write: max = 20")`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel

from service.settings.annotations import field_names, inner, inside, kinds, mentions_secret, model_of, samples
from service.settings.checking import Error, drop, get, put, validate
from service.settings.fixing import line_for, removal_for, safe, secret_reference
from service.settings.merging import Node
from service.settings.references import Resolver, Source
from service.settings.reporting import Fault, Report, place_of
from service.settings.spelling import Path_, dotted, looks_secret, nearest, passwords_in, there_are
from service.settings.units import MASK, Secret
from service.settings.wording import OUR_WORDS, WRONG_KIND, sentence

M = TypeVar("M", bound=BaseModel)

MOST_SHOWN = 40
"""Longer values are not repeated in a message (chosen)."""


class Binding:
    """One table for one model."""

    def __init__(
        self,
        node: Node,
        model: type[BaseModel],
        *,
        resolver: Resolver,
        report: Report,
        context: Mapping[str, object],
        also: Sequence[str] = (),
    ) -> None:
        self._model = model
        self._resolver = resolver
        self._report = report
        self._context = context
        self._node = node
        self._also = also
        """Keys that the table has beside the model's: named in suggestions."""
        self.faulty: set[str | int] = set()
        """Keys whose value is wrong."""

    def bound(self, model: type[M]) -> M | None:
        """The model, or None: then there are faults."""
        data = self._resolver.data(self._node, model)
        self._data = data if isinstance(data, dict) else {}
        result, errors = validate(model, self._data, self._context)
        settled = self._resolver.settled
        errors = [error for error in errors if error.path not in settled]
        misspelt = {(*error.path[:-1], self._guess(error)) for error in errors if error.kind == "extra_forbidden"}
        for error in errors:
            if not (error.kind == "missing" and error.path in misspelt):  # one mistake, one fault
                self._report.add(self._fault(error))
        self.faulty = {path[0] for path in settled} | {error.path[0] for error in errors if error.path}
        return None if settled or errors else result

    def salvaged(self, model: type[M]) -> M:
        """The model with defaults in place of what is faulty, so that checking can go on."""
        good = {key: value for key, value in self._data.items() if key not in self.faulty}
        result, _ = validate(model, good, self._context)
        return result if result is not None else validate(model, {}, self._context)[0] or model.model_construct()

    # --- one error

    def _fault(self, error: Error) -> Fault:
        source, written = self._written(error.path)
        place = place_of(source.layer, written)
        if error.kind == "extra_forbidden":
            return self._unknown_key(error, source, written)
        annotation = inside(self._model, error.path)
        secret = self._is_secret(error.path, annotation)
        shown = None if secret else self._shown(error.path, source)
        message = sentence(error.kind, error.message, error.context, annotation, shown)
        if error.kind not in OUR_WORDS:  # a validator's own message may repeat what it was given
            for text in sorted(self._resolver.secrets - {""}, key=len, reverse=True):
                message = message.replace(text, MASK)
        if source.reference is not None:
            kind, name = source.reference
            where = {"env": f"the variable {name}", "file": f"the file {name}", "default": "the default"}[kind]
            message = f"{where} {message}" if message.startswith(("must", "is ")) else f"{where}: {message}"
        message, told, fix = message.partition("; write: ")
        if told:
            return self._told(error, message, fix)
        if source.reference is not None and error.path not in self._resolver.sources:
            fix = self._inside_reference(error, source)
        else:
            fix = self._fix(error, source, written, annotation, secret=secret)
        return Fault(place, written, message, fix)

    def _told(self, error: Error, message: str, fix: str) -> Fault:
        """A fault whose validator says the pair to write: at that key, in the form that its place asks for."""
        try:
            pair = tomllib.loads(fix)
        except tomllib.TOMLDecodeError:
            pair = {}
        key, value = next(iter(pair.items()), (None, None))
        path = error.path if key is None or error.path[-1:] == (key,) else (*error.path, key)
        source, written = self._written(path)
        line = line_for(source, written, value) if key is not None else fix
        return Fault(place_of(source.layer, written), written, message, line)

    def _fix(self, error: Error, source: Source, written: Path_, annotation: object, *, secret: bool) -> str:
        if secret and error.path and set(kinds(annotation)) <= {"text", "list"} and source.reference is None:
            value: object = "..." if source.layer.document is None else secret_reference(self._named(error.path))
            return line_for(source, written, value if "text" in kinds(annotation) else [value])
        pair_path, pair_written, list_path = self._pair_of(error.path, written)
        for value in self._candidates(error, annotation):
            if isinstance(value, Secret) or not self._passes(error.path, value):
                continue
            if list_path and not error.kind.startswith("missing"):
                whole = self._replaced(pair_path, error.path, value)
                shown = safe(whole, self._named(pair_path), inside(self._model, pair_path))
                return line_for(self._written(pair_path)[0], pair_written, shown)
            return line_for(source, written, safe(value, self._named(error.path), annotation))
        if not error.path:
            return ""
        return line_for(source, written, next(self._candidates(error, annotation), "..."))

    def _unknown_key(self, error: Error, source: Source, written: Path_) -> Fault:
        place = place_of(source.layer, written)
        key, guess = str(error.path[-1]), self._guess(error)
        parent, model = self._holder(error.path)
        if guess is None:
            known = self._known(error.path)
            message = f"there is no such setting; {there_are(known)}" if known else "there is no such setting"
            return Fault(place, written, message, removal_for(source, written), "remove")
        message = f'there is no such setting; did you mean "{guess}"?'
        if source.reference is not None and error.path not in self._resolver.sources:
            return Fault(place, written, message, self._inside_reference(error, source))
        target, target_written = (*error.path[:-1], guess), (*written[:-1], guess)
        if guess in self._also and len(error.path) == 1:
            return Fault(place, written, message, self._renamed(source, written, target_written, None, self._model))
        annotation = inner(parent, guess)
        field = model.model_fields[field_names(model)[guess]] if model else None
        if self._is_secret(target, annotation) or looks_secret(key):
            reference = "..." if source.layer.document is None else secret_reference(self._named(target))
            fix = self._renamed(source, written, target_written, reference, annotation)
            return Fault(place, written, message, fix)
        data = get(self._data, error.path)
        for value in (data, *samples(annotation, field)):
            if isinstance(data, dict | list) or self._passes(target, value, without=error.path):
                kept = source.raw if value is data and source.raw is not None else value
                fix = self._renamed(source, written, target_written, kept, annotation)
                return Fault(place, written, message, fix)
        return Fault(place, written, message, self._renamed(source, written, target_written, data, annotation))

    def _inside_reference(self, error: Error, source: Source) -> str:
        """The line for a fault inside a list or table that was looked up as a whole."""
        length = next(
            length for length in range(len(error.path), -1, -1) if error.path[:length] in self._resolver.sources
        )
        top, below = error.path[:length], error.path[length:]
        whole: dict[str, object] = {"value": deepcopy(get(self._data, top))}
        annotation = inside(self._model, error.path)
        value = get(self._data, error.path)
        path: Path_ = ("value", *below)
        if error.kind == "extra_forbidden":
            drop(whole, path)
            guess = self._guess(error)
            path = (*path[:-1], guess) if guess else ()
        else:
            value = next(
                (value for value in self._candidates(error, annotation) if self._passes(error.path, value)), "..."
            )
        if path:
            put(whole, path, value)
        return line_for(source, source.path, safe(whole["value"], self._named(top), inside(self._model, top)))

    def _holder(self, path: Path_) -> tuple[object, type[BaseModel] | None]:
        """The type around `path`, and its model."""
        parent = inside(self._model, path[:-1]) if path[:-1] else self._model
        return parent, model_of(parent)

    def _known(self, path: Path_) -> list[str]:
        """The keys that there are beside `path`."""
        model = self._holder(path)[1]
        return [*(field_names(model) if model else ()), *(self._also if len(path) == 1 else ())]

    def _guess(self, error: Error) -> str | None:
        return nearest(str(error.path[-1]), self._known(error.path))

    def _renamed(self, source: Source, written: Path_, target: Path_, value: object, annotation: object) -> str:
        if value is None:
            value = source.raw
        document = source.layer.document
        spot = document.spots.get(written) if document else None
        if spot is not None and spot.form in ("header", "implied"):
            return f"[{dotted(target)}]"
        if spot is not None and spot.form == "dotted":
            return f"{dotted(target[len(spot.anchor) :])} ..."
        renamed = replace(source, layer=replace(source.layer, name=_renamed_variable(source, target)))
        return line_for(replace(renamed, path=target, reference=None), target, safe(value, target, annotation))

    # --- where, and what may be shown

    def _written(self, path: Path_) -> tuple[Source, Path_]:
        """The source of what is at `path` of the data or nearest around it, and that path as it is written."""
        sources = self._resolver.sources
        length = next(length for length in range(len(path), -1, -1) if path[:length] in sources)
        source = sources[path[:length]]
        return source, (*source.path, *path[length:])

    def _named(self, path: Path_) -> Path_:
        """`path` below the table that is bound, as secrets are named by it."""
        return (*self._resolver.sources[()].path, *path)

    def _is_secret(self, path: Path_, annotation: object) -> bool:
        name = next((part for part in reversed(path) if isinstance(part, str)), "")
        return looks_secret(name) or mentions_secret(annotation)

    def _shown(self, path: Path_, source: Source) -> object:
        """The value at `path`, where it is a short scalar that stands in the file itself."""
        value = get(self._data, path)
        literal = source.layer.document is not None and source.reference is None and not isinstance(source.raw, Mapping)
        if not literal or not isinstance(value, str | int | float) or len(str(value)) > MOST_SHOWN:
            return None
        return None if isinstance(value, str) and passwords_in(value) else value

    def _pair_of(self, path: Path_, written: Path_) -> tuple[Path_, Path_, bool]:
        """The pair that holds the list item at `path`: its path in the data, as written, and whether there is one."""
        cut = len(path)
        while cut and isinstance(path[cut - 1], int):
            cut -= 1
        dropped = len(path) - cut
        return path[:cut], written[: len(written) - dropped], dropped > 0

    # --- what would pass

    def _candidates(self, error: Error, annotation: object) -> Iterator[object]:
        example = error.context.get("example")
        if example not in (None, MASK):
            yield example
        if error.kind in ("literal_error", "enum"):
            guess = nearest(str(get(self._data, error.path)), [c for c in samples(annotation) if isinstance(c, str)])
            yield from [guess] if guess else []
        value = get(self._data, error.path)
        if error.kind in WRONG_KIND:
            yield from _coerced(value)
        yield from [error.context[bound] for bound in ("ge", "le") if bound in error.context]
        model = self._holder(error.path)[1]
        name = field_names(model).get(str(error.path[-1])) if model and error.path else None
        yield from samples(annotation, model.model_fields[name] if model and name else None)
        yield from [_stepped(error.context[b], by) for b, by in (("gt", 1), ("lt", -1)) if b in error.context]

    def _passes(self, path: Path_, value: object, *, without: Path_ = ()) -> bool:
        """Whether there is no error at or below `path` once `value` is there."""
        if not path:
            return False
        data = deepcopy(self._data)
        if without:
            drop(data, without)
        if not put(data, path, value):
            return False
        errors = validate(self._model, data, self._context)[1]
        return not any(error.path[: len(path)] == path for error in errors)

    def _replaced(self, pair: Path_, path: Path_, value: object) -> object:
        """The value of `pair` with `value` at `path` inside, references as they are written."""
        data = deepcopy(self._resolver.sources[pair].raw)
        if not isinstance(data, list):
            data = deepcopy(get(self._data, pair))
        holder: dict[str, object] = {"value": data}
        put(holder, ("value", *path[len(pair) :]), value)
        return holder["value"]


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


def _renamed_variable(source: Source, target: Path_) -> str:
    name = source.layer.name
    return "__".join(["PEGBOARD", *[str(part).upper() for part in target]]) if name.startswith("PEGBOARD__") else name

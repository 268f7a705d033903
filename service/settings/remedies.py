"""What would make a fault go away: values that pass, found by trying them, as the line to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from service.settings.annotations import field_names, inner, kinds, samples
from service.settings.checking import Error, drop, get, put
from service.settings.fixing import line_for, line_renamed, safe, secret_reference
from service.settings.merging import Text
from service.settings.references import Source
from service.settings.spelling import Path_, looks_secret, nearest
from service.settings.subject import Subject
from service.settings.units import MASK, Secret
from service.settings.wording import WRONG_KIND


def remedy(subject: Subject, error: Error) -> str:
    """The line to write for an error at a key that there is, or that has to be."""
    source, written = subject.resolver.written(error.path)
    if subject.is_whole(error.path, source):
        return _whole(subject, error, source)
    annotation = subject.annotation(error.path)
    secret = subject.is_secret(error.path, annotation)
    if secret and error.path and set(kinds(annotation)) <= {"text", "list"} and source.reference is None:
        value: object = "..." if source.layer.document is None else secret_reference(subject.named(error.path))
        return line_for(source, written, value if "text" in kinds(annotation) else [value])
    pair_path, pair_written, list_path = subject.pair_of(error.path, written)
    for value in _candidates(subject, error, annotation):
        if isinstance(value, Secret) or not subject.passes(error.path, value):
            continue
        if list_path and not error.kind.startswith("missing"):
            whole = subject.replaced(pair_path, error.path, value)
            shown = safe(whole, subject.named(pair_path), subject.annotation(pair_path))
            return line_for(subject.resolver.written(pair_path)[0], pair_written, shown)
        return line_for(source, written, safe(value, subject.named(error.path), annotation))
    if not error.path:
        return ""
    return line_for(source, written, next(_candidates(subject, error, annotation), "..."))


def _whole(subject: Subject, error: Error, source: Source) -> str:
    """The line for an error inside a list or table that was looked up as a whole."""
    length = next(
        length for length in range(len(error.path), -1, -1) if error.path[:length] in subject.resolver.sources
    )
    top, below = error.path[:length], error.path[length:]
    whole: dict[str, object] = {"value": _silent(get(subject.data, top))}
    annotation = subject.annotation(error.path)
    value = get(subject.data, error.path)
    path: Path_ = ("value", *below)
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
    return line_for(source, source.path, safe(whole["value"], subject.named(top), subject.annotation(top)))


def _silent(value: object) -> object:
    """`value` without its texts, which are nobody's business."""
    if isinstance(value, dict):
        return {key: _silent(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_silent(item) for item in value]
    return "..." if isinstance(value, str) else value


def renaming(subject: Subject, error: Error, guess: str) -> str:
    """The line to write for a key that is misspelt, with its value where that passes under the right name."""
    source, written = subject.resolver.written(error.path)
    if subject.is_whole(error.path, source):
        return _whole(subject, error, source)
    target, target_written = (*error.path[:-1], guess), (*written[:-1], guess)
    parent, model = subject.holder(error.path)
    field = model.model_fields[field_names(model)[guess]] if model and guess in field_names(model) else None
    if field is None:  # a key that every plugin's table has
        return line_renamed(subject.resolver, error.path, target_written, subject.resolver.raw(error.path), None)
    annotation = inner(parent, guess)
    if subject.is_secret(target, annotation) or looks_secret(str(error.path[-1])):
        reference = "..." if source.layer.document is None else secret_reference(subject.named(target))
        return line_renamed(subject.resolver, error.path, target_written, reference, annotation)
    data = get(subject.data, error.path)
    is_typed = source.layer.name.startswith("--set") and isinstance(source.raw, Text)
    is_seen = is_typed or source.layer.document is not None  # what a variable holds is never repeated
    if is_seen and (isinstance(data, dict | list) or subject.passes(target, data, without=error.path)):
        return line_renamed(subject.resolver, error.path, target_written, subject.resolver.raw(error.path), annotation)
    for value in samples(annotation, field):
        if subject.passes(target, value, without=error.path):
            return line_renamed(subject.resolver, error.path, target_written, value, annotation)
    return line_renamed(subject.resolver, error.path, target_written, "...", annotation)


def _candidates(subject: Subject, error: Error, annotation: object) -> Iterator[object]:
    """Values to try, the most likely to be meant first."""
    example = error.context.get("example")
    if example not in (None, MASK):
        yield example
    if error.kind in ("literal_error", "enum"):
        guess = nearest(str(get(subject.data, error.path)), [c for c in samples(annotation) if isinstance(c, str)])
        yield from [guess] if guess else []
    value = get(subject.data, error.path)
    if error.kind in WRONG_KIND and not subject.is_outside(subject.resolver.written(error.path)[0]):
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

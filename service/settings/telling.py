"""Faults in words that are not ours: a plugin's, or those of its validators; the place and the form of the line are.

What to write is a value: where it was set decides whether that becomes a pair, a variable or an option.
"""

from __future__ import annotations

from pydantic import BaseModel

from service.settings.annotations import inside, mentions_secret
from service.settings.fixing import line_for, line_renamed, removal_for, secret_reference
from service.settings.references import Resolver, Source
from service.settings.reporting import Fault, place_of
from service.settings.spelling import Path_

REFERENCES = {"env": "the variable {}", "file": "the file {}", "default": "the default"}


def told(
    resolver: Resolver,
    model: type[BaseModel],
    path: Path_,
    message: str,
    *,
    write: object = None,
    rename: str | None = None,
) -> Fault:
    """What is wrong at `path` of a table of `model`, whose data `resolver` has found.

    The way out is the value to `write` there, or in the pair around a list item; or how to `rename` the last key; with
    neither, what is there is to be removed.
    """
    source, written = resolver.written(path)
    place, message = place_of(source.layer, written), phrased(message, source)
    pair = path
    while pair and isinstance(pair[-1], int):
        pair = pair[:-1]
    source, at = resolver.written(pair)
    annotation = inside(model, pair)
    if source.reference is not None and at != source.path:  # inside what was looked up as a whole
        return Fault(place, written, message, line_for(source, source.path, "..."))
    if rename is not None:
        line = line_renamed(resolver, pair, (*at[:-1], rename), resolver.raw(pair), annotation)
        return Fault(place, written, message, line)
    if write is None:
        return Fault(place, written, message, removal_for(source, at), "remove")
    is_in_file = source.layer.document is not None and (source.reference is None or source.reference[0] != "env")
    if is_in_file and mentions_secret(annotation):
        write = secret_reference((*resolver.sources[()].path, *pair))
    return Fault(place, written, message, line_for(source, at, write))


def phrased(message: str, source: Source) -> str:
    """`message` on a value of `source`: one that was looked up is that of the variable or file."""
    if source.reference is None:
        return message
    kind, name = source.reference
    where = REFERENCES[kind].format(name)
    return f"{where} {message}" if message.startswith(("must", "is ")) else f"{where}: {message}"

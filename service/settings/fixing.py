"""The line to write: for a fault at a place, the pair, variable or option that would make it go away."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace

from service.settings.annotations import inner, mentions_secret
from service.settings.merging import Text
from service.settings.references import Resolver, Source
from service.settings.spelling import Path_, dotted, looks_secret, passwords_in, toml, toml_key, toml_pair
from service.settings.units import Secret


def line_for(source: Source, path: Path_, value: object) -> str:
    """What to write so that `path`, as its layer has it, becomes `value`.

    `source` is that of `path` itself, or of a table around it.
    """
    if source.layer.document is None:
        return _outside_line(source, path, value)
    if source.reference is not None and path == source.path:
        kind, name = source.reference
        text = value if isinstance(value, str) else toml(value)
        if kind == "env":
            return f"export {name}={shlex.quote(text)}"
        if kind == "default" and isinstance(source.raw, Mapping):
            return toml_pair(path, {**source.raw, "default": value})
        return toml_pair(path, value)
    return _in_document(source, path, value)


def _in_document(source: Source, path: Path_, value: object) -> str:
    document = source.layer.document
    assert document is not None  # noqa: S101 - told apart by the caller
    spot = document.spots.get(path)
    if spot is not None:
        if spot.form == "header" and isinstance(value, Mapping):
            head = f"[{dotted(path)}]"
            return "\n".join([head, *[f"{toml_key(str(key))} = {toml(item)}" for key, item in value.items()]])
        holder = document.spots.get(path[:-1])
        if holder is not None and holder.form == "dotted":
            return f"{dotted(path[len(spot.anchor) :])} = {toml(value)}"
        return toml_pair(path, value)
    table = path[:-1]
    around = next((path[:length] for length in range(len(table), 0, -1) if path[:length] in document.spots), None)
    if around is None:
        return toml_pair(path, value)
    spot = document.spots[around]
    if spot.form == "dotted":
        return f"{dotted(path[len(spot.anchor) :])} = {toml(value)}"
    if around != table and spot.form in ("inline", "item"):
        for key in reversed(path[len(around) + 1 :]):
            value = {str(key): value}
        return toml_pair(path[: len(around) + 1], value)
    if around == table and spot.form != "implied":
        return toml_pair(path, value)
    return f"[{dotted(table)}]\n{toml_pair(path, value)}"


def _outside_line(source: Source, path: Path_, value: object) -> str:
    text = value if isinstance(value, str) else toml(value)
    name = source.layer.name
    if name.startswith("PEGBOARD__"):
        variable = "__".join(["PEGBOARD", *[str(part).upper().replace("-", "_") for part in path]])
        return f"export {variable}={shlex.quote(text)}"
    if name.startswith("--set"):
        return f"--set {shlex.quote(f'{dotted(path)}={text}')}"
    return toml_pair(path, value)


def line_renamed(resolver: Resolver, path: Path_, target: Path_, value: object, annotation: object) -> str:
    """What to write so that the key at `path` is called as in `target`, its path as it would be written."""
    source, written = resolver.written(path)
    document = source.layer.document
    spot = document.spots.get(written) if document else None
    if spot is not None and spot.form in ("header", "implied"):
        return f"[{dotted(target)}]"
    if spot is not None and spot.form == "dotted":
        return "\n".join(
            [
                f"{dotted((*target, *below[len(path) :])[len(spot.anchor) :])} = {toml(safe(raw, below, None))}"
                for below, raw in resolver.pairs_below(path)
            ]
        )
    return line_for(replace(source, path=target, reference=None), target, safe(value, target, annotation))


def removal_for(source: Source, path: Path_) -> str:
    """The key to take away."""
    document = source.layer.document
    if document is None:
        return source.layer.name
    spot = document.spots.get(path)
    if spot is not None and spot.form == "header":
        return f"[{dotted(path)}]"
    return toml_key(str(path[-1]))


def secret_reference(path: Path_) -> dict[str, str]:
    """Where the secret at `path` should come from instead of the file."""
    words = [part for part in path if isinstance(part, str) and part not in ("plugins", "service", "routes", "env")]
    name = "".join([letter if letter.isalnum() and letter.isascii() else "_" for letter in "_".join(words)])
    return {"env": name.upper()}


def safe(raw: object, path: Path_, annotation: object) -> object:
    """`raw` with a reference in place of everything that nobody should see."""
    if isinstance(raw, Text):
        raw = raw.text
    if isinstance(raw, Mapping):
        if raw.keys() <= {"env", "file"}:
            return raw
        return {key: safe(item, (*path, key), inner(annotation, key)) for key, item in raw.items()}
    if isinstance(raw, list | tuple):
        return [safe(item, (*path, index), inner(annotation, index)) for index, item in enumerate(raw)]
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    text = isinstance(raw, str)
    if isinstance(raw, Secret) or mentions_secret(annotation) or (text and looks_secret(name)):
        return secret_reference(path)
    return secret_reference(path) if text and passwords_in(str(raw)) else raw

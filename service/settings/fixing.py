"""The line to write: for a fault at a place, the pair, variable or option that would make it go away."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from service.secrets import passwords_in
from service.settings.annotations import inner, is_secret, mentions_secret
from service.settings.merging import Text
from service.settings.positions import Document, Place
from service.settings.references import Resolver, Source, read_text
from service.settings.spelling import Path_, dotted, toml, toml_key, toml_pair
from service.settings.units import Secret


def line_for(source: Source, value: object) -> str:
    """What to write so that what comes from `source` becomes `value`."""
    path = source.place.path
    if source.place.document is None:
        return _outside_line(source.place, value)
    if source.reference is not None and not source.is_around:
        kind, name = source.reference
        if kind == "env":
            return f"export {name}={shlex.quote(_as_text(value))}"
        if kind == "default" and isinstance(source.raw, Mapping):
            return toml_pair(path, {**source.raw, "default": value})
        return toml_pair(path, value)
    return _in_document(source.place, source.place.document, value)


def _in_document(place: Place, document: Document, value: object) -> str:
    path, spot = place.path, place.spot
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


def _outside_line(place: Place, value: object) -> str:
    name = place.layer.name
    if name.startswith("PEGBOARD__"):
        variable = "__".join(["PEGBOARD", *[str(part).upper().replace("-", "_") for part in place.path]])
        return f"export {variable}={shlex.quote(_as_text(value))}"
    if name.startswith("--set"):
        return f"--set {shlex.quote(f'{dotted(place.path)}={_as_text(value)}')}"
    return toml_pair(place.path, value)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else toml(value)


def line_renamed(resolver: Resolver, path: Path_, name: str, value: object, annotation: object) -> str:
    """What to write so that the key at `path` of the data is called `name`."""
    source = resolver.source(path)
    target, spot = source.place.beside(name), source.place.spot
    if spot is not None and spot.form in ("header", "implied"):
        return f"[{dotted(target.path)}]"
    if spot is not None and spot.form == "dotted":
        return "\n".join(
            [
                f"{dotted((*target.path, *below[len(path) :])[len(spot.anchor) :])} = {toml(safe(raw, below, None))}"
                for below, raw in resolver.pairs_below(path)
            ]
        )
    return line_for(Source(target, source.raw), safe(value, target.path, annotation))


def removal_for(place: Place) -> str:
    """The key to take away."""
    if place.document is None:
        return place.layer.name
    if place.spot is not None and place.spot.form == "header":
        return f"[{dotted(place.path)}]"
    return toml_key(str(place.path[-1]))


def secret_reference(path: Path_) -> dict[str, str]:
    """Where the secret at `path` should come from instead of the file."""
    words = [part for part in path if isinstance(part, str) and part not in ("plugins", "service", "routes", "env")]
    name = "".join([letter if letter.isalnum() and letter.isascii() else "_" for letter in "_".join(words)])
    return {"env": name.upper()}


def safe(raw: object, path: Path_, annotation: object) -> object:
    """`raw` with a reference in place of everything that nobody should see."""
    if isinstance(raw, Text):
        raw = raw.text if annotation is None else read_text(raw.text, annotation)
    if isinstance(raw, Mapping):
        if raw.keys() <= {"env", "file"}:
            return raw
        return {key: safe(item, (*path, key), inner(annotation, key)) for key, item in raw.items()}
    if isinstance(raw, list | tuple):
        return [safe(item, (*path, index), inner(annotation, index)) for index, item in enumerate(raw)]
    is_told = isinstance(raw, str) and (is_secret(path, annotation) or passwords_in(raw))
    return secret_reference(path) if is_told or isinstance(raw, Secret) or mentions_secret(annotation) else raw

"""Layers of settings on top of each other: later wins, tables merge, anything else is replaced.

Every value remembers the place that it was written at, so that a fault and `config show --origins`
can point there. A reference (`{ env = ... }`, `{ file = ... }`) is one value: it is replaced, never merged into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.settings.positions import Place

STRUCTURE_DEPTH = {"service": 1, "plugins": 2, "routes": 2}
"""How many keys from the top are always tables: `[service]`, `[plugins.NAME]`, `[routes."GLOB"]`."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text from outside TOML; the type of the setting decides how it is read."""

    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """Anything that is not merged: a scalar, a list, a reference, or Text."""

    value: object
    place: Place


@dataclass(frozen=True, slots=True)
class Table:
    entries: Mapping[str, Table | Value]
    place: Place
    """In the lowest layer that has the table."""


Node = Table | Value


def is_reference(value: object) -> bool:
    """Whether it is exactly `{ env = "X" }` or `{ file = "X" }`, with or without a default."""
    return (
        isinstance(value, Mapping)
        and value.keys() <= {"env", "file", "default"}
        and ("env" in value) != ("file" in value)
        and isinstance(value.get("env", value.get("file")), str)
    )


def grown(data: Mapping[str, object], place: Place, *, depth: int = 0) -> Table:
    """`data`, which stands at `place`, as a tree to merge. `depth` counts keys below the layer's own top."""
    top = str(place.path[len(place.path) - depth]) if depth else ""
    entries: dict[str, Node] = {}
    for key, value in data.items():
        here = place.below(key)
        structure = depth + 1 <= STRUCTURE_DEPTH.get(top or key, 0)
        if isinstance(value, Mapping) and (structure or not is_reference(value)):
            entries[key] = grown(value, here, depth=depth + 1)
        else:
            entries[key] = Value(value, here)
    return Table(entries, place)


def merged(below: Table, above: Table) -> Table:
    """`above` on top of `below`. Keys keep the order in which they first appear."""
    entries = dict(below.entries)
    for key, node in above.entries.items():
        under = entries.get(key)
        entries[key] = merged(under, node) if isinstance(under, Table) and isinstance(node, Table) else node
    return Table(entries, below.place)


def at(tree: Table, path: Iterable[str]) -> Node | None:
    """The node at `path`, or None."""
    node: Node | None = tree
    for key in path:
        node = node.entries.get(key) if isinstance(node, Table) else None
    return node


def plain(node: Node) -> object:
    """The values alone."""
    if isinstance(node, Table):
        return {key: plain(inner) for key, inner in node.entries.items()}
    return node.value.text if isinstance(node.value, Text) else node.value

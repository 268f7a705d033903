"""Where everything stands: the layers of settings; in a TOML file, line, column and form of every key path.

tomllib gives values without positions; the syntax tree of tree-sitter has them. It is parsed on first use, since
settings without a fault need no position.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from service.settings.spelling import Path_

if TYPE_CHECKING:
    from tree_sitter import Node

Form = Literal["header", "inline", "dotted", "implied", "value", "item"]


@dataclass(frozen=True, slots=True)
class Spot:
    """One place of a file."""

    line: int
    column: int
    form: Form
    """`header`: `[a.b]`; `inline`: `b = { }`; `dotted`: the `b` of `b.c = 1`; `implied`: the `a` of `[a.b]`."""
    anchor: Path_
    """The table whose header this stands below."""
    start_byte: int
    end_byte: int
    """The pair `key = value`, the header, or the list item."""


@dataclass(frozen=True)
class Document:
    """A TOML file: its name as the operator gave it, and its text without a byte order mark."""

    path: Path
    text: str

    def spot(self, path: Path_) -> Spot | None:
        """Where `path` stands, or the nearest place around it; None where not even its first key is there."""
        for length in range(len(path), 0, -1):
            spot = self.spots.get(path[:length])
            if spot is not None:
                return spot
        return None

    @cached_property
    def spots(self) -> dict[Path_, Spot]:
        import tree_sitter_toml  # here and not above: 25 ms that a start without a fault need not pay
        from tree_sitter import Language, Parser

        tree = Parser(Language(tree_sitter_toml.language())).parse(self.text.encode())
        spots = _Spots()
        for node in tree.root_node.named_children:
            spots.statement(node)
        return spots.found


@dataclass(frozen=True, slots=True)
class Layer:
    """Where values come from. `document` is the file, or None for the environment, `--set` and a route's author."""

    name: str
    document: Document | None = field(default=None, compare=False)


AFTER_THE_FILE = 1 << 30
"""Stands for the line of what is not in the file: reported last."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written, or would be."""

    layer: Layer
    path: Path_ = ()
    """In that layer, `("env", "production", ...)` included."""

    def below(self, *keys: str | int) -> Place:
        return Place(self.layer, (*self.path, *keys))

    def beside(self, key: str) -> Place:
        return Place(self.layer, (*self.path[:-1], key))

    @property
    def document(self) -> Document | None:
        return self.layer.document

    @property
    def spot(self) -> Spot | None:
        """Where it stands in the file itself, if it does."""
        return self.document.spots.get(self.path) if self.document else None

    @property
    def line(self) -> int:
        """Of it, or of the nearest around it; 0 where not even its first key is there."""
        return self._position[0]

    @property
    def column(self) -> int:
        return self._position[1]

    @property
    def text(self) -> str:
        """The line of the file, the variable, or the option."""
        if self.document is None:
            return self.layer.name
        return f"{self.document.path}:{self.line}" if self.line else str(self.document.path)

    @property
    def _position(self) -> tuple[int, int]:
        if self.document is None:
            return AFTER_THE_FILE, 0
        spot = self.document.spot(self.path)
        return (spot.line, spot.column) if spot else (0, 0)


class _Spots:
    """Collects the spots of one file in a single walk."""

    def __init__(self) -> None:
        self.found: dict[Path_, Spot] = {}
        self._items: dict[Path_, int] = {}  # arrays of tables, with the index of their latest item

    def statement(self, node: Node) -> None:
        if node.type == "pair":
            self._pair(node, (), ())
        elif node.type in ("table", "table_array_element"):
            self._table(node)

    def _table(self, node: Node) -> None:
        key, *pairs = [child for child in node.named_children if child.type != "comment"]
        path: Path_ = ()
        parts = _key_parts(key)
        for index, part in enumerate(parts):
            path = (*path, part)
            is_last = index == len(parts) - 1
            if is_last and node.type == "table_array_element":
                self._items[path] = self._items.get(path, -1) + 1
                self.found.setdefault(path, _spot(node, key, "header", path))
            elif not is_last:
                self.found.setdefault(path, _spot(node, key, "implied", ()))
            if path in self._items:
                path = (*path, self._items[path])
        self.found[path] = _spot(node, key, "header", path)
        for pair in pairs:
            if pair.type == "pair":
                self._pair(pair, path, path)

    def _pair(self, node: Node, base: Path_, anchor: Path_) -> None:
        key, value = [child for child in node.named_children if child.type != "comment"][:2]
        path = base
        parts = _key_parts(key)
        for part in parts[:-1]:
            path = (*path, part)
            self.found.setdefault(path, _spot(node, node, "dotted", anchor))
        self._value(node, value, (*path, parts[-1]), anchor)

    def _value(self, node: Node, value: Node, path: Path_, anchor: Path_) -> None:
        """`node` is what the spot covers: the pair, or the list item itself."""
        form: Form = "item" if node is value else "inline" if value.type == "inline_table" else "value"
        self.found[path] = _spot(node, node, form, anchor)
        if value.type == "inline_table":
            for pair in value.named_children:
                if pair.type == "pair":
                    self._pair(pair, path, path)
        elif value.type == "array":
            items = [child for child in value.named_children if child.type != "comment"]
            for index, item in enumerate(items):
                self._value(item, item, (*path, index), anchor)


def _spot(node: Node, extent: Node, form: Form, anchor: Path_) -> Spot:
    row, column = node.start_point
    return Spot(row + 1, column + 1, form, anchor, extent.start_byte, extent.end_byte)


def _key_parts(node: Node) -> list[str]:
    if node.type == "dotted_key":
        return [part for child in node.named_children for part in _key_parts(child)]
    text = (node.text or b"").decode()
    if node.type == "quoted_key":
        return list(tomllib.loads(f"{text} = 0"))
    return [text]

"""What is served: `Resource` and its parts, frozen values that grammar, statements and handlers all work from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from plugins.resources.schema.catalogue import LONG_NUMBERS, Action, Column, Table
from plugins.resources.schema.kinds import Kind

READING: Final = ("GET", "HEAD", "OPTIONS")
"""The methods that every list and every row takes."""

WRITING: Final[Mapping[Action, tuple[str, ...]]] = {
    "create": ("POST",),
    "update": ("PUT", "PATCH"),
    "delete": ("DELETE",),
}
"""The methods by which clients do it: `create` to a list, the others to a row."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column as the API knows it."""

    name: str
    """In JSON and in query strings."""
    column: Column
    kind: Kind
    are_digits_text: bool = False
    """True where numbers of many digits are shown as text."""

    @property
    def is_shown_as_text(self) -> bool:
        """Whether this is such a number."""
        type_ = self.column.type
        return self.are_digits_text and type_.schema == "pg_catalog" and type_.name in LONG_NUMBERS


@dataclass(frozen=True, slots=True)
class Order:
    """One column of a sort. NULLs are larger than everything, as in PostgreSQL."""

    field: Field
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class Writes:
    """What clients may do to the rows of a resource beside reading them."""

    actions: frozenset[Action] = frozenset()
    creatable: frozenset[str] = frozenset()
    """API names of the fields that a new row takes."""
    changeable: frozenset[str] = frozenset()
    """Those that can be changed in a row that is there; never part of the key."""
    modified: Column | None = None
    """Where the time of a write is kept."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One table or view, served."""

    name: str
    """The table's name: of routes, of `reads`, in config.toml."""
    path: str
    """Its segment of the URL, percent-encoded."""
    table: Table
    fields: Mapping[str, Field]
    """What clients see and may name, by API name, in the order of the answer."""
    key: tuple[Field, ...]
    """What identifies a row; empty where nothing does that clients see."""
    has_items: bool
    """True where the key can be given in a URL: there is one, of comparable kinds."""
    tie_break: tuple[Field, ...]
    """What is appended to every sort to make it total: the key, or all that can be sorted by. Clients see all of it, or
    the order would tell of what is hidden."""
    is_key_unique: bool = True
    """False where only the settings say so, and a write has to look."""
    keyless: str = ""
    """Why there is no key, as it goes on after `since`."""
    sort: tuple[Order, ...] = ()
    """The default sort, before the tie-break."""
    limit: int = 10
    max_limit: int = 100
    writes: Writes = Writes()
    children: tuple[Child, ...] = field(default=())

    @property
    def cursorless(self) -> str:
        """Why its lists have no cursors, as it goes on after `since`; empty where they have."""
        if not self.key:
            return self.keyless
        return "" if all(part.kind.is_sortable for part in self.key) else "its key is of a type that has no order"

    @property
    def methods(self) -> tuple[str, ...]:
        """What its list takes."""
        return (*READING, *self._writing("create"))

    @property
    def item_methods(self) -> tuple[str, ...]:
        """What a single row takes, where there are any."""
        return (*READING, *self._writing("update"), *self._writing("delete")) if self.has_items else ()

    def _writing(self, action: Action) -> tuple[str, ...]:
        return WRITING[action] if action in self.writes.actions else ()

    def total_order(self, sort: tuple[Order, ...]) -> tuple[Order, ...]:
        """`sort` with the tie-break, in the direction of its last column: one index, read either way, serves both."""
        is_descending = bool(sort) and sort[-1].is_descending
        named = [order.field for order in sort]
        return (*sort, *[Order(part, is_descending) for part in self.tie_break if part not in named])


@dataclass(frozen=True, slots=True)
class Child:
    """Rows of another resource, or of the same one, that refer to a row by a foreign key."""

    resource: Resource
    segment: str
    """The last segment of the path, percent-encoded: `orders`, `orders.by-billingAddressId`."""
    name: str
    """The last part of the route's name: `orders`, `orders.by-billing_address_id`."""
    columns: tuple[Column, ...]
    """The child's columns, in the foreign key's order."""
    targets: tuple[Column, ...]
    """The columns of the parent that they refer to."""

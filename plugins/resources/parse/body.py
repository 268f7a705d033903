"""The body of a write: JSON in, a frozen `Row` out, and every fault of it at once, one for each field. Pure.

    create     fields that a new row takes; those without default that must not be null are required
    update     fields that can be changed, any of them
    replace    the same; those that are absent get their default, else NULL, else they are required

A field that clients cannot see is as unknown as one that is not there. The key may stand in the body of a row that is
there, if it says what the path says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from plugins.resources.parse.composed import Reader, UnfitWithin
from plugins.resources.parse.documents import Document, Malformed, read_document
from plugins.resources.parse.faults import MAX_UNKNOWN, Fault, unknown_names
from plugins.resources.parse.values import reader_of
from plugins.resources.schema.allowing import must_be_given
from plugins.resources.schema.kinds import Unfit
from plugins.resources.schema.resource import Field, Resource

Mode = Literal["create", "update", "replace"]


@dataclass(frozen=True, slots=True)
class Row:
    """What a body says, in the order of the resource's fields: one order, so one SQL text."""

    fields: tuple[Field, ...] = ()
    values: tuple[str | None, ...] = ()
    """As PostgreSQL reads them; None is NULL."""
    absent: tuple[Field, ...] = ()
    """Those that get their default: of `replace` alone."""


def read_object(body: bytes) -> dict[str, Document]:
    """The JSON object that the body is. Raises Malformed for what is no JSON, Unfit for JSON that is no object."""
    if not body.strip():
        raise Malformed("is empty")
    document = read_document(body)
    if not isinstance(document, dict):
        raise Unfit("must be a JSON object")
    return document


class BodyReader:
    """Reads bodies for one resource and one way of writing to it."""

    def __init__(self, resource: Resource, mode: Mode) -> None:
        self._fields = resource.fields
        self._key = {} if mode == "create" else {part.name: at for at, part in enumerate(resource.key)}
        names = resource.writes.creatable if mode == "create" else resource.writes.changeable
        self._writable = {name: field for name, field in resource.fields.items() if name in names}
        self._replaces = mode == "replace"
        self._required = [
            name for name, field in self._writable.items() if mode != "update" and must_be_given(field.column)
        ]
        self._readers: Mapping[str, Reader] = {
            name: reader_of(field.column, field.kind)
            for name, field in resource.fields.items()
            if name in self._writable or name in self._key
        }

    def read(self, body: Mapping[str, Document], key: Sequence[str], faults: list[Fault]) -> Row:
        """The row that a body describes; `key` is that of the path. Appends to `faults` what is wrong."""
        values: dict[str, str | None] = {}
        unknown: list[str] = []
        for name, document in body.items():
            field = self._fields.get(name)
            if field is None:
                unknown.append(name)
                continue
            try:
                if name in self._key:
                    self._check_key(field, document, key)
                elif name not in self._writable:
                    raise Unfit("is read-only")
                elif document is not None:
                    values[name] = self._readers[name](document)
                elif field.column.is_nullable:
                    values[name] = None
                else:
                    raise Unfit("must not be null")
            except UnfitWithin as within:
                faults += [Fault(f"{name}{place}", message) for place, message in within.faults]
            except Unfit as unfit:
                faults.append(Fault(name, f"{unfit}."))
        self._blame_unknown(unknown, faults)
        faults += [Fault(name, "is required.") for name in self._required if name not in body]
        fields = tuple([field for name, field in self._writable.items() if name in values])
        absent = [field for name, field in self._writable.items() if name not in body] if self._replaces else ()
        return Row(fields, tuple([values[field.name] for field in fields]), tuple(absent))

    def _check_key(self, field: Field, document: Document, key: Sequence[str]) -> None:
        """Raises Unfit unless the body says of the key what the path says."""
        given = None if document is None else self._readers[field.name](document)
        if given is None or _comparable(field, given) != _comparable(field, key[self._key[field.name]]):
            raise Unfit("is part of the key and must be what the path says")

    def _blame_unknown(self, names: Sequence[str], faults: list[Fault]) -> None:
        faults += [Fault(name, message) for name, message in unknown_names(names, self._writable, "field")]
        if len(names) > MAX_UNKNOWN:
            faults.append(Fault("body", f"has {len(names) - MAX_UNKNOWN} more names that are no field."))


def _comparable(field: Field, text: str) -> object:
    """What is the same for all spellings of one value of a key."""
    if field.kind.name == "number":
        return Decimal(text) if text != "NaN" else text  # to Decimal it equals nothing
    if field.column.type.name == "bpchar":
        return text.rstrip(" ")
    return text.casefold() if field.column.type.name == "citext" else text

"""The words of SQL that every statement is made of.

Identifiers come from the catalogue, quoted; values are arguments, always. A value goes as text and is cast in SQL to
its column's type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plugins.resources.schema.catalogue import Column, Table, Type
from plugins.resources.schema.resource import Field, Order, Resource

Argument = str | int | Sequence[str]


def quoted(identifier: str) -> str:
    """A name from the catalogue, as SQL takes it whatever it is made of."""
    return '"' + identifier.replace('"', '""') + '"'


def relation(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def compared(column: Column, alias: str = "t") -> str:
    """The column where it is compared with a value: to the operators of enums, a domain over an enum is none."""
    name, type_ = f"{alias}.{quoted(column.name)}", column.type
    return name if type_.labels is None else f"{name}::{quoted(type_.schema)}.{quoted(type_.name)}"


def cast_value(number: int, type_: Type) -> str:
    """An argument that is text, as a value of the type."""
    return f"${number}::text::{quoted(type_.schema)}.{quoted(type_.name)}"


def cast_values(number: int, type_: Type) -> str:
    return f"${number}::text[]::{quoted(type_.schema)}.{quoted(type_.name)}[]"


def where_clause(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def order_by(order: Sequence[Order]) -> str:
    terms = [f"t.{quoted(each.field.column.name)}{' DESC' if each.is_descending else ''}" for each in order]
    return f" ORDER BY {', '.join(terms)}" if terms else ""


def key_conditions(resource: Resource, alias: str) -> list[str]:
    """The conditions that select one row; the key's values are bound from `$1` on."""
    columns = [part.column for part in resource.key]
    return [f"{compared(column, alias)} = {cast_value(at, column.type)}" for at, column in enumerate(columns, 1)]


def select_list(fields: Iterable[Field]) -> str:
    return ", ".join(f"{shown(field)} AS {quoted(field.name)}" for field in fields)


def shown(field: Field) -> str:
    """The column as JSON should have it, where PostgreSQL's own way is not that."""
    type_ = field.column.type
    name = f"t.{quoted(field.column.name)}"
    if field.is_text:
        return f"{name}::text[]" if type_.is_array else f"{name}::text"
    match type_.schema, type_.name:
        case "pg_catalog", "bytea":
            return _base64(name)
        case "pg_catalog", "_bytea":  # of several dimensions it stays as PostgreSQL has it
            each = f"SELECT {_base64('b')} FROM unnest({name}) WITH ORDINALITY AS u (b, at) ORDER BY at"  # noqa: S608 (identifiers quoted, values bound)
            flat = f"WHEN {name} IS NOT NULL THEN ARRAY({each})"
            return f"CASE WHEN array_ndims({name}) > 1 THEN {name}::text[] {flat} END"
        case "pg_catalog", "timestamp":
            return f"{name} AT TIME ZONE 'UTC'"  # RFC 3339 asks for an offset; without a time zone it is taken as UTC
        case "pg_catalog", "_timestamp":
            return f"{name}::timestamptz[]"  # by the session's time zone, which is UTC
    return name


def _base64(value: str) -> str:
    return rf"translate(encode({value}, 'base64'), E'\n', '')"  # base64 breaks lines, as for mail

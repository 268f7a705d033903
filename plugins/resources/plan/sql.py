"""The words of SQL that every statement is made of.

Identifiers come from the catalogue, quoted; values are arguments, always. A value goes as text and is cast in SQL to
its column's type.
"""

from __future__ import annotations

from collections.abc import Sequence

from plugins.resources.schema.catalogue import Column, Type
from plugins.resources.schema.granted import Rows
from plugins.resources.schema.naming import quoted
from plugins.resources.schema.resource import Order, Resource

Argument = str | int | Sequence[str]


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


def rows_condition(rows: Rows, first: int, alias: str = "t") -> str:
    """The condition that rows are among these; their values are bound from `first` on. NULL is as good as false."""
    at = first
    alternatives = []
    for columns in rows.alternatives:
        equal = [
            f"{compared(column, alias)} = {cast_value(number, column.type)}"
            for number, column in enumerate(columns, at)
        ]
        at += len(columns)
        alternatives.append(" AND ".join(equal) or "true")
    return f"({' OR '.join(alternatives) or 'false'})"


def rows_conditions(rows: Rows, first: int, alias: str = "t") -> list[str]:
    """The same, as what is joined by AND: nothing where all rows are."""
    return [] if rows.are_all else [rows_condition(rows, first, alias)]

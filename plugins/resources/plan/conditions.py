"""Filters as SQL: one condition each, with its argument."""

from __future__ import annotations

from typing import Final

from plugins.resources.parse.query import Filter
from plugins.resources.plan.sql import Argument, cast_value, cast_values, quoted
from plugins.resources.schema.catalogue import Column

COMPARISONS: Final = {"eq": "=", "ne": "IS DISTINCT FROM", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
PATTERNS: Final = {"contains": "%{}%", "startswith": "{}%", "endswith": "%{}"}

LIKE_SPECIALS: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
"""What LIKE reads as more than itself; the backslash is its escape character unless another one is named."""


def condition_of(condition: Filter, arguments: list[Argument]) -> str:
    """The SQL of one filter; appends its argument."""
    column, operator, given = condition.field.column, condition.operator, condition.value
    name = f"t.{quoted(column.name)}"
    if operator == "null":
        return f"{name} IS NULL" if given == "true" else f"{name} IS NOT NULL"
    number = len(arguments) + 1
    if not isinstance(given, str):
        arguments.append(given)
        every = cast_values(number, column.type)
        return f"{name} = ANY ({every})" if operator == "in" else f"({name} <> ALL ({every}) OR {name} IS NULL)"
    if operator in PATTERNS:
        arguments.append(PATTERNS[operator].format(given.translate(LIKE_SPECIALS)))
        return f"{_matched(column, name)} LIKE ${number}::text"
    arguments.append(given)
    return f"{name} {COMPARISONS[operator]} {cast_value(number, column.type)}"


def _matched(column: Column, name: str) -> str:
    """The column as LIKE takes it."""
    if column.type.name == "bpchar":
        name = f"{name}::text"  # without the blanks that fill it up
    return name if column.is_deterministic else f'{name} COLLATE "C"'  # LIKE needs it before PostgreSQL 18

"""Filters as SQL: one condition each, with its arguments, and groups of them."""

from __future__ import annotations

from typing import Final

from plugins.resources.parse.filters import WITH_WILDCARDS, Condition, Filter
from plugins.resources.plan.sql import Argument, cast_value, cast_values, compared
from plugins.resources.schema.catalogue import Column

COMPARISONS: Final = {"eq": "=", "ne": "IS DISTINCT FROM", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
PATTERNS: Final = {"like": "{}", "ilike": "{}", "contains": "%{}%", "startswith": "{}%", "endswith": "%{}"}

LIKE_SPECIALS: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
"""What LIKE reads as more than itself; the backslash is its escape character unless another one is named."""


def condition_of(condition: Condition, arguments: list[Argument]) -> str:
    """The SQL of one condition; appends its arguments."""
    if isinstance(condition, Filter):
        return _filter(condition, arguments)
    word = " OR " if condition.is_any else " AND "
    return f"({word.join([condition_of(member, arguments) for member in condition.members])})"


def _filter(condition: Filter, arguments: list[Argument]) -> str:
    column, operator, given = condition.field.column, condition.operator, condition.value
    name = compared(column)
    number = len(arguments) + 1
    if isinstance(given, str):
        if operator == "null":
            return f"{name} IS NULL" if given == "true" else f"{name} IS NOT NULL"
        if operator in PATTERNS:
            text = given if operator in WITH_WILDCARDS else given.translate(LIKE_SPECIALS)
            arguments.append(PATTERNS[operator].format(text))
            return f"{_matched(column, name, operator)} ${number}::text"
        arguments.append(given)
        if operator == "has":
            return f"{name} @> ARRAY[{cast_value(number, column.type.element or column.type)}]"
        return f"{name} {COMPARISONS[operator]} {cast_value(number, column.type)}"
    if operator == "between":
        arguments.extend(given)
        return f"{name} BETWEEN {cast_value(number, column.type)} AND {cast_value(number + 1, column.type)}"
    arguments.append(given)
    if operator == "overlaps":
        return f"{name} && {cast_values(number, column.type.element or column.type)}"
    every = cast_values(number, column.type)
    return f"{name} = ANY ({every})" if operator == "in" else f"({name} <> ALL ({every}) OR {name} IS NULL)"


def _matched(column: Column, name: str, operator: str) -> str:
    """The column and the operator that matches it with a pattern.

    A collation under which different texts can be equal cannot be matched with: LIKE not before PostgreSQL 18, ILIKE
    not at all. LIKE then compares characters, and ILIKE folds letters as the database does.
    """
    if column.type.name == "bpchar":
        name = f"{name}::text"  # without the blanks that fill it up
    if operator == "ilike":
        return f"{name} ILIKE" if column.is_deterministic else f'{name} COLLATE "default" ILIKE'
    return f"{name} LIKE" if column.is_deterministic else f'{name} COLLATE "C" LIKE'

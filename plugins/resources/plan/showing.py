"""Columns as JSON should have them, in SQL, where PostgreSQL's own way is not that; inside arrays and composites too.

    bytea                     Base64, not hex
    timestamp                 with an offset, which RFC 3339 asks for; without a time zone it is taken as UTC
    bigint, numeric           text, where the operator wants that

Whatever else there is stays as PostgreSQL has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plugins.resources.schema.catalogue import LONG_NUMBERS, Attribute, Type
from plugins.resources.schema.naming import quoted
from plugins.resources.schema.resource import Field


def select_list(fields: Iterable[Field]) -> str:
    return ", ".join(f"{shown(field)} AS {quoted(field.name)}" for field in fields)


def shown(field: Field) -> str:
    """The column `t.NAME` as JSON should have it."""
    name = f"t.{quoted(field.column.name)}"
    return _form(field.column.type, name, are_digits_text=field.are_digits_text) or name


def _form(type_: Type, value: str, *, are_digits_text: bool) -> str | None:
    """An expression for what JSON should have in place of `value`; None where that is right as it is."""
    if type_.element is not None:
        return _list(type_.element, value, are_digits_text=are_digits_text)
    if type_.attributes is not None:
        return _object(type_.attributes, value, are_digits_text=are_digits_text)
    match type_.schema, type_.name:
        case "pg_catalog", "bytea":
            return rf"translate(encode({value}, 'base64'), E'\n', '')"  # base64 breaks lines, as for mail
        case "pg_catalog", "timestamp":
            return f"{value} AT TIME ZONE 'UTC'"
        case "pg_catalog", name if name in LONG_NUMBERS and are_digits_text:
            return f"{value}::text"
    return None


def _object(attributes: Sequence[Attribute], value: str, *, are_digits_text: bool) -> str | None:
    forms = {}
    is_changed = False
    for each in attributes:
        own = f"({value}).{quoted(each.name)}"
        form = _form(each.type, own, are_digits_text=are_digits_text)
        forms[each.name] = form or own
        is_changed = is_changed or form is not None
    if not is_changed:
        return None
    members = ", ".join([f"{form} AS {quoted(name)}" for name, form in forms.items()])
    whole = f"(SELECT row_to_json(r.*) FROM (SELECT {members}) r)"  # noqa: S608 (identifiers quoted, values bound)
    return f"CASE WHEN {value} IS DISTINCT FROM NULL THEN {whole} END"  # a row of NULLs is NULL to IS NULL


def _list(element: Type, value: str, *, are_digits_text: bool) -> str | None:
    """Array after array of any dimensions: each element with what stands before it, which is taken from an array of
    the same dimensions."""
    form = _form(element, "x.element", are_digits_text=are_digits_text)
    if form is None:
        return None
    if element.schema == "pg_catalog" and element.name in LONG_NUMBERS:
        return f"{value}::text[]"
    if element.schema == "pg_catalog" and element.name == "timestamp":
        return f"{value}::timestamptz[]"  # by the session's time zone, which is UTC
    lengths = f"ARRAY(SELECT array_length({value}, d) FROM generate_series(1, array_ndims({value})) d)"  # noqa: S608 (identifiers quoted, values bound)
    pieces = f"string_to_array(translate(array_fill(0, {lengths})::text, '{{}}', '[]'), '0')"
    piece = f"x.before || CASE WHEN x.at < x.stop THEN coalesce(to_json({form})::text, 'null') ELSE '' END"
    return (
        f"CASE WHEN {value} IS NOT NULL THEN (SELECT string_agg({piece}, '' ORDER BY x.at)::json FROM ("  # noqa: S608 (identifiers quoted, values bound)
        f"SELECT unnest({value}) AS element, unnest({pieces}) AS before, "
        f"generate_series(1, cardinality({value}) + 1) AS at, cardinality({value}) + 1 AS stop) x) END"
    )

"""What a pydantic error says, in our words. Values are shown only where the caller says that they may be."""

from __future__ import annotations

from collections.abc import Mapping

from service.settings.annotations import Kind, choices, kinds
from service.settings.spelling import listed, nearest, toml
from service.settings.units import UNIT_ERROR

KIND_WORDS: dict[Kind, str] = {
    "boolean": "true or false",
    "whole number": "a whole number",
    "number": "a number",
    "list": "a list in [ ]",
    "table": "a table in { }",
    "text": "text in quotes",
}

WRONG_KIND = frozenset(
    {
        *("bool_type", "bool_parsing", "int_type", "int_parsing", "int_from_float", "float_type", "float_parsing"),
        *("string_type", "list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type", "none_required"),
        *("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"),
    }
)
"""Types of pydantic error that say that a value is not of the kind that its type takes."""

_SENTENCES = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "finite_number": "must be a finite number",
    "missing": "is required, and not set",
    "union_tag_not_found": "must name its kind in {discriminator}",
    "union_tag_invalid": "must be one of {expected_tags}",
}
OUR_WORDS = WRONG_KIND | _SENTENCES.keys() | {"literal_error", "enum", UNIT_ERROR}
"""Types of pydantic error that are said without anything of a validator's own."""

_EMPTY = {"string_too_short": "must not be empty", "too_short": "must not be empty"}


def sentence(kind: str, message: str, context: Mapping[str, object], annotation: object, shown: object) -> str:
    """What is wrong. `shown` is the value where it may be seen, else None."""
    seen = f", not {toml(shown)}" if shown is not None else ""
    if kind in WRONG_KIND:
        return f"must be {expected(annotation)}{seen}"
    if kind in ("literal_error", "enum"):
        valid = [str(choice) for choice in choices(annotation)]
        guess = nearest(shown, valid) if isinstance(shown, str) else None
        hint = f'; did you mean "{guess}"?' if guess else ""
        return f"must be one of {listed([toml(choice) for choice in choices(annotation)])}{seen}{hint}"
    if kind in ("value_error", "assertion_error"):
        return _own_words(str(context.get("error", message)))
    if kind in _EMPTY and context.get("min_length") == 1:
        return _EMPTY[kind]
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map({name: str(value) for name, value in context.items()}) + seen
    return _own_words(message.replace("Input should", "must"))


def expected(annotation: object) -> str:
    """The kinds of value that would do."""
    words = [KIND_WORDS[kind] for kind in kinds(annotation)]
    return " or ".join(words)


def _own_words(message: str) -> str:
    """A validator's own message, without the full stop and the capital that make it a sentence."""
    text = message.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text or "is not valid"

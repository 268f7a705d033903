"""What the type of a setting asks for: the kinds of its value, the types inside it, samples that would pass."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from service.secrets import may_be_secret
from service.settings.spelling import Path_
from service.settings.units import Duration, Rate, Secret, Size

Kind = Literal["boolean", "whole number", "number", "list", "table", "text"]

_SAMPLES: dict[Kind, tuple[object, ...]] = {
    "boolean": (True, False),
    "whole number": (1, 10, 0),
    "number": (1.0, 0.5, 0.0),
    "list": ([],),
    "table": ({},),
    "text": ("...",),
}


def options(annotation: object) -> tuple[Any, ...]:
    """The members of a union, aliases and Annotated unwrapped, None left out; one member if it is no union."""
    if hasattr(annotation, "__value__"):  # a `type` alias, from typing or typing_extensions
        return options(annotation.__value__)
    origin = get_origin(annotation)
    if origin is Annotated:
        return options(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return tuple(option for member in get_args(annotation) for option in options(member))
    return () if annotation is None or annotation is type(None) else (annotation,)


def kinds(annotation: object) -> tuple[Kind, ...]:
    """The kinds of TOML value that `annotation` takes; unknown types are text."""
    found = {kind: None for option in options(annotation) for kind in _kinds_of(option)}
    return tuple(found) or ("text",)


def _kinds_of(option: Any) -> Iterator[Kind]:
    origin = get_origin(option) or option
    if origin is Literal:
        for value in get_args(option):
            yield from _kinds_of(type(value))
    elif not isinstance(origin, type):
        yield "text"
    elif issubclass(origin, bool):
        yield "boolean"
    elif issubclass(origin, Enum) and not issubclass(origin, str):
        for member in origin:
            yield from _kinds_of(type(member.value))
    elif issubclass(origin, int):
        yield "whole number"
    elif issubclass(origin, float):
        yield "number"
    elif issubclass(origin, BaseModel | Mapping):
        yield "table"
    elif issubclass(origin, Collection) and not issubclass(origin, str | bytes):
        yield "list"
    else:
        yield "text"


def model_of(annotation: object) -> type[BaseModel] | None:
    """The first model among the options."""
    for option in options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def entry_model_of(annotation: object) -> type[BaseModel] | None:
    """The model behind each entry of a table whose keys are the operator's."""
    for option in options(annotation):
        origin = get_origin(option)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return model_of(get_args(option)[1])
    return None


def every_field(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its dotted key, those in nested tables too; NAME stands for a key of the operator's."""
    for key, name in field_names(model).items():
        field = model.model_fields[name]
        if (nested := model_of(field.annotation)) is not None:
            yield from every_field(nested, f"{prefix}{key}.")
            continue
        yield f"{prefix}{key}", field
        if (entry := entry_model_of(field.annotation)) is not None:
            yield from every_field(entry, f"{prefix}{key}.NAME.")


def field_names(model: type[BaseModel]) -> dict[str, str]:
    """Key in TOML (the alias, where a field has one) to name of the field."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def field_at(annotation: object, key: str | int) -> FieldInfo | None:
    """The field called `key`, where `annotation` is a model that has it."""
    for option in options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            name = field_names(option).get(str(key))
            if name is not None:
                return option.model_fields[name]
    return None


def inner(annotation: object, key: str | int) -> object:
    """The type of what is at `key` inside; None where that is unknown."""
    field = field_at(annotation, key)
    if field is not None:
        return field.annotation
    for option in options(annotation):
        origin, args = get_origin(option), get_args(option)
        if not isinstance(origin, type):
            continue
        if issubclass(origin, Mapping) and isinstance(key, str) and len(args) == 2:
            return args[1]
        if isinstance(key, int) and args and not issubclass(origin, Mapping):
            fixed = issubclass(origin, tuple) and args[-1] is not Ellipsis
            return args[key] if fixed and key < len(args) else args[0]
    return None


def inside(annotation: object, path: Path_) -> object:
    for key in path:
        annotation = inner(annotation, key)
    return annotation


def mentions_secret(annotation: object, *, depth: int = 0) -> bool:
    """Whether a value of this type is, or may hold, a Secret."""
    if depth > 8:  # a model that contains itself
        return False
    for option in options(annotation):
        if option is Secret:
            return True
        model = model_of(option)
        inner_types = [field.annotation for field in model.model_fields.values()] if model else get_args(option)
        if any(mentions_secret(inner_type, depth=depth + 1) for inner_type in inner_types):
            return True
    return False


def is_secret(path: Path_, annotation: object) -> bool:
    """Whether nobody should see what is at `path`, by its name (that of the list, for an item) or its type."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    return may_be_secret(name) or mentions_secret(annotation)


def choices(annotation: object) -> tuple[object, ...]:
    """The values of a Literal or an Enum among the options."""
    found: list[object] = []
    for option in options(annotation):
        if get_origin(option) is Literal:
            found += get_args(option)
        elif isinstance(option, type) and issubclass(option, Enum):
            found += [member.value for member in option]
    return tuple(found)


def samples(annotation: object, field: FieldInfo | None = None, *, depth: int = 0) -> Iterator[object]:
    """Values that are likely to pass, the most helpful first: examples, default, choices, then any of the kind."""
    if field is not None:
        yield from field.examples or ()
        if field.default is not PydanticUndefined and field.default not in (None, "", (), {}):
            yield as_data(field.default)
    yield from choices(annotation)
    for option in options(annotation):
        if isinstance(option, type) and issubclass(option, Duration | Size | Rate):
            yield from option.examples
        model = model_of(option)
        if model is not None and depth < 4:
            fields = {key: model.model_fields[name] for key, name in field_names(model).items()}
            yield {
                key: next(samples(inner_field.annotation, inner_field, depth=depth + 1), "...")
                for key, inner_field in fields.items()
                if inner_field.is_required()
            }
        elif get_args(option) and "list" in kinds(option) and depth < 4:
            yield [next(samples(inner(option, 0), depth=depth + 1), "...")]
    for kind in kinds(annotation):
        yield from _SAMPLES[kind]


def as_data(value: object) -> object:
    """A validated value as TOML has it: models as tables, sets and tuples as lists; a Secret stays one."""
    match value:
        case BaseModel():
            keys = field_names(type(value))
            return {key: as_data(getattr(value, name)) for key, name in keys.items()}
        case Mapping():
            return {str(key): as_data(item) for key, item in value.items()}
        case set() | frozenset():
            return sorted([as_data(item) for item in value], key=str)
        case list() | tuple():
            return [as_data(item) for item in value]
        case Enum():
            return value.value
        case Duration() | Size() | Rate():
            return str(value)
        case bool() | int() | float() | str() | Secret() | None:
            return value
        case _:
            return str(value)

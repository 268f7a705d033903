"""Pydantic checks the data of one table; its errors come back with the paths of the data, one for each mistake.

Data goes in as JSON in strict mode: no text is taken for a number, while lists become tuples and text becomes what
its type makes of it, which is TOML's own strictness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from service.settings.spelling import Path_
from service.settings.units import Secret
from service.settings.wording import WRONG_KIND

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Error:
    """A pydantic error at a path of the data."""

    path: Path_
    kind: str
    message: str
    context: Mapping[str, object]
    union: tuple[Path_, str] | None
    """The union that it was found in, and the branch."""


def validate(model: type[M], data: Mapping[str, object], context: Mapping[str, object]) -> tuple[M | None, list[Error]]:
    try:
        encoded = to_json(data, inf_nan_mode="constants", fallback=_revealed)
        return model.model_validate_json(encoded, strict=True, context=dict(context)), []
    except ValidationError as error:
        return None, list(_grouped(_read(error, data)))
    except Exception as error:  # a validator of the plugin's that crashed: a mistake of its author's
        message = f"its {model.__name__} cannot be checked, {type(error).__name__} was raised; ask the plugin's author"
        return None, [Error((), "crash", message, {}, None)]


def _revealed(value: object) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)


def _read(error: ValidationError, data: object) -> Iterator[Error]:
    for entry in error.errors(include_url=False, include_input=False):
        path, union = _real_path(entry["loc"], data, is_absent=entry["type"] == "missing")
        yield Error(path, entry["type"], entry["msg"], entry.get("ctx", {}), union)


def _real_path(loc: Path_, data: object, *, is_absent: bool) -> tuple[Path_, tuple[Path_, str] | None]:
    """`loc` without what pydantic puts in between to name the branch of a union."""
    path: Path_ = ()
    union: tuple[Path_, str] | None = None
    for index, part in enumerate(loc):
        if _has(data, part):
            data = _child(data, part)
        elif not (is_absent and index == len(loc) - 1):
            union = union or (path, str(part))
            continue
        path = (*path, part)
    return path, union


def _grouped(errors: Iterator[Error]) -> Iterator[Error]:
    """One error for a union of which no branch fits: of the branch that fits best, or one that names all."""
    unions: dict[Path_, dict[str, list[Error]]] = {}
    for error in errors:
        if error.union is None:
            yield error
        else:
            at, branch = error.union
            unions.setdefault(at, {}).setdefault(branch, []).append(error)
    for at, branches in unions.items():
        entered = [
            branch
            for branch in branches.values()
            if not any(error.path == at and error.kind in WRONG_KIND for error in branch)
        ]
        if entered:
            yield from min(entered, key=len)
        else:
            yield replace(next(iter(branches.values()))[0], path=at)


def get(data: object, path: Path_) -> object:
    """The value at `path`, or None."""
    for part in path:
        if not _has(data, part):
            return None
        data = _child(data, part)
    return data


def put(data: object, path: Path_, value: object) -> bool:
    """Set the value at `path`; False where there is nothing to set it in."""
    holder = get(data, path[:-1]) if path[:-1] else data
    if isinstance(holder, dict) or (isinstance(holder, list) and isinstance(path[-1], int)):
        holder[path[-1]] = value  # type: ignore[index]  # told apart in the line above
        return True
    return False


def drop(data: object, path: Path_) -> None:
    """Take the key at `path` away."""
    holder = get(data, path[:-1]) if path[:-1] else data
    if isinstance(holder, dict):
        holder.pop(path[-1], None)


def _has(data: object, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _child(data: object, part: str | int) -> object:
    return data[part]  # type: ignore[index]  # asked by `_has`

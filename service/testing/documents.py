"""What a plugin's documentation says of its settings: which it names, and which tables it shows."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from service.settings.annotations import entry_model_of, field_names, model_of

FENCED = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n?|^\n)+", re.MULTILINE)
TABLE = re.compile(r"^\[(plugins|routes)\.", re.MULTILINE)


def shown(text: str) -> dict[str, dict[str, dict[str, object]]]:
    """What the TOML in a document comes to: blocks, fenced or indented, that show the table of a plugin or a route."""
    tables: dict[str, Any] = {}
    blocks = FENCED.findall(text)
    blocks += [inspect.cleandoc(block) for block in INDENTED.findall(FENCED.sub("", text))]
    for block in blocks:
        if TABLE.search(block):
            _add(tables, tomllib.loads(block))
    return tables


def _add(tables: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        known = tables.get(key)
        if isinstance(known, dict) and isinstance(value, Mapping):
            _add(known, value)
        else:
            tables[key] = value


def unknown_keys(model: type[BaseModel], table: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The keys of a table that is shown and that the model does not have."""
    names = field_names(model)
    for key, value in table.items():
        if key not in names:
            yield f"{prefix}{key}"
        elif isinstance(value, Mapping):
            annotation = model.model_fields[names[key]].annotation
            if (inner := model_of(annotation)) is not None:
                yield from unknown_keys(inner, value, f"{prefix}{key}.")
            elif (entry_model := entry_model_of(annotation)) is not None:
                for entry, inside in value.items():
                    if isinstance(inside, Mapping):
                        yield from unknown_keys(entry_model, inside, f"{prefix}{key}.{entry}.")

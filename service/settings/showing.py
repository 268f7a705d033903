"""What the settings come to: every effective value with its origin, what differs between two, and a JSON Schema.

Secrets are `***`; so is what merely looks like one in the tables of plugins whose types nobody knows, because they
are off. In a table with faults that is whatever no setting takes: a misspelt key says nothing of what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from service.secrets import MASK, may_be_secret, without_userinfo
from service.settings.annotations import as_data, field_names, inner, mentions_secret
from service.settings.merging import Node, Table, Text, at, is_reference
from service.settings.models import Reserved, ServiceSettings
from service.settings.references import Source, read_text
from service.settings.spelling import Path_, dotted, toml
from service.settings.units import Secret

if TYPE_CHECKING:
    from service.settings.settings import Settings

DEFAULT = "default"
KINDS = {"env": "variable", "file": "file"}


@dataclass(frozen=True, slots=True)
class Effective:
    """One effective value."""

    path: str
    value: str
    """As TOML, secrets masked."""
    origin: str
    """The layer that set it: `default`, a file with its line, `PEGBOARD__...` or `--set ...`."""
    layer: str
    line: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that two settings do not agree on; None where one does not have it. Secrets are masked."""

    path: str
    first: str | None
    second: str | None


def effective(settings: Settings) -> tuple[Effective, ...]:
    """Every effective value: [service], each plugin's table, [routes]. Defaults too, where the types are known."""
    return tuple([Effective(dotted(row[0]), _shown(*row[:2]), *_origin(*row[1:])) for row in _rows(settings)])


def diff(first: Settings, second: Settings) -> tuple[Difference, ...]:
    """What is not the same in both, in the order of the first."""
    ours = {path: value for path, value, _ in _rows(first)}
    theirs = {path: value for path, value, _ in _rows(second)}
    return tuple(
        [
            Difference(
                dotted(path),
                _shown(path, ours[path]) if path in ours else None,
                _shown(path, theirs[path]) if path in theirs else None,
            )
            for path in dict.fromkeys([*ours, *theirs])
            if path not in ours or path not in theirs or ours[path] != theirs[path]
        ]
    )


Row = tuple[tuple[str, ...], object, Source | None]


def _rows(settings: Settings) -> Iterator[Row]:
    yield from _bound_rows(settings, ("service",))
    for instance in settings.instances:
        path = ("plugins", instance.name)
        node = at(settings.tree, path)
        entries = node.entries if isinstance(node, Table) else {}
        reserved = {key: child for key, child in entries.items() if key in Reserved.model_fields}
        if "enabled" not in reserved:
            yield (*path, "enabled"), False, None
        yield from _raw_rows(reserved, path)
        if path in settings.bindings:
            yield from _bound_rows(settings, path)
        else:
            own = {key: entries[key] for key in entries if key not in reserved}
            model = settings.models.get(path)
            yield from _raw_rows(own, path) if model is None else _guarded_rows(own, path, model)
    routes = at(settings.tree, ("routes",))
    if isinstance(routes, Table):
        yield from _raw_rows(routes.entries, ("routes",))


def _bound_rows(settings: Settings, path: tuple[str, ...]) -> Iterator[Row]:
    binding = settings.bindings[path]
    yield from _leaves(binding.salvaged(), path, (), binding.resolver.sources)


def _leaves(
    value: object, top: tuple[str, ...], below: tuple[str, ...], sources: Mapping[Path_, Source]
) -> Iterator[Row]:
    if isinstance(value, BaseModel):
        items = {key: getattr(value, name) for key, name in field_names(type(value)).items()}
    elif isinstance(value, Mapping) and value:
        items = {str(key): item for key, item in value.items()}
    else:
        yield (*top, *below), value, sources.get(below)
        return
    for key, item in items.items():
        yield from _leaves(item, top, (*below, key), sources)


def _raw_rows(entries: Mapping[str, Node], path: tuple[str, ...]) -> Iterator[Row]:
    for key, node in entries.items():
        if isinstance(node, Table):
            yield from _raw_rows(node.entries, (*path, key))
        else:
            yield (*path, key), node.value, Source(node.place, node.value)


def _guarded_rows(entries: Mapping[str, Node], path: tuple[str, ...], annotation: object) -> Iterator[Row]:
    """As `_raw_rows`, where what `annotation` takes is expected and something else may stand."""
    for key, node in entries.items():
        expected = inner(annotation, key)
        if isinstance(node, Table):
            yield from _guarded_rows(node.entries, (*path, key), expected)
        else:
            yield (*path, key), _guarded(node.value, expected), Source(node.place, node.value)


def _guarded(value: object, annotation: object) -> object:
    """`value` with a Secret in the place of each part that no setting takes, or one that is a secret. The variable or
    file that a part comes from is none."""
    if isinstance(value, Text):
        value = read_text(value.text, annotation)
    if is_reference(value) and isinstance(value, Mapping):
        return {key: _guarded(item, annotation) if key == "default" else item for key, item in value.items()}
    if isinstance(value, Mapping):
        return {key: _guarded(item, inner(annotation, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_guarded(item, inner(annotation, index)) for index, item in enumerate(value)]
    return Secret(repr(value)) if annotation is None or mentions_secret(annotation) else value


def _shown(path: tuple[str, ...], value: object) -> str:
    if value is None:
        return "(not set)"
    return without_userinfo(toml(_masked(path[-1], value)))


def _masked(name: str, value: object) -> object:
    """`value` in TOML's kinds, with what nobody should see masked at any depth."""
    if isinstance(value, Text):
        value = value.text
    if isinstance(value, BaseModel):
        value = {key: getattr(value, attribute) for key, attribute in field_names(type(value)).items()}
    if isinstance(value, Mapping):
        is_pointer = is_reference(value)
        return {
            key: item if is_pointer and key != "default" else _masked(name if is_pointer else str(key), item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(name, item) for item in value]
    if isinstance(value, Secret) or (may_be_secret(name) and not isinstance(value, bool)):
        return MASK
    return value


def _origin(value: object, source: Source | None) -> tuple[str, str, int | None]:
    """The origin in words, the layer, the line."""
    if source is None:
        return DEFAULT, DEFAULT, None
    place = source.place
    text = place.text
    if source.reference is not None:
        kind, name = source.reference
        if kind == "default":
            text += f" (default, {name} is not set)"
        else:
            text += f" ({name} is not set)" if value is None else f" ({KINDS[kind]} {name})"
    return text, place.layer.name, place.line if place.document else None


# --- JSON Schema

_REFERENCE: JsonSchemaValue = {
    "type": "object",
    "description": "The value of an environment variable, or the content of a file beside config.toml.",
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}, "default": {}},
    "oneOf": [{"required": ["env"]}, {"required": ["file"]}],
    "additionalProperties": False,
}


class _Schema(GenerateJsonSchema):
    """Defaults are written as they would be in config.toml, secrets masked."""

    def encode_default(self, dft: object) -> object:
        return _masked("", as_data(dft))


def json_schema(
    models: Mapping[str, type[BaseModel]], *, routes: Mapping[str, type[BaseModel]] | None = None
) -> JsonSchemaValue:
    """JSON Schema (2020-12) of the whole config.toml, for editors.

    `models` has each plugin's `Settings` by name, `routes` their `RouteSettings`. Nothing is required, since an
    environment may hold what the rest of the file lacks.
    """
    routes = routes or {}
    wanted: list[type[BaseModel]] = list(dict.fromkeys([ServiceSettings, Reserved, *models.values(), *routes.values()]))
    names, generated = models_json_schema(
        [(model, "validation") for model in wanted], ref_template="#/$defs/{model}", schema_generator=_Schema
    )
    definitions: dict[str, JsonSchemaValue] = {
        name: _lenient(schema) for name, schema in generated.get("$defs", {}).items()
    }
    ref = {model: definitions[names[model, "validation"]["$ref"].rpartition("/")[2]] for model in wanted}
    reserved = ref[Reserved]["properties"]
    plugins = {
        name: {**ref[model], "title": name, "properties": {**reserved, **ref[model].get("properties", {})}}
        for name, model in models.items()
    }
    unknown = {"type": "object", "properties": reserved}
    sections: JsonSchemaValue = {
        "service": ref[ServiceSettings],
        "plugins": {"type": "object", "properties": plugins, "additionalProperties": unknown},
        "routes": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {name: _route_schema(ref[model]) for name, model in routes.items()},
            },
        },
    }
    definitions |= {"reference": _REFERENCE, **{f"section-{name}": schema for name, schema in sections.items()}}
    shared = {name: {"$ref": f"#/$defs/section-{name}"} for name in sections}
    overlay = {**shared, "extends": {"type": "string", "description": "The environment that this one adds to."}}
    environment = {"type": "object", "properties": overlay, "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.toml",
        "type": "object",
        "properties": {**shared, "env": {"type": "object", "additionalProperties": environment}},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _lenient(schema: JsonSchemaValue) -> JsonSchemaValue:
    """A model's schema with nothing required, and a reference allowed in place of any value."""
    properties = {name: _or_reference(inner) for name, inner in schema.get("properties", {}).items()}
    rest = {key: value for key, value in schema.items() if key not in ("required", "properties")}
    return {**rest, **({"properties": properties} if properties else {})}


def _or_reference(schema: JsonSchemaValue) -> JsonSchemaValue:
    told: JsonSchemaValue = {key: schema[key] for key in ("description", "default", "title") if key in schema}
    bare = {key: value for key, value in schema.items() if key not in told}
    for inside in ("items", "additionalProperties"):
        if isinstance(bare.get(inside), dict):
            bare[inside] = _or_reference(bare[inside])
    return {**told, "anyOf": [bare, {"$ref": "#/$defs/reference"}]}


def _route_schema(model: JsonSchemaValue) -> JsonSchemaValue:
    first = next(iter(model.get("properties", {}).values()), None)
    return {"anyOf": [model, first]} if first else model

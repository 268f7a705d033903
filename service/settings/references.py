"""From the tree of layers to plain data for one model: references looked up, text read as its type asks.

    { env = "X", default = ... }      the variable's text, the default where it is unset
    { file = "path", default = ... }  the file's text (relative to config.toml, line end stripped), the default where
                                      there is no such file

An unset variable behind a setting that has a default means absent; behind a required one it is a fault.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Final

from service.settings.annotations import field_at, inner, kinds, mentions_secret, options, samples
from service.settings.merging import Layer, Node, Text, Value, is_reference, plain
from service.settings.reporting import Fault, Report, place_of
from service.settings.spelling import Path_, looks_secret, nearest, passwords_in, toml, toml_pair

FILE_LIMIT_BYTES = 1024 * 1024
"""More than this in a `{ file = ... }` is a mistake (chosen)."""


class _Absent:
    """Stands for a value that is not there."""


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Source:
    """Where a piece of data comes from."""

    layer: Layer
    path: Path_
    """Where it is written in its layer."""
    raw: object
    """As it is written: with its references. None for a table that several layers make."""
    reference: tuple[str, str] | None = None
    """`("env", "PORT")` or `("file", "token.txt")` where the data was looked up."""


class Resolver:
    """Resolves one table for one model. `sources` then has a source for every path of the data."""

    def __init__(self, *, environ: Mapping[str, str], folder: Path, report: Report) -> None:
        self._environ = environ
        self._folder = folder
        self._report = report
        self.sources: dict[Path_, Source] = {}
        self.secrets: set[str] = set()
        """Texts that no message may show."""
        self.settled: set[Path_] = set()
        """Paths whose fault is reported already."""

    def data(self, node: Node, annotation: object, at: Path_ = ()) -> object:
        """The data of `node` where `annotation` is expected, or ABSENT."""
        if isinstance(node, Value):
            return self._plain(node.value, annotation, at, Source(node.layer, node.path, node.value))
        layer, path = node.origins[0]
        if {"env", "file"} & node.entries.keys() and annotation is not None and "table" not in kinds(annotation):
            raw = plain(node)
            return self._plain(raw, annotation, at, Source(layer, path, raw))
        self.sources[at] = Source(layer, path, None)
        found: dict[str, object] = {}
        for key, child in node.entries.items():
            self._keep(found, key, self.data(child, inner(annotation, key), (*at, key)), annotation, at)
        return found

    def written(self, path: Path_) -> tuple[Source, Path_]:
        """The source of what is at `path` of the data or nearest around it, and that path as it is written."""
        length = next(length for length in range(len(path), -1, -1) if path[:length] in self.sources)
        source = self.sources[path[:length]]
        return source, (*source.path, *path[length:])

    def raw(self, path: Path_) -> object:
        """What is at `path` as its layer has it: with its references, and without what other layers add."""
        source = self.sources[path]
        if source.raw is not None:
            return source.raw
        below = [child for child in self.sources if len(child) == len(path) + 1 and child[:-1] == path]
        return {str(child[-1]): self.raw(child) for child in below if self.sources[child].layer is source.layer}

    def pairs_below(self, path: Path_) -> Iterator[tuple[Path_, object]]:
        """The paths below a table at which values are written, with those as they are written."""
        for below, source in self.sources.items():
            if below[: len(path)] == path and source.raw is not None and self.sources[below[:-1]].raw is None:
                yield below, source.raw

    def _plain(self, value: object, annotation: object, at: Path_, source: Source) -> object:
        self.sources[at] = source
        if isinstance(value, Text):
            if not _is_unicode(value.text):
                self._fault(source, "the text is not UTF-8", f"{source.layer.name}=...", at)
                return ABSENT
            self._remember_secret(value.text, annotation, at)
            value = read_text(value.text, annotation)
        if isinstance(value, Mapping):
            if is_reference(value) and not field_at(annotation, "env" if "env" in value else "file"):
                return self._looked_up(value, annotation, at, source)
            if self._is_faulty_reference(value, annotation, source):
                self.settled.add(at)
                return ABSENT
            found: dict[str, object] = {}
            for key, item in value.items():
                below = Source(source.layer, (*source.path, key), item)
                self._keep(found, key, self._plain(item, inner(annotation, key), (*at, key), below), annotation, at)
            return found
        if isinstance(value, list):
            items: list[object] = []
            for index, item in enumerate(value):
                below = Source(source.layer, (*source.path, index), item)
                data = self._plain(item, inner(annotation, index), (*at, index), below)
                if data is ABSENT and (*at, index) not in self.settled:
                    self._unset((*at, index), inner(annotation, index))
                items.append(data)
            return items if ABSENT not in items else ABSENT
        if isinstance(value, date | datetime | time) and "text" in kinds(annotation):
            self._refuse_date(value, annotation, at, source)
        if isinstance(value, str):
            self._remember_secret(value, annotation, at)
        return value

    def _keep(self, found: dict[str, object], key: str, data: object, annotation: object, at: Path_) -> None:
        """Put `data` under `key`, unless it is absent: then that is a fault where it is required."""
        if data is not ABSENT:
            found[key] = data
            return
        path = (*at, key)
        if any(settled[: len(path)] == path for settled in self.settled):
            self.settled.add(path)
            return
        field = field_at(annotation, key)
        if field is None or field.is_required():
            self._unset(path, inner(annotation, key))

    def _looked_up(self, reference: Mapping[str, object], annotation: object, at: Path_, source: Source) -> object:
        kind = "env" if "env" in reference else "file"
        name = str(reference[kind])
        self.sources[at] = Source(source.layer, source.path, source.raw, (kind, name))
        text = self._environ.get(name) if kind == "env" else self._file(name, reference, at, source)
        if at in self.settled:
            return ABSENT
        if text is None:
            if "default" not in reference:
                return ABSENT
            data = self._plain(reference["default"], annotation, at, Source(source.layer, source.path, source.raw))
            self.sources[at] = Source(source.layer, source.path, source.raw, ("default", name))
            return data
        if not _is_unicode(text):
            self._fault(source, f"the {_noun(kind)} {name} is not UTF-8", f"export {name}=...", at)
            return ABSENT
        self._remember_secret(text, annotation, at)
        return read_text(text, annotation)

    def _file(self, name: str, reference: Mapping[str, object], at: Path_, source: Source) -> str | None:
        file = self._folder / name
        try:
            with file.open("rb") as stream:
                content = stream.read(FILE_LIMIT_BYTES + 1)
            if len(content) > FILE_LIMIT_BYTES:
                self._fault(source, f"the file {name} has more than 1 MiB", 'file = "..."', at)
                return None
            return content.decode().rstrip("\r\n")
        except FileNotFoundError:
            if "default" not in reference:
                self._fault(source, f"there is no file {name} in {self._folder}", f"echo ... > {name}", at)
            return None
        except UnicodeDecodeError:
            self._fault(source, f"the file {name} is not UTF-8", f"iconv -t UTF-8 {name}", at)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "the name cannot be one"
            self._fault(source, f"the file {name} cannot be read: {why}", f"chmod u+r {name}", at)
        return None

    def _is_faulty_reference(self, value: Mapping[str, object], annotation: object, source: Source) -> bool:
        """A table that was meant as a reference, where the type takes no table at all."""
        if "table" in kinds(annotation) or annotation is None or not ({"env", "file"} & value.keys()):
            return False
        unknown = [key for key in value if key not in ("env", "file", "default")]
        kind = "env" if "env" in value else "file"
        good = {kind: value[kind] if isinstance(value[kind], str) else "NAME"}
        if unknown and nearest(unknown[0], ["default"]):
            good["default"] = next(samples(annotation), "...")
        message = 'a reference is { env = "NAME" } or { file = "PATH" }, each with an optional default'
        if unknown:
            message = f'a reference has no "{unknown[0]}"; {message}'
        path = source.path
        self._report.add(Fault(place_of(source.layer, path), path, message, f"{toml_pair(path, good)}"))
        return True

    def _refuse_date(self, value: object, annotation: object, at: Path_, source: Source) -> None:
        if str in options(annotation) and at not in self.settled:
            self._fault(source, "must be text, in quotes", toml_pair(source.path, str(value)), at)

    def _unset(self, path: Path_, annotation: object) -> None:
        source = self.sources[path]
        _, name = source.reference or ("env", "?")
        sample: object = (
            "..." if mentions_secret(annotation) or looks_secret(name) else next(samples(annotation), "...")
        )
        self._fault(
            source,
            f"the variable {name} is not set, and there is no default",
            f"export {name}={sample if isinstance(sample, str) else toml(sample)}",
            path,
        )

    def _fault(self, source: Source, message: str, fix: str, at: Path_) -> None:
        self.settled.add(at)
        self._report.add(Fault(place_of(source.layer, source.path), source.path, message, fix))

    def _remember_secret(self, text: str, annotation: object, at: Path_) -> None:
        name = next((part for part in reversed(at) if isinstance(part, str)), "")
        if mentions_secret(annotation) or looks_secret(name):
            self.secrets.add(text)
        if "://" in text:
            self.secrets.update(passwords_in(text))


def read_text(text: str, annotation: object) -> object:
    """`text` as a value of `annotation`: TOML for numbers, booleans, lists and tables, else as it stands."""
    wanted = kinds(annotation)
    if wanted == ("text",):
        return text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    if parsed.keys() != {"value"}:  # a line break in the text began another key
        return text
    value: object = parsed["value"]
    fits = {
        bool: {"boolean"},
        int: {"whole number", "number"},
        float: {"number"},
        list: {"list"},
        dict: {"table"},
    }.get(type(value), set())
    return value if fits.intersection(wanted) or ("text" not in wanted and not isinstance(value, str)) else text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _noun(kind: str) -> str:
    return "variable" if kind == "env" else "file"

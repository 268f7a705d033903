"""From the tree of layers to plain data for one model: references looked up, text read as its type asks.

    { env = "X", default = ... }      the variable's text, the default where it is unset
    { file = "path", default = ... }  the file's text (relative to config.toml, line end stripped), the default where
                                      there is no such file

An unset variable behind a setting that has a default means absent; behind a required one it is a fault.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Final

from service.secrets import passwords_in
from service.settings.annotations import field_at, inner, is_secret, kinds, options, samples
from service.settings.merging import Node, Text, Value, is_reference, plain
from service.settings.positions import Place
from service.settings.reporting import Fault, Report
from service.settings.spelling import Path_, nearest, toml, toml_pair

FILE_LIMIT_BYTES = 1024 * 1024
"""More than this in a `{ file = ... }` is a mistake (chosen)."""


class _Absent:
    """Stands for a value that is not there."""


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Source:
    """Where a piece of data comes from."""

    place: Place
    raw: object
    """As it is written: with its references. None for a table that several layers make."""
    reference: tuple[str, str] | None = None
    """`("env", "PORT")` or `("file", "token.txt")` where the data was looked up."""
    is_around: bool = False
    """Whether `raw` and `reference` are those of a list or table around the place."""

    @property
    def is_part(self) -> bool:
        """Whether it was not looked up by itself, but as part of a list or table that was."""
        return self.is_around and self.reference is not None

    @property
    def is_outside(self) -> bool:
        """Whether it comes from a variable, an option or another file: such values are never repeated."""
        return self.place.document is None or (self.reference is not None and self.reference[0] != "default")


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
            return self._plain(node.value, annotation, at, Source(node.place, node.value))
        if {"env", "file"} & node.entries.keys() and annotation is not None and "table" not in kinds(annotation):
            raw = plain(node)
            return self._plain(raw, annotation, at, Source(node.place, raw))
        self.sources[at] = Source(node.place, None)
        found: dict[str, object] = {}
        for key, child in node.entries.items():
            self._keep(found, key, self.data(child, inner(annotation, key), (*at, key)), annotation, at)
        return found

    def known(self, path: Path_) -> Path_:
        """`path` of the data, or the nearest around it, that has a source."""
        return next(path[:length] for length in range(len(path), -1, -1) if path[:length] in self.sources)

    def source(self, path: Path_) -> Source:
        """The source of what is at `path` of the data, as far as it is known, at the place where that is written."""
        known = self.known(path)
        source, below = self.sources[known], path[len(known) :]
        return replace(source, place=source.place.below(*below), is_around=True) if below else source

    def named(self, path: Path_) -> Path_:
        """`path` below the table that is resolved, as secrets are named by it."""
        return (*self.sources[()].place.path, *path)

    def raw(self, path: Path_) -> object:
        """What is at `path` as its layer has it: with its references, and without what other layers add."""
        source = self.sources[path]
        if source.raw is not None:
            return source.raw
        layer, length = source.place.layer, len(path) + 1
        below = [child for child in self.sources if len(child) == length and child[:-1] == path]
        return {str(child[-1]): self.raw(child) for child in below if self.sources[child].place.layer is layer}

    def pairs_below(self, path: Path_) -> Iterator[tuple[Path_, object]]:
        """The paths below a table at which values are written, with those as they are written."""
        for below, source in self.sources.items():
            if below[: len(path)] == path and source.raw is not None and self.sources[below[:-1]].raw is None:
                yield below, source.raw

    def _plain(self, value: object, annotation: object, at: Path_, source: Source) -> object:
        self.sources[at] = source
        if isinstance(value, Text):
            if not _is_unicode(value.text):
                self._fault(source, "the text is not UTF-8", f"{source.place.layer.name}=...", at)
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
                below = Source(source.place.below(key), item)
                self._keep(found, key, self._plain(item, inner(annotation, key), (*at, key), below), annotation, at)
            return found
        if isinstance(value, list):
            items: list[object] = []
            for index, item in enumerate(value):
                below = Source(source.place.below(index), item)
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
        self.sources[at] = Source(source.place, source.raw, (kind, name))
        text = self._environ.get(name) if kind == "env" else self._file(name, reference, at, source)
        if at in self.settled:
            return ABSENT
        if text is None:
            if "default" not in reference:
                return ABSENT
            data = self._plain(reference["default"], annotation, at, Source(source.place, source.raw))
            self.sources[at] = Source(source.place, source.raw, ("default", name))
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
        self._report.add(Fault(source.place, message, toml_pair(source.place.path, good)))
        return True

    def _refuse_date(self, value: object, annotation: object, at: Path_, source: Source) -> None:
        if str in options(annotation) and at not in self.settled:
            self._fault(source, "must be text, in quotes", toml_pair(source.place.path, str(value)), at)

    def _unset(self, path: Path_, annotation: object) -> None:
        source = self.sources[path]
        _, name = source.reference or ("env", "?")
        sample = "..." if is_secret((name,), annotation) else next(samples(annotation), "...")
        self._fault(
            source,
            f"the variable {name} is not set, and there is no default",
            f"export {name}={sample if isinstance(sample, str) else toml(sample)}",
            path,
        )

    def _fault(self, source: Source, message: str, fix: str, at: Path_) -> None:
        self.settled.add(at)
        self._report.add(Fault(source.place, message, fix))

    def _remember_secret(self, text: str, annotation: object, at: Path_) -> None:
        if is_secret(at, annotation):
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

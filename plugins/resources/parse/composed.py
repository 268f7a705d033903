"""Values that are made of values: arrays and composites, as the text that PostgreSQL reads. Pure.

An array goes as one text, `{"a",NULL}`, and not as a list of texts: the driver needs 190 ms of the loop's time for a
list of 500,000, and 1 ms for the text of them (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from plugins.resources.parse.documents import Document
from plugins.resources.parse.faults import MAX_UNKNOWN, unknown_names
from plugins.resources.schema.kinds import Unfit

Reader = Callable[[Document], str]
"""What makes of a value in JSON the text that PostgreSQL reads. Raises Unfit. None is not asked."""

MAX_DIMENSIONS: Final = 6
"""Lists inside each other (PostgreSQL, MAXDIM)."""


class UnfitWithin(Unfit):
    """Values inside do not fit."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__(faults[0][1])
        self.faults = faults
        """The place of each, as it goes on after the field, `.zip` or `[0].zip`, and the sentence on it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One attribute of a composite value."""

    read: Reader
    is_nullable: bool


def composite_of(parts: Mapping[str, Part]) -> Reader:
    """What reads an object with these names; those that are absent are NULL."""

    def composite(document: Document) -> str:
        if not isinstance(document, dict):
            raise Unfit("must be an object")
        faults: list[tuple[str, str]] = []
        texts = []
        for name, part in parts.items():
            value = document.get(name)
            try:
                if value is not None:
                    texts.append(_quoted(part.read(value)))
                elif part.is_nullable:
                    texts.append("")
                else:
                    raise Unfit("must not be null" if name in document else "is required")
            except UnfitWithin as within:
                faults += [(f".{name}{place}", message) for place, message in within.faults]
            except Unfit as unfit:
                faults.append((f".{name}", f"{unfit}."))
        faults += _unknown([name for name in document if name not in parts], parts)
        if faults:
            raise UnfitWithin(faults)
        return f"({','.join(texts)})"

    return composite


def _unknown(names: Sequence[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    for name, message in unknown_names(names, known, "attribute"):
        yield f".{name}", message
    if len(names) > MAX_UNKNOWN:
        yield "", f"has {len(names) - MAX_UNKNOWN} more names that are no attribute."


def array_of(read: Reader, *, most: int, delimiter: str, is_plain: bool) -> Reader:
    """What reads a list, or lists of lists down to `most` dimensions; `is_plain` says that no element needs quoting.
    It stops at the first element that does not fit."""

    def array(document: Document) -> str:
        if not isinstance(document, list):
            raise Unfit("must be a list")
        lengths = _lengths(document, most) if document else (0,)
        elements = _flat(document, lengths)
        texts = []
        try:
            for element in elements:
                if element is None:
                    texts.append("NULL")
                else:
                    texts.append(read(element) if is_plain else _quoted(read(element)))
        except UnfitWithin as within:
            where = _place(len(texts), lengths)
            raise UnfitWithin([(f"{where}{place}", message) for place, message in within.faults]) from None
        except Unfit as unfit:
            raise Unfit(f"is wrong at {_place(len(texts), lengths)}, which {unfit}") from None
        for length in lengths[:0:-1]:
            starts = range(0, len(texts), length)
            texts = [f"{{{delimiter.join(texts[at : at + length])}}}" for at in starts]
        return f"{{{delimiter.join(texts)}}}"

    return array


def _lengths(document: list[Document], most: int) -> tuple[int, ...]:
    """How many values there are in each dimension, going by the first of them."""
    lengths: list[int] = []
    level: Document = document
    while isinstance(level, list) and len(lengths) < most:
        if not level:
            raise Unfit("must not have an empty list inside")
        lengths.append(len(level))
        level = level[0]
    return tuple(lengths)


def _flat(document: list[Document], lengths: tuple[int, ...]) -> list[Document]:
    """The elements of all dimensions in one list."""
    level = document
    for depth, length in enumerate(lengths[1:], 1):
        lists: list[list[Document]] = []
        for each in level:
            if not isinstance(each, list) or len(each) != length:
                where = _place(len(lists), lengths[:depth])
                raise Unfit(f"must have lists of {length} throughout, and has not at {where}")
            lists.append(each)
        level = list(chain.from_iterable(lists))
    return level


def _place(at: int, lengths: tuple[int, ...]) -> str:
    """Where in lists of these lengths the element stands that is at `at` among all: `[1][0]`."""
    place = ""
    for length in lengths[:0:-1]:
        at, inside = divmod(at, length)
        place = f"[{inside}]{place}"
    return f"[{at}]{place}"


def _quoted(text: str) -> str:
    """As an element of an array or a composite value, whatever is in it."""
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

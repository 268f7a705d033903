"""The key of a row as the last segment of its path: read, and spelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from plugins.resources.parse.faults import Fault
from plugins.resources.parse.texts import sendable, split_list
from plugins.resources.schema.kinds import Unfit
from plugins.resources.schema.naming import SEGMENT_CHARS
from plugins.resources.schema.resource import Resource

MAX_CHARS: Final = 4_000
"""Of a key in a path that we send (chosen, as for cursors: half of what a request line takes)."""

NOWHERE: Final = frozenset({"", ".", ".."})
"""What no last segment can be, percent-encoded or not: clients take it for a step in the path (RFC 3986, section
5.2.4; WHATWG URL, double-dot path segment)."""


def parse_key(text: str, resource: Resource, faults: list[Fault]) -> list[str]:
    """The values of a key as it stands in a path, percent-decoded. Appends to `faults` what is wrong."""
    key = resource.key
    values = split_list(text) if len(key) > 1 else (text,)
    if len(values) != len(key):
        names = ",".join(part.name for part in key)
        faults.append(Fault("id", f"must be {len(key)} values joined by commas: {names}."))
        return []
    parsed = []
    for part, value in zip(key, values, strict=True):
        try:
            parsed.append(part.kind.parse(sendable(value)))
        except Unfit as unfit:
            faults.append(Fault("id", f"{unfit}." if len(key) == 1 else f"is wrong in {part.name}, which {unfit}."))
    return parsed


def spelled(key: Sequence[str]) -> str:
    r"""The key as it stands in a path, percent-decoded: of several values, with commas between them."""
    if len(key) == 1:
        return key[0]
    return ",".join([part.replace("\\", "\\\\").replace(",", "\\,") for part in key])


def place_of(key: Sequence[str], resource: Resource) -> str | None:
    """The segment, percent-encoded, by which clients reach the row with this key; None where none leads there."""
    text = spelled(key)
    if text in NOWHERE:
        return None
    faults: list[Fault] = []
    parse_key(text, resource, faults)
    if faults:  # PostgreSQL has values that requests cannot have: the year 10000
        return None
    segment = text if text.isascii() and text.isalnum() else quote(text, safe=SEGMENT_CHARS)
    return segment if len(segment) <= MAX_CHARS else None

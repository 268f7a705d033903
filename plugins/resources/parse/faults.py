"""What is wrong with a request, one value for each fault."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from service.api import nearest

MAX_SHOWN_CHARS: Final = 100
"""What is shown of what a client sent (chosen)."""

MAX_UNKNOWN: Final = 100
"""Unknown names of one object that are told one by one (chosen)."""

MAX_SUGGESTIONS: Final = 5
"""Names that are looked for per request or body (chosen: looking for one takes up to a millisecond)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one parameter of a query string, with the key in a path, or with one field of a body."""

    field: str
    """As the client spelled it; `id` for the key in the path."""
    message: str
    """Goes on after the field: `must be an integer.`"""


def cut(text: str) -> str:
    """As much of it as is shown."""
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."


def unknown_names(names: Sequence[str], known: Collection[str], what: str) -> Iterator[tuple[str, str]]:
    """Each of the first names, which are all unknown, with what is said of it: `is no field`."""
    for at, name in enumerate(names[:MAX_UNKNOWN]):
        meant = nearest(name, known) if at < MAX_SUGGESTIONS else None
        yield cut(name), f"is no {what}; did you mean {meant}?" if meant else f"is no {what}."

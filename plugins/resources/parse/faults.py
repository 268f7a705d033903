"""What is wrong with a request, one value for each fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_SHOWN_CHARS: Final = 100
"""What is shown of what a client sent (chosen)."""


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

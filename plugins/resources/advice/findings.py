"""What is found: pieces of advice, what was looked at, and what could not be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plugins.resources.advice.explaining import Plan


@dataclass(frozen=True, slots=True)
class Advice:
    """One finding."""

    kind: Literal["index", "statistics", "unused index", "invalid index"]
    table: str
    what: str
    """A sentence."""
    evidence: tuple[str, ...]
    """Sentences."""
    plan: tuple[str, ...]
    """How the list is got now; empty where there is none to explain."""
    run: str
    """The line that would help."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A list that was looked at."""

    list: str
    plan: Plan | None
    reason: str
    """Why there is no plan."""
    seen: tuple[str, ...]
    """Who asked for it, how often, how long it took."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that is found."""

    advice: tuple[Advice, ...]
    looked: tuple[Looked, ...]
    notes: tuple[str, ...]
    """What could not be looked at, or not be helped, and why: sentences."""


def in_bytes(count: int) -> str:
    """`376 KiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"

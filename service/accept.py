"""What a client would rather have: `prefers` reads its Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_WEIGHT: Final = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def prefers(accept: str, wanted: str, *, over: str) -> bool:
    """True if the header `accept` ranks the media type `wanted` above `over`, which is what clients get otherwise.

    Where it ranks both alike, the one that it names more precisely is meant: `text/html, */*` is a browser's.
    """
    if accept in ("", "*/*"):
        return False
    ranges = _ranges(accept.lower())
    mine, usual = _rank(wanted, ranges), _rank(over, ranges)
    return mine > usual and mine[0] > 0


def _ranges(accept: str) -> Mapping[str, float]:
    """Each media range with its weight; one whose weight makes no sense is not wanted."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        media_range, *parameters = [piece.strip() for piece in item.split(";")]
        text = next((piece for piece in parameters if piece.startswith("q")), "q=1")
        match = _WEIGHT.fullmatch(text)
        weights[media_range] = float(match[1]) if match else 0.0
    return weights


def _rank(media_type: str, ranges: Mapping[str, float]) -> tuple[float, int]:
    """Its weight, by the most precise range that it falls under, and how precise that is."""
    for precision, media_range in ((2, media_type), (1, f"{media_type.partition('/')[0]}/*"), (0, "*/*")):
        if media_range in ranges:
            return ranges[media_range], precision
    return 0.0, 0

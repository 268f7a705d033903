"""Text as URLs carry it: percent-encoding, names and values of a query string, lists with commas.

Source: WHATWG URL, application/x-www-form-urlencoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from plugins.resources.parse.faults import Fault, cut
from plugins.resources.schema.kinds import Unfit

MAX_PARAMETERS: Final = 100
"""Parameters of one request (chosen: faults are answered one by one)."""

_LIST_PART: Final = re.compile(r"\\[\\,]|,|[^\\,]+|\\")


def split_list(text: str) -> tuple[str, ...]:
    r"""`a,b` → a and b; `\,` is a comma, `\\` a backslash, and a backslash before anything else itself."""
    if "\\" not in text:
        return tuple(text.split(","))
    parts = [""]
    for piece in _LIST_PART.findall(text):
        if piece == ",":
            parts.append("")
        else:
            parts[-1] += piece[1] if len(piece) == 2 and piece[0] == "\\" else piece
    return tuple(parts)


def sendable(text: str) -> str:
    """The text, if PostgreSQL can take it. Raises Unfit."""
    if "\0" in text:
        raise Unfit("must not contain a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unfit("must be UTF-8") from None
    return text


def decode(text: str) -> str:
    """Percent-decoding as browsers and forms do it: `+` is a space, a stray `%` itself. Raises Unfit."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return sendable(text)
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Unfit("must be percent-encoded UTF-8") from None
    return sendable(decoded)


def read_pairs(query: str, faults: list[Fault]) -> Iterator[tuple[str, str]]:
    """Names and values, decoded; each name once. Appends to `faults` what is wrong."""
    pieces = [piece for piece in query.split("&") if piece]
    if len(pieces) > MAX_PARAMETERS:
        faults.append(Fault("query", f"has more than {MAX_PARAMETERS} parameters."))
        return
    seen = set()
    for piece in pieces:
        raw_name, _, raw_value = piece.partition("=")
        name = raw_name
        try:
            name = decode(raw_name)
            if not name:
                faults.append(Fault("query", "has a parameter with an empty name."))
                continue
            if name in seen:
                raise Unfit("is given more than once")
            seen.add(name)
            value = decode(raw_value)
        except Unfit as unfit:
            faults.append(Fault(cut(name), f"{unfit}."))
        else:
            yield name, value

"""One entry is one line: text as a terminal and a parser may safely see it, whatever a client put into it.

Escaped is what Python would not print as itself: control characters, line and paragraph separators, formatting
characters that turn the reading direction round, unassigned ones and lone surrogates (`str.isprintable`).
"""

from __future__ import annotations

import re

import orjson

LONGEST_TEXT = 16_384
"""Characters of a message or traceback that are kept (chosen: more than anyone reads)."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def json_line(fields: dict[str, object]) -> bytes:
    """`fields` as one line of JSON. It parses back to the same text; lone surrogates become their spelling."""
    try:
        line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate: bytes of a header that were no UTF-8
        line = orjson.dumps(
            {name: _whole(value) if isinstance(value, str) else value for name, value in fields.items()},
            option=orjson.OPT_APPEND_NEWLINE,
        )
    if line.isascii() and b"\x7f" not in line:
        return line
    text = line[:-1].decode()
    if text.isprintable():
        return line
    return "".join([char if char.isprintable() else _json_escape(char) for char in text]).encode() + b"\n"


def printable(text: str) -> str:
    """`text` on one line, with escapes in Python's spelling: `\\n`, `\\x1b`, `\\u2028`."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else char.encode("unicode_escape").decode() for char in text])


def quotable(text: str) -> str:
    """`text` as the value of a token: printable, and a quote in it cannot end the quotes that the format puts."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return printable(text.replace("\\", "\\\\").replace('"', '\\"'))


def clipped(text: str, longest: int = LONGEST_TEXT) -> str:
    """The beginning and the end of `text`, where it has more than `longest` characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _whole(text: str) -> str:
    return _SURROGATE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

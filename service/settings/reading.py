"""From a file's bytes to a `Document` and its values; a file that leaves nothing to check raises at once.

tomllib's messages become one sentence each, with the line, what stands there, and a way out.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from service.errors import SettingsError
from service.secrets import may_be_secret
from service.settings.positions import Document, Layer, Place
from service.settings.reporting import Fault
from service.settings.spelling import printable, toml

SIZE_LIMIT_BYTES = 4 * 1024 * 1024
"""A larger file is not one that somebody wrote (chosen)."""

DEPTH_LIMIT = 32
"""Deeper nesting is not something that anybody reads (chosen)."""

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_PAIR = re.compile(r"\s*(?P<key>[^=\[\]{}\"']+?)\s*=\s*(?P<value>.*?)\s*(?:#.*)?")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./:-]*")

_TWICE = ("Cannot overwrite a value", "Cannot declare", "Cannot redefine", "Duplicate inline")

_WAYS_OUT = (
    ("Expected '=' after a key", "a key needs = and a value after it"),
    ("Invalid value", "this is no TOML value; text stands in quotes"),
    ("Cannot overwrite a value", "this key is set twice; keep one of them"),
    ("Cannot declare", "this table is declared twice; keep one header and put the keys of both below it"),
    ("Cannot mutate immutable namespace", "this inline table is complete where it stands; put the key inside its { }"),
    ("Cannot redefine namespace", "this is a table already; keep one of them"),
    ("Unterminated string", "the text that begins here has no closing quote"),
    ("Unescaped '\\\\' in a string", "a backslash in \"...\" is written twice; or use '...', which takes it as it is"),
    ("Unclosed array", "the list has no closing ]; its entries are separated by commas"),
    ("Unclosed inline table", "an inline table stands on one line, { a = 1, b = 2 }, without a comma at its end"),
    ("Expected ']' at the end of a table", "a table's header ends with ]"),
    ("Expected ']]' at the end of an array", "an array's header ends with ]]"),
    ("Expected newline or end of document", "one key a line: something stands after the value"),
    ("Illegal character '\\n'", "the text that begins here has no closing quote"),
    ("Illegal character", "a character here is not allowed; in text, write it as \\uXXXX"),
    ("Invalid initial character for a key", "a key is letters, digits, - and _, or stands in quotes"),
    ("Duplicate inline table key", "this key is set twice in one inline table; keep one of them"),
    ("Invalid statement", "a line is [a.table], key = value, or a # comment"),
    ("Invalid date or datetime", "a date is written 2026-01-31, a time 12:00:00"),
    ("Invalid hex value", "this escape is not a character"),
    ("Escaped character is not", "this escape is not a character"),
)


def read_document(config: Path, text: str | None = None) -> tuple[Document, dict[str, object]]:
    """The file and its values; `text` is what it says where that has been read. Raises SettingsError for one that is
    missing, unreadable, or no TOML."""
    document = Document(config, read_text(config) if text is None else text)
    try:
        data: dict[str, object] = tomllib.loads(document.text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(syntax_fault(document, str(error)))) from None
    except (RecursionError, ValueError):  # ValueError: an integer of thousands of digits
        raise SettingsError(
            f"{config}: cannot be read as settings; flatten what is nested deeply or too long."
        ) from None
    if depth(data) > DEPTH_LIMIT:
        raise SettingsError(f"{config}: tables are nested over {DEPTH_LIMIT} deep; flatten them.")
    return document, data


def read_text(config: Path) -> str:
    """The text of the file, without a byte order mark. Raises SettingsError for one that is missing or unreadable."""
    try:
        with config.open("rb") as stream:
            content = stream.read(SIZE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        message = f"{config}: there is no such file; write one with `pegboard init`, or name another with --config."
        raise SettingsError(message) from None
    except IsADirectoryError:
        message = f"{config}: this is a folder; name the file in it: --config {config / 'config.toml'}"
        raise SettingsError(message) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "the name cannot be one"
        name = printable(str(config))
        raise SettingsError(f"{name}: cannot be read ({why}); see that this user may: chmod u+r {name}") from None
    if len(content) > SIZE_LIMIT_BYTES:
        raise SettingsError(f"{config}: is over {SIZE_LIMIT_BYTES >> 20} MiB; name the settings with --config FILE.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"{config}:{line}: is not UTF-8; save it as UTF-8: iconv -f LATIN1 -t UTF-8 {config}"
        raise SettingsError(message) from None


def depth(value: object) -> int:
    """How deep tables and lists are nested, without recursion."""
    level, found = [value], 0
    while level:
        found += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return found


def syntax_fault(document: Document, error: str) -> Fault:
    """tomllib's `error` as a fault: the place, what is wrong, the line, and the line to write where it can be told."""
    lines = document.text.split("\n")
    where = _AT.search(error)
    reason = _AT.sub("", error)
    line, column = (int(where[1]), int(where[2])) if where and where[1] else (max(len(lines), 1), 1)
    if reason.startswith(("Unterminated string", "Unclosed array")) and not (where and where[1]):
        line = _unclosed(document.text)
    way_out = next((words for begin, words in _WAYS_OUT if reason.startswith(begin)), reason[:1].lower() + reason[1:])
    if _is_open_inline(document.text, line):
        reason, way_out = "Unclosed inline table", dict(_WAYS_OUT)["Unclosed inline table"]
    shown, fix = _shown_and_fixed(document.text, line, reason)
    verb = "remove" if reason.startswith(_TWICE) and fix else "write"
    layer = Layer(f"{document.path}:{line}:{column}" if where and where[1] else f"{document.path}:{line}")
    return Fault(Place(layer), f"{way_out}{shown}", fix, verb)


def _is_open_inline(text: str, number: int) -> bool:
    """Whether an inline table begins on the line and does not end there, which TOML 1.0 wants it to."""
    line = text.split("\n")[number - 1]
    return line.partition("#")[0].rstrip().endswith((",", "{")) and line.count("{") > line.count("}")


def _unclosed(text: str) -> int:
    """The line of the last quotes or bracket that something never closed began with."""
    return text.count("\n", 0, max(text.rfind(mark) for mark in ('"""', "'''", "[", "{"))) + 1


def _shown_and_fixed(text: str, number: int, reason: str) -> tuple[str, str]:
    """The offending line, as far as it may be shown, and the line to write instead."""
    lines = text.split("\n")
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    before = "\n".join(lines[: number - 1])
    inside_text = before.count('"""') % 2 or before.count("'''") % 2
    if not line or inside_text:
        return "", ""
    found = _PAIR.fullmatch(line)
    if found is None:
        hidden = '"' in line or "'" in line or may_be_secret(line) or "://" in line
        key, _, value = line.partition(" ")
        fix = f"{key} = {value.lstrip(': ')}" if reason.startswith("Expected '='") and value and not hidden else ""
        if line.startswith("["):
            fix = line if reason.startswith(_TWICE) else f"{line}]" if reason.startswith("Expected ']'") else ""
        fix = "]" if reason.startswith("Unclosed array") else fix
        return ("" if hidden and not line.startswith("[") else f": {line[:80]}"), fix
    key, value = found["key"], found["value"]
    if reason.startswith(_TWICE):
        return "", key
    if reason.startswith("Unclosed inline table"):
        whole = " ".join([part.strip() for part in lines[number - 1 :]]).partition("}")[0].rstrip(", ") + " }"
        can_show = not {'"', "'", "#"} & set(whole) and not may_be_secret(whole)
        return f": {key} = {{ ...", whole if can_show else f"{key} = {{ ... }}"
    if may_be_secret(key) or "://" in value:
        return f": {key} = ***", f'{key} = {{ env = "{re.sub("[^A-Z0-9]", "_", key.upper())}" }}'
    if '"' in value or "'" in value:
        return f": {key} = ...", ""
    fix = ""
    if reason.startswith("Invalid value") and (_WORD.fullmatch(value) or not value):
        fix = f"{key} = {value.lower() if value.lower() in ('true', 'false') else toml(value or '...')}"
    return f": {line[:80]}", fix

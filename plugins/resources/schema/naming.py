"""Names: how the database's become the API's, in JSON, query strings and paths, and how SQL takes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from plugins.resources.schema.catalogue import Table

MAX_NAME_BYTES: Final = 63
"""PostgreSQL cuts longer names, and longer values of its type `name` (NAMEDATALEN - 1)."""

SEGMENT_CHARS: Final = "!$&'()*+,;=:@"
"""What stands unescaped in a path segment beside letters, digits and `-._~` (RFC 3986, section 3.3)."""

PLACEHOLDER_CHARS: Final = frozenset("{}")
"""What routes read as a placeholder."""

_SEPARATOR: Final = re.compile(r"[\W_]+")
_CAPITALS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]")


def camel_case(name: str) -> str:
    """`created_at` → `createdAt`, `USER_ID` → `userId`, `Order Date` → `orderDate`; leading underscores stay."""
    core = name.lstrip("_")
    words = [word for word in _SEPARATOR.split(core.lower() if core.isupper() else core) if word]
    if not words:
        return name
    first = _CAPITALS.sub(lambda match: match[0].lower(), words[0], count=1) if words[0][0].isupper() else words[0]
    made = name[: len(name) - len(core)] + first + "".join(word[0].upper() + word[1:] for word in words[1:])
    return made if len(made.encode()) <= MAX_NAME_BYTES else name  # 'ŉ' has a longer capital


def api_names(columns: Iterable[str], *, in_camel_case: bool) -> dict[str, str]:
    """Column name → JSON name. Columns that would share a camelCase name keep their own."""
    names = {column: camel_case(column) if in_camel_case else column for column in columns}
    taken = Counter(names.values())
    return {column: name if taken[name] == 1 else column for column, name in names.items()}


def quoted(identifier: str) -> str:
    """A name from the catalogue, as SQL takes it whatever it is made of."""
    return '"' + identifier.replace('"', '""') + '"'


def relation(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def is_segment(text: str) -> bool:
    """Whether it can stand in a path, percent-encoded where need be."""
    return text not in ("", ".", "..") and text.isprintable() and not PLACEHOLDER_CHARS.intersection(text)


def encoded(path: str) -> str:
    """One or more segments as they stand in a URL."""
    return quote(path, safe=f"{SEGMENT_CHARS}/")


def as_segments(text: str) -> list[str]:
    """The segments that come nearest to those of `text`."""
    cleaned = [re.sub(r"[{}\s]+", "-", each).strip("-") for each in text.split("/")]
    return [each for each in cleaned if is_segment(each)]

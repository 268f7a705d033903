"""How paths, keys and values are spelled for an operator: TOML to paste."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from difflib import get_close_matches

from service.secrets import MASK
from service.settings.units import Secret

Path_ = tuple[str | int, ...]
"""Keys, and indexes of list items, from the top of the file."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def toml_key(name: str) -> str:
    """`name` as a key of TOML: in quotes only where it needs them."""
    return name if _BARE_KEY.fullmatch(name) else _quoted(name)


def dotted(path: Sequence[str | int]) -> str:
    """`plugins.hosts[0]."a.b"`: a path as an operator writes it, indexes in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{toml_key(part)}" if text else toml_key(part)
    return text


def toml(value: object) -> str:
    """`value` as TOML on one line; a Secret or None, which TOML does not have, as `"***"` and `""`."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case Mapping():
            inside = ", ".join(f"{toml_key(str(key))} = {toml(item)}" for key, item in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple() | set() | frozenset():
            return f"[{', '.join([toml(item) for item in value])}]"
        case Secret():
            return _quoted(MASK)
        case None:
            return '""'
        case _:
            return _quoted(str(value))


def _quoted(text: str) -> str:
    out = "".join([_ESCAPES.get(letter, letter) for letter in text])
    return '"' + re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04X}", out) + '"'


def printable(text: str) -> str:
    """`text` with control characters escaped, so that a file's content cannot move the cursor of a terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04X}", text)


LONGEST_NAME = 255
"""Nobody means a longer name, and the search is quadratic (chosen)."""


def nearest(name: str, candidates: Collection[str], *, cutoff: float = 0.6) -> str | None:
    """The candidate that `name` most likely stands for, a misspelling or its only long beginning (`prod`), or None.

    `cutoff` is how alike they must be, from 0 to 1 (difflib): 0.6 is for names that are wrong in any case.
    """
    wanted = name.casefold().replace("-", "_")
    if len(wanted) > LONGEST_NAME:
        return None
    folded = {candidate.casefold().replace("-", "_"): candidate for candidate in candidates}
    begun = [candidate for known, candidate in folded.items() if known.startswith(wanted)] if len(wanted) > 2 else []
    if len(begun) == 1:
        return begun[0]
    found = get_close_matches(wanted, list(folded), n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def there_are(names: Sequence[str]) -> str:
    """`there is a`, `there are a and b`."""
    return f"there {'is' if len(names) == 1 else 'are'} {listed(names)}"


def listed(names: Iterable[str], *, most: int = 12) -> str:
    """`a, b and c`, or `nothing`; with more than `most`, the first of them and an ellipsis."""
    *others, last = names = list(names) or ["nothing"]
    if len(names) > most:
        return f"{', '.join(names[:most])}, ..."
    return f"{', '.join(others)} and {last}" if others else last


def pair_of(path: Path_) -> Path_:
    """Of the pair `key = value` that `path` is in: itself, or for an item that of its list."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    return path


def toml_pair(path: Path_, value: object) -> str:
    """`key = value`, the key being the last of `path` that is one."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "value")
    return f"{toml_key(key)} = {toml(value)}"

"""The text of an API key: `pgb_`, an id of 12 letters and digits, `_`, a secret of 43, and a checksum of 6; pure.

    pgb_4kZ0nQ2mXw8T_Zs1c9yQvN6kRr3hWq0JtXb7uLm2pGe5dYaFi8oCnTs42Fd7Qw
        └── id ────┘ └── secret ───────────────────────────────┘└sum─┘

The beginning lets people and secret scanners know it for what it is, and the checksum lets both tell a key from a
typing mistake without asking anyone. The id is no secret: it is what a key is looked up by, listed by and revoked by.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "pgb_"

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

ID_LETTERS: Final = 12

SECRET_LETTERS: Final = 43
"""256 bits: 43 * log2(62) = 256.03."""

CHECKSUM_LETTERS: Final = 6
"""What 32 bits need."""

LENGTH: Final = len(PREFIX) + ID_LETTERS + len("_") + SECRET_LETTERS + CHECKSUM_LETTERS

_KEY = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{ID_LETTERS}}})_([0-9A-Za-z]{{{SECRET_LETTERS}}})[0-9A-Za-z]*")
_NAMED = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{ID_LETTERS}}})(?![0-9A-Za-z])")


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str
    text: str = field(repr=False)
    """All of it, which is shown once."""
    digest: bytes = field(repr=False)
    """Of the secret, with SHA-256: a slow hash as for passwords would only cost, since nobody guesses 256 bits."""


def new_key() -> ApiKey:
    text = f"{PREFIX}{_random(ID_LETTERS)}_{_random(SECRET_LETTERS)}"
    key = parse_key(f"{text}{_checksum(text)}")
    assert key is not None  # noqa: S101  # as every one of that form
    return key


def parse_key(text: str) -> ApiKey | None:
    """None for what is no key of anyone's."""
    if len(text) != LENGTH:
        return None
    found = _KEY.fullmatch(text)
    if found is None or _checksum(text[:-CHECKSUM_LETTERS]) != text[-CHECKSUM_LETTERS:]:
        return None
    return ApiKey(found[1], text, hashlib.sha256(found[2].encode()).digest())


def shown_id(identity: str) -> str:
    """The id as people see it, which is how the key begins."""
    return f"{PREFIX}{identity}"


def id_in(text: str) -> str | None:
    """The id in what somebody calls a key by: its beginning, or all of it; None where it is neither."""
    found = _NAMED.match(text)
    return found and found[1]


def _random(length: int) -> str:
    return "".join([secrets.choice(ALPHABET) for _ in range(length)])


def _checksum(text: str) -> str:
    number, letters = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LETTERS):
        number, place = divmod(number, len(ALPHABET))
        letters = ALPHABET[place] + letters
    return letters

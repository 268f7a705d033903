"""How API keys are written: what is one, and what is not."""

from __future__ import annotations

import hashlib
import re
import zlib

import pytest

from plugins.auth.api_keys.text import ALPHABET, LENGTH, PREFIX, id_in, new_key, parse_key, shown_id
from service.api import CREDENTIAL_HEADERS, looks_secret

EXAMPLE = "pgb_4kZ0nQ2mXw8T_Zs1c9yQvN6kRr3hWq0JtXb7uLm2pGe5dYaFi8oCnTs4"


def summed(text: str) -> str:
    """With the checksum that it ought to have, computed another way than the code does."""
    number = zlib.crc32(text.encode())
    return text + "".join(ALPHABET[number // 62**place % 62] for place in reversed(range(6)))


def test_new_keys_are_all_different_and_have_the_one_form() -> None:
    keys = [new_key() for _ in range(200)]
    assert len({key.text for key in keys}) == len({key.id for key in keys}) == 200
    for key in keys:
        assert re.fullmatch(r"pgb_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", key.text)
        assert summed(key.text[:-6]) == key.text
        assert key.text.startswith(f"{shown_id(key.id)}_")
        assert key.digest == hashlib.sha256(key.text[17:-6].encode()).digest()
        assert parse_key(key.text) == key
    assert set("".join(key.text[17:-6] for key in keys)) == set(ALPHABET)


def test_key_says_nothing_of_its_secret_when_it_is_printed() -> None:
    key = new_key()
    assert repr(key) == f"ApiKey(id='{key.id}')"


GOOD = summed(EXAMPLE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PREFIX,
        GOOD[:-1],
        GOOD[:-6],
        f"{GOOD}0",
        f"{GOOD}=",
        f"{GOOD}\n",
        f" {GOOD}",
        GOOD.upper(),
        GOOD.lower(),
        GOOD.swapcase(),
        f"PGB_{GOOD[4:]}",
        f"ghp_{GOOD[4:]}",
        GOOD[:-6] + "000000",
        GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1"),
        GOOD.replace("_", "-"),
        GOOD[:30] + ("0" if GOOD[30] != "0" else "1") + GOOD[31:],
        GOOD[:4] + ("0" if GOOD[4] != "0" else "1") + GOOD[5:],
        summed("pgb_4kZ0nQ2mXw8T0" + "Zs1c9yQvN6kRr3hWq0JtXb7uLm2pGe5dYaFi8oCnTs4"),
        summed("pgb_4kZ0nQ2mXw8'_Zs1c9yQvN6kRr3hWq0JtXb7uLm2pGe5dYaFi8oCnTs4"),
        summed("pgb_4kZ0nQ2mXw8é_Zs1c9yQvN6kRr3hWq0JtXb7uLm2pGe5dYaFi8oCnTs4"),
        summed("pgb_4kZ0nQ2mXw8\N{FULLWIDTH DIGIT ONE}_Zs1c9yQvN6kRr3hWq0JtXb7uLm2pGe5dYaFi8oCnTs4"),
        "0" * LENGTH,
        "p" * 65_536,
    ],
)
def test_what_is_written_otherwise_is_no_key(text: str) -> None:
    assert parse_key(text) is None


def test_example_is_a_key() -> None:
    """Without this the table above could hold for the wrong reason."""
    assert parse_key(GOOD) is not None


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        (GOOD, "4kZ0nQ2mXw8T"),
        ("pgb_4kZ0nQ2mXw8T", "4kZ0nQ2mXw8T"),
        ("pgb_4kZ0nQ2mXw8T_Zs1c9", "4kZ0nQ2mXw8T"),
        ("4kZ0nQ2mXw8T", None),
        ("pgb_4kZ0nQ2mXw8", None),
        ("pgb_4kZ0nQ2mXw8Tx", None),
        ("ci", None),
    ],
)
def test_key_is_called_by_its_beginning(text: str, identity: str | None) -> None:
    assert id_in(text) == identity


def test_header_of_keys_is_one_that_no_log_shows() -> None:
    assert looks_secret("X-API-Key")
    assert "authorization" in CREDENTIAL_HEADERS

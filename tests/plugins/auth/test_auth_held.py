"""What is revoked, in memory and as text: which tokens it hits, until when, and what is no revocation at all."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from plugins.auth.revocation.held import LONGEST_NAME, Held, Kind, Revoked, name_of
from plugins.auth.revocation.messages import LONGEST_MESSAGE, decoded, encoded, revoked_of
from plugins.auth.tokens.keys import secret_key
from plugins.auth.tokens.verifying import LAST_SECOND, Verified
from service.api import Principal

KEY = secret_key("k" * 32, ["HS256"])


def verified(
    subject: str = "ada", *, issued_at: float | None = 100, jti: str | None = "1", session: str | None = None
) -> Verified:
    return Verified(Principal(subject), 1_000, issued_at, jti, session, KEY)


def held(*revoked: Revoked, now_s: float = 0) -> Held:
    made = Held()
    for each in revoked:
        made.add(each, now_s)
    return made


@pytest.mark.parametrize(
    ("kind", "value", "token", "is_hit"),
    [
        ("token", "1", verified(), True),
        ("token", "1", verified("bob", issued_at=999), True),
        ("token", "1", verified(issued_at=None), True),
        ("token", "2", verified(), False),
        ("token", "1", verified(jti=None), False),
        ("token", "ada", verified(), False),
        ("session", "1", verified(session="1"), True),
        ("session", "1", verified("bob", jti=None, issued_at=999, session="1"), True),
        ("session", "2", verified(session="1"), False),
        ("session", "1", verified(), False),
        ("subject", "ada", verified(), True),
        ("subject", "ada", verified(jti=None), True),
        ("subject", "ada", verified(issued_at=None), True),
        ("subject", "ada", verified("Ada"), False),
        ("subject", "1", verified(), False),
        ("everyone", "", verified("bob", jti=None), True),
        ("everyone", "", verified("bob", issued_at=None), True),
    ],
)
def test_revocation_hits_by_what_a_token_says(kind: Kind, value: str, token: Verified, is_hit: bool) -> None:
    revoked = Revoked(kind, value, 100, 1_000)
    assert revoked.hits(token) is is_hit
    assert held(revoked).hits(token) is is_hit


@pytest.mark.parametrize(("issued_at", "is_hit"), [(99.0, True), (100.0, True), (100.999, True), (101.0, False)])
@pytest.mark.parametrize(("kind", "value"), [("subject", "ada"), ("everyone", "")])
def test_second_of_issued_before_is_in_it(kind: Kind, value: str, issued_at: float, is_hit: bool) -> None:
    """`iat` is in whole seconds: one issued in the same second may have been there before."""
    revoked = Revoked(kind, value, 100, 1_000)
    assert revoked.hits(verified(issued_at=issued_at)) is is_hit
    assert held(revoked).hits(verified(issued_at=issued_at)) is is_hit


def test_nothing_held_hits_nothing() -> None:
    assert not Held().hits(verified(issued_at=None))


def test_revocation_ends_on_its_second_and_leaves_the_memory() -> None:
    made = held(Revoked("token", "1", 0, 200), Revoked("subject", "ada", 0, 300), Revoked("everyone", "", 0, 400))
    for now_s, left in ((199.9, 3), (200, 2), (299.9, 2), (300, 1), (400, 0)):
        made.drop_ended(now_s)
        assert len(made) == left
    assert not made.hits(verified())


def test_revocation_that_has_ended_is_not_held() -> None:
    made = Held()
    assert not made.add(Revoked("token", "1", 0, 200), 200)
    assert made.add(Revoked("token", "1", 0, 200), 199.9)
    assert len(made) == 1


def test_held_twice_hits_more_and_lasts_longer() -> None:
    made = Held()
    assert made.add(Revoked("subject", "ada", 100, 500), 0)
    assert made.add(Revoked("subject", "ada", 200, 400), 0)
    assert list(made) == [Revoked("subject", "ada", 200, 500)]
    assert not made.add(Revoked("subject", "ada", 150, 450), 0)
    assert not made.add(Revoked("subject", "ada", 200, 500), 0)
    assert list(made) == [Revoked("subject", "ada", 200, 500)]


# --- names


@pytest.mark.parametrize("text", ["", "ada", "42", "Åsa ☃", "x" * LONGEST_NAME, 'quo"te'])
def test_name_that_can_be_kept_is_kept(text: str) -> None:
    assert name_of(text) == text


@pytest.mark.parametrize(
    "text", ["x" * (LONGEST_NAME + 1), "a\nb", "nul\0", "\x1b[31m", "\ud800", "sha256:ab", "a\u202eb"]
)
def test_name_that_cannot_be_printed_or_stored_is_a_digest(text: str) -> None:
    name = name_of(text)
    assert name.startswith("sha256:")
    assert len(name) == 71
    assert name != name_of(f"{text} ")
    assert held(Revoked("token", name, 0, 200)).hits(verified(jti=text))
    assert held(Revoked("subject", name, 200, 300)).hits(verified(text))
    assert Revoked("subject", name, 200, 300).hits(verified(text))


# --- messages


@pytest.mark.parametrize(
    "revoked",
    [
        Revoked("token", "1", 0, LAST_SECOND),
        Revoked("subject", 'quo"te\\', 100, 200),
        Revoked("subject", "☃" * LONGEST_NAME, 100, 200),
        Revoked("everyone", "", 100, 200),
    ],
)
def test_message_is_read_as_it_was_written(revoked: Revoked) -> None:
    assert decoded(encoded(revoked)) == revoked
    assert decoded(encoded(revoked).decode()) == revoked
    assert len(encoded(revoked)) <= LONGEST_MESSAGE / 2


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"null",
        b"{}",
        b"[]",
        b'["token"]',
        b'["token", "1", 0, 200, 0]',
        b'["token", "", 0, 200]',
        b'["everyone", "ada", 0, 200]',
        b'["nobody", "1", 0, 200]',
        b'["token", 1, 0, 200]',
        b'["token", "1", "0", 200]',
        b'["token", "1", true, 200]',
        b'["token", "1", 0, true]',
        b'["token", "1", 0.5, 200]',
        b'["token", "1", -1, 200]',
        b'["token", "1", 0, 253402300800]',
        b'["token", "1", 0, 1e400]',
        b'["token", "1", 0, ' + b"9" * 3000 + b"]",
        b'["token", "' + b"x" * (LONGEST_NAME + 1) + b'", 0, 200]',
        b'["token", "' + b"x" * 100_000 + b'", 0, 200]',
        b"[" * 4000,
        b'{"kind": "token", "value": "1"}',
    ],
)
def test_message_that_is_no_revocation_is_none(message: bytes) -> None:
    assert decoded(message) is None
    assert decoded(message.decode("utf-8", "surrogateescape")) is None


@pytest.mark.parametrize("row", [["token", "1", None, 2], ["token", None, 1, 2], [None, "1", 1, 2]])
def test_row_of_wrong_types_is_none(row: list[Any]) -> None:
    assert decoded(orjson.dumps(row)) is None


def test_row_out_of_bounds_is_none() -> None:
    assert revoked_of("token", "1", 0, 200) == Revoked("token", "1", 0, 200)
    assert revoked_of("token", "1", -1, 200) is None
    assert revoked_of("token", "1", 0, LAST_SECOND + 1) is None

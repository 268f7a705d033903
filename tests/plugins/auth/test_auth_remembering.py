"""Tokens that were verified once: no second signature check, no second more than they have, and never too many."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from plugins.auth.tokens.keys import Key, secret_key
from plugins.auth.tokens.remembering import Memory
from plugins.auth.tokens.verifying import Verified
from service.api import Principal
from service.testing import FakeClock

KEY = secret_key("k" * 32, ["HS256"])


def verified(subject: str = "ada", *, ends_at: float = 100.0, issued_at: float = 0.0, jti: str = "1") -> Verified:
    return Verified(Principal(subject), ends_at, issued_at, jti, None, KEY)


async def test_known_token_pays_no_signature_check(serve: Any, forge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = 0
    check = Key.has_signed

    def counted(self: Key, *arguments: Any) -> bool:
        nonlocal checks
        checks += 1
        return check(self, *arguments)

    monkeypatch.setattr(Key, "has_signed", counted)
    service = await serve()
    for _ in range(5):
        assert await forge.asked(service, token=forge.signed()) == (200, "ada")
    assert checks == 1
    assert await forge.asked(service, token=forge.signed(forge.claims(sub="bob"))) == (200, "bob")
    assert checks == 2


async def test_known_token_is_known_beside_a_header_that_means_nothing_here(
    serve: Any, forge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X-API-Key, where no keys are taken."""
    service = await serve({"api_keys": False})
    token = forge.signed()
    assert await forge.asked(service, token=token) == (200, "ada")
    monkeypatch.setattr(Key, "has_signed", lambda self, *arguments: False)
    assert await forge.asked(service, token=token, **{"X-API-Key": "pgb_x"}) == (200, "ada")


async def test_known_token_expires_on_the_second(serve: Any, forge: Any, clock: FakeClock) -> None:
    service = await serve({"leeway": "5s"})
    token = forge.signed(forge.claims(exp=forge.now_s + 60))
    assert await forge.asked(service, token=token) == (200, "ada")
    clock.advance(64.9)
    assert await forge.asked(service, token=token) == (200, "ada")
    clock.advance(0.1)
    assert await forge.asked(service, token=token) == (401, "TOKEN_EXPIRED")
    assert await forge.asked(service, token=token) == (401, "TOKEN_EXPIRED")


async def test_refused_token_is_not_remembered(serve: Any, forge: Any, clock: FakeClock) -> None:
    """One that is valid later is accepted then."""
    service = await serve()
    token = forge.signed(forge.claims(nbf=forge.now_s + 10))
    assert await forge.asked(service, token=token) == (401, "INVALID_TOKEN")
    clock.advance(10)
    assert await forge.asked(service, token=token) == (200, "ada")


async def test_of_too_many_the_one_used_longest_ago_is_forgotten(
    serve: Any, forge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await serve({"remember": 2})
    tokens = [forge.signed(forge.claims(sub=name)) for name in "abc"]
    for token in (tokens[0], tokens[1], tokens[0], tokens[2]):
        await forge.asked(service, token=token)
    monkeypatch.setattr(Key, "has_signed", lambda self, *arguments: False)
    outcomes = [await forge.asked(service, token=token) for token in tokens]
    assert outcomes == [(200, "a"), (401, "INVALID_TOKEN"), (200, "c")]


def test_memory_keeps_no_token() -> None:
    memory = Memory(10)
    memory.keep("a.b.c", verified())
    assert memory.recall("a.b.c", 0) is not None
    (kept,) = [each for each in gc.get_referents(memory) if isinstance(each, dict)]
    (key,) = kept
    assert isinstance(key, bytes)
    assert b"a.b.c" not in key


def test_memory_is_bounded() -> None:
    memory = Memory(10)
    for number in range(1000):
        memory.keep(str(number), verified())
    assert len(memory) == 10


@pytest.mark.parametrize(
    ("meant", "left"),
    [
        (lambda each: each.jti == "1", ["bob", "cid"]),
        (lambda each: each.principal.subject == "bob", ["ada", "cid"]),
        (lambda each: each.issued_at < 20, ["cid"]),
        (lambda each: each.key.identity == KEY.identity, []),
    ],
)
def test_memory_forgets_by_what_a_token_says(meant: Any, left: list[str]) -> None:
    memory = Memory(10)
    for number, name in enumerate(("ada", "bob", "cid"), start=1):
        memory.keep(name, verified(name, jti=str(number), issued_at=number * 9.0))
    memory.forget(meant)
    assert [name for name in ("ada", "bob", "cid") if memory.recall(name, 0)] == left


def test_expired_token_leaves_the_memory() -> None:
    memory = Memory(10)
    memory.keep("x", verified(ends_at=100))
    assert memory.recall("x", 99.9) is not None
    assert memory.recall("x", 100) is None
    assert len(memory) == 0

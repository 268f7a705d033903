"""How many passwords can be tried: counted before they are looked at, over all workers, and for every window."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from argon2 import PasswordHasher

from plugins.auth.login.passwords import WAITING_PER_THREAD, Cost, Passwords
from plugins.auth.login.settings import Attempts
from plugins.auth.login.throttle import MOST_WAITING, Throttle, _alike, _network, delay
from plugins.auth.store.failures import Full
from service.api import RateLimited, Unavailable
from service.testing import FakeClock

PASSWORD = "correct horse battery staple"
WRONG = (401, "INVALID_CREDENTIALS")
LIMITED = (429, "RATE_LIMIT_EXCEEDED")
WINDOW_S = 900


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed."""
    seen: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, stored: str, password: str) -> bool:
        seen.append(password)
        return verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    return seen


# --- an account from an address


async def test_five_wrong_ones_then_the_right_one_is_refused_too(
    open_desk: Any, looked: list[str], clock: FakeClock
) -> None:
    desk = await open_desk()
    assert [await desk.log_in(password="wrong", address="192.0.2.1") for _ in range(5)] == [WRONG] * 5
    clock.advance(60)
    status, body = await desk.post("token", email="ada@example.com", password=PASSWORD, address="192.0.2.1")
    assert (status, body["error"]["message"]) == (
        429, "There were too many attempts to log in; wait before the next one.",
    )  # fmt: skip
    assert desk.headers["Retry-After"] == str(WINDOW_S - 60)
    assert looked == ["wrong"] * 5
    assert (await desk.log_in(address="192.0.2.2"))[0] == 200
    assert (await desk.log_in("bob@example.com", address="192.0.2.1"))[0] == 200
    clock.advance(WINDOW_S - 61)
    assert await desk.log_in(address="192.0.2.1") == LIMITED
    clock.advance(1)
    assert (await desk.log_in(address="192.0.2.1"))[0] == 200


async def test_limit_holds_for_every_window_wherever_it_begins(open_desk: Any, clock: FakeClock) -> None:
    """One wrong one every three minutes: the sixth comes as the first ceases to count, and not before."""
    desk = await open_desk()
    for _ in range(5):
        assert await desk.log_in(password="wrong") == WRONG
        clock.advance(179)
    assert await desk.log_in(password="wrong") == LIMITED
    assert desk.headers["Retry-After"] == "5"
    clock.advance(5)
    assert await desk.log_in(password="wrong") == WRONG
    assert await desk.log_in(password="wrong") == LIMITED
    assert desk.headers["Retry-After"] == str(179 - 5 + 5)


async def test_refused_attempts_do_not_count(open_desk: Any, clock: FakeClock) -> None:
    desk = await open_desk()
    for _ in range(5):
        await desk.log_in(password="wrong")
    for _ in range(20):
        clock.advance(44)
        assert await desk.log_in() == LIMITED
    clock.advance(20)
    assert (await desk.log_in())[0] == 200


async def test_right_one_clears_the_pair_only(open_desk: Any) -> None:
    desk = await open_desk({"attempts": {"address": 8}})
    for _ in range(2):
        for _ in range(4):
            assert await desk.log_in(password="wrong", address="192.0.2.1") in (WRONG, LIMITED)
        await desk.log_in(address="192.0.2.1")
    assert await desk.log_in("bob@example.com", address="192.0.2.1") == LIMITED
    assert (await desk.log_in("bob@example.com", address="192.0.2.2"))[0] == 200


async def test_right_ones_do_not_count(open_desk: Any) -> None:
    """Whoever logs in sixty times at one moment is not refused."""
    desk = await open_desk()
    for _ in range(60):
        assert (await desk.log_in())[0] == 200
    counted = await desk.connection.fetchval(
        "SELECT coalesce(sum(cardinality(failed_at)), 0) FROM pegboard.login_failures"
    )
    assert counted == 0


async def test_fifty_at_once_let_five_be_looked_at(open_desk: Any, looked: list[str]) -> None:
    """Also through two services at once, which are two workers to the database; and none of the others is hashed."""
    first = await open_desk({"hashing": 4})
    second = await open_desk({"hashing": 4}, url=first.url)
    answers = await asyncio.gather(
        *[desk.log_in(password=f"guess {each}") for each in range(25) for desk in (first, second)]
    )
    assert sorted(answers) == [WRONG] * 5 + [LIMITED] * 45
    assert len(looked) == 5


async def test_spellings_of_one_name_share_their_attempts(open_desk: Any) -> None:
    desk = await open_desk()
    spellings = ("ada@example.com", "ADA@example.com", "Ada@Example.com ", "àda@example.com", "\uff41da@example.com")
    for email in spellings:
        assert await desk.log_in(email, "wrong") == WRONG
    assert await desk.log_in() == LIMITED


@pytest.mark.parametrize("email", ["nobody@example.com", "bare@example.com", "' OR 1=1 --", "é" * 500])
async def test_unknown_names_are_counted_alike(open_desk: Any, email: str) -> None:
    desk = await open_desk()
    assert [await desk.log_in(email, "wrong") for _ in range(6)] == [WRONG] * 5 + [LIMITED]


# --- an address


async def test_fifty_wrong_ones_of_an_address_refuse_it_for_all_accounts(
    open_desk: Any, looked: list[str], clock: FakeClock
) -> None:
    desk = await open_desk()
    for each in range(50):
        assert await desk.log_in(f"{each}@example.com", "wrong", address="192.0.2.1") == WRONG
    assert await desk.log_in(address="192.0.2.1") == LIMITED
    assert len(looked) == 50
    assert (await desk.log_in(address="192.0.2.2"))[0] == 200
    rows = await desk.rows("login_failures")
    assert rows == 50 + 1 + 50 + 2  # what was refused has left no row: pairs, address, accounts; ada from elsewhere
    clock.advance(WINDOW_S)
    assert (await desk.log_in(address="192.0.2.1"))[0] == 200


async def test_ipv6_is_counted_by_subscriber(open_desk: Any) -> None:
    desk = await open_desk()
    for each in range(5):
        assert await desk.log_in(password="wrong", address=f"2001:db8:0:{each:x}::{each + 1}") == WRONG
    assert await desk.log_in(address="2001:db8:0:ff:1:2:3:4") == LIMITED
    assert (await desk.log_in(address="2001:db8:0:100::1"))[0] == 200


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/56"),
        ("2001:db8:0:12ff::1", "2001:db8:0:1200::/56"),
        ("", ""),
    ],
)
def test_network_is_what_one_subscriber_has(address: str, network: str) -> None:
    assert _network(address) == network


def test_alike_is_what_columns_may_take_for_one() -> None:
    assert {_alike(text) for text in ("Straße@x", "STRASSE@X", " strasse@x")} == {"strasse@x"}
    assert _alike("a.b@x") != _alike("ab@x")


# --- an account, from wherever


async def test_account_is_only_slowed_by_strangers(open_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred addresses try; its owner comes in all the same, after two seconds."""
    pauses: list[float] = []

    async def pause(delay_s: float) -> None:
        pauses.append(delay_s)

    monkeypatch.setitem(Throttle.__init__.__kwdefaults__, "pause", pause)
    desk = await open_desk()
    for each in range(100):
        assert await desk.log_in(password="wrong", address=f"198.51.100.{each}") == WRONG
    assert pauses[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert len(pauses) == 90
    assert (await desk.log_in(address="192.0.2.1"))[0] == 200
    assert pauses[-1] == 2.0
    pauses.clear()
    assert (await desk.log_in("bob@example.com", address="192.0.2.1"))[0] == 200
    assert pauses == []


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(0, 0), (9, 0), (10, 0.1), (13, 0.8), (14, 1.6), (15, 2.0), (1000, 2.0)]
)
def test_delay_grows_to_two_seconds(failures: int, delay_s: float) -> None:
    assert delay(failures) == delay_s


class Counted:
    """Stands for the database: so many have failed before."""

    def __init__(self, before: int) -> None:
        self.before = before

    async def count(self, tallies: Any, at_s: float) -> list[int]:
        return [1, 1, self.before + 1]


async def test_those_who_wait_are_bounded() -> None:
    """Whoever comes then goes on to the queue for hashing at once."""
    gate = asyncio.Event()

    async def pause(delay_s: float) -> None:
        await gate.wait()

    throttle = Throttle(Counted(20), Attempts(), FakeClock(), pause=pause)  # type: ignore[arg-type]
    waiting = [asyncio.create_task(throttle.admit("ada", "192.0.2.1")) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    await throttle.admit("ada", "192.0.2.1")
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    late = asyncio.create_task(throttle.admit("ada", "192.0.2.1"))
    await asyncio.sleep(0)
    assert not late.done()
    gate.set()
    await asyncio.gather(*waiting[1:], late)


async def test_full_says_when_to_come_back() -> None:
    class Refusing:
        async def count(self, tallies: Any, at_s: float) -> list[int]:
            raise Full(17)

    throttle = Throttle(Refusing(), Attempts(), FakeClock())  # type: ignore[arg-type]
    with pytest.raises(RateLimited) as caught:
        await throttle.admit("ada", "192.0.2.1")
    assert caught.value.headers == {"Retry-After": "17"}


# --- what is kept


async def test_failures_are_kept_by_digest_and_removed_once_nothing_counts_them(
    open_desk: Any, clock: FakeClock
) -> None:
    desk = await open_desk()
    for each in range(30):
        await desk.log_in(f"{each}@example.com", "wrong", address="192.0.2.1")
    kept = str(await desk.connection.fetch("SELECT f::text FROM pegboard.login_failures f"))
    assert "example" not in kept
    assert await desk.rows("login_failures") == 61
    clock.advance(WINDOW_S)
    await desk.log_in(address="192.0.2.2")
    assert await desk.rows("login_failures") == 2  # address and account of who has just logged in, empty


# --- the queue for hashing


async def test_hashing_has_a_queue_of_a_bounded_length() -> None:
    """More get Unavailable, and there is room again once one is through; who has gone leaves its place too."""
    gate = threading.Event()
    passwords = Passwords(Cost(1, 8, 1), threads=1, name="test")
    passwords._look = lambda stored, password: "wrong" if gate.wait(30) else "right"  # type: ignore[method-assign]
    try:
        waiting = [asyncio.create_task(passwords.look("", "x")) for _ in range(1 + WAITING_PER_THREAD)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as caught:
            await passwords.look("", "x")
        assert caught.value.headers == {"Retry-After": "1"}
        waiting[-1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[-1]
        await asyncio.sleep(0)
        waiting[-1] = asyncio.create_task(passwords.look("", "x"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await passwords.look("", "x")
        gate.set()
        assert set(await asyncio.gather(*waiting)) == {"wrong"}
    finally:
        gate.set()
        passwords.close()


async def test_attempt_that_nobody_looked_at_does_not_count(open_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: Passwords, stored: str, password: str) -> str:
        raise Unavailable("Too many people log in just now.", headers={"Retry-After": "1"})

    desk = await open_desk()
    with monkeypatch.context() as patched:
        patched.setattr(Passwords, "look", full)
        for _ in range(8):
            assert await desk.log_in() == (503, "SERVICE_UNAVAILABLE")
            assert desk.headers["Retry-After"] == "1"
    assert (await desk.log_in())[0] == 200

"""What a worker holds follows its store: what it hears, what it reads, and when it can do neither."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from plugins.auth.revocation import following as module
from plugins.auth.revocation.doubt import Doubt, Guard
from plugins.auth.revocation.following import Following, InDoubt
from plugins.auth.revocation.held import Held, Revoked
from plugins.auth.revocation.messages import encoded
from plugins.auth.tokens.keys import secret_key
from plugins.auth.tokens.verifying import Verified
from service.api import Alarm, Principal, Unavailable
from service.testing import FakeClock

KEY = secret_key("k" * 32, ["HS256"])
NOW_S = 1_767_225_600
ONE = Revoked("token", "1", NOW_S, NOW_S + 100)
TWO = Revoked("subject", "ada", NOW_S, NOW_S + 200)


class Fake:
    """A store whose every failure is the test's."""

    def __init__(self) -> None:
        self.kept: list[Revoked] = []
        self.failure: Exception | None = None
        self.deaf = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.read_count = 0
        self.restored: list[Revoked] = []
        self.receive: Callable[[bytes | str], None]
        self.begun: Callable[[], None] = lambda: None
        self.lost: Callable[[], None] = lambda: None

    async def read(self, now_s: float) -> Sequence[Revoked]:
        self.read_count += 1
        found = list(self.kept)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return found

    async def keep(self, revoked: Revoked, now_s: float) -> None:
        self.kept.append(revoked)

    async def restore(self, lacking: Sequence[Revoked]) -> None:
        self.restored += lacking

    @asynccontextmanager
    async def hear(self, receive: Any, *, begun: Any, lost: Any) -> AsyncIterator[None]:
        if self.deaf:
            raise Unavailable("a standby")
        self.receive, self.begun, self.lost = receive, begun, lost
        begun()
        yield


class Followed:
    def __init__(self, run: Any) -> None:
        self.store = Fake()
        self.held = Held()
        self.doubt = Doubt()
        self.forgotten: list[Callable[[Verified], bool]] = []
        self.said: list[str] = []
        self.rung = 0
        alarm = Alarm()
        alarm.listen(self._ring)
        run = replace(run, say=self.said.append)
        self.following = Following(self.store, self.held, self.doubt, self.forgotten.append, run, alarm)

    def _ring(self) -> None:
        self.rung += 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what another task does in its own time
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def followed(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> Followed:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "EVERY_S", 60)
    monkeypatch.setattr(module, "LISTEN_AGAIN_S", 0.01)
    return Followed(make_run())


async def test_follower_is_up_to_date_once_entered(followed: Followed) -> None:
    followed.store.kept = [ONE, TWO]
    async with followed.following.follow():
        assert set(followed.held) == {ONE, TWO}
        assert not followed.doubt.lasts
        await followed.following.check()


async def test_message_is_held_at_once_and_its_tokens_are_forgotten(followed: Followed) -> None:
    async with followed.following.follow():
        await until(lambda: followed.following._is_whole)
        count = followed.store.read_count
        followed.store.receive(encoded(ONE))
        assert list(followed.held) == [ONE]
        [forgotten] = followed.forgotten
        assert forgotten(Verified(Principal("ada"), 0, 0, "1", None, KEY))
        assert not forgotten(Verified(Principal("ada"), 0, 0, "2", None, KEY))
        followed.store.receive(encoded(ONE))
        assert len(followed.forgotten) == 1, "what is known already costs nothing"
        assert followed.store.read_count == count


async def test_hostile_messages_are_dropped_with_one_line_of_log(
    followed: Followed, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]

    hostile = [b"garbage-5f2c", b"[" * 3000, b"x" * 1_000_000, b'["token", 1, 2, 3]', b"\xff", b"", "text", b"null"]
    async with followed.following.follow():
        for message in hostile * 10:
            followed.store.receive(message)
        followed.store.receive(encoded(ONE))
        assert len(lines()) == 1
        assert "garbage" not in lines()[0]
        clock.advance(61)
        followed.store.receive(b"garbage")
        assert len(lines()) == 2
    assert list(followed.held) == [ONE]
    assert not followed.doubt.lasts


async def test_what_was_told_while_it_did_not_hear_is_read_when_it_hears_again(followed: Followed) -> None:
    async with followed.following.follow():
        await until(lambda: followed.following._is_whole)
        followed.store.lost()
        followed.store.kept = [TWO]
        followed.store.begun()
        await until(lambda: list(followed.held) == [TWO])
        await until(lambda: followed.following._is_whole)
        [forgotten] = followed.forgotten
        assert forgotten(Verified(Principal("ada"), 0, None, None, None, KEY))
    assert followed.said == []


async def test_what_is_told_while_it_reads_is_not_lost(followed: Followed) -> None:
    """The reading began before; its end takes nothing away."""
    async with followed.following.follow():
        await until(lambda: followed.following._is_whole)
        followed.store.gate.clear()
        count = followed.store.read_count
        followed.store.begun()
        await until(lambda: followed.store.read_count > count)
        followed.store.receive(encoded(ONE))
        followed.store.gate.set()
        await until(lambda: followed.following._is_whole)
        assert list(followed.held) == [ONE]


@pytest.mark.parametrize("message", [b"anew", "anew"])
async def test_follower_that_is_told_so_reads_anew(followed: Followed, message: bytes | str) -> None:
    """Another worker has kept what the store had lost."""
    async with followed.following.follow():
        await until(lambda: followed.following._is_whole)
        followed.store.kept = [ONE]
        followed.store.receive(message)
        await until(lambda: list(followed.held) == [ONE])


async def test_reading_that_began_before_it_heard_is_no_proof(followed: Followed) -> None:
    """Something may have been told between the reading and the hearing: it reads again."""
    async with followed.following.follow():
        followed.store.gate.clear()
        count = followed.store.read_count
        followed.store.lost()
        await until(lambda: followed.store.read_count > count)
        followed.store.begun()
        followed.store.kept = [ONE]
        followed.store.gate.set()
        await until(lambda: list(followed.held) == [ONE])
    assert not followed.doubt.lasts


async def test_one_that_only_reads_is_never_in_doubt_and_reads_often(followed: Followed) -> None:
    followed.store.deaf = True
    async with followed.following.follow():
        count = followed.store.read_count
        followed.store.kept = [ONE]
        await until(lambda: list(followed.held) == [ONE])
        await until(lambda: followed.store.read_count > count + 5)
        assert not followed.doubt.lasts


async def test_one_that_hears_is_not_in_doubt_when_a_later_reading_fails(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was missed: a database that is busy shuts nobody out."""
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    async with followed.following.follow():
        await until(lambda: followed.following._is_whole)
        followed.store.failure = Unavailable("busy")
        count = followed.store.read_count
        await until(lambda: followed.store.read_count > count + 3)
        assert not followed.doubt.lasts


@pytest.mark.parametrize("failure", [Unavailable("It is away."), RuntimeError("a fault of ours")])
async def test_doubt_begins_when_it_neither_hears_nor_reads_and_ends_when_it_reads(
    followed: Followed, failure: Exception, clock: FakeClock
) -> None:
    async with followed.following.follow():
        await until(lambda: followed.following._is_whole)
        followed.store.failure = failure
        followed.store.lost()
        await until(lambda: followed.doubt.lasts)
        assert (followed.doubt.since_s, followed.rung, len(followed.said)) == (NOW_S, 1, 1)
        clock.advance(10)
        count = followed.store.read_count
        await until(lambda: followed.store.read_count > count + 3)
        assert (followed.doubt.since_s, followed.rung, len(followed.said)) == (NOW_S, 1, 1)
        with pytest.raises(InDoubt, match=r"doubtSince 2026-01-01T00:00:00\.000Z, allowed 0, refused 0"):
            await followed.following.check()
        followed.store.failure = None
        await until(lambda: not followed.doubt.lasts)
        await followed.following.check()
        assert followed.doubt.since_s is None
        assert followed.said[1:] == ["Which tokens are revoked is known again"]


async def test_store_that_answers_nothing_is_a_doubt(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    followed.store.gate.clear()
    async with followed.following.follow():
        assert followed.doubt.lasts
        followed.store.gate.set()
        await until(lambda: not followed.doubt.lasts)


async def test_what_the_store_has_lost_is_kept_there_anew(followed: Followed, clock: FakeClock) -> None:
    followed.store.kept = [ONE, TWO]
    async with followed.following.follow():
        await until(lambda: followed.following._is_whole)
        assert followed.store.restored == []
        followed.store.kept = [TWO]
        followed.store.begun()
        await until(lambda: followed.store.restored == [ONE])
        clock.advance(100)
        followed.store.kept = []
        followed.store.begun()
        await until(lambda: followed.store.restored == [ONE, TWO])
        assert list(followed.held) == [TWO], "what has ended is dropped"


async def test_check_looks_where_nobody_follows(followed: Followed) -> None:
    """As `pegboard doctor` does."""
    await followed.following.check()
    assert followed.store.read_count == 1
    followed.store.failure = Unavailable("It is away.")
    with pytest.raises(InDoubt):
        await followed.following.check()


def test_guard_counts_bearers_and_refuses_where_it_is_to() -> None:
    doubt = Doubt()
    doubt.begin(NOW_S)
    allows, refuses = Guard(doubt, refuses=False), Guard(doubt, refuses=True)
    bearer, key, nobody = Principal("ada", scheme="bearer"), Principal("key:ci", scheme="apikey"), Principal(None)
    for principal in (bearer, key, nobody):
        allows.weigh(principal)
    for principal in (key, nobody):
        refuses.weigh(principal)
    with pytest.raises(Unavailable) as caught:
        refuses.weigh(bearer)
    assert caught.value.headers == {"Retry-After": "1"}
    assert doubt.facts() == {"doubtSince": "2026-01-01T00:00:00.000Z", "allowed": 1, "refused": 1}

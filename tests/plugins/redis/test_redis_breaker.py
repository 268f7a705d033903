"""The circuit breaker, over a check that the test decides: what opens it, what closes it, who is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis import exceptions

from plugins.redis.breaker import Breaker
from plugins.redis.opening import Unusable
from service.api import Alarm

NEVER_S = 3600.0


class Bench:
    """A breaker, what its check finds, and what it has told."""

    def __init__(self, *, every_s: float, retry_s: float) -> None:
        self.finds: BaseException | None = None
        self.looks = 0
        self.said: list[str] = []
        self.rung = 0
        self.opened = 0
        self.may_look = asyncio.Event()
        self.may_look.set()
        alarm = Alarm()
        alarm.listen(self._ring)
        self.breaker = Breaker(
            self._check, name="Redis", alarm=alarm, say=self.said.append, every_s=every_s, retry_s=retry_s
        )
        self.breaker.on_open.append(self._open)

    def _ring(self) -> None:
        self.rung += 1

    async def _open(self) -> None:
        self.opened += 1

    async def _check(self) -> None:
        self.looks += 1
        await self.may_look.wait()
        if self.finds is not None:
            raise self.finds


Run = Callable[..., object]


@pytest.fixture
def running() -> Run:
    @asynccontextmanager
    async def run(*, every_s: float = NEVER_S, retry_s: float = NEVER_S) -> AsyncIterator[Bench]:
        bench = Bench(every_s=every_s, retry_s=retry_s)
        await bench.breaker.begin()
        task = asyncio.create_task(bench.breaker.run())
        yield bench
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return run


async def test_breaker_is_open_until_the_first_look():
    bench = Bench(every_s=NEVER_S, retry_s=NEVER_S)
    assert bench.breaker.is_open
    assert await bench.breaker.begin() is None
    assert not bench.breaker.is_open
    assert bench.said == []


async def test_doubt_that_is_not_confirmed_opens_nothing(running):
    """One connection that broke, a moment in which our own loop stood still."""
    async with running() as bench:
        bench.breaker.doubt()
        await bench.breaker.confirm()
        assert not bench.breaker.is_open
        assert (bench.rung, bench.said) == (0, [])


async def test_confirmed_doubt_opens_it_once_and_tells_everyone_once(running, eventually):
    async with running() as bench:
        bench.finds = ConnectionRefusedError(111, "Connection refused")
        bench.breaker.doubt()
        await eventually(lambda: bench.breaker.is_open)
        for _ in range(3):
            with pytest.raises(Unusable, match=r"^connection refused$"):
                await bench.breaker.confirm()
        assert (bench.rung, bench.opened) == (1, 1)
        assert bench.said == ["Redis is lost (connection refused): going on without it until it is back"]


async def test_open_breaker_looks_by_itself_and_closes_when_it_is_back(running, eventually):
    async with running(retry_s=0.001) as bench:
        bench.finds = TimeoutError()
        bench.breaker.doubt()
        await eventually(lambda: bench.looks > 5)
        bench.finds = None
        async with asyncio.timeout(10):
            await bench.breaker.until_closed()
        assert not bench.breaker.is_open
        assert bench.said[-1] == "Redis is back"


async def test_closed_breaker_looks_now_and_then(running, eventually):
    async with running(every_s=0.001) as bench:
        bench.finds = TimeoutError()
        await eventually(lambda: bench.breaker.is_open)


async def test_those_who_ask_at_the_same_time_share_one_look(running, eventually):
    async with running() as bench:
        bench.may_look.clear()
        asking = [asyncio.create_task(bench.breaker.confirm()) for _ in range(10)]
        await eventually(lambda: bench.looks == 2)
        asking += [asyncio.create_task(bench.breaker.confirm()) for _ in range(10)]
        await asyncio.sleep(0)
        bench.may_look.set()
        await asyncio.gather(*asking)
        assert bench.looks == 2


async def test_who_asks_and_is_cancelled_stops_nobody_else(running, eventually):
    async with running() as bench:
        bench.may_look.clear()
        one, other = (asyncio.create_task(bench.breaker.confirm()) for _ in range(2))
        await eventually(lambda: bench.looks == 2)
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        bench.may_look.set()
        await other


async def test_another_reason_for_being_away_is_logged_once(running, eventually, caplog):
    async with running(retry_s=0.001) as bench:
        bench.finds = TimeoutError()
        bench.breaker.doubt()
        await eventually(lambda: bench.breaker.is_open)
        bench.finds = exceptions.AuthenticationError("invalid username-password pair")
        before = bench.looks
        await eventually(lambda: bench.looks > before + 5)
    assert [record.getMessage() for record in caplog.records] == ["Redis is still away: wrong user or password."]
    assert len(bench.said) == 1


async def test_answer_that_nobody_foresaw_counts_as_away_and_is_looked_at_again(running, eventually, caplog):
    async with running(retry_s=0.001) as bench:
        bench.finds = AttributeError("a fault of the driver's")
        bench.breaker.doubt()
        await eventually(lambda: bench.breaker.is_open)
        bench.finds = None
        await eventually(lambda: not bench.breaker.is_open)
    assert "a fault of the driver's" in caplog.text


async def test_start_is_told_what_the_first_look_found():
    bench = Bench(every_s=NEVER_S, retry_s=NEVER_S)
    bench.finds = Unusable("it is a replica, which takes no changes")
    assert await bench.breaker.begin() is bench.finds
    assert bench.breaker.is_open
    assert bench.said == []

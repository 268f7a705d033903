"""Connections are lent to one command at a time: who is cancelled or gets no answer leaves none to anybody else."""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest
from redis import exceptions

from plugins.redis.lending import LATE_S, Lender
from plugins.redis.opening import Dialer
from plugins.redis.urls import target_of
from service.api import Unavailable


def lender(server, *, size=10, command_s=10.0):
    target = target_of(server.url)
    dialer = Dialer(target, connect_s=10)
    return Lender(lambda: dialer.dial(target.addresses[0]), size=size, command_s=command_s)


def connected(server, say) -> int:
    """How many connections of ours it has."""
    return say(server, "CLIENT LIST").count("name=pegboard")


async def test_cancelled_command_drops_its_connection_and_its_reply(private_server, say, eventually):
    """The one connection there may be is cut while its reply is on its way; the next command gets its own."""
    pool = lender(private_server, size=1)
    await pool.ask(("SET", "secret", b"of another user"))
    private_server.freeze()
    reading = asyncio.create_task(pool.ask(("GET", "secret")))
    await asyncio.sleep(0.01)  # it is sent, and not answered
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert pool._free == []
    private_server.thaw()
    assert await pool.ask(("ECHO", b"mine")) == b"mine"
    await eventually(lambda: connected(private_server, say) == 1)
    await pool.close()
    await eventually(lambda: connected(private_server, say) == 0)


async def test_no_reply_is_mixed_up_however_commands_are_cancelled(redis_server, redis_url):
    """Three connections, two thousand commands, a third of them cancelled at any moment: each that is answered gets its
    own reply, and no turn is lost."""
    pool = lender(redis_server, size=3)
    chance = random.Random(7)  # noqa: S311  # the same every time
    answered = cancelled = 0

    async def echo(n: int) -> None:
        nonlocal answered
        assert await pool.ask(("ECHO", b"%d" % n)) == b"%d" % n
        answered += 1

    for batch in range(100):
        tasks = [asyncio.create_task(echo(batch * 20 + n)) for n in range(20)]
        for task in chance.sample(tasks, 7):
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert ended is None or isinstance(ended, asyncio.CancelledError)
            cancelled += ended is not None
    assert answered + cancelled == 2000
    assert cancelled > 100
    assert pool._turns._value == 3
    await pool.close()


async def test_command_without_an_answer_fails_in_its_time_and_drops_its_connection(private_server):
    pool = lender(private_server, size=1, command_s=0.05)
    await pool.ask(("PING",))
    private_server.freeze()
    with pytest.raises(TimeoutError):
        await pool.ask(("ECHO", b"old"))
    assert pool._free == []
    private_server.thaw()
    while True:
        try:
            assert await pool.ask(("ECHO", b"new")) == b"new"
            break
        except TimeoutError:
            continue  # a busy machine
    await pool.close()


async def test_frozen_server_costs_no_open_file_however_much_was_sent(private_server):
    """What was written and not read would keep a connection open for ever, were it closed in good order."""
    pool = lender(private_server, size=2, command_s=0.05)
    await pool.ask(("PING",))
    private_server.freeze()
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        with pytest.raises((TimeoutError, exceptions.ConnectionError)):
            await pool.ask(("SET", "large", bytes(3_000_000)))
    await pool.close()
    assert len(os.listdir("/dev/fd")) <= before
    private_server.thaw()


async def test_connection_that_the_server_closed_is_noticed_before_it_is_lent(private_server, say, eventually):
    pool = lender(private_server)
    await pool.ask(("PING",))
    say(private_server, "CLIENT KILL TYPE normal")
    await eventually(lambda: pool._free[0]._reader.at_eof())
    assert await pool.ask(("ECHO", b"1")) == b"1"
    await pool.close()


async def test_connections_are_used_again_and_are_no_more_than_allowed(private_server, say):
    pool = lender(private_server, size=4)
    for _ in range(5):
        told = await asyncio.gather(*(pool.ask(("ECHO", b"%d" % n)) for n in range(200)))
        assert told == [b"%d" % n for n in range(200)]
    assert connected(private_server, say) == 4
    assert "total_connections_received:" in say(private_server, "INFO stats")
    await pool.close()


async def test_refusal_leaves_the_connection_as_it_was(redis_server, redis_url):
    pool = lender(redis_server)
    await pool.ask(("PING",))
    [connection] = pool._free
    with pytest.raises(exceptions.ResponseError):
        await pool.ask(("NOPE",))
    assert pool._free == [connection]
    await pool.close()


async def test_long_line_is_no_failure_while_answers_keep_coming(redis_server, redis_url):
    """One connection, and many who wait for it: the last for longer than one command may take."""
    pool = lender(redis_server, size=1, command_s=1.0)
    script = ("EVAL", "for i = 1, 3e6 do end return 1", 0)  # some milliseconds
    took_s = []
    for _ in range(5):
        began = time.monotonic()
        await pool.ask(script)
        took_s.append(time.monotonic() - began)
    how_many = round(1.5 / min(took_s))
    began = time.monotonic()
    told = await asyncio.gather(*(pool.ask(script) for _ in range(how_many)))
    assert time.monotonic() - began > 1.0, "the test asks for too little"
    assert set(told) == {1}
    await pool.close()


async def test_who_waits_behind_a_frozen_server_fails_too(private_server):
    pool = lender(private_server, size=1, command_s=0.05)
    await pool.ask(("PING",))
    private_server.freeze()
    told = await asyncio.gather(*(pool.ask(("PING",)) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in told] == [TimeoutError] * 5
    private_server.thaw()
    await pool.close()


async def test_answer_that_lies_there_is_read_though_the_loop_stood_still(redis_server, redis_url):
    """The time in which our own loop did not run is not Redis's."""
    pool = lender(redis_server, size=1, command_s=0.05)
    await pool.ask(("PING",))
    asking = asyncio.create_task(pool.ask(("ECHO", b"1")))
    await asyncio.sleep(0)
    time.sleep(0.05 + 2 * LATE_S)  # noqa: ASYNC251  # which is what it is about
    assert await asking == b"1"
    await pool.close()


async def test_connection_that_comes_too_late_is_there_for_the_next(redis_server, redis_url):
    ready = asyncio.Event()
    target = target_of(redis_server.url)
    dialer = Dialer(target, connect_s=10)
    dialled = 0

    async def connect():
        nonlocal dialled
        dialled += 1
        await ready.wait()
        return await dialer.dial(target.addresses[0])

    pool = Lender(connect, size=1, command_s=0.02)
    with pytest.raises(TimeoutError):
        await pool.ask(("PING",))
    ready.set()
    async with asyncio.timeout(20):
        while True:
            try:
                assert await pool.ask(("PING",)) == b"PONG"
                break
            except TimeoutError:
                continue
    assert dialled == 1
    await pool.close()


async def test_many_at_once_through_the_port_all_get_their_own(redis_url, open_redis):
    async with open_redis(redis_url, connections=5) as opened:
        await asyncio.gather(*(opened.redis.set(f"k{n}", b"%d" % n, ttl_s=60) for n in range(500)))
        told = await asyncio.gather(*(opened.redis.get(f"k{n}") for n in range(500)))
        assert told == [b"%d" % n for n in range(500)]


async def test_port_whose_callers_are_cancelled_stays_as_it_was(redis_url, open_redis):
    async with open_redis(redis_url, connections=2) as opened:
        for n in range(50):
            task = asyncio.create_task(opened.redis.set("k", b"%d" % n, ttl_s=60))
            for _ in range(n % 6):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert not opened.is_away
        await opened.redis.set("k", b"last", ttl_s=60)
        assert await opened.redis.get("k") == b"last"
    with pytest.raises(Unavailable):
        async with open_redis("redis://127.0.0.1:1") as opened:
            await opened.redis.get("k")

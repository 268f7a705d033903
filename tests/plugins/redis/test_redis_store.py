"""The port: commands, values as they were given, lifetimes, scripts; and what Redis refuses."""

from __future__ import annotations

import asyncio
import os

import pytest

from service.api import InternalError, Script, Unavailable

BINARY = [b"", b"\x00", b"\r\n+OK\r\n", bytes(range(256)), "☃".encode("utf-16")]

ECHO = Script("return {KEYS[1], ARGV[1], ARGV[2], 7, false, {redis.call('GET', KEYS[1])}}")
COUNT = Script("return redis.call('INCR', KEYS[1])")


@pytest.mark.parametrize("value", BINARY, ids=repr)
async def test_value_is_read_as_it_was_written(redis_url, open_redis, value):
    async with open_redis(redis_url) as opened:
        await opened.redis.set("key", value, ttl_s=60)
        assert await opened.redis.get("key") == value
        assert type(await opened.redis.get("key")) is bytes


async def test_large_value_is_read_as_it_was_written(redis_url, open_redis):
    value = os.urandom(5_000_000)
    async with open_redis(redis_url) as opened:
        await opened.redis.set("key", value, ttl_s=60)
        assert await opened.redis.get("key") == value


async def test_value_that_is_not_there_is_none(redis_url, open_redis):
    async with open_redis(redis_url) as opened:
        assert await opened.redis.get("key") is None


async def test_many_values_come_in_the_order_of_their_keys(redis_url, open_redis):
    async with open_redis(redis_url) as opened:
        await opened.redis.set("a", b"1", ttl_s=60)
        await opened.redis.set("b", b"2", ttl_s=60)
        assert await opened.redis.get_many(["b", "nothing", "a", "b"]) == [b"2", None, b"1", b"2"]
        assert await opened.redis.get_many([]) == []


async def test_deleted_values_are_gone_and_others_are_not(redis_url, open_redis):
    async with open_redis(redis_url) as opened:
        for key in "abc":
            await opened.redis.set(key, b"1", ttl_s=60)
        await opened.redis.delete("a", "c", "nothing")
        await opened.redis.delete()
        assert await opened.redis.get_many("abc") == [None, b"1", None]


@pytest.mark.parametrize(
    ("ttl_s", "milliseconds"), [(60, 60_000), (0.25, 250), (86_400 * 30, 2_592_000_000), (0.0001, 1)]
)
async def test_value_is_kept_for_its_time_to_the_millisecond(
    redis_server, redis_url, open_redis, say, ttl_s, milliseconds
):
    """As Redis was told: what is left of it is less by the time of a round trip."""
    async with open_redis(redis_url) as opened:
        say(redis_server, "CONFIG SET slowlog-log-slower-than 0")
        await opened.redis.set("key", b"1", ttl_s=ttl_s)
        told = say(redis_server, "SLOWLOG GET 5").split("\r\n")
        say(redis_server, "CONFIG SET slowlog-log-slower-than 10000")
        assert told[told.index("PX") + 2] == str(milliseconds)


async def test_value_ends_with_its_time(redis_url, open_redis, eventually):
    async with open_redis(redis_url) as opened:
        await opened.redis.set("key", b"1", ttl_s=0.05)

        async def is_gone() -> bool:
            return await opened.redis.get("key") is None

        await eventually(is_gone)


async def test_keys_and_channels_have_the_prefix(redis_server, redis_url, open_redis, say, eventually):
    heard: list[bytes] = []
    async with open_redis(redis_url, prefix="shop:") as opened:
        await opened.redis.set("key", b"1", ttl_s=60)
        await opened.redis.script(COUNT, keys=["counter"])
        assert say(redis_server, "GET shop:key").split("\r\n")[1] == "1"
        assert say(redis_server, "GET shop:counter").split("\r\n")[1] == "1"
        async with opened.redis.subscribe("news", heard.append, begun=lambda: None, lost=lambda: None):
            assert say(redis_server, "PUBLISH shop:news outside") == ":1\r\n"
            await eventually(lambda: heard == [b"outside"])


async def test_two_prefixes_do_not_see_each_other(redis_url, open_redis):
    async with open_redis(redis_url, prefix="a:") as one, open_redis(redis_url, prefix="b:") as other:
        await one.redis.set("key", b"1", ttl_s=60)
        assert await other.redis.get("key") is None


# --- scripts


async def test_script_gets_keys_and_arguments_and_gives_what_it_returns(redis_url, open_redis):
    async with open_redis(redis_url) as opened:
        await opened.redis.set("key", b"\xff\x00", ttl_s=60)
        told = await opened.redis.script(ECHO, keys=["key"], args=[b"\x00\xff", 42])
        assert told == [b"pegboard:key", b"\x00\xff", b"42", 7, None, [b"\xff\x00"]]


async def test_script_goes_over_the_wire_once(redis_server, redis_url, open_redis, say):
    async with open_redis(redis_url) as opened:
        say(redis_server, "CONFIG RESETSTAT")
        for expected in (1, 2, 3):
            assert await opened.redis.script(COUNT, keys=["n"]) == expected
        told = say(redis_server, "INFO commandstats")
        assert "cmdstat_eval:calls=1," in told
        assert "cmdstat_evalsha:calls=3," in told


async def test_script_that_redis_has_forgotten_is_sent_again_and_runs_once(redis_server, redis_url, open_redis, say):
    async with open_redis(redis_url) as opened:
        assert await opened.redis.script(COUNT, keys=["n"]) == 1
        assert say(redis_server, "SCRIPT FLUSH") == "+OK\r\n"
        assert await opened.redis.script(COUNT, keys=["n"]) == 2


async def test_script_that_fails_is_a_fault_of_ours_and_harms_nobody_else(redis_url, open_redis):
    async with open_redis(redis_url, connections=1) as opened:
        with pytest.raises(InternalError) as failed:
            await opened.redis.script(Script("return redis.call('NOPE')"), keys=["a"])
        assert "NOPE" not in failed.value.message
        assert not opened.is_away
        await opened.redis.set("key", b"1", ttl_s=60)
        assert await opened.redis.get("key") == b"1"


# --- what Redis refuses


async def test_value_of_another_type_is_a_fault_of_ours(redis_server, redis_url, open_redis, say):
    say(redis_server, "LPUSH pegboard:list 1")
    async with open_redis(redis_url) as opened:
        with pytest.raises(InternalError) as failed:
            await opened.redis.get("list")
        assert (failed.value.status, failed.value.code) == (500, "INTERNAL_ERROR")
        assert not opened.is_away


async def test_redis_without_memory_is_503_for_changes_and_answers_reads(private_server, open_redis, say, caplog):
    async with open_redis(private_server.url) as opened:
        await opened.redis.set("key", b"1", ttl_s=60)
        say(private_server, "CONFIG SET maxmemory 1")
        for _ in range(3):
            with pytest.raises(Unavailable, match="takes no changes") as failed:
                await opened.redis.set("key", b"2", ttl_s=60)
        assert failed.value.headers == {"Retry-After": "1"}
        assert await opened.redis.get("key") == b"1"
        assert not opened.is_away
    assert [record.getMessage() for record in caplog.records] == ["Redis takes no changes: it answers OOM."]


async def test_master_that_becomes_a_replica_is_away_until_it_is_a_master(private_server, open_redis, say, eventually):
    """As where a name leads to another server after a failover."""
    async with open_redis(private_server.url) as opened:
        await opened.redis.set("key", b"1", ttl_s=60)
        say(private_server, "REPLICAOF 127.0.0.1 1")
        with pytest.raises(Unavailable):
            await opened.redis.set("key", b"2", ttl_s=60)
        await eventually(lambda: opened.is_away)
        assert opened.said[1].endswith(
            "is lost (it is a replica, which takes no changes): going on without it until it is back"
        )
        say(private_server, "REPLICAOF NO ONE")
        await eventually(lambda: not opened.is_away)
        await opened.redis.set("key", b"2", ttl_s=60)


async def test_away_is_503_at_once_for_every_method(private_server, open_redis, eventually):
    async with open_redis(private_server.url) as opened:
        private_server.stop()
        with pytest.raises(Unavailable):
            await opened.redis.get("key")
        await eventually(lambda: opened.is_away)
        redis = opened.redis
        for call in (
            redis.get("a"),
            redis.get_many(["a"]),
            redis.set("a", b"1", ttl_s=1),
            redis.delete("a"),
            redis.script(COUNT, keys=["a"]),
            redis.publish("a", b"1"),
        ):
            task = asyncio.ensure_future(call)
            await asyncio.sleep(0)
            assert task.done(), "waited"
            with pytest.raises(Unavailable) as failed:
                await task
            assert (failed.value.status, failed.value.code) == (503, "SERVICE_UNAVAILABLE")
            assert failed.value.headers == {"Retry-After": "1"}

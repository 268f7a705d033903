"""Publish and subscribe: who listens hears everything in order, or is told that it does not."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest


class Ear:
    """One who listens, and all that it was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on(self, redis, channel):
        return redis.subscribe(
            channel,
            lambda message: self.told.append(message.decode()),
            begun=lambda: self.told.append("<begun>"),
            lost=lambda: self.told.append("<lost>"),
        )


async def test_listener_begins_before_its_block_and_hears_in_order(redis_url, open_redis, eventually):
    ear = Ear()
    async with open_redis(redis_url) as opened, ear.on(opened.redis, "news"):
        assert ear.told == ["<begun>"]
        for n in range(100):
            await opened.redis.publish("news", b"%d" % n)
        await opened.redis.publish("other", b"not for us")
        await eventually(lambda: len(ear.told) == 101)
        assert ear.told[1:] == [str(n) for n in range(100)]


async def test_message_is_heard_as_it_was_published(redis_url, open_redis, eventually):
    heard: list[bytes] = []
    async with (
        open_redis(redis_url) as opened,
        opened.redis.subscribe("odd {channel} ☃", heard.append, begun=lambda: None, lost=lambda: None),
    ):
        await opened.redis.publish("odd {channel} ☃", bytes(range(256)))
        await eventually(lambda: heard == [bytes(range(256))])


async def test_all_who_listen_share_one_connection(redis_server, redis_url, open_redis, say, eventually):
    async with open_redis(redis_url) as opened, AsyncExitStack() as stack:
        ears = [Ear() for _ in range(50)]
        for n, ear in enumerate(ears):
            await stack.enter_async_context(ear.on(opened.redis, f"channel {n % 25}"))
        assert say(redis_server, "CLIENT LIST TYPE pubsub").count("name=pegboard") == 1
        assert "sub=25" in say(redis_server, "CLIENT LIST TYPE pubsub")
        await opened.redis.publish("channel 7", b"hello")
        await eventually(lambda: [ear.told for ear in ears].count(["<begun>", "hello"]) == 2)
        assert ears[7].told == ears[32].told == ["<begun>", "hello"]


async def test_who_leaves_hears_no_more_and_the_last_ends_the_subscription(
    redis_server, redis_url, open_redis, say, eventually
):
    one, other = Ear(), Ear()
    async with open_redis(redis_url) as opened:
        async with one.on(opened.redis, "news"):
            async with other.on(opened.redis, "news"):
                await opened.redis.publish("news", b"both")
                await eventually(lambda: one.told == other.told == ["<begun>", "both"])
            await opened.redis.publish("news", b"one")
            await eventually(lambda: len(one.told) == 3)
        await eventually(lambda: say(redis_server, "PUBSUB NUMSUB pegboard:news").endswith(":0\r\n"))
    assert one.told == ["<begun>", "both", "one"]
    assert other.told == ["<begun>", "both"]


async def test_channel_left_and_joined_again_in_one_moment_is_heard(redis_url, open_redis, eventually):
    """What is confirmed meanwhile is the subscription that was given up."""
    async with open_redis(redis_url) as opened:
        for n in range(20):
            ear = Ear()
            async with Ear().on(opened.redis, "news"):
                pass
            async with ear.on(opened.redis, "news"):
                await opened.redis.publish("news", b"%d" % n)
                await eventually(lambda ear=ear, n=n: ear.told == ["<begun>", str(n)])


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_listener_is_told_that_it_was_lost_and_that_it_begins_anew(private_server, open_redis, eventually, way):
    """What was published in between is lost, so whoever hears <begun> reads anew."""
    ear, other = Ear(), Ear()
    async with (
        open_redis(private_server.url) as opened,
        ear.on(opened.redis, "news"),
        other.on(opened.redis, "more news"),
    ):
        await opened.redis.publish("news", b"before")
        await eventually(lambda: len(ear.told) == 2)
        getattr(private_server, way)()
        await eventually(lambda: ear.told[-1] == other.told[-1] == "<lost>")
        private_server.start()
        await eventually(lambda: ear.told[-1] == other.told[-1] == "<begun>")
        await eventually(lambda: not opened.is_away)
        await opened.redis.publish("news", b"after")
        await eventually(lambda: ear.told[-1] == "after")
    assert ear.told == ["<begun>", "before", "<lost>", "<begun>", "after"]
    assert other.told == ["<begun>", "<lost>", "<begun>"]


async def test_connection_that_is_killed_alone_comes_back(redis_server, redis_url, open_redis, say, eventually):
    ear = Ear()
    async with open_redis(redis_url) as opened, ear.on(opened.redis, "news"):
        say(redis_server, "CLIENT KILL TYPE pubsub")
        await eventually(lambda: ear.told == ["<begun>", "<lost>", "<begun>"])
        await opened.redis.publish("news", b"again")
        await eventually(lambda: ear.told[-1] == "again")
        assert not opened.is_away


async def test_listener_of_a_server_that_is_away_is_told_once_it_hears(private_server, open_redis, eventually):
    private_server.stop()
    ear = Ear()
    async with open_redis(private_server.url) as opened, ear.on(opened.redis, "news"):
        assert ear.told == []
        private_server.start()
        await eventually(lambda: ear.told == ["<begun>"])
        await opened.redis.publish("news", b"1")
        await eventually(lambda: ear.told == ["<begun>", "1"])


async def test_second_listener_of_a_channel_begins_at_once(redis_url, open_redis):
    async with open_redis(redis_url) as opened, Ear().on(opened.redis, "news"):
        ear = Ear()
        async with ear.on(opened.redis, "news"):
            assert ear.told == ["<begun>"]


async def test_listener_that_fails_harms_nobody_else(redis_url, open_redis, eventually, caplog):
    def fail(*_: object) -> None:
        raise ValueError("a fault of the listener's")

    ear = Ear()
    async with (
        open_redis(redis_url) as opened,
        opened.redis.subscribe("news", fail, begun=fail, lost=fail),
        ear.on(opened.redis, "news"),
    ):
        await opened.redis.publish("news", b"1")
        await opened.redis.publish("news", b"2")
        await eventually(lambda: ear.told == ["<begun>", "1", "2"])
    assert [record.getMessage() for record in caplog.records] == ["A subscriber failed."] * 3


async def test_listening_that_is_not_allowed_is_logged_once_and_tried_again(
    private_server, open_redis, say, eventually, caplog
):
    say(private_server, "ACL SETUSER api on >pw ~* +@all -subscribe &*")
    url = private_server.url.replace("unix://", "unix://api:pw@")
    ear = Ear()
    timeouts = {"command": "1s", "connect": "1s"}
    async with open_redis(url, timeouts=timeouts) as opened, ear.on(opened.redis, "news"):
        assert ear.told == []
        say(private_server, "ACL SETUSER api +subscribe")
        await eventually(lambda: ear.told == ["<begun>"])
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "Subscriptions are lost (the user may not use it): what is published is not heard until they are back."
    ]


async def test_entering_is_cancelled_like_anything_else(private_server, open_redis, eventually):
    async with open_redis(private_server.url) as opened:
        private_server.freeze()
        entering = asyncio.create_task(Ear().on(opened.redis, "news").__aenter__())
        await asyncio.sleep(0.01)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        private_server.thaw()
        ear = Ear()
        async with ear.on(opened.redis, "news"):
            await eventually(lambda: ear.told == ["<begun>"])

"""A cluster of real servers: keys are found wherever they are, also while they move."""

from __future__ import annotations

import asyncio

import pytest
from redis.crc import key_slot

from service.api import InternalError, Script

COUNT = Script("return redis.call('INCR', KEYS[1])")
SUM = Script("return redis.call('INCR', KEYS[1]) + redis.call('INCR', KEYS[2])")


def slot_of(key: str) -> int:
    return key_slot(f"pegboard:{key}".encode())


def owner(cluster, slot: int):
    """The server that has a slot as it was dealt out."""
    return next(server for n, server in enumerate(cluster) if slot < 16_384 * (n + 1) // 3)


async def test_keys_are_spread_and_found(cluster, cluster_url, open_redis, say):
    async with open_redis(cluster_url) as opened:
        keys = [f"k{n}" for n in range(100)]
        await asyncio.gather(*(opened.redis.set(key, key.encode(), ttl_s=60) for key in keys))
        assert await opened.redis.get_many([*keys, "nothing"]) == [*[key.encode() for key in keys], None]
        assert await opened.redis.get("k7") == b"k7"
        sizes = [int(say(server, "DBSIZE")[1:]) for server in cluster]
        assert sum(sizes) == 100
        assert min(sizes) > 10
        await opened.redis.delete(*keys)
        assert [say(server, "DBSIZE") for server in cluster] == [":0\r\n"] * 3


async def test_any_server_of_the_cluster_leads_to_all(cluster, cluster_url, open_redis):
    for server in cluster:
        async with open_redis(f"redis+cluster://127.0.0.1:{server.port}") as opened:
            for n in range(20):
                await opened.redis.set(f"k{n}", b"%d" % n, ttl_s=60)
                assert await opened.redis.get(f"k{n}") == b"%d" % n


async def test_start_needs_one_of_the_servers_of_the_url(cluster, cluster_url, open_redis):
    async with open_redis(f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster[2].port}") as opened:
        assert not opened.is_away


async def test_script_runs_on_every_server_that_has_not_seen_it(cluster, cluster_url, open_redis):
    async with open_redis(cluster_url) as opened:
        for expected in (1, 2):
            for n in range(12):
                assert await opened.redis.script(COUNT, keys=[f"n{n}"]) == expected


async def test_script_over_keys_of_one_slot_runs_and_over_several_is_a_fault_of_ours(cluster_url, open_redis):
    async with open_redis(cluster_url) as opened:
        assert await opened.redis.script(SUM, keys=["{user 1}:a", "{user 1}:b"]) == 2
        with pytest.raises(InternalError):
            await opened.redis.script(SUM, keys=["a", "b"])
        assert not opened.is_away


async def test_message_is_heard_from_whichever_server_it_was_published_on(
    cluster, cluster_url, open_redis, say, eventually
):
    heard: list[bytes] = []
    async with (
        open_redis(cluster_url) as opened,
        opened.redis.subscribe("news", heard.append, begun=lambda: None, lost=lambda: None),
    ):
        assert sum(say(server, "CLIENT LIST TYPE pubsub").count("name=pegboard") for server in cluster) == 1
        for n, server in enumerate(cluster):
            say(server, f"PUBLISH pegboard:news {n}")
            await eventually(lambda n=n: len(heard) == n + 1)
        await opened.redis.publish("news", b"ours")
        await eventually(lambda: heard == [b"0", b"1", b"2", b"ours"])


async def test_slot_that_has_moved_is_followed_at_once(cluster, cluster_url, open_redis, say):
    slot = slot_of("moving")
    old = owner(cluster, slot)
    new = next(server for server in cluster if server is not old)
    async with open_redis(cluster_url) as opened:
        await opened.redis.set("before", b"1", ttl_s=60)
        try:
            for server in (new, old):
                assert say(server, f"CLUSTER SETSLOT {slot} NODE {say(new, 'CLUSTER MYID').split()[1]}") == "+OK\r\n"
            await opened.redis.set("moving", b"1", ttl_s=60)
            assert await opened.redis.get("moving") == b"1"
            assert say(new, "DBSIZE") == ":1\r\n" or slot_of("before") != slot
        finally:
            new.clear()
            for server in (old, new):
                say(server, f"CLUSTER SETSLOT {slot} NODE {say(old, 'CLUSTER MYID').split()[1]}")
        await opened.redis.set("moving", b"2", ttl_s=60)
        assert await opened.redis.get("moving") == b"2"
        assert not opened.is_away


async def test_key_of_a_slot_on_its_way_is_found_where_it_is(cluster, cluster_url, open_redis, say):
    """One that is not there any more is asked for where the slot goes (ASK), one that is still there is not."""
    slot = slot_of("{moving}a")
    old = owner(cluster, slot)
    new = next(server for server in cluster if server is not old)
    async with open_redis(cluster_url) as opened:
        await opened.redis.set("{moving}stays", b"old", ttl_s=60)
        try:
            say(new, f"CLUSTER SETSLOT {slot} IMPORTING {say(old, 'CLUSTER MYID').split()[1]}")
            say(old, f"CLUSTER SETSLOT {slot} MIGRATING {say(new, 'CLUSTER MYID').split()[1]}")
            await opened.redis.set("{moving}a", b"new", ttl_s=60)
            assert await opened.redis.get("{moving}a") == b"new"
            assert await opened.redis.get("{moving}stays") == b"old"
            assert (say(old, "DBSIZE"), say(new, "DBSIZE")) == (":1\r\n", ":1\r\n")
        finally:
            for server in (old, new):
                say(server, f"CLUSTER SETSLOT {slot} STABLE")
                server.clear()


async def test_cancelled_commands_leave_a_cluster_as_it_was(cluster_url, open_redis):
    async with open_redis(cluster_url, connections=2) as opened:
        for n in range(60):
            task = asyncio.create_task(opened.redis.get_many([f"k{m}" for m in range(9)]))
            for _ in range(n % 9):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for n in range(20):
            await opened.redis.set(f"k{n}", b"%d" % n, ttl_s=60)
            assert await opened.redis.get(f"k{n}") == b"%d" % n


async def test_version_of_a_cluster_is_told_at_the_start(cluster, cluster_url, open_redis):
    async with open_redis(cluster_url) as opened:
        [said] = opened.said
        assert said.startswith("Redis ")
        assert said.endswith(f" at the cluster of 127.0.0.1:{cluster[0].port}")

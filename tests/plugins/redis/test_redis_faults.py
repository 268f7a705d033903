"""Redis is killed, frozen, refused, paused, and fails over, while it is used; deadlines are held with a factor."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import pytest

from service.api import PluginError, Script, Unavailable
from service.testing.redis import RedisServer

pytestmark = pytest.mark.slow

GENEROUS = 5
"""Deadlines are held with this factor on a shared machine."""

COMMAND_S = 0.05
OPEN_S = 1.0
BACK_S = 2.0

ECHO = Script("return ARGV[1]")

AS_SHIPPED = {"timeouts": {"command": f"{COMMAND_S}s", "connect": "250ms"}}


@dataclass
class Load:
    """Askers that ask for an echo of their own as quickly as they are answered."""

    opened: object
    answered: int = 0
    failed: int = 0
    mixed_up: int = 0
    silent: int = 0
    """503s that do not say when to come back."""
    longest_failure_s: float = 0.0
    numbers: count = field(default_factory=count)

    async def ask(self) -> None:
        while True:
            own = b"%d" % next(self.numbers)
            began = time.monotonic()
            try:
                told = await self.opened.redis.script(ECHO, keys=["k"], args=[own])
                self.answered += 1
                self.mixed_up += told != own
            except Unavailable as error:
                self.failed += 1
                self.silent += error.headers.get("Retry-After") != "1"
                self.longest_failure_s = max(self.longest_failure_s, time.monotonic() - began)
                await asyncio.sleep(0.005)
            await asyncio.sleep(0)

    async def until(self, condition) -> float:
        """The seconds it took."""
        began = time.monotonic()
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  # what another program does has no event
                await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def more_answers(self) -> float:
        before = self.answered
        return await self.until(lambda: self.answered > before + 100)


@asynccontextmanager
async def loaded(opened) -> AsyncIterator[Load]:
    load = Load(opened)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.ask()) for _ in range(16)]
        yield load
        for task in tasks:
            task.cancel()


async def answered(call):
    """What `call()` gives, once it is not 503: on a busy machine 50 ms pass now and then."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.01)


def pause(server: RedisServer) -> None:
    server._command_line("CLIENT PAUSE 100000")


def unpause(server: RedisServer) -> None:
    server.kill()
    server.start()


LOSSES = {
    "kill": (RedisServer.kill, RedisServer.start),
    "stop": (RedisServer.stop, RedisServer.start),
    "freeze": (RedisServer.freeze, RedisServer.thaw),
    "pause": (pause, unpause),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_lost_redis_fails_in_time_opens_the_breaker_and_is_found_again(private_server, open_redis, loss):
    lose, mend = LOSSES[loss]
    async with open_redis(private_server.url, **AS_SHIPPED) as opened, loaded(opened) as load:
        await load.more_answers()
        for _ in range(3):
            lose(private_server)
            assert await load.until(lambda: opened.is_away) < OPEN_S * GENEROUS
            assert opened.rung
            failed = load.failed
            await load.until(lambda failed=failed: load.failed > failed + 100)
            mend(private_server)
            assert await load.until(lambda: not opened.is_away) < BACK_S * GENEROUS
            assert await load.more_answers() < BACK_S * GENEROUS
        assert (load.mixed_up, load.silent) == (0, 0)
        assert load.longest_failure_s < COMMAND_S * 2 * GENEROUS  # a script may be two commands


async def test_open_breaker_costs_nobody_any_time(private_server, open_redis):
    async with open_redis(private_server.url, **AS_SHIPPED) as opened:
        private_server.freeze()
        async with loaded(opened) as load:
            await load.until(lambda: opened.is_away)
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(Unavailable):
                await opened.redis.get("k")
        assert time.monotonic() - began < 100 * 0.002 * GENEROUS
        private_server.thaw()


async def test_refused_port_fails_at_once_from_the_start(open_redis):
    began = time.monotonic()
    async with open_redis("redis://127.0.0.1:1", **AS_SHIPPED) as opened:
        with pytest.raises(Unavailable):
            await opened.redis.get("k")
    assert time.monotonic() - began < OPEN_S * GENEROUS


async def test_frozen_redis_keeps_nobody_waiting_at_the_end(private_server, open_redis):
    async with open_redis(private_server.url, **AS_SHIPPED) as opened, loaded(opened) as load:
        await load.more_answers()
        private_server.freeze()
        began = time.monotonic()
    assert time.monotonic() - began < OPEN_S * GENEROUS
    private_server.thaw()


async def test_frozen_redis_is_told_to_those_who_listen(private_server, open_redis):
    """Though their connection stays open: what is published meanwhile they would not hear."""
    told: list[str] = []
    async with (
        open_redis(private_server.url, **AS_SHIPPED) as opened,
        opened.redis.subscribe("c", print, begun=lambda: told.append("begun"), lost=lambda: told.append("lost")),
        loaded(opened) as load,
    ):
        private_server.freeze()
        assert await load.until(lambda: told == ["begun", "lost"]) < (OPEN_S + 1) * GENEROUS
        private_server.thaw()
        assert await load.until(lambda: told == ["begun", "lost", "begun"]) < BACK_S * GENEROUS


async def test_outages_leave_no_file_open(private_server, open_redis):
    async with open_redis(private_server.url, **AS_SHIPPED) as opened:
        before = len(os.listdir("/dev/fd"))
        for _ in range(5):
            private_server.freeze()
            async with loaded(opened) as load:
                await load.until(lambda: opened.is_away)
                private_server.thaw()
                await load.more_answers()
        assert len(os.listdir("/dev/fd")) <= before + 12  # the connections that there may be


# --- Sentinels


@dataclass
class Watched:
    """A master, its replica, and the Sentinels that watch them."""

    master: RedisServer
    replica: RedisServer
    sentinels: list[RedisServer]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/mymaster/0"


@pytest.fixture
def watched(say) -> Iterator[Watched]:
    with ExitStack() as stack:
        master = stack.enter_context(RedisServer(has_port=True))
        replica = stack.enter_context(RedisServer({"replicaof": f"127.0.0.1 {master.port}"}, has_port=True))
        lines = [
            f"monitor mymaster 127.0.0.1 {master.port} 1",
            "down-after-milliseconds mymaster 1000",
            "failover-timeout mymaster 2000",
        ]
        sentinels = [stack.enter_context(RedisServer(has_port=True, sentinel=lines)) for _ in range(2)]
        wait_until(lambda: "state=online" in say(master, "INFO replication"))
        for sentinel in sentinels:
            wait_until(lambda each=sentinel: f"{replica.port}\r\n" in say(each, "SENTINEL REPLICAS mymaster"))
        yield Watched(master, replica, sentinels)


def wait_until(condition) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.parametrize("way", ["kill", "freeze"])
async def test_replica_that_becomes_the_master_is_used(watched, open_redis, way):
    told: list[str] = []
    async with (
        open_redis(watched.url, **AS_SHIPPED) as opened,
        opened.redis.subscribe("c", print, begun=lambda: told.append("begun"), lost=lambda: told.append("lost")),
        loaded(opened) as load,
    ):
        await load.more_answers()
        getattr(watched.master, way)()
        await load.until(lambda: opened.is_away)
        await load.until(lambda: not opened.is_away)
        await load.more_answers()
        await load.until(lambda: told[-1] == "begun" and "lost" in told)  # a new master cuts connections once more
        assert told[::2] == ["begun"] * (len(told) // 2 + 1)
        await answered(lambda: opened.redis.set("key", b"1", ttl_s=60))
        assert watched.replica._command_line("EXISTS pegboard:key") == ":1"
        assert load.mixed_up == 0
        watched.master.thaw()


async def test_master_that_is_replaced_while_it_lives_is_left(watched, open_redis, say):
    """An operator's failover: nothing dies, and what is still connected to the old one must not stay so."""
    async with open_redis(watched.url, **AS_SHIPPED) as opened, loaded(opened) as load:
        await load.more_answers()
        wait_until(lambda: say(watched.sentinels[0], "SENTINEL FAILOVER mymaster") == "+OK\r\n")
        await load.until(lambda: "role:master" in say(watched.replica, "INFO replication"))

        async def is_written() -> bool:
            await answered(lambda: opened.redis.set("key", b"1", ttl_s=60))
            return watched.replica._command_line("EXISTS pegboard:key") == ":1"

        async with asyncio.timeout(30):
            while not await is_written():  # noqa: ASYNC110  # the same
                await asyncio.sleep(0.01)
        await load.more_answers()


async def test_sentinel_that_is_frozen_delays_nobody(watched, open_redis):
    watched.sentinels[0].freeze()
    began = time.monotonic()
    async with open_redis(watched.url, **AS_SHIPPED) as opened:
        assert not opened.is_away
        assert time.monotonic() - began < OPEN_S * GENEROUS
    watched.sentinels[0].thaw()


async def test_master_is_used_though_all_sentinels_are_gone(watched, open_redis):
    async with open_redis(watched.url, **AS_SHIPPED) as opened:
        for sentinel in watched.sentinels:
            sentinel.kill()
        await opened.probe.check()
        await answered(lambda: opened.redis.set("key", b"1", ttl_s=60))


async def test_name_that_the_sentinels_do_not_know_stops_the_start(watched, open_redis):
    faults = []
    with pytest.raises(PluginError, match="the Sentinels know no master called other; correct the url"):
        async with open_redis(watched.url.replace("mymaster", "other"), faults=faults):
            raise AssertionError("opened")
    assert faults[0][2] == "redis+sentinel://user:password@host:26379,host:26379/mymaster/0"


# --- a cluster that fails over


async def test_cluster_that_loses_a_server_is_away_until_its_replica_has_taken_over(say, open_redis):
    settings = {"cluster-enabled": "yes", "cluster-node-timeout": "1000"}
    with ExitStack() as stack:
        servers = [stack.enter_context(RedisServer(settings, has_port=True)) for _ in range(4)]
        *masters, replica = servers
        for n, server in enumerate(masters):
            first, last = 16_384 * n // 3, 16_384 * (n + 1) // 3
            say(server, f"CLUSTER ADDSLOTS {' '.join(map(str, range(first, last)))}")
        for server in servers[1:]:
            say(servers[0], f"CLUSTER MEET 127.0.0.1 {server.port}")
        for server in servers:
            wait_until(lambda each=server: "cluster_known_nodes:4" in say(each, "CLUSTER INFO"))
        lost = say(masters[2], "CLUSTER MYID").split()[1]
        wait_until(lambda: say(replica, f"CLUSTER REPLICATE {lost}") == "+OK\r\n")
        for server in servers:
            wait_until(lambda each=server: "cluster_state:ok" in say(each, "CLUSTER INFO"))
        wait_until(lambda: "master_link_status:up" in say(replica, "INFO replication"))

        url = f"redis+cluster://127.0.0.1:{masters[0].port},127.0.0.1:{masters[2].port}"
        keys = [f"k{n}" for n in range(60)]
        async with open_redis(url, **AS_SHIPPED) as opened, loaded(opened) as load:
            for key in keys:
                await answered(lambda key=key: opened.redis.set(key, key.encode(), ttl_s=600))
            wait_until(lambda: say(masters[2], "DBSIZE") == say(replica, "DBSIZE"))
            masters[2].kill()
            assert await load.until(lambda: opened.is_away) < (5 + OPEN_S) * GENEROUS
            await load.until(lambda: not opened.is_away)
            assert await answered(lambda: opened.redis.get_many(keys)) == [key.encode() for key in keys]
            await load.more_answers()
            assert load.mixed_up == 0

"""The database is stopped, killed, frozen and shot at, while it is being used."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from service.api import ServiceError

TABLE = """
CREATE TABLE marks (n int PRIMARY KEY);
CREATE TABLE answers AS SELECT n, n * n AS square FROM generate_series(0, 99) n;
"""
READ = "SELECT json_build_object('n', n, 'square', square) FROM answers WHERE n = $1"


@dataclass
class Load:
    """Readers and a writer that ask as quickly as they are answered, until told to stop."""

    database: object
    outcomes: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    written: list[int] = field(default_factory=list)
    running: bool = True
    wanted_reads: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    wrong: int = 0
    silent: int = 0
    """503s that do not say when to come back."""

    async def read(self, n: int) -> None:
        while self.running:
            n = (n + 7) % 100
            body = await self.timed("read", self.database.fetch_json(READ, n))
            if body is not None and body != b'{"n" : %d, "square" : %d}' % (n, n * n):
                self.wrong += 1

    async def write(self, n: int) -> None:
        while self.running:
            n += 1

            async def insert(number: int = n) -> None:
                async with self.database.transaction() as transaction:
                    await transaction.execute("INSERT INTO marks VALUES ($1)", number)
                self.written.append(number)

            await self.timed("write", insert())

    async def timed(self, what, work):
        started = time.monotonic()
        try:
            answer = await work
            self.outcomes[f"{what} 200"] += 1
            if self.reads >= self.wanted_reads:
                self.reached.set()
            await asyncio.sleep(0)
            return answer
        except ServiceError as error:
            self.outcomes[f"{what} {error.status}"] += 1
            self.silent += error.status == 503 and error.headers.get("Retry-After") != "1"
            await asyncio.sleep(0.01)
        finally:
            self.longest_s = max(self.longest_s, time.monotonic() - started)

    async def until(self, ended) -> None:
        """Ask while `ended`, an awaitable, is waited for."""
        tasks = [asyncio.create_task(self.read(n)) for n in range(8)] + [asyncio.create_task(self.write(0))]
        try:
            await ended
        finally:
            self.running = False
            await asyncio.gather(*tasks)

    @property
    def reads(self) -> int:
        return self.outcomes["read 200"]

    async def works_again(self) -> float:
        """Seconds until another hundred reads were answered."""
        started = time.monotonic()
        self.wanted_reads, self.reached = self.reads + 100, asyncio.Event()
        await self.reached.wait()
        return time.monotonic() - started


LIMITS = {"pool": {"min": 2, "max": 5, "acquire": "1s", "connect": "1s"}, "timeouts": {"read": "1s", "write": "1s"}}
LONGEST_S = 1 + 1 + 1  # acquire, the statement's own timeout, and grace


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_restart_under_load_gives_only_503_and_heals_by_itself(
    private_server, open_database, ask, caplog, ending
):
    url = private_server.create_database(TABLE)
    async with open_database(url, **LIMITS) as opened:
        load = Load(opened.database)

        async def faults() -> float:
            await load.works_again()
            await asyncio.to_thread(getattr(private_server, ending))
            await asyncio.sleep(1)
            await asyncio.to_thread(private_server.start)
            return await load.works_again()

        healing = asyncio.create_task(faults())
        await load.until(healing)
        assert healing.result() < 3
        assert opened.rung
    assert set(load.outcomes) <= {"read 200", "read 503", "write 200", "write 503"}
    assert load.outcomes["read 503"]
    assert (load.wrong, load.silent) == (0, 0)
    assert load.longest_s < 2 * LONGEST_S
    assert await ask(url, "SELECT count(*) FROM marks WHERE n = ANY($1)", load.written) == len(load.written)
    lost = [sentence for sentence in opened.said if "is lost" in sentence]
    back = [sentence for sentence in opened.said if sentence.endswith("as postgres is back")]
    assert len(lost) == len(back) == 1
    assert "Traceback" not in caplog.text


@pytest.mark.slow
async def test_frozen_server_hangs_no_request_and_thawing_heals(private_server, open_database, eventually):
    url = private_server.create_database(TABLE)
    async with open_database(url, **LIMITS) as opened:
        load = Load(opened.database)

        async def faults() -> float:
            await load.works_again()
            await asyncio.to_thread(private_server.freeze)
            await eventually(lambda: opened.rung, within_s=2 * LONGEST_S)
            with pytest.raises((OSError, TimeoutError)):
                async with asyncio.timeout(opened.probe.timeout_s):
                    await opened.probe.check()
            await asyncio.sleep(2)
            private_server.thaw()
            return await load.works_again()

        healing = asyncio.create_task(faults())
        await load.until(healing)
        assert healing.result() < 3
    assert set(load.outcomes) <= {"read 200", "read 503", "write 200", "write 503"}
    assert (load.wrong, load.silent) == (0, 0)
    assert load.longest_s < 2 * LONGEST_S


@pytest.mark.slow
async def test_terminated_sessions_cost_no_read_and_at_most_their_own_write(private_server, open_database, ask):
    url = private_server.create_database(TABLE)
    shots = 0
    async with open_database(url, **LIMITS) as opened:
        load = Load(opened.database)

        async def faults() -> None:
            nonlocal shots
            for _ in range(30):
                shots += await ask(
                    url,
                    "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity "
                    "WHERE application_name = 'pegboard' ORDER BY random() LIMIT 1) chosen",
                )
                await asyncio.sleep(0.1)

        await load.until(faults())
    assert shots == 30
    assert load.outcomes["read 503"] + load.outcomes["write 503"] <= shots
    assert load.outcomes["read 503"] <= shots // 5  # one that is shot twice in a row
    assert set(load.outcomes) <= {"read 200", "read 503", "write 200", "write 503"}
    assert await ask(url, "SELECT count(*) FROM marks WHERE n = ANY($1)", load.written) == len(load.written)


async def test_lost_database_is_503_at_once_and_rings_the_alarm(private_server, open_database):
    url = private_server.create_database(TABLE)
    async with open_database(url, pool={"min": 2, "max": 5}) as opened:
        assert await opened.database.fetch_json(READ, 3)
        await asyncio.to_thread(private_server.stop)
        started = time.monotonic()
        for _ in range(10):
            with pytest.raises(ServiceError) as raised:
                await opened.database.fetch_json(READ, 3)
            assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "1")
        assert time.monotonic() - started < 2
        assert opened.rung
        await asyncio.to_thread(private_server.start)
        assert await opened.database.fetch_json(READ, 3)
        assert [sentence.rpartition(" is ")[2] for sentence in opened.said[1:]][-1] == "back"


async def test_database_lost_by_its_users_keeps_nobody_waiting_at_the_end(private_server, open_database):
    url = private_server.create_database(TABLE)
    async with open_database(url, pool={"min": 2, "max": 5}) as opened:
        await opened.database.fetch_json(READ, 3)
        await asyncio.to_thread(private_server.freeze)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    private_server.thaw()


async def test_change_of_a_table_under_load_costs_no_read(make_database, open_database, ask):
    url = make_database(TABLE)
    async with open_database(url, pool={"min": 5, "max": 5}) as opened:
        load = Load(opened.database)

        async def changes() -> None:
            for kind in ("bigint", "numeric", "int"):
                await load.works_again()
                await ask(url, f"ALTER TABLE answers ALTER square TYPE {kind}")
            await load.works_again()

        await load.until(changes())
    assert load.outcomes["read 503"] + load.outcomes["read 500"] == 0
    assert (load.wrong, load.silent) == (0, 0)

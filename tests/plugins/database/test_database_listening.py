"""LISTEN and the health check: connections of their own that come back by themselves."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import asyncpg
import pytest

from service.api import Unavailable


async def test_listener_hears_what_is_notified_once_entered(make_database, open_database, ask, eventually):
    url = make_database("SELECT 1;")
    heard: list[str] = []
    async with open_database(url) as opened:
        async with opened.database.listen('odd "channel"', heard.append):
            await ask(url, "SELECT pg_notify('odd \"channel\"', $1)", "one")
            await ask(url, "SELECT pg_notify('another', 'not for us')")
            await ask(url, "SELECT pg_notify('odd \"channel\"', $1)", "two ☃")
            await eventually(lambda: len(heard) == 2)
        await ask(url, "SELECT pg_notify('odd \"channel\"', 'too late')")
    assert heard == ["one", "two ☃"]


async def test_listener_takes_no_connection_of_the_pool(make_database, open_database):
    url = make_database("SELECT 1;")
    async with open_database(url, pool={"min": 1, "max": 1}) as opened, opened.database.listen("channel", print):
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_listener_comes_back_after_its_connection_was_terminated(make_database, open_database, ask, eventually):
    url = make_database("SELECT 1;")
    heard: list[str] = []
    listeners = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pegboard listen'"
    )
    told: list[str] = []
    async with (
        open_database(url) as opened,
        opened.database.listen(
            "channel", heard.append, begun=lambda: told.append("begun"), lost=lambda: told.append("lost")
        ),
    ):
        assert told == ["begun"]
        first = await ask(url, listeners)
        await ask(url, "SELECT pg_terminate_backend($1)", first)

        async def is_back() -> bool:
            return await ask(url, listeners) not in (None, first)

        await eventually(is_back)
        await ask(url, "SELECT pg_notify('channel', 'again')")
        await eventually(lambda: heard == ["again"])
        assert told == ["begun", "lost", "begun"]
    assert told == ["begun", "lost", "begun"]


async def test_listeners_share_one_connection_and_hear_their_own(make_database, open_database, ask, eventually):
    url = make_database("SELECT 1;")
    connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    heard: dict[str, list[str]] = {"one": [], "two": [], "two again": []}
    async with open_database(url, pool={"min": 1, "max": 1}) as opened:
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]
        without = await ask(url, connections)
        async with opened.database.listen("one", heard["one"].append):
            async with (
                opened.database.listen("two", heard["two"].append),
                opened.database.listen("two", heard["two again"].append),
            ):
                assert await ask(url, connections) == without + 1
                await ask(url, "SELECT pg_notify('one', 'a'), pg_notify('two', 'b')")
                await eventually(lambda: heard == {"one": ["a"], "two": ["b"], "two again": ["b"]})
            await ask(url, "SELECT pg_notify('two', 'too late'), pg_notify('one', 'c')")
            await eventually(lambda: heard == {"one": ["a", "c"], "two": ["b"], "two again": ["b"]})
        await eventually(lambda: _is(ask(url, connections), without))
        async with opened.database.listen("one", heard["one"].append):
            await ask(url, "SELECT pg_notify('one', 'd')")
            await eventually(lambda: heard["one"] == ["a", "c", "d"])


async def _is(asked, number):
    return await asked == number


async def test_all_listeners_are_told_when_the_connection_is_lost_and_is_back(
    private_server, open_database, ask, eventually
):
    """The server dies without a word: nothing closes the connection."""
    url = private_server.create_database("SELECT 1;")
    told: list[str] = []

    def telling(name):
        return {"begun": lambda: told.append(f"{name} begun"), "lost": lambda: told.append(f"{name} lost")}

    async with (
        open_database(url) as opened,
        opened.database.listen("one", print, **telling("one")),
        opened.database.listen("two", print, **telling("two")),
    ):
        begun, lost = ["one begun", "two begun"], ["one lost", "two lost"]
        await asyncio.to_thread(private_server.freeze)
        await eventually(lambda: told == begun + lost, within_s=15)
        private_server.thaw()
        await eventually(lambda: told == begun + lost + begun, within_s=15)


@pytest.mark.slow
async def test_to_leave_does_not_wait_for_a_server_that_says_nothing(private_server, open_database):
    """A service that ends does not hang on each of those that listen: five times the 0.2 s that leaving may take."""
    url = private_server.create_database("SELECT 1;")
    async with open_database(url) as opened, opened.database.listen("one", print), AsyncExitStack() as two:
        await two.enter_async_context(opened.database.listen("two", print))
        await asyncio.to_thread(private_server.freeze)
        try:
            async with asyncio.timeout(1):
                await two.aclose()
        finally:
            private_server.thaw()


async def test_listening_is_503_while_the_database_is_away(private_server, open_database):
    url = private_server.create_database("SELECT 1;")
    async with open_database(url) as opened:
        await asyncio.to_thread(private_server.stop)
        with pytest.raises(Unavailable):
            async with opened.database.listen("channel", print):
                raise AssertionError


async def test_probe_passes_fails_while_the_database_is_away_and_passes_again(private_server, open_database):
    url = private_server.create_database("SELECT 1;")
    async with open_database(url) as opened:
        assert (opened.probe.name, opened.probe.critical) == ("database", True)
        await opened.probe.check()
        await asyncio.to_thread(private_server.stop)
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await opened.probe.check()
        with pytest.raises(OSError, match=r"No such file|refused"):
            await opened.probe.check()
        await asyncio.to_thread(private_server.start)
        await opened.probe.check()


async def test_probe_that_is_cancelled_begins_anew(private_server, open_database):
    url = private_server.create_database("SELECT 1;")
    async with open_database(url) as opened:
        await asyncio.to_thread(private_server.freeze)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await opened.probe.check()
        assert time.monotonic() - started < 2
        private_server.thaw()
        await opened.probe.check()

"""Ways to a database: URLs in every form, and what the operator is told when there is no way."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import ValidationError

from plugins.database import Settings
from plugins.database.opening import Place
from service.errors import PluginError, SettingsError
from service.testing.postgres import PostgresServer

PASSWORD = "p@ss:w/rd %41?"
ENCODED = "p%40ss%3Aw%2Frd%20%2541%3F"


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def tcp() -> Iterator[tuple[str, str]]:
    """A server on TCP that asks for passwords: its `host:port` and the folder of its socket."""
    port = free_port()
    with PostgresServer({"listen_addresses": "127.0.0.1", "port": str(port)}) as server:
        server.create_database(
            f'CREATE ROLE api LOGIN PASSWORD \'{PASSWORD}\'; CREATE ROLE "a b" LOGIN; CREATE DATABASE "my shop";',
            "shop",
        )
        yield f"127.0.0.1:{port}", f"{server.socket}:{port}"


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://api:{password}@{host}/shop",
        "postgres://api:{password}@{host}/shop",
        "postgresql://api:{password}@{host}/shop?sslmode=disable",
        "postgresql://api:{password}@{host}/shop?sslmode=prefer&application_name=other",
        "postgresql:///shop?host={name}&port={port}&user=api&password={password}",
        "postgresql://{host}?dbname=shop&user=api&password={password}",
        "postgresql:///shop?host={folder}&port={port}&user=api",
        "postgresql://api@/shop?host={folder}&port={port}",
        "postgresql://api@{quoted_folder}:{port}/shop",
        "postgresql://api:{password}@127.0.0.1:1,{host}/shop",
    ],
)
async def test_url_is_understood_in_every_form(tcp, open_database, form):
    host, socket_ = tcp
    name, port = host.split(":")
    folder = socket_.rsplit(":", 1)[0]
    url = form.format(
        host=host, name=name, port=port, folder=folder, quoted_folder=folder.replace("/", "%2F"), password=ENCODED
    )
    async with open_database(url) as opened:
        [row] = await opened.database.fetch("SELECT current_user AS user, current_database() AS database")
        assert row == {"user": "api", "database": "shop"}
    [said] = opened.said
    assert re.fullmatch(r"PostgreSQL 18\.\d+ at .+ as api", said)
    assert PASSWORD not in said
    assert ENCODED not in said


async def test_names_with_spaces_are_percent_decoded(tcp, open_database):
    async with open_database(
        f"postgresql://a%20b@/my%20shop?host={tcp[1].rsplit(':', 1)[0]}&port={tcp[0][10:]}"
    ) as opened:
        [row] = await opened.database.fetch("SELECT current_user AS user, current_database() AS database")
    assert row == {"user": "a b", "database": "my shop"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://api:secret@db.example:5433/shop", "db.example:5433/shop as api"),
        ("postgresql://api:secret@db.example/shop", "db.example:5432/shop as api"),
        ("postgresql://api@[::1]:5433/shop", "[::1]:5433/shop as api"),
        ("postgresql://api@[::1]/shop", "[::1]:5432/shop as api"),
        ("postgresql://api@one,two:6000/shop", "one:5432,two:6000/shop as api"),
        ("postgresql:///shop?host=/run/postgresql&user=api", "/run/postgresql, database shop as api"),
        ("postgresql://api@%2Frun%2Fpg/shop", "/run/pg, database shop as api"),
        ("postgresql:///shop", "the local socket, database shop"),
        ("postgresql://db/shop?password=secret&sslmode=require", "db:5432/shop"),
    ],
)
def test_place_shows_what_a_url_names_and_no_password(url, shown):
    assert str(Place.of(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "mysql://db/secret",
        "db.example/secret",
        "host=db password=secret",
        "postgresql://api:half#secret@db/shop",
        "postgresql://api:half/secret@db/shop",
        "postgresql://api:12/secret@db/shop",
        "postgresql://api:half?secret@db/shop",
        "postgresql://api:12?secret@db/shop",
        "postgresql://api:secret",
        "postgresql://db:secret/shop",
    ],
)
def test_url_that_is_none_is_refused_without_showing_any_of_it(url):
    """Also where a character of the password makes a part of it look like a host or a port."""
    with pytest.raises(ValidationError, match="is not understood: a URL of PostgreSQL looks like") as raised:
        Settings(url=url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://api:secret@{host}/shop?sslmode=sideways", "the url is not understood"),
        ("postgresql://api:secret@{host}/shop", "wrong password"),
        ("postgresql://nobody:secret@{host}/shop", "wrong password"),
        ("postgresql://api:{password}@{host}/nowhere", "there is no such database"),
        (
            "postgresql://api:{password}@{host}/shop?sslmode=require",
            "TLS: the server does not offer it, or is no PostgreSQL",
        ),
        ("postgresql://api:{password}@{host}/shop?sslmode=verify-full&sslrootcert=/nowhere.pem", "certificate"),
        ("postgresql://api:{password}@{host}/shop?unheard_of=1", "unheard_of"),
    ],
)
async def test_mistake_in_the_url_stops_the_start_at_once(tcp, open_database, url, words):
    said: list[str] = []
    faults = []
    started = time.monotonic()
    url = url.format(host=tcp[0], password=ENCODED)
    with pytest.raises(PluginError):
        async with open_database(url, said, faults=faults, timeouts={"start": "60s"}):
            raise AssertionError("opened")
    assert time.monotonic() - started < 5
    [(path, text, write)] = faults
    assert path == ("url",)
    assert words in text
    assert "\n" not in text
    assert write == "postgresql://user:password@host:5432/name"
    for secret in ("secret", PASSWORD, ENCODED):
        assert secret not in text + "".join(said)
    assert said == []


async def test_mistake_in_the_url_is_told_with_the_place_that_names_it(make_service, tcp):
    """And the password is in none of it."""
    url = f"postgresql://api:{ENCODED}@{tcp[0]}/nowhere"
    for settings, way_out in (
        ({"env": "DATABASE_URL"}, "export DATABASE_URL=postgresql://user:***@host:5432/name"),
        (url, 'url = { env = "DATABASE_URL" }'),
    ):
        with pytest.raises(SettingsError) as stopped:
            await make_service(
                ["database"], {"plugins": {"database": {"url": settings}}}, environ={"DATABASE_URL": url}
            )
        place, _, sentence = str(stopped.value).partition("  ")
        assert re.search(r"config-\d\.toml:\d+$", place)
        assert sentence.startswith("plugins.database.url: ")
        assert sentence.endswith(f"as api: there is no such database\n    write: {way_out}")
        assert PASSWORD not in sentence
        assert ENCODED not in sentence


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://api:secret@127.0.0.1:{port}/shop", "connection refused"),
        ("postgresql://api:secret@nowhere.invalid/shop", "there is no such host"),
        ("postgresql:///shop?host=/nowhere&user=api&password=secret", "there is no socket"),
    ],
)
async def test_database_that_stays_away_stops_the_start_after_its_time(open_database, url, words):
    said: list[str] = []
    started = time.monotonic()
    with pytest.raises(
        PluginError, match=rf"within 0\.5s: {words}; start PostgreSQL there, or correct the url\.$"
    ) as raised:
        async with open_database(url.format(port=free_port()), said, timeouts={"start": "500ms"}):
            raise AssertionError("opened")
    assert 0.4 < time.monotonic() - started < 5
    assert [words in sentence for sentence in said] == [True]
    assert "secret" not in str(raised.value) + said[0]


async def test_host_that_never_answers_is_no_answer(open_database):
    with closing(socket.socket()) as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"postgresql://api@127.0.0.1:{mute.getsockname()[1]}/shop"
        with pytest.raises(PluginError, match="no answer"):
            async with open_database(url, timeouts={"start": "500ms"}, pool={"connect": "100ms"}):
                raise AssertionError("opened")


async def test_database_that_comes_later_is_waited_for(private_server, open_database, eventually):
    url = private_server.create_database("SELECT 1;")
    private_server.stop()
    said: list[str] = []

    opening = open_database(url, said, timeouts={"start": "30s"})
    entering = asyncio.create_task(opening.__aenter__())
    await eventually(lambda: said)
    await asyncio.to_thread(private_server.start)
    opened = await entering
    try:
        assert await opened.database.fetch("SELECT 1 AS one") == [{"one": 1}]
    finally:
        await opening.__aexit__(None, None, None)
    assert "waiting for PostgreSQL" in said[0]
    assert "PostgreSQL 18." in said[1]


# --- settings


def test_settings_want_a_url_or_the_embedded_server():
    with pytest.raises(ValidationError, match=r"export DATABASE_URL=.*; write: embedded = true"):
        Settings()


def test_settings_keep_the_url_to_themselves():
    settings = Settings(url="postgresql://api:secret@db/shop")
    assert "secret" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_settings_refuse_a_pool_whose_least_is_more_than_its_most():
    with pytest.raises(ValidationError, match="min = 5 is more than max = 3"):
        Settings(embedded=True, pool={"min": 5, "max": 3})


def test_settings_have_the_defaults_that_the_documentation_names():
    settings = Settings(embedded=True)
    assert (settings.pool.min, settings.pool.max) == (2, 10)
    spelled = [settings.pool.idle, settings.pool.connect, settings.pool.acquire]
    spelled += [settings.timeouts.start, settings.timeouts.read, settings.timeouts.write, settings.timeouts.count]
    assert [str(duration) for duration in spelled] == ["30s", "2s", "2s", "30s", "2s", "5s", "1s"]

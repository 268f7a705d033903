"""Tokens that are revoked, over real sockets, with a real Redis and a real PostgreSQL: known in every worker, after a
restart, and when a message was missed; and what each door does while the store is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
import pytest

from plugins.auth.revocation.held import Held, Revoked
from plugins.auth.revocation.stores import InBoth
from plugins.auth.store.schema import STATEMENTS
from service.api import Script, Unavailable, timestamp
from service.testing import TOKEN_SECRET, PluginContract
from service.testing.postgres import PostgresServer
from service.testing.redis import RedisServer
from tests.plugins.waiting import eventually

SCHEMA = ";".join(STATEMENTS)
OK, REVOKED, AWAY = (200, "ada"), (401, "INVALID_TOKEN"), (503, "SERVICE_UNAVAILABLE")
GENEROUS = {"command": "10s", "connect": "10s"}
"""For tests that are not about time: a busy machine is no fault."""


until = partial(eventually, within_s=20.0)


@dataclass
class Stores:
    """The tables of the plugins that keep what is revoked."""

    tables: dict[str, Any]
    database: str = ""

    @property
    def plugins(self) -> list[str]:
        return list(self.tables)

    async def ask(self, sql: str, *args: object) -> Any:
        """One value, over a connection that has nothing to do with the service."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetchval(sql, *args)
        finally:
            await connection.close()


def stores_at(database: str = "", redis: str = "") -> Stores:
    tables: dict[str, Any] = {}
    if database:
        tables["database"] = {"url": database, "pool": {"min": 0, "max": 4}}
    if redis:
        tables["redis"] = {"url": redis, "timeouts": GENEROUS}
    return Stores(tables, database)


@pytest.fixture(params=["redis", "postgres", "both"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Each way to keep them, with nothing revoked."""
    make_database: Any = request.getfixturevalue("make_database")
    database = make_database(SCHEMA) if request.param != "redis" else ""
    redis = request.getfixturevalue("redis_url") if request.param != "postgres" else ""
    return stores_at(database, redis)


@pytest.fixture
def serve_with(serve: Any) -> Any:
    """`await serve_with(stores, {...})`: a service, as if it were one worker of it."""

    async def start(stores: Stores, auth: Any = None, *plugins: Any) -> Any:
        tables = {"health": {"interval": "1s"}, **stores.tables}
        return await serve(auth, "health", *stores.plugins, *plugins, tables=tables)

    return start


def of(service: Any) -> Any:
    """What makes revocations in it."""
    return service.application.loaded["auth"].plugin._revocation.revocations


def following(service: Any) -> Any:
    return service.application.loaded["auth"].plugin._revocation._following


def redis_of(service: Any) -> Any:
    """The port, where it is by Redis that revocations are told."""
    store = following(service)._store
    store = getattr(store, "_redis", None) if isinstance(store, InBoth) else store
    return getattr(store, "_redis", None)


async def hears(service: Any) -> None:
    await until(lambda: following(service)._is_whole)


class TestAuthWithRedis(PluginContract):
    plugin = "auth"
    settings = {"secret": TOKEN_SECRET, "revocation": {"kept": "7d", "on_store_failure": {"api": "refuse"}}}
    beside = {"redis": {"url": {"env": "REDIS_URL"}}}

    @pytest.fixture
    def environ(self, redis_url: str) -> dict[str, str]:
        return {"REDIS_URL": redis_url}


class TestAuthWithDatabase(PluginContract):
    plugin = "auth"
    settings = {"secret": TOKEN_SECRET}
    beside = {"database": {"url": {"env": "DATABASE_URL"}}}

    @pytest.fixture
    def environ(self, make_database: Any) -> dict[str, str]:
        return {"DATABASE_URL": make_database(SCHEMA)}


# --- revoked


async def test_token_is_refused_by_every_worker_once_its_jti_is_revoked(
    serve_with: Any, stores: Stores, forge: Any
) -> None:
    one, two = await serve_with(stores), await serve_with(stores)
    await hears(one)
    await hears(two)
    token, other = forge.signed(forge.claims(jti="a")), forge.signed(forge.claims(jti="b"))
    for service in (one, two):
        assert await forge.asked(service, token=token) == OK
        assert await forge.asked(service, token=other) == OK
    await of(one).revoke_token("a")
    assert await forge.asked(one, token=token) == REVOKED, "where it was revoked, at once"

    async def is_refused() -> bool:
        return await forge.asked(two, token=token) == REVOKED

    await until(is_refused, within_s=5)
    for service in (one, two):
        assert await forge.asked(service, token=token) == REVOKED
        assert await forge.asked(service, token=other) == OK
    later = await serve_with(stores)
    assert await forge.asked(later, token=token) == REVOKED, "one that is started later knows it"
    assert await forge.asked(later, token=other) == OK


async def test_tokens_of_a_subject_and_of_everyone_are_refused_that_were_issued_before(
    serve_with: Any, stores: Stores, forge: Any, clock: Any
) -> None:
    one, two = await serve_with(stores), await serve_with(stores)
    await hears(two)
    before = forge.signed(forge.claims(iat=forge.now_s - 1))
    timeless = forge.signed(forge.claims())
    bob = forge.signed(forge.claims(sub="bob", iat=forge.now_s))
    assert await forge.asked(two, token=before) == OK
    await of(one).revoke_subject("ada")
    after = forge.signed(forge.claims(iat=forge.now_s + 1))
    clock.advance(1)

    async def is_refused() -> bool:
        return await forge.asked(two, token=before) == REVOKED

    await until(is_refused, within_s=5)
    for service in (one, two):
        assert await forge.asked(service, token=timeless) == REVOKED
        assert await forge.asked(service, token=bob) == (200, "bob")
        assert await forge.asked(service, token=after) == OK
    await of(two).revoke_everyone(issued_before=forge.now_s)

    async def is_bob_refused() -> bool:
        return await forge.asked(one, token=bob) == REVOKED

    await until(is_bob_refused, within_s=5)
    assert await forge.asked(one, token=after) == OK


async def test_revocation_ends_when_it_was_to_end(serve_with: Any, stores: Stores, forge: Any, clock: Any) -> None:
    service = await serve_with(stores)
    revoked = await of(service).revoke_subject("ada", ends_at=forge.now_s + 10.5)
    assert revoked.ends_at == forge.now_s + 11
    token = forge.signed(forge.claims())
    clock.advance(10.9)
    assert await forge.asked(await serve_with(stores), token=token) == REVOKED
    clock.advance(0.1)
    assert await forge.asked(await serve_with(stores), token=token) == OK


async def test_revocation_is_kept_as_long_as_a_token_may_live(serve_with: Any, redis_url: str, forge: Any) -> None:
    stores = stores_at(redis=redis_url)
    for settings, kept_s in (
        ({}, 30 * 86_400),
        ({"expires": "31d"}, 31 * 86_400),
        ({"leeway": "5s", "revocation": {"kept": "40d"}}, 40 * 86_400 + 5),
    ):
        revoked = await of(await serve_with(stores, settings)).revoke_token("a")
        assert revoked.ends_at == forge.now_s + kept_s


async def test_names_of_any_text_are_revoked(serve_with: Any, stores: Stores, forge: Any) -> None:
    one = await serve_with(stores)
    for name in (
        "x" * 5000,
        "nul\0",
        "a\nb",
        "☃" * 256,
        "'; DROP TABLE pegboard.revocations; --",
        "\\" * 256,
        '"',
        "a b",
    ):
        await of(one).revoke_token(name)
        await of(one).revoke_subject(name)
        later = await serve_with(stores)
        for service in (one, later):
            by_jti, by_subject = forge.signed(forge.claims(jti=name)), forge.signed(forge.claims(sub=name))
            assert await forge.asked(service, token=by_jti) == REVOKED
            assert await forge.asked(service, token=by_subject) == REVOKED
            assert await forge.asked(service, token=forge.signed(forge.claims(jti=f"{name}x"))) == OK
        await later.stop()


async def test_many_revocations_are_read(serve_with: Any, stores: Stores, forge: Any) -> None:
    """More than one command of Redis takes, and a hash that is no small one."""
    one = await serve_with(stores)
    many = [Revoked("token", f"jti {number}", 0, forge.now_s + 100) for number in range(2_500)]
    await following(one)._store.restore(many)
    later = await serve_with(stores)
    assert set(following(later)._held) == set(many)


async def test_message_that_was_missed_is_made_up_for(serve_with: Any, stores: Stores, forge: Any) -> None:
    """Kept by somebody who could not tell it any more."""
    service = await serve_with(stores)
    await hears(service)
    token = forge.signed(forge.claims(jti="a"))
    assert await forge.asked(service, token=token) == OK
    if stores.database:
        row = "('token', 'a', now(), now() + interval '1000 years')"
        await stores.ask(f"INSERT INTO pegboard.revocations VALUES {row}")
    else:
        await following(service)._store._put([Revoked("token", "a", 0, forge.now_s + 100)])
    assert await forge.asked(service, token=token) == OK, "nobody has told it"
    following(service)._begin()

    async def is_refused() -> bool:
        return await forge.asked(service, token=token) == REVOKED

    await until(is_refused)


async def test_remembered_token_asks_what_is_revoked_no_more(
    serve_with: Any, stores: Stores, forge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    hits = Held.hits

    def counted(self: Held, *arguments: Any) -> bool:
        nonlocal asked
        asked += 1
        return hits(self, *arguments)

    service = await serve_with(stores)
    await of(service).revoke_subject("bob")
    monkeypatch.setattr(Held, "hits", counted)
    token = forge.signed()
    for _ in range(5):
        assert await forge.asked(service, token=token) == OK
    assert asked == 1


async def test_revoked_token_is_refused_by_any_signature(
    serve_with: Any, stores: Stores, forge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is verified first, so that a forged token does not tell what is revoked."""
    service = await serve_with(stores)
    await of(service).revoke_token("a")
    asked = 0
    hits = Held.hits

    def counted(self: Held, *arguments: Any) -> bool:
        nonlocal asked
        asked += 1
        return hits(self, *arguments)

    monkeypatch.setattr(Held, "hits", counted)
    forged = forge.signed(forge.claims(jti="a"), secret="f" * 40)
    assert await forge.asked(service, token=forged) == REVOKED
    assert asked == 0
    assert await forge.asked(service, token=forge.signed(forge.claims(jti="a"))) == REVOKED
    assert asked == 1


async def test_answer_to_a_revoked_token_is_that_to_any_other_wrong_one(
    serve_with: Any, stores: Stores, forge: Any
) -> None:
    service = await serve_with(stores)
    await of(service).revoke_token("a")
    answers = []
    for token in (forge.signed(forge.claims(jti="a")), forge.signed(secret="f" * 40)):
        async with service.client.get("/api/v1/who", headers={"Authorization": f"Bearer {token}"}) as response:
            error = (await response.json())["error"]
            answers.append((response.status, response.headers["WWW-Authenticate"], error["code"], error["message"]))
    assert answers[0] == answers[1]


# --- hostile


async def test_hostile_messages_do_nothing(
    serve_with: Any, stores: Stores, forge: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service = await serve_with(stores)
    await hears(service)
    hostile = ["garbage-5f2c", "[" * 3000, "x" * 7000, '["token", 1, 2, 3]', "{}", "null", '{"kind": 1}', "\x01"]
    hostile += ['{"kind": "revocation", "value": "garbage"}', '{"kind": "revocation", "value": ["token"]}']
    redis = redis_of(service)
    with caplog.at_level(logging.WARNING):
        for message in hostile:
            if redis is not None:
                await redis.publish("auth:revocations", message.encode())
            else:
                await stores.ask("SELECT pg_notify('pegboard_auth', $1)", message)
        if redis is not None:
            await redis.publish("auth:revocations", b"\xff" * 1_000_000)
        else:
            await stores.ask("SELECT pg_notify('pegboard_auth', $1)", '{"kind": "key", "value": "not of ours"}')
        await of(await serve_with(stores)).revoke_token("a")
        token = forge.signed(forge.claims(jti="a"))

        async def is_refused() -> bool:
            return await forge.asked(service, token=token) == REVOKED

        await until(is_refused)
    told = [record.getMessage() for record in caplog.records if "about revocations" in record.getMessage()]
    assert len(told) == 1
    assert "5f2c" not in told[0]
    assert await forge.asked(service, token=forge.signed()) == OK
    assert [each.value for each in following(service)._held] == ["a"]


async def test_what_others_have_written_to_the_store_harms_nothing(
    serve_with: Any, make_database: Any, redis_url: str, forge: Any
) -> None:
    stores = stores_at(redis=redis_url)
    service = await serve_with(stores)
    redis = following(service)._store._redis
    put = Script("return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])")
    for field, value in (
        ("token a", "garbage"),
        ("nobody", "1 2"),
        ("", ""),
        (b"\xff\xfe", b"\xff"),
        ("token z", "1 -2"),
    ):
        await redis.script(put, keys=["auth:revocations"], args=[field, value])
    await of(service).revoke_token("a")
    later = await serve_with(stores)
    assert [each.value for each in following(later)._held] == ["a"]
    assert await forge.asked(later, token=forge.signed(forge.claims(jti="a"))) == REVOKED
    length = await redis.script(Script("return redis.call('HLEN', KEYS[1])"), keys=["auth:revocations"])
    assert length == 1, "what is none is removed"

    stores = stores_at(make_database(SCHEMA))
    insert = "INSERT INTO pegboard.revocations VALUES ($1, $2, $3::text::timestamptz, $4::text::timestamptz)"
    await stores.ask(insert, "token", "x" * 1000, "epoch", "infinity")
    await stores.ask(insert, "subject", "ada", "infinity", "infinity")
    await stores.ask(insert, "subject", "bob", "-infinity", "infinity")
    service = await serve_with(stores)
    assert await forge.asked(service, token=forge.signed(forge.claims(iat=forge.now_s))) == REVOKED
    assert await forge.asked(service, token=forge.signed(forge.claims(sub="bob", iat=forge.now_s))) == (200, "bob")


# --- the stores themselves


async def test_redis_keeps_it_without_a_lifetime_and_removes_it_a_day_after_its_end(
    serve_with: Any, redis_url: str, clock: Any, forge: Any
) -> None:
    service = await serve_with(stores_at(redis=redis_url))
    await of(service).revoke_token("a", ends_at=forge.now_s + 100)
    store, redis = following(service)._store, following(service)._store._redis
    ttl, length = (Script(f"return redis.call('{command}', KEYS[1])") for command in ("PTTL", "HLEN"))
    assert await redis.script(ttl, keys=["auth:revocations"]) == -1
    clock.advance(100 + 86_399)
    assert await store.read(clock.now()) == []
    assert await redis.script(length, keys=["auth:revocations"]) == 1
    clock.advance(1)
    assert await store.read(clock.now()) == []
    assert await redis.script(length, keys=["auth:revocations"]) == 0


async def test_database_removes_it_a_day_after_its_end(
    serve_with: Any, make_database: Any, clock: Any, forge: Any
) -> None:
    stores = stores_at(make_database(SCHEMA))
    service = await serve_with(stores)
    await of(service).revoke_token("a", ends_at=forge.now_s + 100)
    count = "SELECT count(*) FROM pegboard.revocations"
    clock.advance(100 + 86_399)
    await of(service).revoke_token("b")
    assert await stores.ask(count) == 2
    clock.advance(2)
    await of(service).revoke_token("c")
    assert await stores.ask(count) == 2


async def test_refresh_tokens_go_with_their_subject(serve_with: Any, make_database: Any, redis_url: str) -> None:
    for redis in ("", redis_url):
        stores = stores_at(make_database(SCHEMA), redis)
        service = await serve_with(stores)
        insert = (
            "INSERT INTO pegboard.refresh_tokens (digest, family, subject, expires_at) "
            "VALUES (sha256($1::text::bytea), gen_random_uuid(), $2, now() + interval '1d')"
        )
        long = "x" * 300
        for subject in ("ada", "bob", "cid", long):
            await stores.ask(insert, subject, subject)
        left = "SELECT string_agg(left(subject, 3), ',' ORDER BY subject) FROM pegboard.refresh_tokens"
        await of(service).revoke_token("ada")
        assert await stores.ask(left) == "ada,bob,cid,xxx"
        await of(service).revoke_subject("ada")
        assert await stores.ask(left) == "bob,cid,xxx"
        await of(service).revoke_subject(long, issued_before=0)
        assert await stores.ask(left) == "bob,cid"
        await of(service).revoke_everyone()
        assert await stores.ask(left) is None


async def test_redis_that_lost_its_data_has_them_again_from_a_worker(
    serve_with: Any, redis_server: RedisServer, redis_url: str, forge: Any
) -> None:
    stores = stores_at(redis=redis_url)
    one = await serve_with(stores)
    await of(one).revoke_token("a")
    redis_server.clear()
    following(one)._begin()
    await hears(one)

    async def is_there() -> bool:
        return len(await following(one)._store.read(0)) == 1

    await until(is_there)
    later = await serve_with(stores)
    assert await forge.asked(later, token=forge.signed(forge.claims(jti="a"))) == REVOKED


async def test_with_both_the_database_keeps_them_and_redis_may_forget(
    serve_with: Any, redis_server: RedisServer, redis_url: str, make_database: Any, forge: Any
) -> None:
    stores = stores_at(make_database(SCHEMA), redis_url)
    one = await serve_with(stores)
    await of(one).revoke_token("a")
    assert await stores.ask("SELECT value FROM pegboard.revocations") == "a"
    await one.stop()
    redis_server.clear()
    later = await serve_with(stores)
    assert await forge.asked(later, token=forge.signed(forge.claims(jti="a"))) == REVOKED


async def test_schema_that_is_made_later_has_what_redis_had(
    serve_with: Any, redis_url: str, make_database: Any, forge: Any
) -> None:
    stores = stores_at(make_database("SELECT 1"), redis_url)
    one = await serve_with(stores)
    await of(one).revoke_token("a")
    connection = await asyncpg.connect(stores.database)
    await connection.execute(SCHEMA)
    await connection.close()
    following(one)._begin()

    async def is_there() -> bool:
        return await stores.ask("SELECT value FROM pegboard.revocations") == "a"

    await until(is_there)


async def test_schema_that_is_made_while_the_service_runs_is_used(
    serve_with: Any, make_database: Any, forge: Any
) -> None:
    """A worker listens from its start on, and hears the first revocation."""
    stores = stores_at(make_database("SELECT 1"))
    one = await serve_with(stores)
    await hears(one)
    connection = await asyncpg.connect(stores.database)
    await connection.execute(SCHEMA)
    await connection.close()
    two = await serve_with(stores)
    await of(two).revoke_token("a")

    async def is_refused() -> bool:
        return await forge.asked(one, token=forge.signed(forge.claims(jti="a"))) == REVOKED

    await until(is_refused)


async def test_without_a_store_tokens_are_looked_at_as_ever(serve: Any, forge: Any) -> None:
    service = await serve({}, "health")
    assert await forge.asked(service, token=forge.signed()) == OK
    assert of(service) is None
    async with service.client.get("/health") as response:
        assert "auth.revocations" not in (await response.json())["services"]


# --- the store is gone


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["redis", "postgres"])
def mortal(request: pytest.FixtureRequest) -> tuple[Stores, Any]:
    """A store that is alone, and its server, which the test may stop."""
    if request.param == "redis":
        server: Any = request.getfixturevalue("own_redis")
        return stores_at(redis=server.url), server
    server = request.getfixturevalue("own_postgres")
    return stores_at(server.create_database(SCHEMA)), server


async def health(service: Any) -> tuple[str, dict[str, Any]]:
    async with service.client.get("/health") as response:
        body = await response.json()
        return body["status"], body["services"]["auth.revocations"]


async def doors(forge: Any, service: Any, token: str) -> list[tuple[int, str]]:
    return [await forge.asked(service, path, token) for path in ("/api/v1/who", "/api/v1/who/maybe", "/console")]


@pytest.mark.parametrize(
    ("choice", "api", "operator"),
    [
        ({}, OK, AWAY),
        ({"api": "refuse"}, AWAY, AWAY),
        ({"operator": "allow"}, OK, OK),
    ],
)
async def test_doors_do_what_was_chosen_while_the_store_is_gone(
    serve_with: Any, mortal: tuple[Stores, Any], forge: Any, clock: Any, choice: Any, api: Any, operator: Any
) -> None:
    stores, server = mortal
    service = await serve_with(stores, {"revocation": {"on_store_failure": choice}})
    await hears(service)
    admin = forge.signed(forge.claims(role="admin", jti="a"))
    assert await doors(forge, service, admin) == [OK, OK, OK]

    async def is_healthy() -> bool:
        clock.advance(1)  # which makes the next look due
        return (await health(service))[1]["status"] == "healthy"

    await until(is_healthy)
    assert (await health(service))[1].keys() == {"status", "latencyMs", "ageMs", "doubtSince", "allowed", "refused"}
    await asyncio.to_thread(server.stop)
    await until(lambda: following(service)._doubt.lasts)
    assert await doors(forge, service, admin) == [api, api, operator]
    assert await forge.asked(service, "/api/v1/who/open") == (200, None), "who sends no token is not concerned"
    assert await forge.asked(service, "/console", forge.signed(secret="f" * 40)) == REVOKED
    assert (await forge.asked(service, "/console"))[0] == 401
    async with service.client.get("/console", headers={"Authorization": f"Bearer {admin}"}) as response:
        assert (response.headers.get("Retry-After") == "1") is (operator == AWAY)
    allowed = [api, api, operator, operator].count(OK)
    _, told = await health(service)
    assert told["status"] == "unhealthy"
    assert told["doubtSince"] == timestamp(clock.now())
    assert (told["allowed"], told["refused"]) == (allowed, 4 - allowed)
    assert any("Which tokens are revoked cannot be found out" in sentence for sentence in service.said)

    await asyncio.to_thread(server.start)
    await until(lambda: not following(service)._doubt.lasts)
    assert await doors(forge, service, admin) == [OK, OK, OK]
    await until(is_healthy)
    _, told = await health(service)
    assert (told["doubtSince"], told["allowed"], told["refused"]) == (None, allowed, 4 - allowed)
    assert "Which tokens are revoked is known again" in service.said
    await hears(service)
    await of(service).revoke_token("a")
    assert await doors(forge, service, admin) == [REVOKED, REVOKED, REVOKED]


async def test_what_is_known_to_be_revoked_stays_so_while_the_store_is_gone(
    serve_with: Any, mortal: tuple[Stores, Any], forge: Any
) -> None:
    stores, server = mortal
    service = await serve_with(stores)
    await of(service).revoke_token("a")
    await asyncio.to_thread(server.kill)
    await until(lambda: following(service)._doubt.lasts)
    assert await forge.asked(service, token=forge.signed(forge.claims(jti="a"))) == REVOKED
    with pytest.raises(Unavailable):
        await of(service).revoke_token("b")
    assert await forge.asked(service, token=forge.signed(forge.claims(jti="b"))) == OK, "no store took it"


async def test_service_starts_without_its_redis_and_is_in_doubt(
    serve_with: Any, own_redis: RedisServer, forge: Any
) -> None:
    stores = stores_at(redis=own_redis.url)
    one = await serve_with(stores)
    await of(one).revoke_token("a")
    await asyncio.to_thread(own_redis.stop)
    service = await serve_with(stores)
    admin = forge.signed(forge.claims(role="admin", jti="a"))
    assert await doors(forge, service, admin) == [OK, OK, AWAY]
    await asyncio.to_thread(own_redis.start)

    async def is_refused() -> bool:
        return await doors(forge, service, admin) == [REVOKED] * 3

    await until(is_refused)  # the other worker has it still


async def test_connection_that_broke_misses_nothing(serve_with: Any, stores: Stores, forge: Any) -> None:
    """Cut while a revocation is told, again and again: whatever was missed is read."""
    one, two = await serve_with(stores), await serve_with(stores)
    for number in range(5):
        await hears(two)
        if (redis := redis_of(two)) is not None:
            redis._subscriptions._cut()
        else:
            await stores.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pegboard listen'"
            )
        await of(one).revoke_token(str(number))
        token = forge.signed(forge.claims(jti=str(number)))

        async def is_refused(token: str = token) -> bool:
            return await forge.asked(two, token=token) == REVOKED

        await until(is_refused)


async def test_with_both_a_redis_that_is_gone_is_no_doubt(
    serve_with: Any, own_redis: RedisServer, make_database: Any, forge: Any
) -> None:
    """The database keeps them, and is read twice a second: what is revoked is known a second later at most."""
    stores = stores_at(make_database(SCHEMA), own_redis.url)
    one, two = await serve_with(stores), await serve_with(stores)
    await hears(one)
    await hears(two)
    await asyncio.to_thread(own_redis.stop)
    await until(lambda: not following(two)._hears)
    with pytest.raises(Unavailable, match="The revocation is kept, and Redis, which should tell of it"):
        await of(one).revoke_token("a")
    admin = forge.signed(forge.claims(role="admin", jti="a"))

    async def is_refused() -> bool:
        return await doors(forge, two, admin) == [REVOKED] * 3

    await until(is_refused, within_s=10)
    assert await doors(forge, two, forge.signed(forge.claims(role="admin"))) == [OK] * 3
    assert not following(two)._doubt.lasts


async def test_standby_that_takes_no_listen_is_read(serve_with: Any, forge: Any) -> None:
    with PostgresServer({"wal_level": "replica"}) as server:
        url = server.create_database(SCHEMA)
        stores = stores_at(url)
        await stores.ask("INSERT INTO pegboard.revocations VALUES ('token', 'a', now(), now() + interval '1000 years')")
        await asyncio.to_thread(server.stand_by)
        service = await serve_with(stores)
        admin = forge.signed(forge.claims(role="admin", jti="a"))
        assert await doors(forge, service, admin) == [REVOKED] * 3
        assert await doors(forge, service, forge.signed(forge.claims(role="admin"))) == [OK] * 3
        assert not following(service)._hears

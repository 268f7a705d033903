"""[plugins.auth.login] as operators write it: what the database lacks is told at start, with the line to write."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from service.errors import PluginError, SettingsError

PASSWORD = "correct horse battery staple"


async def faults(open_desk: Any, login: dict[str, Any], **more: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        await open_desk(login, **more)
    return " ".join(str(caught.value).split())


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ({"table": "usres"}, 'names "usres", which schema public lacks; did you mean "users"? write: table = "users"'),
        ({"schema": "pubic"}, 'the database has no schema "pubic"; did you mean "public"? write: schema = "public"'),
        ({"table": "zebras"}, 'names "zebras", which schema public lacks; it has users'),
        (
            {"identifier": "emial"},
            'names "emial", which users lacks; did you mean "email"? write: identifier = "email"',
        ),
        ({"password": "pasword_hash"}, 'did you mean "password_hash"? write: password = "password_hash"'),
        ({"password": "id"}, 'names "id", of type bigint, which is no text'),
        ({"identifier": "id", "claims": {}}, 'names "id", of type bigint, which is no text'),
        ({"active": "is_actve"}, 'did you mean "is_active"? write: active = "is_active"'),
        ({"active": "email"}, 'names "email", of type text, which is no boolean'),
        ({"subject": "uid"}, 'names "uid", which users lacks'),
        ({"claims": {"mail": "emial", "id": "id"}}, 'write: [plugins.auth.login.claims] mail = "email" id = "id"'),
        ({"claims": {"hash": "password_hash", "id": "id"}}, 'names "password_hash", which is secret'),
        ({"claims": {"sub": "id"}}, "has sub, which is set by other means; remove it"),
        ({"claims": {str(each): "id" for each in range(41)}}, "claims"),
        ({"memory": "8KiB", "parallelism": 4}, 'parallelism = 4 needs memory write: memory = "32KiB"'),
        ({"attempts": {"window": "0s"}}, "is less than a second"),
        ({"attempts": {"account_and_address": 0}}, "account_and_address"),
        ({"refresh_expires": "10ms"}, "is less than a second"),
        ({"hashing": 0}, "hashing"),
        ({"identifier": "password"}, "is sent as password, which is another field"),
    ],
)
async def test_settings_that_do_not_fit_stop_the_start(open_desk: Any, login: dict[str, Any], said: str) -> None:
    assert said in await faults(open_desk, login)


async def test_every_mistake_is_told_at_once(open_desk: Any) -> None:
    told = await faults(open_desk, {"identifier": "emial", "password": "pasword", "active": "aktive"})
    for name in ("emial", "pasword", "aktive"):
        assert f'names "{name}"' in told


async def test_key_of_two_columns_needs_a_subject(open_desk: Any) -> None:
    sql = "ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (id, email);"
    told = await faults(open_desk, {}, sql=sql)
    assert "is missing, and users has no primary key of one column to take in its place" in told
    assert told.endswith('write: login.subject = "email"') or 'subject = "email"' in told
    assert await open_desk({"subject": "email"}, sql=sql)


async def test_column_that_the_role_may_not_read_stops_the_start(open_desk: Any, accounts_sql: str) -> None:
    from service.testing import PostgresServer

    sql = (
        f"{accounts_sql} CREATE ROLE reader LOGIN; GRANT SELECT (id, email, role) ON users TO reader;"
        "GRANT USAGE ON SCHEMA pegboard TO reader; GRANT ALL ON ALL TABLES IN SCHEMA pegboard TO reader;"
    )
    with PostgresServer() as server:
        url = server.create_database(sql).replace("postgres@", "reader@")
        told = await faults(open_desk, {}, url=url)
    assert 'names "password_hash", which the database role may not read; grant SELECT to it' in told


async def test_cheap_hashes_stop_a_strict_start(serve: Any, make_database: Any, accounts_sql: str) -> None:
    login = {"table": "users", "memory": "6MiB"}
    tables = {"database": {"url": make_database(accounts_sql)}}
    with pytest.raises(SettingsError) as caught:
        await serve({"login": login}, "database", tables=tables)
    told = " ".join(str(caught.value).split())
    assert "is 6MiB, less than 7MiB, so hashes are guessed fast" in told
    assert 'memory = "64MiB"' in told
    assert await serve({"login": {"table": "users"}}, "database", tables=tables)


async def test_login_needs_a_database(serve: Any) -> None:
    with pytest.raises(SettingsError, match="requires the port database, and no plugin provides it"):
        await serve({"login": {"table": "users"}})


async def test_login_needs_something_that_signs(open_desk: Any, rsa_pair: Any) -> None:
    told = await faults(open_desk, {}, auth={"keys": [rsa_pair.pem], "algorithms": ["RS256"]}, bare=True)
    assert "is missing, and login makes tokens: public keys sign nothing" in told
    assert 'write: secret = { env = "JWT_SECRET" }' in told


async def test_without_its_schema_the_start_names_the_command(
    open_desk: Any, make_database: Any, accounts_sql: str
) -> None:
    """And makes nothing in a database that is another's."""
    url = make_database(f"{accounts_sql} DROP SCHEMA pegboard CASCADE;")
    with pytest.raises(PluginError, match=r"schema pegboard, which the database lacks; make it: pegboard auth init$"):
        await open_desk(url=url)
    connection = await asyncpg.connect(url)
    try:
        assert await connection.fetchval("SELECT to_regnamespace('pegboard')") is None
    finally:
        await connection.close()


async def test_names_that_need_quotes_are_quoted(open_desk: Any) -> None:
    sql = """CREATE SCHEMA "a ""b"; CREATE TABLE "a ""b"."Us'er; --" ("Id" int PRIMARY KEY, "E mail" text UNIQUE,
        "Pass""word" text, "is ok?" bool DEFAULT true);
        INSERT INTO "a ""b"."Us'er; --" SELECT id, email, password_hash FROM users;"""
    desk = await open_desk(
        {
            "schema": 'a "b', "table": "Us'er; --", "identifier": "E mail", "password": 'Pass"word', "active": "is ok?",
            "claims": {"it's \\": "E mail"}, "time_cost": 2,
        },
        sql=sql,
    )  # fmt: skip
    status, body = await desk.post("token", {"eMail": "ada@example.com", "password": PASSWORD})
    assert status == 200, body
    assert (await desk.refresh(body["refreshToken"]))[0] == 200


async def test_off_has_no_routes(serve: Any) -> None:
    service = await serve()
    async with service.client.post("/api/v1/auth/token", json={}) as answer:
        assert answer.status == 404

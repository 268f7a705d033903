"""Log in, refresh, log out: whole requests over a real socket, with a real PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import argon2
import jwt
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from service.testing import TOKEN_SECRET, FakeClock, PostgresServer
from tests.plugins.waiting import eventually

PASSWORD = "correct horse battery staple"  # that of the demo, too
BEARER = 'Bearer realm="api"'


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, TOKEN_SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})


# --- token


async def test_login_gives_a_token_that_is_accepted(open_desk: Any, forge: Any, clock: FakeClock) -> None:
    desk = await open_desk()
    status, tokens = await desk.log_in()
    assert status == 200
    assert sorted(tokens) == ["accessToken", "expiresIn", "refreshExpiresIn", "refreshToken", "tokenType"]
    assert (tokens["tokenType"], tokens["expiresIn"], tokens["refreshExpiresIn"]) == ("Bearer", 86_400, 2_592_000)
    assert desk.headers["Cache-Control"] == "no-store"
    said = claims(tokens["accessToken"])
    assert {name: said[name] for name in ("sub", "userId", "email", "role")} == {
        "sub": "1", "userId": 1, "email": "ada@example.com", "role": "admin",
    }  # fmt: skip
    assert said["exp"] - said["iat"] == 86_400
    assert await forge.asked(desk.service, token=tokens["accessToken"]) == (200, "1")
    assert await forge.asked(desk.service, "/console", tokens["accessToken"]) == (200, "1")
    clock.advance(86_400)
    assert await forge.asked(desk.service, token=tokens["accessToken"]) == (401, "TOKEN_EXPIRED")


async def test_login_says_the_claims_of_the_settings(open_desk: Any) -> None:
    """NULL is not said, several roles are a list, and the subject may be another column."""
    sql = "ALTER TABLE users ADD groups text[] DEFAULT '{a,b}', ADD level int DEFAULT 7;"
    desk = await open_desk(
        {"claims": {"groups": "groups", "called": "name", "level": "level"}, "subject": "email"},
        sql=sql,
        auth={"role_claim": "groups", "expires": "1h"},
    )
    _, tokens = await desk.log_in("bob@example.com")
    said = claims(tokens["accessToken"])
    assert (said["sub"], said["groups"], said["called"], said["level"]) == ("bob@example.com", ["a", "b"], "Bob", 7)
    assert tokens["expiresIn"] == 3600
    await desk.connection.execute("UPDATE users SET name = NULL, groups = NULL WHERE id = 2")
    _, tokens = await desk.log_in("bob@example.com")
    assert not {"called", "groups"} & claims(tokens["accessToken"]).keys()


async def test_role_of_another_type_is_said_as_text(open_desk: Any, forge: Any) -> None:
    desk = await open_desk({"claims": {"role": "level"}}, sql="ALTER TABLE users ADD level int DEFAULT 7;")
    _, tokens = await desk.log_in()
    assert claims(tokens["accessToken"])["role"] == "7"
    assert await forge.asked(desk.service, token=tokens["accessToken"]) == (200, "1")


REFUSED = (
    ("ada@example.com", "wrong"),
    ("ada@example.com", PASSWORD.upper()),
    ("ada@example.com", f"{PASSWORD} "),
    ("nobody@example.com", PASSWORD),
    ("ADA@example.com", PASSWORD),
    ("bare@example.com", PASSWORD),
    ("left@example.com", PASSWORD),
    ("' OR 1 = 1 --", PASSWORD),
    ("ada@example.com' --", PASSWORD),
    ("\\", PASSWORD),
)


async def test_login_refuses_all_that_is_wrong_alike(open_desk: Any) -> None:
    """Unknown, wrong, without a password, not active: one status, one body, one set of headers."""
    desk = await open_desk({"active": "is_active"})
    for email, password in REFUSED:
        status, body = await desk.post("token", email=email, password=password)
        error = body["error"]
        assert (status, error["code"], error["message"], error["details"]) == (
            401, "INVALID_CREDENTIALS", "The email or the password is wrong.", [],
        )  # fmt: skip
        assert sorted(desk.headers) == [
            "Content-Length", "Content-Type", "Date", "Vary", "WWW-Authenticate", "X-Request-ID",
        ]  # fmt: skip
        assert desk.headers["WWW-Authenticate"] == BEARER
        assert desk.headers["Content-Length"] == "179"
    assert await desk.rows("refresh_tokens") == 0


async def test_identifier_is_compared_as_its_column_does(open_desk: Any) -> None:
    """What a domain refuses is nobody's; what is too long for char(n) and varchar(n) is not cut to fit."""
    sql = """CREATE DOMAIN address AS varchar(20) CHECK (VALUE LIKE '%@%');
        ALTER TABLE users ALTER email TYPE address, ADD nick varchar(3), ADD code char(5);
        UPDATE users SET nick = 'ada', code = 'ada' WHERE id = 1;"""
    desk = await open_desk(sql=sql)
    assert (await desk.log_in())[0] == 200
    assert await desk.log_in("no address at all") == (401, "INVALID_CREDENTIALS")
    for column in ("nick", "code"):
        other = await open_desk({"identifier": column}, url=desk.url)
        for name, status in (("ada", 200), ("adam", 401), ("ADA", 401)):
            assert (await other.post("token", {column: name, "password": PASSWORD}))[0] == status


async def test_identifier_is_called_in_camel_case(open_desk: Any) -> None:
    desk = await open_desk(
        {"identifier": "login_name", "password": "secret"},
        sql="ALTER TABLE users RENAME email TO login_name; ALTER TABLE users RENAME password_hash TO secret;",
        auth={"login": {"table": "users", "identifier": "login_name", "password": "secret", "claims": {},
                        "memory": "8KiB", "time_cost": 1, "parallelism": 1}},
    )  # fmt: skip
    assert (await desk.post("token", loginName="ada@example.com", password=PASSWORD))[0] == 200
    status, body = await desk.post("token", login_name="ada@example.com", password=PASSWORD)
    assert (status, [detail["field"] for detail in body["error"]["details"]]) == (422, ["loginName", "login_name"])


async def test_name_that_two_accounts_have_is_nobodys(open_desk: Any) -> None:
    desk = await open_desk(
        sql="ALTER TABLE users DROP CONSTRAINT users_email_key;"
        "INSERT INTO users (email, password_hash) SELECT email, password_hash FROM users WHERE id = 1;"
    )
    assert await desk.log_in() == (401, "INVALID_CREDENTIALS")
    assert (await desk.log_in("bob@example.com"))[0] == 200


async def test_login_works_where_everyone_has_to_say_who_they_are(open_desk: Any, forge: Any) -> None:
    """Also with a token that is wrong: nobody looks at it there."""
    desk = await open_desk(auth={"default": "required"})
    assert await forge.asked(desk.service) == (401, "NO_TOKEN")
    async with desk.service.client.post(
        "/api/v1/auth/token",
        json={"email": "ada@example.com", "password": PASSWORD},
        headers={"Authorization": "Bearer nonsense"},
    ) as answer:
        assert answer.status == 200


async def test_login_signs_with_a_private_key(open_desk: Any, forge: Any, rsa_pair: Any) -> None:
    desk = await open_desk(auth={"keys": [rsa_pair.private_pem], "algorithms": ["RS256"]}, bare=True)
    _, tokens = await desk.log_in()
    assert jwt.get_unverified_header(tokens["accessToken"])["alg"] == "RS256"
    assert await forge.asked(desk.service, token=tokens["accessToken"]) == (200, "1")


# --- hashes


async def test_hash_of_another_cost_is_renewed_at_login(open_desk: Any) -> None:
    desk = await open_desk({"time_cost": 2})
    read = "SELECT password_hash FROM users WHERE id = 1"
    assert await desk.log_in(password="wrong") == (401, "INVALID_CREDENTIALS")
    assert extract_parameters(await desk.connection.fetchval(read)).time_cost == 1
    assert (await desk.log_in())[0] == 200
    renewed = await desk.connection.fetchval(read)
    assert extract_parameters(renewed).time_cost == 2
    assert (await desk.log_in())[0] == 200
    assert await desk.connection.fetchval(read) == renewed


async def test_hash_that_cannot_be_renewed_keeps_nobody_out(open_desk: Any, caplog: pytest.LogCaptureFixture) -> None:
    desk = await open_desk({"time_cost": 2}, sql="ALTER TABLE users ADD CHECK (password_hash LIKE '%t=1%');")
    with caplog.at_level(logging.WARNING):
        assert [(await desk.log_in())[0] for _ in range(2)] == [200, 200]
    said = [record.getMessage() for record in caplog.records if record.name == "pegboard.auth"]
    assert said == ["A password's hash could not be renewed: A value is not allowed."]


NO_HASHES = (
    "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    "correct horse battery staple",
    "$argon2id$",
    "$argon2id$é",
    "$argon2d$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
    "$argon2id$v=19$m=8,t=1,p=1$$",
    "$argon2id$v=19$m=8,t=1,p=1$A$A",
    "$argon2id$v=19$m=4194304000,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
    "$argon2id$v=19$m=67108864,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
    "$argon2id$v=19$m=8,t=0,p=0$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
)


async def test_what_is_no_hash_of_argon2_is_wrong_and_said_once(
    open_desk: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And costs one hash all the same; tables that ask for gigabytes do not get them."""
    looked: list[bytes] = []
    verify = argon2.low_level.verify_secret

    def counted(stored: bytes, secret: bytes, kind: argon2.Type) -> bool:
        """Those count that go through to their end."""
        try:
            return verify(stored, secret, kind)
        except VerifyMismatchError:
            looked.append(stored)
            raise

    monkeypatch.setattr("argon2._password_hasher.verify_secret", counted)
    desk = await open_desk()
    with caplog.at_level(logging.WARNING):
        for at, stored in enumerate(NO_HASHES):
            await desk.connection.execute("UPDATE users SET password_hash = $1", stored)
            assert await desk.log_in(address=f"192.0.2.{at}") == (401, "INVALID_CREDENTIALS"), stored
            assert len(looked) == at + 1, stored
    said = [record.getMessage() for record in caplog.records if record.name == "pegboard.auth"]
    assert len(said) == 1
    assert said[0].startswith("An account of users has a password that is no hash of argon2id or argon2i")
    for stored in NO_HASHES:
        assert stored not in said[0]


async def test_argon2i_is_read_and_renewed_as_argon2id(open_desk: Any) -> None:
    made = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, type=argon2.Type.I).hash(PASSWORD)
    desk = await open_desk()
    await desk.connection.execute("UPDATE users SET password_hash = $1", made)
    assert (await desk.log_in())[0] == 200
    assert (await desk.connection.fetchval("SELECT password_hash FROM users WHERE id = 1")).startswith("$argon2id$")


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com", "bare@example.com", "left@example.com"])
async def test_every_account_and_none_costs_one_hash(
    open_desk: Any, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same cost, whatever the column holds."""
    looked: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, stored: str, password: str) -> bool:
        looked.append(stored)
        return verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    desk = await open_desk({"active": "is_active"})
    assert await desk.log_in(email, "wrong") == (401, "INVALID_CREDENTIALS")
    assert len(looked) == 1
    cost = extract_parameters(looked[0])
    assert (cost.time_cost, cost.memory_cost, cost.parallelism, cost.hash_len, cost.salt_len) == (1, 8, 1, 32, 16)


# --- refresh


async def test_refresh_gives_the_next_tokens(open_desk: Any, forge: Any, clock: FakeClock) -> None:
    desk = await open_desk()
    _, first = await desk.log_in()
    clock.advance(3600)
    status, second = await desk.refresh(first["refreshToken"])
    assert (status, desk.headers["Cache-Control"]) == (200, "no-store")
    assert sorted(second) == sorted(first)
    assert second["refreshToken"] != first["refreshToken"]
    assert claims(second["accessToken"])["iat"] - claims(first["accessToken"])["iat"] == 3600
    assert await forge.asked(desk.service, token=second["accessToken"]) == (200, "1")
    assert (await desk.refresh(second["refreshToken"]))[0] == 200


async def test_refresh_token_that_is_used_up_ends_its_family(open_desk: Any) -> None:
    desk = await open_desk()
    _, other = await desk.log_in()
    _, first = await desk.log_in()
    _, second = await desk.refresh(first["refreshToken"])
    _, third = await desk.refresh(second["refreshToken"])
    status, body = await desk.post("refresh", refreshToken=first["refreshToken"])
    assert (status, body["error"]["code"], body["error"]["message"]) == (
        401, "INVALID_TOKEN", "The refresh token is not valid.",
    )  # fmt: skip
    assert desk.headers["WWW-Authenticate"] == BEARER
    for tokens in (first, second, third):
        assert await desk.refresh(tokens["refreshToken"]) == (401, "INVALID_TOKEN")
    assert (await desk.refresh(other["refreshToken"]))[0] == 200


async def test_refresh_token_lives_for_a_while_from_each_renewal(open_desk: Any, clock: FakeClock) -> None:
    desk = await open_desk({"refresh_expires": "1d"})
    _, tokens = await desk.log_in()
    for _ in range(3):
        clock.advance(86_399)
        status, tokens = await desk.refresh(tokens["refreshToken"])
        assert (status, tokens["refreshExpiresIn"]) == (200, 86_400)
    clock.advance(86_400)
    assert await desk.refresh(tokens["refreshToken"]) == (401, "INVALID_TOKEN")


async def test_token_that_would_be_refused_is_told(
    open_desk: Any, forge: Any, caplog: pytest.LogCaptureFixture
) -> None:
    desk = await open_desk({"claims": {"name": "name"}})
    await desk.connection.execute("UPDATE users SET name = repeat('x', 9000)")
    with caplog.at_level(logging.WARNING):
        _, tokens = await desk.log_in()
    status, _ = await forge.asked(desk.service, token=tokens["accessToken"])
    assert status == 431
    (said,) = [record.getMessage() for record in caplog.records if record.name == "pegboard.auth"]
    assert said.startswith("A token for an account of users is over 8,192 bytes long, so it is refused")


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM users WHERE id = 1",
        "UPDATE users SET is_active = false WHERE id = 1",
        "UPDATE users SET is_active = NULL WHERE id = 1",
    ],
)
async def test_refresh_ends_with_the_account(open_desk: Any, change: str) -> None:
    """For good: who is active again logs in again."""
    desk = await open_desk({"active": "is_active"})
    _, tokens = await desk.log_in()
    await desk.connection.execute(change)
    assert await desk.refresh(tokens["refreshToken"]) == (401, "INVALID_TOKEN")
    assert await desk.rows("refresh_tokens") == 0
    await desk.connection.execute("UPDATE users SET is_active = true")
    assert await desk.refresh(tokens["refreshToken"]) == (401, "INVALID_TOKEN")


async def test_refresh_says_what_the_account_is_now(open_desk: Any) -> None:
    desk = await open_desk()
    _, tokens = await desk.log_in()
    await desk.connection.execute("UPDATE users SET role = 'user', email = 'lovelace@example.com' WHERE id = 1")
    _, tokens = await desk.refresh(tokens["refreshToken"])
    said = claims(tokens["accessToken"])
    assert (said["sub"], said["role"], said["email"]) == ("1", "user", "lovelace@example.com")


async def test_refresh_of_another_kind_of_subject_is_refused(open_desk: Any) -> None:
    """The settings named another column when the token was made."""
    first = await open_desk({"subject": "email"})
    _, tokens = await first.log_in()
    second = await open_desk(url=first.url)
    assert await second.refresh(tokens["refreshToken"]) == (401, "INVALID_TOKEN")


async def test_refresh_at_once_lets_one_win_and_ends_the_family(open_desk: Any) -> None:
    """Twenty show the same token at the same time."""
    desk = await open_desk()
    for _ in range(5):
        _, tokens = await desk.log_in()
        answers = await asyncio.gather(*[desk.refresh(tokens["refreshToken"]) for _ in range(20)])
        won = [body for status, body in answers if status == 200]
        assert len(won) == 1
        assert [answer for answer in answers if answer[0] != 200] == [(401, "INVALID_TOKEN")] * 19
        assert await desk.refresh(won[0]["refreshToken"]) == (401, "INVALID_TOKEN")
    assert await desk.rows("refresh_tokens") == 0


async def test_refresh_token_that_was_never_given_is_refused(open_desk: Any) -> None:
    desk = await open_desk()
    for token in (
        "x",
        "A" * 43,
        "A" * 42 + "=",
        "A" * 44,
        "é" * 43,
        "' OR 1=1 --",
        " " * 43,
        "A" * 43 + "\n",
        "A" * 1024,
    ):
        assert await desk.refresh(token) == (401, "INVALID_TOKEN")
        assert (await desk.post("logout", refreshToken=token))[0] == 204


async def test_tokens_are_of_one_use_each(open_desk: Any, forge: Any) -> None:
    """A refresh token opens nothing, an access token renews nothing."""
    desk = await open_desk()
    _, tokens = await desk.log_in()
    assert await forge.asked(desk.service, token=tokens["refreshToken"]) == (401, "INVALID_TOKEN")
    assert await desk.refresh(tokens["accessToken"]) == (401, "INVALID_TOKEN")
    assert (await desk.refresh(tokens["refreshToken"]))[0] == 200


async def test_refresh_tokens_are_kept_as_digests_and_removed_once_they_have_expired(
    open_desk: Any, clock: FakeClock
) -> None:
    desk = await open_desk({"refresh_expires": "1h"})
    _, tokens = await desk.log_in()
    _, tokens = await desk.refresh(tokens["refreshToken"])
    kept = await desk.connection.fetch("SELECT r::text FROM pegboard.refresh_tokens r")
    assert len(kept) == 2
    assert tokens["refreshToken"] not in str(kept)
    assert tokens["refreshToken"].encode().hex() not in str(kept)
    clock.advance(3600)
    await desk.log_in("bob@example.com")
    assert await desk.rows("refresh_tokens") == 1


# --- logout


async def test_logout_ends_the_family_by_any_of_its_tokens(open_desk: Any) -> None:
    desk = await open_desk()
    for used in (False, True):
        _, first = await desk.log_in()
        _, second = await desk.refresh(first["refreshToken"])
        shown = first if used else second
        status, body = await desk.post("logout", refreshToken=shown["refreshToken"])
        assert (status, body, desk.headers["Cache-Control"]) == (204, None, "no-store")
        assert await desk.refresh(second["refreshToken"]) == (401, "INVALID_TOKEN")
        assert (await desk.post("logout", refreshToken=shown["refreshToken"]))[0] == 204
    assert await desk.rows("refresh_tokens") == 0


async def test_logout_ends_the_access_tokens_of_that_login_alone(open_desk: Any, forge: Any) -> None:
    """Also those from before it was renewed; another login of the same account goes on."""
    desk = await open_desk()
    _, first = await desk.log_in()
    _, other = await desk.log_in()
    _, second = await desk.refresh(first["refreshToken"])
    shown = [tokens["accessToken"] for tokens in (first, second, other)]
    assert [await forge.asked(desk.service, token=token) for token in shown] == [(200, "1")] * 3
    assert (await desk.post("logout", refreshToken=first["refreshToken"]))[0] == 204
    outcomes = [await forge.asked(desk.service, token=token) for token in shown]
    assert outcomes == [(401, "INVALID_TOKEN"), (401, "INVALID_TOKEN"), (200, "1")]
    assert (await desk.refresh(other["refreshToken"]))[0] == 200


async def test_reuse_ends_the_access_tokens_of_the_login(open_desk: Any, forge: Any) -> None:
    """One of them is a thief's."""
    desk = await open_desk()
    _, first = await desk.log_in()
    _, second = await desk.refresh(first["refreshToken"])
    assert await desk.refresh(first["refreshToken"]) == (401, "INVALID_TOKEN")
    outcomes = [await forge.asked(desk.service, token=each["accessToken"]) for each in (first, second)]
    assert outcomes == [(401, "INVALID_TOKEN")] * 2


async def test_logout_is_remembered_until_the_last_of_its_tokens_has_expired(open_desk: Any, clock: FakeClock) -> None:
    desk = await open_desk(auth={"expires": "1h", "leeway": "5s"})
    _, tokens = await desk.log_in()
    await desk.post("logout", refreshToken=tokens["refreshToken"])
    (kept,) = await desk.connection.fetch("SELECT kind, value, ends_at FROM pegboard.revocations")
    assert (kept["kind"], kept["value"]) == ("session", claims(tokens["accessToken"])["sid"])
    assert kept["ends_at"].timestamp() == clock.now() + 3600 + 5


async def test_logout_that_fails_halfway_may_be_tried_again(open_desk: Any, forge: Any) -> None:
    desk = await open_desk()
    _, tokens = await desk.log_in()
    await desk.connection.execute("ALTER TABLE pegboard.revocations RENAME TO elsewhere")
    assert (await desk.post("logout", refreshToken=tokens["refreshToken"]))[0] >= 500
    await desk.connection.execute("ALTER TABLE pegboard.elsewhere RENAME TO revocations")
    assert (await desk.post("logout", refreshToken=tokens["refreshToken"]))[0] == 204
    assert await forge.asked(desk.service, token=tokens["accessToken"]) == (401, "INVALID_TOKEN")
    assert await desk.rows("refresh_tokens") == 0


async def test_logout_ends_also_what_is_being_renewed(open_desk: Any) -> None:
    """The new token is committed while the logout waits for it."""
    desk = await open_desk()
    _, tokens = await desk.log_in()
    async with desk.connection.transaction():
        await desk.connection.execute("UPDATE pegboard.refresh_tokens SET used_at = now()")
        await desk.connection.execute(
            "INSERT INTO pegboard.refresh_tokens (digest, family, subject, expires_at) "
            "SELECT 'new', family, subject, expires_at FROM pegboard.refresh_tokens"
        )
        ending = asyncio.create_task(desk.post("logout", refreshToken=tokens["refreshToken"]))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        await eventually(lambda: desk.connection.fetchval(waits))
    assert (await ending)[0] == 204
    assert await desk.rows("refresh_tokens") == 0


# --- what nobody may see


async def test_password_column_is_hidden_whatever_the_settings_say(open_desk: Any) -> None:
    desk = await open_desk(
        {"password": "pin"},
        "resources",
        sql="ALTER TABLE users RENAME password_hash TO pin;",
        tables={"resources": {"tables": ["users"], "table": {"users": {"fields": ["id", "name", "pin"]}}}},
        auth={"default": "none", "roles": {"*": {"tables": {"users": {"actions": ["read", "list", "update"]}}}}},
    )
    client = desk.service.client
    assert "users: pin hidden, because people log in by it." in desk.service.said
    async with client.get("/api/v1/users?sort=id&limit=1") as listed:
        assert (await listed.json())["data"] == [{"id": 1, "name": "Ada"}]
    for query in ("fields=pin", "sort=pin", "pin=x", "pin__like=x"):
        async with client.get(f"/api/v1/users?{query}") as refused:
            assert refused.status == 400, query
    async with client.patch("/api/v1/users/1", json={"pin": "x"}) as refused:
        assert refused.status == 422
    assert (await desk.log_in())[0] == 200


async def test_password_column_is_hidden_without_a_word_where_nobody_asked_for_it(open_desk: Any) -> None:
    desk = await open_desk(None, "resources", tables={"resources": {"tables": ["users"]}}, auth={"default": "none"})
    assert not [sentence for sentence in desk.service.said if "password_hash" in sentence]
    async with desk.service.client.get("/api/v1/users/1") as read:
        assert await read.json() == {
            "id": 1, "email": "ada@example.com", "name": "Ada", "role": "admin", "isActive": True,
        }  # fmt: skip


async def test_nothing_secret_is_ever_written(
    open_desk: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither password nor hash nor token, in logs at debug, answers or tracebacks, also where the database fails."""
    canary = "canary-of-a-password-7c1e"
    with caplog.at_level(logging.DEBUG):
        desk = await open_desk(None, "logs", tables={"logs": {"level": "debug"}})
        await desk.log_in(password=canary)
        await desk.log_in(email=f"{canary}@example.com")
        _, tokens = await desk.log_in()
        _, second = await desk.refresh(tokens["refreshToken"])
        await desk.refresh(tokens["refreshToken"])
        await desk.post("token", {"email": 1, "password": canary})
        await desk.post("token", {"email": "ada@example.com", "password": [canary]})
        for table in ("login_failures", "refresh_tokens"):
            await desk.connection.execute(f"ALTER TABLE pegboard.{table} RENAME TO {table}_gone")
            status, body = await desk.post("token", email="bob@example.com", password=PASSWORD)
            assert (status, canary in str(body), PASSWORD in str(body)) == (500, False, False)
            assert (await desk.post("refresh", refreshToken=second["refreshToken"]))[0] in (401, 500)
            await desk.connection.execute(f"ALTER TABLE pegboard.{table}_gone RENAME TO {table}")
        stored = await desk.connection.fetchval("SELECT password_hash FROM users WHERE id = 1")
        await desk.service.stop()
    printed = capfd.readouterr()
    traces = "".join(
        "".join(traceback.format_exception(*record.exc_info)) for record in caplog.records if record.exc_info
    )
    written = printed.out + printed.err + caplog.text + traces
    assert "auth.token" in written
    for secret in (canary, PASSWORD, stored, *[tokens[name] for name in ("accessToken", "refreshToken")],
                   second["refreshToken"]):  # fmt: skip
        assert secret not in written


# --- when things are away


async def test_lost_database_is_503(open_desk: Any, accounts_sql: str) -> None:
    with PostgresServer() as server:
        desk = await open_desk(url=server.create_database(accounts_sql))
        _, tokens = await desk.log_in()
        server.kill()
        for name, fields in (
            ("token", {"email": "ada@example.com", "password": PASSWORD}),
            ("refresh", {"refreshToken": tokens["refreshToken"]}),
            ("logout", {"refreshToken": tokens["refreshToken"]}),
        ):
            status, body = await desk.post(name, fields)
            assert (status, body["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
            assert int(desk.headers["Retry-After"]) >= 1


async def test_tokens_of_two_services_are_of_one_store(open_desk: Any) -> None:
    first = await open_desk()
    second = await open_desk(url=first.url)
    _, tokens = await first.log_in()
    _, renewed = await second.refresh(tokens["refreshToken"])
    assert await first.refresh(tokens["refreshToken"]) == (401, "INVALID_TOKEN")
    assert await second.refresh(renewed["refreshToken"]) == (401, "INVALID_TOKEN")


async def test_accounts_in_a_view_do(open_desk: Any) -> None:
    sql = "CREATE VIEW people AS SELECT id, email, role, password_hash FROM users WHERE is_active;"
    desk = await open_desk({"table": "people", "subject": "id", "time_cost": 2}, sql=sql)
    assert (await desk.log_in())[0] == 200
    assert await desk.log_in("left@example.com") == (401, "INVALID_CREDENTIALS")

"""The demo data: realistic, the same everywhere, and made as a schema of one's own would be."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from argon2 import PasswordHasher

from plugins.database.demo import DEMO_HASH, DEMO_PASSWORD, NO_PASSWORD, describe_demo, make_demo
from service.testing.postgres import PostgresServer

ROWS = "SELECT string_agg(t::text, ';' ORDER BY t.id) FROM {} t"
FINGERPRINT = "7f5ddc"


@pytest_asyncio.fixture(scope="module")
async def demo(postgres: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    with postgres.database() as url:
        connection = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
        await make_demo(connection)
        yield connection
        await connection.close()


async def test_demo_is_the_same_on_every_machine(demo):
    text = "".join([await demo.fetchval(ROWS.format(table)) for table in ("users", "orders")])
    assert hashlib.sha256(text.encode()).hexdigest()[:6] == FINGERPRINT


async def test_demo_has_the_columns_of_the_documentation(demo):
    columns = await demo.fetch(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    )
    spelled: dict[str, list[str]] = {}
    for table, column, kind, nullable in columns:
        spelled.setdefault(table, []).append(f"{column} {kind}{' null' if nullable == 'YES' else ''}")
    moments = ["created_at timestamp with time zone", "updated_at timestamp with time zone"]
    assert spelled == {
        "orders": ["id bigint", "user_id bigint", "status USER-DEFINED", "total numeric", *moments],
        "users": [
            *("id bigint", "email text", "name text", "role USER-DEFINED", "bio text null", "password_hash text"),
            *moments,
        ],
    }
    assert (
        await demo.fetchval(
            "SELECT count(*) FROM pg_description WHERE objoid IN ('users'::regclass, 'orders'::regclass)"
        )
        >= 12
    )


async def test_demo_counts_are_those_of_the_documentation(demo):
    assert await describe_demo(demo) == " (demo data: 1,000 users, 5,000 orders)"


@pytest.mark.parametrize(
    "nonsense",
    [
        "SELECT count(*) FROM users WHERE updated_at < created_at OR email !~ '^[a-z.]+[0-9]+@example\\.com$'",
        "SELECT count(*) FROM orders o JOIN users u ON u.id = user_id WHERE o.created_at < u.created_at",
        "SELECT count(*) FROM orders WHERE updated_at < created_at OR total < 4.99 OR total > 500",
        "SELECT count(*) FROM users WHERE created_at >= '2026-01-01'",
        "SELECT abs(max(id) - 1000) FROM users",
    ],
)
async def test_demo_makes_sense(demo, nonsense):
    assert await demo.fetchval(nonsense) == 0


async def test_demo_is_various(demo):
    assert len(await demo.fetch("SELECT DISTINCT role FROM users")) == 3
    assert len(await demo.fetch("SELECT DISTINCT status FROM orders")) == 5
    assert await demo.fetchval("SELECT count(DISTINCT name) FROM users") > 500
    assert 0 < await demo.fetchval("SELECT count(*) FROM users WHERE bio IS NULL") < 500
    assert (
        await demo.fetchval("SELECT count(*) FROM users u WHERE NOT EXISTS (SELECT FROM orders WHERE user_id = u.id)")
        > 0
    )


async def test_demo_refuses_what_its_constraints_forbid(demo):
    with pytest.raises(asyncpg.UniqueViolationError):
        await demo.execute("INSERT INTO users (email, name, password_hash) SELECT email, 'x', 'x' FROM users LIMIT 1")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await demo.execute("INSERT INTO orders (user_id, total) VALUES (5000, 1)")


async def test_demo_looks_up_users_by_email_and_orders_by_user_with_an_index(demo):
    for sql in ("SELECT FROM users WHERE email = 'x'", "SELECT FROM orders WHERE user_id = 5"):
        plan = "\n".join([row[0] for row in await demo.fetch(f"EXPLAIN {sql}")])
        assert "Index" in plan


async def test_demo_users_have_the_password_that_everybody_knows(demo):
    assert await demo.fetch("SELECT DISTINCT password_hash FROM users") == [(DEMO_HASH,)]
    assert PasswordHasher().verify(DEMO_HASH, DEMO_PASSWORD)
    assert not PasswordHasher().check_needs_rehash(DEMO_HASH)


def test_demo_password_of_new_users_is_a_well_formed_argon2id_hash_of_nothing():
    assert re.fullmatch(r"\$argon2id\$v=19\$m=65536,t=3,p=4\$[A-Za-z0-9+/]{22}\$A{43}", NO_PASSWORD)


async def test_demo_is_made_once_and_not_beside_a_table_of_the_same_name(postgres: PostgresServer):
    with postgres.database("CREATE TABLE orders (mine int);") as url:
        connection = await asyncpg.connect(url)
        await make_demo(connection)
        assert await connection.fetchval("SELECT to_regclass('users') IS NULL")
        assert await describe_demo(connection) == ""
        await connection.close()


@pytest.mark.slow
async def test_demo_is_made_in_half_a_second(postgres: PostgresServer):
    with postgres.database() as url:
        connection = await asyncpg.connect(url)
        started = time.monotonic()
        await make_demo(connection)
        assert time.monotonic() - started < 0.5  # a fifth of it on an idle machine
        await connection.close()

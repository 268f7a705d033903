"""A database that knows nothing of Pegboard, served with the settings as shipped and `tables = ["*"]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest_asyncio

from service.testing.service import MakeService, Service

LIBRARY = """
CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE books (id int PRIMARY KEY, author int NOT NULL REFERENCES authors, title text NOT NULL);
CREATE TABLE users (login text PRIMARY KEY, secret_token text);
CREATE TABLE scribbles (text text);
INSERT INTO authors VALUES (1, 'Ursula K. Le Guin'), (2, 'Stanisław Lem');
INSERT INTO books VALUES (1, 2, 'Solaris'), (2, 1, 'The Dispossessed'), (3, 2, 'Fiasco');
INSERT INTO users VALUES ('ada', 'hush');
"""


@pytest_asyncio.fixture
async def library(
    make_service: MakeService, make_database: Callable[[str], str], shipped: dict[str, Any]
) -> tuple[Service, str]:
    shipped["plugins"]["resources"]["tables"] = ["*"]
    shipped["routes"] = {"invoices.*": {}}
    shipped["plugins"]["resources"]["table"]["invoices"] = {"limit": 5}
    url = make_database(LIBRARY)
    return await make_service(settings=shipped, environ={"DATABASE_URL": url}), url


async def test_every_table_with_a_key_is_served_and_what_is_not_is_said(library: tuple[Service, str]) -> None:
    service, _ = library
    body = await (await service.client.get("/api/v1")).json()
    assert [row["name"] for row in body["data"]] == ["authors", "books", "users"]
    assert any("scribbles has no key" in sentence for sentence in service.said)


async def test_foreign_keys_are_followed(library: tuple[Service, str]) -> None:
    service, _ = library
    body = await (await service.client.get("/api/v1/authors/2/books?sort=title")).json()
    assert [row["title"] for row in body["data"]] == ["Fiasco", "Solaris"]


async def test_secrets_stay_hidden_and_settings_for_another_database_are_only_said(
    library: tuple[Service, str],
) -> None:
    service, _ = library
    assert await (await service.client.get("/api/v1/users/ada")).json() == {"login": "ada"}
    assert any('"secret_token"' in sentence or "secret_token hidden" in sentence for sentence in service.said)
    assert any('sort names "created_at": users has no such column' in sentence for sentence in service.said)
    assert any("[plugins.resources.table.invoices] changes nothing" in sentence for sentence in service.said)
    (warning,) = service.application.loaded.settings.warnings
    assert 'routes."invoices.*"' in str(warning)


async def test_nothing_is_put_into_the_database(library: tuple[Service, str]) -> None:
    service, url = library
    await service.client.get("/api/v1/books")
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' AND relkind IN ('r', 'S', 'v')"
        )
    finally:
        await connection.close()
    assert sorted(row["relname"] for row in names) == ["authors", "books", "scribbles", "users"]

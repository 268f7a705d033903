"""Fixtures of every test: the kit that plugin authors use too, and the service as shipped over the demo data."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from plugins.database.demo import make_demo

if TYPE_CHECKING:
    from service.testing import MakeService, PostgresServer, Service

pytest_plugins = ["service.testing"]

SHIPPED = Path(__file__).parents[1] / "config.toml"


@pytest_asyncio.fixture(scope="session")
async def demo_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A database with the demo data; read only, so that tests share it."""
    url = postgres.create_database(name="demo")
    connection = await asyncpg.connect(url)
    try:
        await make_demo(connection)
    finally:
        await connection.close()
    yield url


@pytest.fixture
def shipped() -> dict[str, Any]:
    """config.toml as it is shipped."""
    return tomllib.loads(SHIPPED.read_text())


@pytest_asyncio.fixture
async def demo(make_service: MakeService, shipped: dict[str, Any], demo_url: str) -> Service:
    """The service as shipped, over the demo data."""
    return await make_service(settings=shipped, environ={"DATABASE_URL": demo_url})

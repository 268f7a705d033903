"""What the guides show, as blocks that tests find: `<!-- tested: NAME -->` stands right above each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from plugins.database.demo import make_demo
from service.testing.postgres import PostgresServer
from service.testing.service import MakeService, Service

ROOT = Path(__file__).parents[2]

Blocks = Callable[[str, str], list[str]]
Rows = Callable[[str, str], list[list[str]]]


@pytest.fixture(scope="session")
def blocks() -> Blocks:
    """`blocks("clients.md", "tested: readings")`: the fenced blocks below that mark, without their fences."""

    def find(document: str, mark: str) -> list[str]:
        text = (ROOT / "docs" / document).read_text()
        found = re.findall(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
        assert found, f"{document} has no block marked {mark}"
        return found

    return find


@pytest.fixture(scope="session")
def rows() -> Rows:
    """`rows("clients.md", "tested: types")`: the table below that mark, each row as its cells without backticks."""

    def find(document: str, mark: str) -> list[list[str]]:
        text = (ROOT / "docs" / document).read_text()
        _, _, below = text.partition(f"<!-- {mark} -->\n")
        lines = below.partition("\n\n")[0].splitlines()
        assert len(lines) > 2, f"{document} has no table marked {mark}"
        return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]

    return find


@pytest_asyncio.fixture(scope="session")
async def demo_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A database with the demo data; read only, so that tests share it."""
    url = postgres.create_database(name="documented")
    connection = await asyncpg.connect(url)
    try:
        await make_demo(connection)
    finally:
        await connection.close()
    yield url
    postgres.drop_database("documented")


@pytest_asyncio.fixture
async def demo(make_service: MakeService, demo_url: str) -> Service:
    """The service as shipped, over the demo data."""
    shipped = tomllib.loads((ROOT / "config.toml").read_text())
    return await make_service(settings=shipped, environ={"DATABASE_URL": demo_url})

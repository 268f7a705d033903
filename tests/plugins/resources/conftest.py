"""A resource made by hand for pure tests, and a service over a real PostgreSQL for the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

import asyncpg
import pytest
import pytest_asyncio
from yarl import URL

from plugins.resources import Settings
from plugins.resources.schema.catalogue import Catalogue, Column, Table, Type
from plugins.resources.schema.resource import Resource
from plugins.resources.schema.selecting import select
from service.api import ACCESS, Change, Forbidden, Grant, Grantable, Ports, hookimpl
from service.testing.service import MakeService, Service

JSON = "application/json"

MakeDatabase = Callable[[str], str]


def column(name: str, type_: str = "text", *, labels: tuple[str, ...] | None = None, **facts: Any) -> Column:
    """A column of a type of pg_catalog, or of an enum with `labels`."""
    if labels is not None:
        return Column(name, Type("public", type_, labels=labels), **facts)
    if type_.endswith("[]"):
        element = Type("pg_catalog", type_.removesuffix("[]"))
        return Column(name, Type("pg_catalog", f"_{element.name}", is_array=True, element=element), **facts)
    return Column(name, Type("pg_catalog", type_), **facts)


def table(name: str, *columns: Column, **facts: Any) -> Table:
    facts.setdefault("keys", ((columns[0].name,),))
    return Table("public", name, columns={each.name: each for each in columns}, **facts)


def catalogue(*tables: Table) -> Catalogue:
    return Catalogue("public", ("public", "shop"), {each.name: each for each in tables})


ITEMS = table(
    "items",
    column("id", "int4", is_nullable=False),
    column("name"),
    column("price", "numeric"),
    column("weight", "float8"),
    column("is_new", "bool"),
    column("state", "mood", labels=("sad", "ok", "happy")),
    column("made_at", "timestamptz"),
    column("born", "date"),
    column("code", "uuid"),
    column("meta", "jsonb"),
    column("tags", "text[]"),
    column("scores", "int4[]"),
    column("page", "int4"),
    column("password"),
)


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """`build.column(...)`, `build.table(...)`, `build.catalogue(...)`: a database made by hand."""
    return SimpleNamespace(column=column, table=table, catalogue=catalogue)


@pytest.fixture(scope="session")
def items() -> Resource:
    """A resource with a field of each common kind; `password` is hidden."""
    settings = Settings.model_validate({"tables": ["items"], "table": {"items": {"hidden": "password"}}})
    selection = select(catalogue(ITEMS), settings, plugin="resources")
    assert not selection.mistakes
    return selection.resources[0]


class Serve(Protocol):
    def __call__(self, sql: str, *plugins: Any, **settings: Any) -> Awaitable[Api]:
        """Serve a new database made by `sql`, with more `plugins`; `settings` are those of [plugins.resources]."""


class Api:
    """A client of one service, for answers in JSON."""

    def __init__(self, service: Service, url: str) -> None:
        self.service = service
        self.client = service.client
        self.said = service.said
        self.url = url
        self.headers: Mapping[str, str] = {}
        """Those of the last answer to `send`."""

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and body. `path` is below /api/v1 and goes out as it is."""
        slash = "" if path[:1] in ("", "?") else "/"
        response = await self.client.get(URL(f"/api/v1{slash}{path}", encoded=True))
        return response.status, await response.json()

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        content_type: str = JSON,
    ) -> tuple[int, Any]:
        """Status and body, None where there is none, of a request with `body` as JSON, or `raw` as it is."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        url = URL(f"/api/v1/{path}", encoded=True)
        stream = BytesIO(data) if data is not None else None
        async with self.client.request(method, url, data=stream, headers=headers) as response:
            self.headers = response.headers
            text = await response.read()
            return response.status, json.loads(text) if text else None

    async def refused(self, method: str, path: str, body: Any = None, *, status: int = 422) -> list[tuple[str, str]]:
        """Fields and messages of a write that must be refused."""
        answered, answer = await self.send(method, path, body)
        assert answered == status, answer
        return [(detail["field"], detail["message"]) for detail in answer["error"]["details"]]

    async def rows(self, path: str) -> list[Any]:
        """The rows of a list that must be there."""
        status, body = await self.get(path)
        assert status == 200, body
        return list(body["data"])

    async def faults(self, path: str) -> list[tuple[str, str]]:
        """Fields and messages of a request that must be refused with 400."""
        status, body = await self.get(path)
        assert status == 400, body
        assert body["error"]["code"] == "VALIDATION_ERROR"
        return [(detail["field"], detail["message"]) for detail in body["error"]["details"]]


@pytest.fixture(scope="session")
def awkward_sql() -> str:
    """A schema with whatever a stranger's database may have in it."""
    return Path(__file__).with_name("awkward.sql").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def hostile_sql() -> str:
    """A schema with what an attacker would like to see and change."""
    return Path(__file__).with_name("hostile.sql").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def contents() -> Callable[[str], Awaitable[dict[str, list[str]]]]:
    """`await contents(url)`: every table of a database, its columns first, then its rows as text."""

    async def read(url: str) -> dict[str, list[str]]:
        connection = await asyncpg.connect(url)
        try:
            tables = await connection.fetch(
                "SELECT c.oid::regclass::text AS name, string_agg(attname || ' ' || atttypid, ', ' ORDER BY attnum) "
                "AS columns FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
                "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm') GROUP BY c.oid"
            )
            return {
                table["name"]: [
                    table["columns"],
                    *[row[0] for row in await connection.fetch(f"SELECT t::text FROM {table['name']} t ORDER BY 1")],
                ]
                for table in tables
            }
        finally:
            await connection.close()

    return read


@pytest.fixture
def serve_at(make_service: MakeService) -> Callable[..., Awaitable[Api]]:
    """As `serve`, for the database of a URL."""

    async def make(url: str, *plugins: Any, **settings: Any) -> Api:
        service = await make_service(
            plugins=["database", "resources", *plugins],
            settings={"plugins": {"database": {"url": url}, "resources": settings}},
        )
        return Api(service, url)

    return make


@pytest.fixture
def serve(serve_at: Callable[..., Awaitable[Api]], make_database: MakeDatabase) -> Serve:
    async def make(sql: str, *plugins: Any, **settings: Any) -> Api:
        return await serve_at(make_database(sql), *plugins, **settings)

    return make


@pytest_asyncio.fixture
async def connection(make_database: MakeDatabase) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A plain connection to an empty database."""
    connected = await asyncpg.connect(make_database(""))
    yield connected
    await connected.close()


@pytest.fixture
def watcher() -> Any:
    """Stands for a module with a plugin that remembers every change that is announced, in `watcher.seen`."""

    class Watcher:
        seen: ClassVar[list[Change]] = []

        class Plugin:
            @hookimpl
            def changes(self) -> Any:
                return [Watcher.seen.append]

    return Watcher


class Decider:
    """Grants what a test says, and nothing else: `decider.grants = {("users", "list"): Grant()}`."""

    grants: ClassVar[dict[tuple[str, str], Grant | None]] = {}
    expected: ClassVar[dict[str, Grantable]] = {}

    class Plugin:
        provides = (ACCESS,)

        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            ports.provide(ACCESS, self)
            yield

        def expect(self, resource: Grantable) -> None:
            Decider.expected[resource.name] = resource

        def grant(self, principal: object, resource: str, action: str) -> Grant | None:
            return Decider.grants.get((resource, action))

        def refusal(self, principal: object, resource: str, action: str) -> Forbidden:
            return Forbidden("Not for you.")


@pytest.fixture
def decider() -> type[Decider]:
    """A plugin to serve with that decides who may do what."""
    Decider.grants, Decider.expected = {}, {}
    return Decider

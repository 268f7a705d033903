"""Serve tables and views as an API: lists with filters, sorts and pages, single rows, and rows along foreign keys.

Table   [plugins.resources], [plugins.resources.table.NAME]
Needs   DATABASE; the schema is read once, when the plugin is opened
Routes  resources.index, NAME.list, NAME.read, NAME.CHILD.list; with a path INSTANCE.index, INSTANCE.NAME.list and so on
Raises  InvalidRequest: 400, everything wrong with a query string at once; NotFound: 404, no such row
Source  design.md, Answers; RFC 9110 section 15.5; RFC 3986 section 2

At start: `catalogue` reads what the database has, `selecting` makes `resource`s of what is served (`shaping` one table,
`relating` tables to each other, with `naming`, `kinds` and the words of `findings`).
Per request: parse → plan → run → render. `grammar` makes a `ListQuery` of a query string, `statements` makes SQL and
arguments of that, `handlers` run it, the only thing that waits, and join the bytes of the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from plugins.resources.catalogue import CATALOGUE, read_catalogue
from plugins.resources.handlers import IndexHandler, ItemHandler, ListHandler
from plugins.resources.resource import Resource
from plugins.resources.selecting import select
from plugins.resources.shaping import as_segments, encoded, is_segment
from plugins.resources.statements import Below
from service.api import (
    DATABASE,
    SERVING,
    Database,
    PluginError,
    PluginSettings,
    Ports,
    Route,
    Run,
    Unique,
    hookimpl,
    toml,
)

MAX_LIMIT_ROWS = 10_000
"""The most that `max_limit` may be (chosen): an answer is one value in memory, here and in PostgreSQL."""


Columns = str | tuple[str, ...]
"""Names of columns: a list, or one text with commas."""


def _one_segment(path: str) -> str:
    if "/" in path or not is_segment(path):
        fix = "-".join(as_segments(path)) or "..."
        raise ValueError(f"must be one segment of a URL, without / {{ and }}; write: path = {toml(fix)}")
    return path


def _segments(path: str) -> str:
    if path and not all(map(is_segment, path.split("/"))):
        fix = "/".join(as_segments(path))
        raise ValueError(f"must be segments of a URL, without {{ and }}, and / between them; write: path = {toml(fix)}")
    return path


class TableSettings(PluginSettings):
    """[plugins.resources.table.NAME]: NAME and all columns go by their names in the database."""

    path: Annotated[str, AfterValidator(_one_segment)] | None = None
    """Segment of the URL; the table's name unless set."""

    key: Columns | None = None
    """The columns that identify a row; the primary key, or a unique one without NULLs, unless set. Views need it."""

    fields: Columns | None = None
    """The columns to serve, in this order; all unless set. Naming one that looks like a secret shows it."""

    hidden: Columns = ()
    """Columns that do not exist for clients."""

    sort: Columns = ()
    """The order of a list unless a client asks for another: `"-created_at"` is newest first; the key is appended."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT_ROWS)] | None = None
    """Rows a page unless a client asks; 10, or `max_limit` where that is less."""

    max_limit: Annotated[int, Field(ge=1, le=MAX_LIMIT_ROWS)] = 100
    """The most rows of a page, at most 10000; a client that asks for more gets this many."""

    names: Literal["camel", "as-is"] = "camel"
    """How columns are called in JSON and query strings: `createdAt`, or `created_at` as in the database."""

    @model_validator(mode="after")
    def _limit_fits(self) -> Self:
        if self.limit is not None and self.limit > self.max_limit:
            raise ValueError(f"is {self.max_limit}, below limit = {self.limit}; write: max_limit = {self.limit}")
        return self


class Settings(PluginSettings):
    path: Annotated[str, AfterValidator(_segments), Unique()] = ""
    """Segments of the URL before those of the tables: `"shop"` is /api/v1/shop/users. Each instance needs one of its
    own. The names of routes that have one begin with that of the instance: `reporting.users.list`."""

    schema_: Annotated[str, Field(alias="schema", min_length=1)] = "public"
    """The schema whose tables are served."""

    tables: tuple[str, ...] = ()
    """Tables and views by name; `"*"` is each one that has a key."""

    table: Annotated[Mapping[str, TableSettings], Field(default_factory=dict)]
    """What differs for single tables."""

    def options(self, table: str) -> TableSettings:
        """The settings of one table."""
        return self.table.get(table) or TableSettings()


class Plugin:
    requires = (DATABASE,)

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._prefix = f"{run.name}." if settings.path else ""
        """What the names of its routes and resources begin with."""
        self._routes: tuple[Route, ...] = ()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        database = ports.need(DATABASE)
        body = await database.fetch_json(CATALOGUE, self._settings.schema_)
        if body is None:
            raise PluginError("the database gave no catalogue; connect to PostgreSQL itself.")
        selection = select(read_catalogue(body), self._settings, plugin=self._run.name)
        for mistake in selection.mistakes:
            self._run.fault(mistake.path, mistake.message, write=mistake.write, rename=mistake.rename)
        for sentence in selection.sentences:
            self._run.say(sentence)
        for table in selection.absent:
            ports.need(SERVING).excuse(f"{self._prefix}{table}")
        top = encoded(self._settings.path)
        self._routes = tuple(declare(selection.resources, database, top=top, prefix=self._prefix))
        yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        return self._routes


def declare(resources: Sequence[Resource], database: Database, *, top: str, prefix: str) -> Iterator[Route]:
    """The routes of all resources, and of the index that lists them: below the path `top`, their names, and those of
    what they read, with `prefix`."""
    index = IndexHandler(resources)
    name = f"{prefix or 'resources.'}index"
    yield Route("GET", top, index.list_resources, name=name, summary="List what there is.")
    for resource in resources:
        name, tags = f"{prefix}{resource.name}", (f"{prefix}{resource.name}",)
        path = f"{top}/{resource.path}".lstrip("/")
        yield Route(
            "GET",
            path,
            ListHandler(resource, database).list_rows,
            name=f"{name}.list",
            tags=tags,
            reads=(name,),
            summary=f"List {resource.name}.",
        )
        if not resource.has_items:
            continue
        item = f"{path}/{{id}}"
        yield Route(
            "GET",
            item,
            ItemHandler(resource, database).read_row,
            name=f"{name}.read",
            tags=tags,
            reads=(name,),
            summary=f"Read one row of {resource.name}.",
        )
        for child in resource.children:
            yield Route(
                "GET",
                f"{item}/{child.segment}",
                ListHandler(child.resource, database, below=Below(resource, child)).list_rows,
                name=f"{name}.{child.name}.list",
                tags=tags,
                reads=(f"{prefix}{child.resource.name}", name),
                summary=f"List the rows of {child.resource.name} that belong to one row of {resource.name}.",
            )

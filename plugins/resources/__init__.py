"""Serve tables and views as an API: lists with filters, sorts and pages, single rows, and rows along foreign keys.

Table   [plugins.resources], [plugins.resources.table.NAME]
Needs   DATABASE; the schema is read once, when the plugin is opened
Routes  resources.index, NAME.list, NAME.read, NAME.CHILD.list; with a path INSTANCE.index, INSTANCE.NAME.list and so on
Raises  InvalidRequest: 400, everything wrong with a query string at once; NotFound: 404, no such row
Source  design.md, Answers; RFC 9110 section 15.5; RFC 3986 section 2

At start     `schema/` reads what the database has and makes `Resource`s of what is served; `routes.py` declares them
Per request  parse → plan → run → render:
             `parse/` makes frozen values of what a client sent, `plan/` makes SQL and arguments of these, `handlers/`
             run it, the only thing that waits, and `render.py` makes the bytes of the answer
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from plugins.resources.routes import declare
from plugins.resources.schema.catalogue import CATALOGUE, read_catalogue
from plugins.resources.schema.naming import encoded
from plugins.resources.schema.selecting import select
from plugins.resources.settings import Settings
from service.api import DATABASE, SERVING, PluginError, Ports, Route, Run, hookimpl

__all__ = ["Plugin", "Settings"]


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
        self._routes = tuple(declare(selection.resources, database, self._run.clock, top=top, prefix=self._prefix))
        yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        return self._routes

"""Serve tables and views as an API: lists with filters, sorts and pages, single rows, and rows along foreign keys.

Table   [plugins.resources], [plugins.resources.table.NAME]
Needs   DATABASE; the schema is read once, when the plugin is opened
Command `pegboard db advise`; `shapes.py` counts what it asks a running service for
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
from typing import TYPE_CHECKING

from plugins.resources.routes import Means, declare
from plugins.resources.schema.catalogue import CATALOGUE, read_catalogue
from plugins.resources.schema.naming import encoded
from plugins.resources.schema.selecting import Selection, select
from plugins.resources.settings import Settings
from plugins.resources.shapes import Shapes
from service.api import (
    DATABASE,
    SERVING,
    Database,
    PluginError,
    Ports,
    Route,
    Run,
    ask_service,
    hookimpl,
    opened,
)

if TYPE_CHECKING:
    import click

    from plugins.resources.advice.advising import Report

__all__ = ["Plugin", "Settings"]


class Plugin:
    requires = (DATABASE,)

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._prefix = f"{run.name}." if settings.path else ""
        """What the names of its routes and resources begin with."""
        self._question = f"{run.name}.shapes"
        """What a running service answers: which lists clients ask for."""
        self._routes: tuple[Route, ...] = ()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        database = ports.need(DATABASE)
        selection = await self._select(database)
        for mistake in selection.mistakes:
            self._run.fault(mistake.path, mistake.message, write=mistake.write, rename=mistake.rename)
        for sentence in selection.sentences:
            self._run.say(sentence)
        for table in selection.absent:
            ports.need(SERVING).excuse(f"{self._prefix}{table}")
        top = encoded(self._settings.path)
        shapes = Shapes(self._run.clock.monotonic)
        ports.need(SERVING).answer(self._question, shapes.told)
        means = Means(database, self._run.clock, shapes)
        self._routes = tuple(declare(selection.resources, means, top=top, prefix=self._prefix))
        yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        return self._routes

    @hookimpl
    def commands(self, group: click.Group) -> None:
        from plugins.resources.advice.command import add_commands  # inside: a service that serves needs none of it

        name = f"advise-{self._run.name}" if self._prefix else "advise"
        add_commands(group, name=name, advising=self._advise)

    async def _advise(self) -> Report:
        """What `pegboard db advise` tells."""
        from plugins.resources.advice.advising import advise

        heard = ask_service(self._run, self._question)
        async with opened(self._run) as ports:
            database = ports.need(DATABASE)
            selection = await self._select(database)
            if selection.mistakes:
                raise PluginError(
                    "what would be served has mistakes in its settings: `pegboard run` tells all of them."
                )
            return await advise(database, selection.resources, heard)

    async def _select(self, database: Database) -> Selection:
        """What is served, of what the database has."""
        body = await database.fetch_json(CATALOGUE, self._settings.schema_)
        if body is None:
            raise PluginError("the database gave no catalogue; connect to PostgreSQL itself.")
        return select(read_catalogue(body), self._settings, plugin=self._run.name)

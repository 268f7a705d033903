"""Serve tables and views as an API: lists with filters, sorts and pages, single rows, rows along foreign keys; writes.

Table   [plugins.resources], [plugins.resources.table.NAME]
Needs   DATABASE; the schema is read once, when the plugin is opened; NOTIFY pegboard, 'reload' asks for another look
Uses    ACCESS: where somebody provides it, it decides who sees and writes what (AUTHORIZE)
Command `pegboard db advise`; `shapes.py` counts what it asks a running service for
Routes  INSTANCE.index; NAME.list, NAME.read, NAME.CHILD.list, with a path INSTANCE.NAME.list and so on
        where clients may write: NAME.create, NAME.update, NAME.replace, NAME.delete, NAME.options
Raises  InvalidRequest: 400, everything wrong with a query string at once; NotFound: 404, no such row
        InvalidBody: 422, everything wrong with a body at once; UnsupportedMediaType: 415; Conflict: 409
Source  design.md, Answers; RFC 9110 section 15.5; RFC 3986 section 2; RFC 5789 (PATCH)

At start     `schema/` reads what the database has and makes `Resource`s of what is served; `routes.py` declares them
Per request  parse → plan → run → render:
             `parse/` makes frozen values of what a client sent, `plan/` makes SQL and arguments of these, `handlers/`
             run it, the only thing that waits, and `render.py` makes the bytes of the answer
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from plugins.resources.handlers.committing import Committer
from plugins.resources.handlers.healing import Healer, Healing
from plugins.resources.handlers.permitting import Gate, Permits
from plugins.resources.handlers.receiving import Receiver
from plugins.resources.handlers.writing import WriteHandler
from plugins.resources.routes import Means, declare
from plugins.resources.schema.affected import affected_by
from plugins.resources.schema.allowing import exposure
from plugins.resources.schema.catalogue import CATALOGUE, Action, Catalogue, read_catalogue
from plugins.resources.schema.granted import Granted, grantable
from plugins.resources.schema.naming import encoded
from plugins.resources.schema.resource import Resource
from plugins.resources.schema.selecting import select
from plugins.resources.settings import Settings
from plugins.resources.shapes import Shapes
from service.api import (
    ACCESS,
    ANONYMOUS,
    CHANGES,
    DATABASE,
    HIDDEN,
    SERVING,
    Access,
    Changes,
    Check,
    Database,
    Grant,
    MountedRoute,
    PluginError,
    Ports,
    Route,
    Run,
    ServiceError,
    Slot,
    ask_service,
    hookimpl,
    opened,
)

if TYPE_CHECKING:
    import click

    from plugins.resources.advice.findings import Report

__all__ = ["Plugin", "Settings"]

CHANNEL: Final = "pegboard"
"""What is listened to: `NOTIFY pegboard, 'reload'`, for migrations to end with."""


class Plugin:
    requires = (DATABASE,)
    uses = (ACCESS, HIDDEN)

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._prefix = f"{run.name}." if settings.path else ""
        """What the names of its routes and resources begin with."""
        self._question = f"{run.name}.shapes"
        """What a running service answers: which lists clients ask for."""
        self._routes: tuple[Route, ...] = ()
        self._gates: Mapping[str, Gate] = {}

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        database = ports.need(DATABASE)
        catalogue = await self._catalogue(database)
        selection = select(catalogue, self._settings, plugin=self._run.name, hidden=ports.every(HIDDEN))
        for mistake in selection.mistakes:
            self._run.fault(mistake.path, mistake.message, write=mistake.write, rename=mistake.rename)
        for sentence in selection.sentences:
            self._run.say(sentence)
        for table in selection.absent:
            ports.need(SERVING).excuse(f"{self._prefix}{table}")
        permits = self._permits(ports.find(ACCESS), selection.resources)
        if self._run.is_reachable:
            self._tell_exposure(permits, selection.resources)
        healer = Healer(lambda: self._differs(database, selection.resources), self._run)
        served = {resource.name for resource in selection.resources}
        changes = ports.need(CHANGES)
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"pegboard bodies of {self._run.name}")
        receiver = Receiver(thread)

        def asked_for(resource: Resource) -> Healing:
            return Healing(database, healer, name=f"{self._prefix}{resource.name}")

        def writer(granted: Granted, shown: Granted | None) -> WriteHandler:
            asked = asked_for(granted.resource)
            return self._writer(granted, shown, asked, receiver, changes, catalogue=catalogue, served=served)

        top = encoded(self._settings.path)
        shapes = Shapes(self._run.clock.monotonic)
        ports.need(SERVING).answer(self._question, shapes.told)
        means = Means(asked_for, self._run.clock, shapes, writer, permits)
        self._routes = tuple(declare(selection.resources, means, instance=self._run.name, top=top, prefix=self._prefix))
        async with AsyncExitStack() as stack:
            stack.enter_context(thread)
            if self._run.serves:
                try:
                    await stack.enter_async_context(database.listen(CHANNEL, self._hear))
                except ServiceError:
                    self._run.say(
                        f"NOTIFY {CHANNEL} is not heard, since this database takes no LISTEN, as a standby does not; "
                        "after a migration, pegboard reload."
                    )
            yield

    def _permits(self, access: Access | None, resources: Sequence[Resource]) -> Permits | None:
        """What decides who may do what, once it was told what there is; None where everyone may do everything."""
        if access is None:
            return None
        permits = Permits(access, self._prefix, resources)
        for resource in resources:
            access.expect(grantable(resource, permits.names[resource.name]))
        self._gates = permits.gates
        return permits

    def _tell_exposure(self, permits: Permits | None, resources: Sequence[Resource]) -> None:
        """Say what anybody can write."""

        def to_anyone(resource: Resource, action: Action) -> Grant | None:
            if permits is None:
                return Grant()
            return permits.access.grant(ANONYMOUS, permits.names[resource.name], action)

        exposed = exposure(resources, self._run.name, grants=to_anyone, has_rules=permits is not None)
        if exposed is not None:
            self._run.say(exposed)

    def _writer(
        self,
        granted: Granted,
        shown: Granted | None,
        database: Healing,
        receiver: Receiver,
        changes: Changes,
        *,
        catalogue: Catalogue,
        served: Set[str],
    ) -> WriteHandler:
        """What writes to a resource, and knows which of those that are `served` differ then."""
        resource = granted.resource
        affected = affected_by(catalogue, resource.table)

        def reaches(action: Action, columns: Sequence[str]) -> list[str]:
            return [f"{self._prefix}{name}" for name in affected.of(action, columns) if name in served]

        committer = Committer(database, changes, self._run, name=f"{self._prefix}{resource.name}")
        return WriteHandler(granted, shown, database, receiver, committer, reaches=reaches)

    def _hear(self, payload: str) -> None:
        if payload == "reload":
            self._run.request_reload(f"NOTIFY {CHANNEL}")

    @hookimpl
    def routes(self) -> Iterable[Route]:
        return self._routes

    @hookimpl
    def steps(self, route: MountedRoute) -> Iterable[Check]:
        gate = self._gates.get(route.name) if route.plugin == self._run.name else None
        if gate is not None:
            yield Check(Slot.AUTHORIZE, gate.check)

    @hookimpl
    def commands(self, group: click.Group) -> None:
        from plugins.resources.advice.command import add_commands  # inside: a service that serves needs none of it

        name = f"advise-{self._run.name}" if self._prefix else "advise"
        add_commands(group, name=name, advising=self._advise)

    async def _advise(self) -> Report:
        """What `pegboard db advise` tells."""
        from plugins.resources.advice.advising import advise

        now = datetime.fromtimestamp(self._run.clock.now(), UTC)
        heard = ask_service(self._run, self._question)
        async with opened(self._run) as ports:
            database = ports.need(DATABASE)
            catalogue = await self._catalogue(database)
            selection = select(catalogue, self._settings, plugin=self._run.name, hidden=ports.every(HIDDEN))
            if selection.mistakes:
                raise PluginError(
                    "what would be served has mistakes in its settings: `pegboard run` tells all of them."
                )
            return await advise(database, catalogue, selection.resources, heard, now=now)

    async def _differs(self, database: Database, resources: Sequence[Resource]) -> bool:
        """Whether a table of these is no longer what it was. Raises ServiceErrors."""
        tables = (await self._catalogue(database)).tables
        return any(tables.get(resource.table.name) != resource.table for resource in resources)

    async def _catalogue(self, database: Database) -> Catalogue:
        body = await database.fetch_json(CATALOGUE, self._settings.schema_)
        if body is None:
            raise PluginError("the database gave no catalogue; connect to PostgreSQL itself.")
        return read_catalogue(body)

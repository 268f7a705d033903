"""The database that a command needs, and what it says where there is none or it lacks the schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from plugins.auth.store.schema import SCHEMA, has_schema
from service.api import DATABASE, Database, PluginError, Run, opened


@asynccontextmanager
async def opened_database(run: Run) -> AsyncIterator[Database]:
    """The one that the service has too. Raises StartError."""
    async with opened(run) as ports:
        database = ports.find(DATABASE)
        if database is None:
            raise PluginError(
                f"plugin {run.name} keeps this in PostgreSQL, and no plugin provides a database; under "
                "[plugins.database] write: enabled = true"
            )
        yield database


@asynccontextmanager
async def opened_schema(run: Run) -> AsyncIterator[Database]:
    """The same, where the schema is there. Raises StartError."""
    async with opened_database(run) as database:
        if not await has_schema(database):
            raise PluginError(
                f"the database has no schema {SCHEMA} yet, and so nothing of this; run: pegboard auth init"
            )
        yield database

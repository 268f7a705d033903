"""`pegboard auth`: what auth keeps in the database. `pegboard auth init` makes the schema for it."""

from __future__ import annotations

import asyncio

import click

from plugins.auth.commands.database import opened_database
from plugins.auth.store.schema import SCHEMA, has_schema, make_schema
from service.api import Run


def auth_group(*commands: click.Command) -> click.Group:
    group = click.Group("auth", help="Look after what auth keeps: its schema, and which tokens are revoked.")
    for command in commands:
        group.add_command(command)
    return group


def init_command(run: Run) -> click.Command:
    @click.command("init", short_help="Make the schema that auth keeps things in.")
    def init() -> None:
        """Make the schema pegboard in the database, for API keys, refresh tokens, failed logins and revocations.

        The role that connects must be allowed to make schemas. What is there already stays as it is.

        \b
        Example:
          pegboard auth init
        """
        if asyncio.run(_make(run)):
            click.echo(f"The schema {SCHEMA} was made.")
        else:
            click.echo(f"The schema {SCHEMA} is there already.")

    return init


async def _make(run: Run) -> bool:
    """False where it was there."""
    async with opened_database(run) as database:
        was_there = await has_schema(database)
        await make_schema(database)  # all the same: an older one may lack what is new
        return not was_there

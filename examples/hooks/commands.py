"""Add the command `pegboard greet NAME`."""

import click

from service.api import hookimpl


class Plugin:
    @hookimpl
    def commands(self, group: click.Group) -> None:
        @group.command()
        @click.argument("name")
        def greet(name: str) -> None:
            """Greet somebody."""
            click.echo(f"Hello, {name}")

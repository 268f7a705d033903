"""`pegboard auth`: the commands that look after who may ask."""

from __future__ import annotations

import click


def auth_group(*commands: click.Command) -> click.Group:
    group = click.Group("auth", help="Look after who may ask: passwords.")
    for command in commands:
        group.add_command(command)
    return group

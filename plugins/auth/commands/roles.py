"""Roles that are given by hand, and that no rule names: they may be misspelt, so whoever gives one is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import click

from plugins.auth.permissions.settings import NOT_OF_TOKENS
from service.api import nearest


def tell_of_unknown(roles: Sequence[str], known: Collection[str]) -> None:
    """On standard error; another service may know them. Where no rule names any role, nothing is known of them."""
    for role in roles:
        if role in NOT_OF_TOKENS:
            click.echo(f"The role {role} is not one that is given: nobody has it by a token or key.", err=True)
        elif known and role not in known:
            meant = nearest(role, known)
            hint = f"; did you mean {meant}?" if meant else f"; there are {', '.join(sorted(known))}."
            click.echo(f"No rule in the settings names the role {role}{hint}", err=True)

"""`pegboard token`: a token to try things with."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import click
import orjson

from plugins.auth.commands.roles import tell_of_unknown
from plugins.auth.commands.times import duration_of
from plugins.auth.tokens.making import REGISTERED, Maker
from service.api import Clock, Duration


def _lifetime(context: click.Context, option: click.Parameter, text: str) -> Duration:
    return duration_of(text, too_short="a token lives for a second at least.")


def token_command(
    maker: Callable[[], Maker], expires: Duration, clock: Clock, *, roles: Collection[str]
) -> click.Command:
    """`maker` raises StartError where nothing can sign. `roles` are those that the settings know."""
    known = roles

    @click.command("token", short_help="Make a token to try things with.")
    @click.option("--sub", required=True, help="Who asks with it.")
    @click.option("--role", "roles", multiple=True, help="A role; may be said again.")
    @click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="Another claim, as JSON or text.")
    @click.option("--expires", default=str(expires), show_default=True, callback=_lifetime, help="How long it lives.")
    def token(*, sub: str, roles: tuple[str, ...], claims: tuple[str, ...], expires: Duration) -> None:
        """Make a token that this service accepts, and print it.

        It is signed with the secret or the private key in the settings, and nothing remembers it.

        \b
        Example:
          pegboard token --sub 1 --role admin --expires 1h
          curl -H "Authorization: Bearer $(pegboard token --sub 1)" localhost:3000/api/v1/users
        """
        if not sub:
            raise click.BadParameter("nobody has no name.", param_hint="--sub")
        makes, more = maker(), dict(map(_claim, claims))
        for name in (*REGISTERED, makes.role_claim):
            if name in more:
                raise click.BadParameter(f"{name} is set by other means.", param_hint="--claim")
        tell_of_unknown(roles, known)
        click.echo(makes.make(sub, roles=roles, claims=more, now_s=clock.now(), lives_s=expires.seconds))

    return token


def _claim(text: str) -> tuple[str, object]:
    found = re.fullmatch(r"([^=]+)=(.*)", text, re.DOTALL)
    if found is None:
        raise click.BadParameter(f"{text!r} is no NAME=VALUE.", param_hint="--claim")
    try:
        return found[1], orjson.loads(found[2])
    except ValueError:
        return found[1], found[2]

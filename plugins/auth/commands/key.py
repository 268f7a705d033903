"""`pegboard key`: API keys made, listed, revoked and rotated. A key is printed once, alone on standard output."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from math import inf

import click
import orjson

from plugins.auth.api_keys.text import PREFIX, ApiKey, id_in, new_key, shown_id
from plugins.auth.commands.database import opened_database, opened_schema
from plugins.auth.commands.roles import tell_of_unknown
from plugins.auth.commands.times import duration_of, shown
from plugins.auth.store.keys import StoredKey, add_key, every_key, revoke_keys, rotate_key
from plugins.auth.store.schema import SCHEMA, has_schema, make_schema
from service.api import Duration, PluginError, Run, nearest

DEFAULT_EXPIRES = "90d"
"""Long enough to be no burden, short enough that a forgotten key ends (chosen)."""

LONGEST = Duration("36500d")
"""A hundred years: who wants more wants never."""

LONGEST_TEXT = 100
"""Characters of a name, role or scope (chosen)."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
SCOPE = re.compile(r"[!#-\[\]-~]+")
"""RFC 6749, section 3.3."""

HEAD = ("ID", "NAME", "STATE", "ROLES", "SCOPES", "CREATED", "ENDS")


def key_group(run: Run, *, are_taken: bool, roles: Collection[str]) -> click.Group:
    """`are_taken` is false where the settings say that no key is; `roles` are those that they know."""
    group = click.Group("key", help="Make, list, revoke and rotate API keys, for machines.")
    group.add_command(_create_command(run, are_taken=are_taken, known=roles))
    for command in (_list_command, _revoke_command, _rotate_command):
        group.add_command(command(run))
    return group


# --- create


def _create_command(run: Run, *, are_taken: bool, known: Collection[str]) -> click.Command:
    @click.command("create", short_help="Make a key, and print it once.")
    @click.option("--name", required=True, callback=_name, help="Whose it is; one key of a name at a time.")
    @click.option("--role", "roles", multiple=True, callback=_roles, help="A role; may be said again.")
    @click.option("--scope", "scopes", multiple=True, callback=_scopes, help="A scope; may be said again.")
    @click.option(
        "--expires", default=DEFAULT_EXPIRES, show_default=True, callback=_lifetime, help="How long it lives, or never."
    )
    def create(*, name: str, roles: Sequence[str], scopes: Sequence[str], expires: float) -> None:
        """Make an API key, and print it: it is shown only now, and kept as a digest.

        \b
        Example:
          pegboard key create --name ci --role reader --expires 90d
          curl -H "X-API-Key: $KEY" localhost:3000/api/v1/users
        """
        if not are_taken:
            raise PluginError(f"no API key is taken here; under [plugins.{run.name}] remove: api_keys = false")
        key = new_key()
        stored, made = asyncio.run(_create(run, key, name, roles, scopes, expires))
        if made:
            click.echo(f"The schema {SCHEMA} was made.", err=True)
        if stored is None:
            raise click.BadParameter(
                f"there is a key {name} already; `pegboard key rotate {name}` puts a new one in its place.",
                param_hint="--name",
            )
        tell_of_unknown(roles, known)
        click.echo(f"{_shown_once(stored)} {_end_of(stored)}", err=True)
        click.echo(key.text)

    return create


async def _create(
    run: Run, key: ApiKey, name: str, roles: Sequence[str], scopes: Sequence[str], lives_s: float
) -> tuple[StoredKey | None, bool]:
    """The key, unless its name is taken; and whether the schema was made."""
    now_s = run.clock.now()
    async with opened_database(run) as database:
        made = not await has_schema(database)
        if made:
            await make_schema(database)
        ends_at = None if lives_s == inf else now_s + lives_s
        stored = await add_key(database, key, name=name, roles=roles, scopes=scopes, now_s=now_s, ends_at=ends_at)
        return stored, made


# --- list


def _list_command(run: Run) -> click.Command:
    @click.command("list", short_help="List all keys, also those that have ended.")
    @click.option("--json", "as_json", is_flag=True, help="For programs: JSON on standard output.")
    def show(*, as_json: bool) -> None:
        """List all keys, also those that have expired or were revoked: what they may, and until when.

        \b
        Example:
          pegboard key list
          pegboard key list --json
        """
        keys, now_s = asyncio.run(_every(run)), run.clock.now()
        if as_json:
            rows = [_as_json(key, now_s) for key in keys]
            click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        elif keys:
            _print_table([HEAD, *[_as_row(key, now_s) for key in keys]])
        else:
            click.echo("There is no key yet: `pegboard key create --name ci --role reader` makes one.")

    return show


async def _every(run: Run) -> list[StoredKey]:
    async with opened_schema(run) as database:
        return await every_key(database)


def _as_json(key: StoredKey, now_s: float) -> dict[str, object]:
    return {
        "id": shown_id(key.id),
        "name": key.name,
        "state": key.state(now_s),
        "roles": key.roles,
        "scopes": key.scopes,
        "created": _time(key.created_at),
        "expires": _time(key.expires_at),
        "revoked": _time(key.revoked_at),
    }


def _as_row(key: StoredKey, now_s: float) -> Sequence[str]:
    ends = min((each for each in (key.expires_at, key.revoked_at) if each is not None), default=None)
    roles, scopes = (", ".join(each) or "-" for each in (key.roles, key.scopes))
    created = _time(key.created_at)
    return (shown_id(key.id), key.name, key.state(now_s), roles, scopes, created or "-", _time(ends) or "never")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]).rstrip())


# --- revoke


def _revoke_command(run: Run) -> click.Command:
    @click.command("revoke", short_help="Refuse a key from now on.")
    @click.argument("key")
    def revoke(*, key: str) -> None:
        """Refuse KEY from now on, in every worker within a second: a name, or an id as `pegboard key list` has it.

        A name stands for all of its keys, also for one that lives on for a while after it was rotated.

        \b
        Example:
          pegboard key revoke ci
          pegboard key revoke pgb_4kZ0nQ2mXw8T
        """
        revoked, keys = asyncio.run(_revoke(run, key))
        for each in revoked:
            click.echo(f"The key {shown_id(each.id)} of {each.name} is refused from now on.")
        if revoked:
            return
        identity = id_in(key)
        known = [each for each in keys if each.id == identity or (identity is None and each.name == key)]
        if not known:
            raise _unknown(key, keys)
        click.echo(f"The key {shown_id(known[-1].id)} of {known[-1].name} was revoked already.")

    return revoke


async def _revoke(run: Run, reference: str) -> tuple[list[StoredKey], list[StoredKey]]:
    """Those that were revoked now; and all that there are."""
    async with opened_schema(run) as database:
        identity, now_s = id_in(reference), run.clock.now()
        if identity is not None:
            revoked = await revoke_keys(database, identity=identity, now_s=now_s)
        else:
            revoked = await revoke_keys(database, name=reference, now_s=now_s)
        return revoked, await every_key(database)


# --- rotate


def _rotate_command(run: Run) -> click.Command:
    @click.command("rotate", short_help="Put a new key in the place of one, and print it once.")
    @click.argument("name")
    @click.option(
        "--overlap", default="0s", show_default=True, callback=_overlap, help="How long the old key lives on."
    )
    @click.option(
        "--expires", show_default="as the old one", callback=_lifetime, help="How long the new one lives, or never."
    )
    def rotate(*, name: str, overlap: float, expires: float | None) -> None:
        """Put a new key in the place of the one that NAME has, with the same roles and scopes, and print it.

        The old one is refused from now on, in every worker within a second, unless it is given an overlap.

        \b
        Example:
          pegboard key rotate ci --overlap 1h
        """
        key = new_key()
        rotated, keys = asyncio.run(_rotate(run, key, name, overlap, expires))
        if rotated is None:
            if any(each.name == name for each in keys):
                raise click.BadParameter(
                    f"the key {name} was revoked; `pegboard key create --name {name}` makes another.", param_hint="NAME"
                )
            raise _unknown(name, keys)
        old, new = rotated
        click.echo(f"{_shown_once(new)} {_end_of(new)}", err=True)
        if old.state(run.clock.now()) == "active":
            click.echo(f"The old one, {shown_id(old.id)}, is good until {_end(old)}.", err=True)
        else:
            click.echo(f"The old one, {shown_id(old.id)}, is refused from now on.", err=True)
        click.echo(key.text)

    return rotate


async def _rotate(
    run: Run, key: ApiKey, name: str, overlap_s: float, lives_s: float | None
) -> tuple[tuple[StoredKey, StoredKey] | None, list[StoredKey]]:
    """The old key and the new one, where the name has one; and all that there are."""
    async with opened_schema(run) as database:
        now_s = run.clock.now()
        rotated = await rotate_key(database, key, name=name, now_s=now_s, overlap_s=overlap_s, lives_s=lives_s)
        return rotated, await every_key(database)


# --- what is said


def _shown_once(key: StoredKey) -> str:
    return f"This is the key of {key.name}; it is shown only now."


def _end_of(key: StoredKey) -> str:
    return "It does not expire." if key.expires_at is None else f"It expires at {_time(key.expires_at)}."


def _end(key: StoredKey) -> str | None:
    return _time(datetime.fromtimestamp(key.ends_at, UTC))


def _unknown(reference: str, keys: Sequence[StoredKey]) -> click.BadParameter:
    """What was given is not said again where it may be a key."""
    if reference.startswith(PREFIX):
        return click.BadParameter("there is no key of that id; `pegboard key list` shows all.", param_hint="KEY")
    guess = nearest(reference, [each.name for each in keys])
    meant = f"did you mean {guess}? " if guess else ""
    return click.BadParameter(
        f"there is no key called {reference}; {meant}`pegboard key list` shows all.", param_hint="NAME"
    )


def _time(time: datetime | None) -> str | None:
    return None if time is None else shown(time)


# --- what is given


def _name(context: click.Context, option: click.Parameter, text: str) -> str:
    if len(text) > LONGEST_TEXT or NAME.fullmatch(text) is None:
        raise click.BadParameter(f"a name is {LONGEST_TEXT} letters, digits and . _ @ - at most.")
    if text.startswith(PREFIX):
        raise click.BadParameter(f"{PREFIX} is how keys begin, and no name does.")
    return text


def _roles(context: click.Context, option: click.Parameter, texts: Sequence[str]) -> Sequence[str]:
    for text in texts:
        if not 0 < len(text) <= LONGEST_TEXT or not text.isprintable() or text != text.strip():
            raise click.BadParameter(f"a role is {LONGEST_TEXT} printable characters at most.")
    return tuple(dict.fromkeys(texts))


def _scopes(context: click.Context, option: click.Parameter, texts: Sequence[str]) -> Sequence[str]:
    for text in texts:
        if len(text) > LONGEST_TEXT or SCOPE.fullmatch(text) is None:
            raise click.BadParameter(f"a scope is {LONGEST_TEXT} characters of ASCII at most, without spaces.")
    return tuple(dict.fromkeys(texts))


def _lifetime(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """Seconds."""
    if text is None:
        return None
    return inf if text == "never" else _duration(text, least_s=1)


def _overlap(context: click.Context, option: click.Parameter, text: str) -> float:
    return _duration(text, least_s=0)


def _duration(text: str, *, least_s: float) -> float:
    duration = duration_of(text, too_short="a key lives for a second at least.", least_s=least_s)
    if duration > LONGEST:
        raise click.BadParameter(f"{LONGEST} is the longest.")
    return duration.seconds

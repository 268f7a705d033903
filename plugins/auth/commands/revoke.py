"""`pegboard auth revoke`: tokens that every running service refuses from now on; `revocations` lists which."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import click
import orjson

from plugins.auth.commands.times import duration_of, shown
from plugins.auth.revocation.held import Revoked
from plugins.auth.revocation.opening import Revocation
from plugins.auth.tokens.verifying import LAST_SECOND, Refused, unverified_claims
from service.api import Duration, Run, opened, timestamp

AHEAD_S = 1.0
"""How far ahead of our clock the text of a time may be that was just read from a clock (chosen)."""


def _duration(context: click.Context, option: click.Parameter, text: str | None) -> Duration | None:
    return None if text is None else duration_of(text, too_short="a revocation lasts for a second at least.")


def _instant(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """Seconds since the epoch. A time without a zone would mean another moment on every machine."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or instant.astimezone(UTC).year < 1970:
        raise click.BadParameter(f"{text!r} is no time with a zone, as 2026-01-01T00:00:00Z is.")
    return instant.timestamp()


def revoke_command(revocation: Revocation, run: Run) -> click.Command:
    @click.command("revoke", short_help="Have tokens refused from now on.")
    @click.option("--token", help="This one; - reads it from standard input.")
    @click.option("--jti", help="The one with this jti.")
    @click.option("--subject", help="All of a subject: what sub says.")
    @click.option("--everyone", is_flag=True, help="All of everyone.")
    @click.option(
        "--issued-before", metavar="TIME", callback=_instant, help="Of these, those issued until then; now unless set."
    )
    @click.option("--keep", metavar="DURATION", callback=_duration, help="How long to remember it.")
    def revoke(
        *,
        token: str | None,
        jti: str | None,
        subject: str | None,
        everyone: bool,
        issued_before: float | None,
        keep: Duration | None,
    ) -> None:
        """Have tokens refused, by every running service, within a second. It cannot be taken back.

        A revocation is remembered for as long as a token of yours may live (revocation.kept in the settings, or
        --keep), and with --token at least until that token has expired. Revoking a subject, or everyone, also ends
        their logins: they cannot get new tokens with the refresh tokens that they have. Tokens issued in the same
        second are refused, too, and those that do not say when they were issued. API keys are no tokens.

        \b
        Example:
          pegboard auth revoke --subject 42
          pegboard auth revoke --everyone --issued-before 2026-01-01T00:00:00Z
          echo "$TOKEN" | pegboard auth revoke --token -
        """
        named = [
            name for name, value in (("--token", token), ("--jti", jti), ("--subject", subject)) if value is not None
        ]
        named += ["--everyone"] if everyone else []
        if len(named) != 1:
            raise click.UsageError("say what to revoke, one of: --token, --jti, --subject, --everyone.")
        if issued_before is not None:
            if named[0] in ("--token", "--jti"):
                raise click.BadParameter("is for --subject and --everyone.", param_hint="--issued-before")
            if issued_before > run.clock.now() + AHEAD_S:
                raise click.BadParameter("is in the future.", param_hint="--issued-before")
        if "" in (jti, subject):
            raise click.BadParameter("nothing has no name.", param_hint=named[0])
        expires = 0.0
        if token is not None:
            jti, expires = _read(sys.stdin.read() if token == "-" else token)  # noqa: S105  # a dash
        revoked = asyncio.run(
            _revoke(revocation, run, jti=jti, subject=subject, before=issued_before, keep=keep, expires=expires)
        )
        click.echo(f"Revoked until {_at(revoked.ends_at)}: {_what(revoked)}.")

    return revoke


def revocations_command(revocation: Revocation, run: Run) -> click.Command:
    @click.command("revocations", short_help="List which tokens are revoked.")
    @click.option("--json", "as_json", is_flag=True, help="For programs: JSON on standard output.")
    def revocations(*, as_json: bool) -> None:
        """List the revocations that have not ended, those that end first at the top.

        \b
        Example:
          pegboard auth revocations
          pegboard auth revocations --json
        """
        found = sorted(asyncio.run(_list(revocation, run)), key=lambda each: (each.ends_at, each.kind, each.value))
        if as_json:
            rows = [
                {
                    "kind": each.kind,
                    "value": each.value or None,
                    "issuedBefore": None if each.kind in ("token", "session") else timestamp(each.issued_before),
                    "endsAt": timestamp(each.ends_at),
                }
                for each in found
            ]
            click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
            return
        for each in found:
            click.echo(f"{_what(each)}, until {_at(each.ends_at)}")
        if not found:
            click.echo("Nothing is revoked.")

    return revocations


async def _revoke(
    revocation: Revocation,
    run: Run,
    *,
    jti: str | None,
    subject: str | None,
    before: float | None,
    keep: Duration | None,
    expires: float,
) -> Revoked:
    async with opened(run) as ports:
        revocations = revocation.of_command(ports)
        ends_at = revocations.ends_at(keep.seconds if keep else None, expires=expires)
        if jti is not None:
            return await revocations.revoke_token(jti, ends_at=ends_at)
        if subject is not None:
            return await revocations.revoke_subject(subject, issued_before=before, ends_at=ends_at)
        return await revocations.revoke_everyone(issued_before=before, ends_at=ends_at)


async def _list(revocation: Revocation, run: Run) -> list[Revoked]:
    async with opened(run) as ports:
        return list(await revocation.store(ports).read(run.clock.now()))


def _read(token: str) -> tuple[str, float]:
    """Its jti and exp. Whether it is valid is not looked at: revoking one that is not is harmless, and it is kept for
    no shorter than any other, so that a forged exp ends nothing early."""
    try:
        claims = unverified_claims(token.strip())
    except Refused as refused:
        raise click.BadParameter(f"is no token: {refused}.", param_hint="--token") from None
    jti, expires = claims.get("jti"), claims.get("exp")
    if not isinstance(jti, str) or not jti:
        raise click.BadParameter(
            "has no jti to be told apart by; revoke its subject, with --subject.", param_hint="--token"
        )
    is_time = isinstance(expires, int | float) and not isinstance(expires, bool) and 0 <= expires <= LAST_SECOND
    return jti, float(expires) if is_time else 0.0  # type: ignore[arg-type]  # is_time says so


def _what(revoked: Revoked) -> str:
    if revoked.kind == "token":
        return f"the token with the jti {revoked.value}"
    if revoked.kind == "session":
        return f"tokens of the login {revoked.value}"
    whose = "everyone" if revoked.kind == "everyone" else f"the subject {revoked.value}"
    return f"tokens of {whose} that were issued until {_at(revoked.issued_before)}"


def _at(second: int) -> str:
    return shown(datetime.fromtimestamp(second, UTC))

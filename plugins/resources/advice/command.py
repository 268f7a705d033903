"""`pegboard db advise`: asks the running services, looks at the database, prints what would help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict

import click
import orjson

from plugins.resources.advice.findings import Advice, Report

Advising = Callable[[], Coroutine[object, object, Report]]


def add_commands(group: click.Group, *, name: str, advising: Advising) -> None:
    """Add `db NAME` to the command line."""
    database = click.Group("db", help="Look at the database behind the API.")
    database.add_command(advise_command(name, advising))
    group.add_command(database)


def advise_command(name: str, advising: Advising) -> click.Command:
    @click.command(name, short_help="Say which indexes and statistics are missing.")
    @click.option("--json", "as_json", is_flag=True, help="For programs: JSON on standard output.")
    def advise(*, as_json: bool) -> None:
        """Say which indexes are missing, which are not used, and which statistics are old, each with the line to run.

        Looks at the lists along foreign keys, those in the order that is set, and the slowest that clients ask for, as
        a running service and pg_stat_statements know them. Each is explained, in a transaction that is read-only and
        limited by timeouts.write of the database. Changes nothing.

        \b
        Example:
          pegboard db advise
          pegboard db advise --json
        """
        report = asyncio.run(advising())
        if as_json:
            click.echo(orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2).decode())
            return
        for each in report.advice:
            click.echo(f"{_paragraph(each)}\n")
        for note in report.notes:
            click.echo(note)
        click.echo(_summary(report))

    return advise


def _paragraph(advice: Advice) -> str:
    lines = [advice.what, *[f"  {sentence}" for sentence in advice.evidence]]
    lines += [f"    {line}" for line in advice.plan]
    return "\n".join([*lines, f"  run: {advice.run}"])


def _summary(report: Report) -> str:
    explained = [each for each in report.looked if each.plan is not None]
    looked = f"{len(report.looked)} {'list was' if len(report.looked) == 1 else 'lists were'} looked at"
    looked += f", {len(explained)} of them explained"
    if not report.advice:
        return f"Nothing to advise: {looked}."
    count = len(report.advice)
    return f"{count} {'pieces' if count > 1 else 'piece'} of advice: {looked}."

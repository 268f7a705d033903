"""`pegboard check`: is everything right with config.toml and the plugins? Opens nothing."""

from __future__ import annotations

import click

from service.chosen import Chosen
from service.cli.options import json_option, reads_config
from service.cli.printing import print_json
from service.errors import SettingsError, StartError
from service.loader import Loaded

NOT_LOOKED_AT = (
    "Not looked at: whether the tables, columns and routes that settings name are there; pegboard routes does."
)


@click.command(short_help="Check settings and plugins; opens nothing.")
@reads_config
@click.option("--all", "with_off", is_flag=True, help="Also check the tables of plugins that are off.")
@json_option
def check(chosen: Chosen, *, with_off: bool, as_json: bool) -> int:
    """Check the settings and load the plugins, without opening anything.

    Everything that is wrong comes in one report, each fault with the line to write; the exit code is then 78. What
    only a database can say, such as whether a table or a route is there, is found at the start.

    \b
    Example:
      pegboard check
      pegboard check --env production --all
    """
    try:
        loaded = chosen.load(with_off=with_off)
    except StartError as error:
        if not as_json:
            raise
        reports = str(error).split("\n\n") if isinstance(error, SettingsError) else [str(error)]
        print_json({"ok": False, "faults": [report for report in reports if not report.endswith(" faults.")]})
        return error.exit_code
    if as_json:
        print_json(
            {
                "ok": True,
                "config": str(loaded.settings.config_path),
                "environment": loaded.settings.environment,
                "plugins": [plugged.name for plugged in loaded.plugins],
                "warnings": list(loaded.settings.warnings),
            }
        )
        return 0
    for warning in loaded.settings.warnings:
        click.echo(warning, err=True)
    click.echo(summary(loaded))
    if loaded.plugins:
        click.echo(NOT_LOOKED_AT, err=True)
    return 0


def summary(loaded: Loaded) -> str:
    """`ok: config.toml in environment development, 4 plugins on: database, resources, health, logs`"""
    names = [plugged.name for plugged in loaded.plugins]
    count = "1 plugin" if len(names) == 1 else f"{len(names)} plugins"
    on = f"{count} on: {', '.join(names)}" if names else "no plugin on"
    return f"ok: {loaded.settings.config_path} in environment {loaded.settings.environment}, {on}"

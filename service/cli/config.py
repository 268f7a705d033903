"""`pegboard config`: what the settings come to, what differs between two environments, a schema for editors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from service.chosen import Chosen
from service.cli.options import config_option, json_option, reads_config, set_option
from service.cli.printing import print_json, print_table
from service.errors import StartError
from service.settings import PluginSettings, Settings, diff, json_schema
from service.sources import find_sources

ABSENT = "(not there)"


@click.group()
def config() -> None:
    """Explain the settings: show, diff, schema.

    \b
    Example:
      pegboard config show --origins
    """


@config.command()
@reads_config
@click.option("--origins", is_flag=True, help="Also say which layer and line set each value.")
@json_option
def show(chosen: Chosen, *, origins: bool, as_json: bool) -> None:
    """Print every effective value, then what is wrong, if anything is. Secrets are ***.

    \b
    Example:
      pegboard config show
      pegboard config show --env production --origins
    """
    settings = chosen.settings()
    faults = bound(settings, chosen)
    rows = settings.effective()
    if as_json:
        print_json([asdict(row) for row in rows])
    elif origins:
        print_table(("setting", "value", "set by"), [(row.path, row.value, row.origin) for row in rows])
    else:
        for row in rows:
            click.echo(f"{row.path} = {row.value}")
    if faults is not None:
        raise faults


@config.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@config_option
@set_option
@json_option
def show_difference(first: str, second: str, config: Path, overrides: tuple[str, ...], *, as_json: bool) -> None:
    """Print the values that environments A and B do not share.

    \b
    Example:
      pegboard config diff development production
    """
    sides = [Chosen(config, name, overrides) for name in (first, second)]
    left, right = [side.settings() for side in sides]
    faults = [bound(left, sides[0]), bound(right, sides[1])]
    if any(faults):  # the secrets of production need not be here
        click.echo("Compared as written: `pegboard check --env NAME` says what is wrong with each.", err=True)
        left.unbind()
        right.unbind()
    rows = diff(left, right)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    if rows:
        print_table(("setting", first, second), [(row.path, row.first or ABSENT, row.second or ABSENT) for row in rows])
    else:
        click.echo(f"{first} and {second} are the same", err=True)


@config.command()
@reads_config
def schema(chosen: Chosen) -> None:
    """Print a JSON Schema of the whole file, for editors; plugins that are off included.

    \b
    Example:
      pegboard config schema > config.schema.json
    """
    models: dict[str, type[PluginSettings]] = {}
    routes: dict[str, type[PluginSettings]] = {}
    for name, source in find_sources(chosen.settings()).items():
        try:
            module = source.load()
        except Exception as error:
            click.echo(f"plugin {name} is left out: it cannot be imported ({type(error).__name__}).", err=True)
            continue
        models[name] = getattr(module, "Settings", PluginSettings)
        if (route_model := getattr(module, "RouteSettings", None)) is not None:
            routes[name] = route_model
    print_json(json_schema(models, routes=routes))


def bound(settings: Settings, chosen: Chosen) -> StartError | None:
    """Load the plugins, so that their defaults are known; returns what is wrong, without raising it."""
    try:
        chosen.load(settings)
    except StartError as error:
        return error
    return None

"""`pegboard plugins`: what is on, what could be, where each comes from, and what it gives and takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

from service.chosen import Chosen
from service.cli.options import json_option, reads_config
from service.cli.printing import print_json, print_table
from service.loader import Loaded
from service.settings import Settings
from service.sources import find_sources


@dataclass(frozen=True, slots=True)
class Row:
    """One plugin, as it is shown."""

    name: str
    on: bool
    source: str
    """Where its code is."""
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    turn_on: str = ""
    """The lines to write; empty for one that is on."""


@click.command(short_help="List plugins, those that are off too.")
@reads_config
@json_option
def plugins(chosen: Chosen, *, as_json: bool) -> None:
    """List the plugins: on or off, where they come from, what they provide and require.

    One that is off is not imported, so that what it provides is not known; the line to turn it on is printed instead.

    \b
    Example:
      pegboard plugins
      pegboard plugins --env production --json
    """
    loaded = chosen.load()
    rows = [*_on(loaded), *_off(loaded.settings)]
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    head = ("plugin", "", "from", "provides and requires, or the line to write")
    print_table(head, [(row.name, "on" if row.on else "off", row.source, _exchange(row)) for row in rows])


def _on(loaded: Loaded) -> Iterator[Row]:
    for plugged in loaded.plugins:
        provides, requires, uses = (
            tuple([key.name for key in getattr(plugged.plugin, kind, ())]) for kind in ("provides", "requires", "uses")
        )
        yield Row(plugged.name, True, plugged.source.place, provides, requires, uses)


def _off(settings: Settings) -> Iterator[Row]:
    sources = find_sources(settings)
    used = {instance.use for instance in settings.instances}
    for instance in settings.instances:
        if not instance.enabled and instance.use in sources:
            line = f"[plugins.{instance.name}] enabled = true"
            yield Row(instance.name, False, sources[instance.use].place, turn_on=line)
    for name, source in sorted(sources.items()):
        if name not in used:
            yield Row(name, False, source.place, turn_on=f"[plugins.{name}] enabled = true")


def _exchange(row: Row) -> str:
    kinds = (("provides", row.provides), ("requires", row.requires), ("uses", row.uses))
    return row.turn_on or "; ".join([f"{kind} {', '.join(names)}" for kind, names in kinds if names])

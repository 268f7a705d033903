"""`pegboard routes`: what would be served, and in which order the steps stand around each route."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import asdict, dataclass

import click
import uvloop
from rich.text import Text

from service.chosen import Chosen
from service.cli.looking import opened, stdout_kept_clean
from service.cli.options import json_option, reads_config
from service.cli.printing import console, print_json, print_table
from service.loader import Loaded
from service.pipeline import Plan
from service.table import UNMATCHED

HANDLER = "handler"


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step as it is shown; the handler is the last."""

    slot: str
    kind: str
    function: str
    plugin: str
    """Empty where it cannot be told."""


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One route as it is shown."""

    method: str
    path: str
    name: str
    version: str
    plugin: str
    door: str
    summary: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    steps: tuple[StepRow, ...]


@click.command(short_help="List what would be served.")
@reads_config
@click.option("--steps", is_flag=True, help="Also print the steps around each route, from the outside in.")
@json_option
def routes(chosen: Chosen, *, steps: bool, as_json: bool) -> None:
    """List the routes that would be served. Opens the plugins, and no socket.

    \b
    Example:
      pegboard routes
      pegboard routes --steps
      pegboard routes --json | head
    """
    with stdout_kept_clean(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(_rows(chosen))
    if not steps:
        rows = [row for row in rows if row.name != UNMATCHED]
    if as_json:
        print_json([asdict(row) for row in rows])
    elif steps:
        for row in rows:
            _print_steps(row)
    else:
        head = ("method", "path", "name", "plugin", "door")
        print_table(head, [(row.method, row.path, row.name, row.plugin, row.door) for row in rows])


async def _rows(chosen: Chosen) -> list[RouteRow]:
    async with opened(chosen) as application:
        return [_row(plan, application.loaded) for plan in application.plans]


def _row(plan: Plan, loaded: Loaded) -> RouteRow:
    route = plan.route
    steps = [
        StepRow(step.slot.name, type(step).__name__.lower(), function_name(step.fn), plugin_of(step.fn, loaded))
        for step in plan.steps
    ]
    steps.append(StepRow(HANDLER, HANDLER, function_name(route.handler), route.plugin))
    return RouteRow(
        route.method,
        route.path,
        route.name,
        route.version,
        route.plugin,
        route.door.name,
        route.summary,
        route.reads,
        route.writes,
        tuple(steps),
    )


def function_name(fn: object) -> str:
    """`Plugin._refuse`, or the class of a callable object."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", type(fn).__qualname__))


def plugin_of(fn: object, loaded: Loaded) -> str:
    """The instance whose step `fn` is: a method of the plugin, or code of a module that a single instance uses."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    owner = getattr(fn, "__self__", fn)
    module = getattr(fn, "__module__", None) or type(fn).__module__
    of_module = []
    for plugged in loaded.plugins:
        home = type(plugged.plugin).__module__
        if owner is plugged.plugin:
            return plugged.name
        if module == home or module.startswith(f"{home}."):
            of_module.append(plugged.name)
    return of_module[0] if len(of_module) == 1 else ""


def _print_steps(row: RouteRow) -> None:
    out = console()
    out.print(Text.assemble((f"{row.method} {row.path}", "bold"), f"  {row.name} ({row.plugin})"))
    for step in row.steps:
        slot = "" if step.slot == HANDLER else step.slot
        by = f" ({step.plugin})" if step.plugin else ""
        out.print(Text(f"  {slot:<9}  {step.kind:<7}  {step.function}{by}"))

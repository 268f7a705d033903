"""`pegboard run`: start the service and say what was started."""

from __future__ import annotations

import click

from service.chosen import Chosen
from service.cli import BEGAN_S
from service.cli.options import reads_config
from service.spawning import Spawned
from service.watching import check_watcher


@click.command()
@reads_config
@click.option("--host", metavar="H", help="Address to listen on: service.host.")
@click.option("--port", metavar="P", type=click.IntRange(0, 65_535), help="Port to listen on: service.port; 0 is any.")
@click.option("--workers", metavar="N", help="Processes that serve: service.workers; auto is one for each processor.")
@click.option("--watch", is_flag=True, help="Reload when config.toml or the code of a plugin changes; for authors.")
def run(chosen: Chosen, host: str | None, port: int | None, workers: str | None, *, watch: bool) -> int:
    """Start the service, until Ctrl-C or SIGTERM.

    \b
    Example:
      pegboard run
      pegboard run --env production --port 8080 --workers auto
      pegboard run --watch
      pegboard run --set 'plugins.resources.tables=["*"]' --set plugins.logs.enabled=false
    """
    given = (("service.host", host), ("service.port", port), ("service.workers", workers))
    overrides = tuple([f"{path}={value}" for path, value in given if value is not None])
    chosen = Chosen(chosen.config, chosen.environment, (*chosen.overrides, *overrides))
    if watch:
        check_watcher()
    ahead = Spawned()  # it imports what it needs while we do

    from service.cli.serving import supervise

    return supervise(chosen, ahead, watch=watch, began_s=BEGAN_S)

"""`pegboard run`: start the service and say what was started."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping

import click

from service.app import Application
from service.cli import BEGAN_S
from service.cli.banner import print_banner
from service.cli.options import Chosen, reads_config
from service.loader import Loaded
from service.run import Tasks
from service.server import bind, work

log = logging.getLogger("pegboard")


@click.command()
@reads_config
@click.option("--host", metavar="H", help="Address to listen on: service.host.")
@click.option("--port", metavar="P", type=click.IntRange(0, 65_535), help="Port to listen on: service.port; 0 is any.")
def run(chosen: Chosen, host: str | None, port: int | None) -> int:
    """Start the service, until Ctrl-C or SIGTERM.

    \b
    Example:
      pegboard run
      pegboard run --env production --port 8080
      pegboard run --set 'plugins.resources.tables=["*"]' --set plugins.logs.enabled=false
    """
    log_to_stderr()
    given = (("service.host", host), ("service.port", port))
    overrides = tuple([f"{path}={value}" for path, value in given if value is not None])
    chosen = Chosen(chosen.config, chosen.environment, (*chosen.overrides, *overrides))
    tasks, told = Tasks(), Told()

    def load(household: Mapping[str, object]) -> Loaded:
        return chosen.load(tasks=tasks, say=told.say, household=household, serves=True)

    def listen(loaded: Loaded) -> socket.socket:
        return bind(loaded.settings.service.host, loaded.settings.service.port)

    def announce(application: Application, sock: socket.socket) -> None:
        print_banner(application, sock, told.until_now(), took_s=time.monotonic() - BEGAN_S)

    return work(load, tasks=tasks, listen=listen, announce=announce)


class Told:
    """What plugins tell the operator: printed with the start lines, logged from then on."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}  # plugins are made twice where one has a household
        self._announced = False

    def say(self, sentence: str) -> None:
        if self._announced:
            log.warning("%s", sentence)
        else:
            self._sentences.setdefault(sentence)

    def until_now(self) -> list[str]:
        self._announced = True
        return list(self._sentences)


def log_to_stderr() -> None:
    """Python's last resort, with the level and the name: it steps back once a plugin handles logging."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

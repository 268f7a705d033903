"""`pegboard reload`: a running service takes over the code and settings of now, without dropping a request."""

from __future__ import annotations

import click

from service.chosen import Chosen
from service.cli.options import reads_config
from service.control import ControlError, ask, control_folder, running, usual_folder
from service.errors import SettingsError


@click.command(short_help="Have the running service take over what has changed.")
@reads_config
@click.option("--pid", type=int, metavar="PID", help="Which service, where several run with this state_dir.")
def reload(chosen: Chosen, pid: int | None) -> None:
    """Start new workers with the settings and plugins of now; once they are ready, the old ones retire.

    No request is dropped. Where the new ones cannot start, the old ones serve on, and this says why and exits with 1.

    \b
    Example:
      pegboard reload
      pegboard reload --pid 4242
    """
    unread: SettingsError | None = None
    try:
        folder = control_folder(chosen.settings())
    except SettingsError as error:  # the service itself says what is wrong, if it is where services usually are
        folder, unread = usual_folder(chosen.config), error
    services = running(folder)
    if unread is not None and not services:
        raise unread
    if pid is None and len(services) > 1:
        pids = ", ".join(map(str, services))
        raise ControlError(f"several services run with this state_dir, processes {pids}: choose one with --pid.")
    sock = services.get(pid if pid is not None else next(iter(services), 0))
    if sock is None:
        raise ControlError("no service runs with this config.toml and its state_dir: start it with `pegboard run`.")
    reply = ask(sock, {"do": "reload"})
    if not reply.ok:
        raise ControlError(f"not reloaded, the service goes on as it was: {reply.text}")
    click.echo(reply.text)

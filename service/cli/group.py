"""The command line itself: which commands there are, ours and those of plugins.

A command of ours is imported when it is called. Plugins are loaded only for a command that is none of ours and for
`--help`: a faulty config.toml keeps nobody from asking for help, for the version, or for `init`.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterable
from typing import Final

import click

from service import __version__
from service.errors import PluginError

COMMANDS: Final = {
    "run": "service.cli.run:run",
    "reload": "service.cli.reload:reload",
    "check": "service.cli.check:check",
    "config": "service.cli.config:config",
    "plugin": "service.cli.plugin:plugin",
    "plugins": "service.cli.plugins:plugins",
    "routes": "service.cli.routes:routes",
    "doctor": "service.cli.doctor:doctor",
    "init": "service.cli.init:init",
}


class Pegboard(click.Group):
    """Our commands, in the order of `COMMANDS`, and those of plugins after them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(self.commands)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name].partition(":")
            command = getattr(importlib.import_module(module), attribute)
            return command if isinstance(command, click.Command) else None
        return self.commands.get(name)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if name not in COMMANDS and not name.startswith("-"):
            note = self.look_up_plugins()
            if name not in self.commands:
                unknown = click.NoSuchCommand(name, possibilities=self.list_commands(context))
                raise click.UsageError(f"{unknown.format_message()} {note}".rstrip(), context)
        return super().resolve_command(context, arguments)

    def format_help(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        note = self.look_up_plugins()
        super().format_help(context, formatter)
        if note:
            formatter.write_paragraph()
            formatter.write_text(note)

    def look_up_plugins(self) -> str:
        """Add the commands of plugins; returns what to tell where that fails, else nothing."""
        try:
            self.add_plugin_commands()
        except PluginError as error:  # from the hook itself, which `check` does not call
            return str(error)
        except (Exception, SystemExit):
            return "Commands of plugins cannot be looked up: `pegboard check` says why."
        return ""

    def add_plugin_commands(self) -> None:
        """Ask every plugin that is on. Raises StartError for faulty settings and for names that are taken."""
        from service.chosen import Chosen

        chosen = Chosen.usual()
        if not chosen.config.exists():
            return  # then there are no plugins either, and that is no fault
        for plugin, declare in chosen.load().hook("commands").items():
            group = click.Group()
            declare(group=group)
            _add(group.commands.items(), self, plugin)


def _add(commands: Iterable[tuple[str, click.Command]], group: click.Group, plugin: str) -> None:
    """Add them to `group`; where both have a group of one name, the commands in it."""
    for name, command in commands:
        there = group.commands.get(name)
        if isinstance(there, click.Group) and isinstance(command, click.Group):
            _add(command.commands.items(), there, plugin)
        elif there is not None or (isinstance(group, Pegboard) and name in COMMANDS):
            raise PluginError(f"plugin {plugin}: there is a command {name!r} already; call it {plugin}-{name}.")
        else:
            group.add_command(command, name)


@click.group(
    cls=Pegboard,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Where plugins add commands, these read PEGBOARD_CONFIG (config.toml) and PEGBOARD_ENV.",
)
@click.version_option(__version__, message=f"%(prog)s %(version)s (Python {platform.python_version()})")
def pegboard() -> None:
    """An async API server whose every concern is a plugin that one TOML file turns on or off.

    \b
    Example:
      pegboard init     # writes config.toml
      pegboard run      # serves what it says
    """

"""What every command that reads config.toml takes, and the settings and plugins that come of it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from service.app import process_run
from service.cli.init import DEFAULT_CONFIG
from service.loader import Loaded, load
from service.run import Tasks
from service.settings import Settings, read

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The file, the environment and the overrides that the operator chose."""

    config: Path
    environment: str | None = None
    overrides: tuple[str, ...] = ()
    """Each `PATH=VALUE`."""

    @classmethod
    def usual(cls) -> Chosen:
        """What is chosen where nothing is said."""
        return cls(Path(os.environ.get("PEGBOARD_CONFIG") or DEFAULT_CONFIG))

    def settings(self) -> Settings:
        """Raises SettingsError for a file that cannot be read at all; other faults wait for `load`."""
        return read(self.config, environment=self.environment, overrides=self.overrides, environ=os.environ)

    def load(
        self,
        settings: Settings | None = None,
        *,
        tasks: Tasks | None = None,
        say: Callable[[str], None] = lambda sentence: None,
        household: Mapping[str, object] | None = None,
        with_off: bool = False,
        serves: bool = False,
    ) -> Loaded:
        """The plugins, made and not opened. Raises SettingsError with every fault."""
        settings = settings or self.settings()
        run = process_run(settings, tasks=tasks or Tasks(), say=say, serves=serves)
        return load(settings, run, household=household, with_off=with_off)


def reads_config(command: Callable[Concatenate[Chosen, P], R]) -> Callable[..., R]:
    """Give a command `--config`, `--env` and `--set`; it gets what they choose as its first argument."""

    @config_option
    @click.option("--env", "environment", metavar="NAME", help="Environment: a table [env.NAME].  [env: PEGBOARD_ENV]")
    @set_option
    @functools.wraps(command)
    def with_options(
        config: Path, environment: str | None, overrides: tuple[str, ...], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return command(Chosen(config, environment, overrides), *args, **kwargs)

    return with_options


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),  # what is wrong with the file is told by who reads it
    metavar="FILE",
    default=DEFAULT_CONFIG,
    envvar="PEGBOARD_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The settings.",
)
set_option = click.option(
    "--set",
    "overrides",
    metavar="PATH=VALUE",
    multiple=True,
    help="One setting for this time, such as plugins.logs.level=debug; repeatable.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON on standard output.")

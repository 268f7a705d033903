"""What every command that reads config.toml takes: --config, --env, --set, --json."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from service.chosen import DEFAULT_CONFIG, Chosen

P = ParamSpec("P")
R = TypeVar("R")


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

"""`pegboard init`: write a config.toml to begin with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from service.chosen import DEFAULT_CONFIG
from service.cli.exits import CannotWrite


@click.command()
def init() -> None:
    """Write config.toml into this folder; never over one.

    \b
    Example:
      pegboard init
    """
    content = files("service").joinpath(DEFAULT_CONFIG).read_bytes()
    path = Path(DEFAULT_CONFIG)
    try:
        with path.open("xb") as stream:
            stream.write(content)
    except FileExistsError:
        raise CannotWrite(
            f"there is a {path} here already, which stays as it is; move it away, or go to another folder."
        ) from None
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written here ({error.strerror}); go to a folder that is yours.") from None
    click.echo(f"{path} is written: every setting has a comment. Next: pegboard run")

"""The command `pegboard`, a command a file: run, reload, check, config, plugin, plugins, routes, doctor, init.

`group.py` finds the command, those of plugins too; `options.py` is what all that read config.toml share;
`exits.py` says which exit code means what. `python -m service` is the same command.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Final

BEGAN_S: Final = time.monotonic()
"""When the command began: the interpreter is there, and nothing of ours is imported yet."""

INTERRUPTED: Final = 130
"""128 + SIGINT, which is what a shell expects."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` unless told); returns the exit code. Prints one sentence, never raises."""
    open_standard_streams()
    try:
        from service.cli.exits import guarded  # inside: importing takes long enough for a Ctrl-C to meet it
        from service.cli.group import pegboard

        return guarded(pegboard, sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def open_standard_streams() -> None:
    """Give those that the caller has closed a place to go: else the first socket would take the number of one, and
    what is printed would be sent to it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free

"""How a command ends: one sentence on standard error, and an exit code.

    0    done; a service that was asked to end and has ended
    1    `reload` was refused: what would have served could not start; `doctor` has found something that fails
    2    the command line is wrong: an unknown command or option
    69   the address cannot be listened on, or what a plugin needs does not answer: later it may
    70   a fault of Pegboard's own, the only one with a traceback
    73   a file cannot be written
    74   standard output cannot be written: the disk is full, or who read it has gone
    78   a mistake in config.toml or in a plugin, with the line to write
    130  Ctrl-C before it was done; 128 + the signal where a second one cut the end short

Source: sysexits.h; 2 is the shell's own. An error's code stands on it: `StartError.exit_code`.
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress

import click

from service.errors import SettingsError, StartError

NAME = "pegboard"

STDOUT = 1

UNWRITABLE = frozenset({errno.EIO, errno.ENOSPC, errno.EPIPE, errno.EDQUOT})
"""What writing to standard output fails with."""


class CannotWrite(StartError):
    """A file cannot be written."""

    exit_code = os.EX_CANTCREAT


def guarded(command: click.Command, arguments: Sequence[str]) -> int:
    """Run `command`; returns the exit code and raises KeyboardInterrupt only."""
    try:
        code = command.main(list(arguments), prog_name=NAME, standalone_mode=False)
    except click.Abort:  # what click makes of Ctrl-C
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SettingsError as error:  # begins with its place, as a compiler's message does
        click.echo(str(error), err=True)
        return error.exit_code
    except StartError as error:
        click.echo(f"{NAME}: {error}", err=True)
        return error.exit_code
    except OSError as error:
        if error.errno not in UNWRITABLE:
            return _own_fault()
        with open(os.devnull, "wb") as nowhere:  # what is buffered still would fail again at the interpreter's end
            os.dup2(nowhere.fileno(), STDOUT)
        with suppress(OSError):  # standard error may be as full
            click.echo(f"{NAME}: the output cannot be written ({error.strerror}); send it elsewhere.", err=True)
        return os.EX_IOERR
    except Exception:
        return _own_fault()
    return code if isinstance(code, int) else os.EX_OK


def _own_fault() -> int:
    """Tell what is being handled, with its traceback."""
    traceback.print_exc()
    click.echo(f"{NAME}: this is a fault of Pegboard's own: please report it with the lines above.", err=True)
    return os.EX_SOFTWARE

"""Starts a worker: a fresh process, so that nothing of an older generation's code is in it.

Light on purpose: `pegboard run` starts its first worker before anything else is imported.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from service.chosen import Chosen
from service.errors import StartError

BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); import service; del sys.path[0]; "
    "from service.worker import main; main(*sys.argv[2:])"
)
"""Imports this very package, wherever it is, whatever else is called `service` in the working directory."""


SUPERVISORS: Final = frozenset({signal.SIGINT, signal.SIGHUP})
"""Signals of a terminal, which reach a whole process group and are for the supervisor alone."""


class Spawned:
    """A worker's process, and our end of the channel to it."""

    def __init__(self, chosen: Chosen) -> None:
        """Start it: it loads what `chosen` says and then waits to be told more."""
        self.sock, theirs = socket.socketpair()
        root = Path(__file__).resolve().parent.parent
        errand = json.dumps([str(chosen.config), chosen.environment, chosen.overrides])
        command = [sys.executable, "-P", "-c", BOOT, str(root), str(theirs.fileno()), errand]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SUPERVISORS)  # until the worker ignores them
        try:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])  # noqa: S603 (this very program)
        except OSError as error:
            self.sock.close()
            raise StartError(
                f"no worker can be started ({error.strerror}): raise the limits of open files and processes (ulimit "
                "-n, -u), or free some memory."
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it at once; one that has ended already is left alone."""
        self._process.kill()

    def wait(self) -> int:
        """Blocks until it has ended. Returns its exit code, or the signal that ended it as a negative number."""
        return self._process.wait()

    def dismiss(self) -> None:
        """End a worker that has not been told anything yet."""
        self.kill()
        self.wait()
        self.sock.close()

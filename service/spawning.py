"""Starts a worker: a fresh process, so that nothing of an older generation's code is in it.

Light on purpose: `pegboard run` starts its first worker before anything else is imported.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
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

    def __init__(self, chosen: Chosen | None = None) -> None:
        """Start it: it imports what a worker needs, loads what is chosen, now or by `choose`, and waits to be told
        more."""
        with ExitStack() as ours, ExitStack() as theirs:
            try:
                self.sock, sock = socket.socketpair()
                ours.callback(self.sock.close)
                theirs.callback(sock.close)
                errand, writing = os.pipe()
                ours.callback(os.close, writing)
                theirs.callback(os.close, errand)
                blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SUPERVISORS)  # until the worker ignores them
                theirs.callback(signal.pthread_sigmask, signal.SIG_SETMASK, blocked)
                root = Path(__file__).resolve().parent.parent
                handed = (sock.fileno(), errand)
                command = [sys.executable, "-P", "-c", BOOT, str(root), *map(str, handed)]
                self._process = subprocess.Popen(command, pass_fds=handed)  # noqa: S603 (this very program)
            except OSError as error:
                raise StartError(
                    f"no worker can be started ({error.strerror}): raise the limits of open files and processes "
                    "(ulimit -n, -u), or free some memory."
                ) from error
            ours.pop_all()
        self._errand: int | None = writing
        if chosen is not None:
            self.choose(chosen)

    def choose(self, chosen: Chosen) -> None:
        """Say, once, what it loads. Secrets may be in that, so it goes through a pipe: a command line is for everyone
        to read, and a file stays."""
        descriptor, self._errand = self._errand, None
        errand = chosen.to_json().encode()
        Thread(target=_write, args=(descriptor, errand), name="errand", daemon=True).start()  # a pipe holds 64 KiB

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
        if self._errand is not None:
            os.close(self._errand)


def _write(descriptor: int, errand: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as stream:  # unless the worker has gone
        stream.write(errand)

"""Where lines go: a bounded queue in memory, and one thread that writes it to a file descriptor in batches.

The event loop only ever appends. A pipe that nobody reads, a full disk or a reader that has gone stops the thread,
never a request; what does not fit meanwhile is counted, and said once writing works again.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from threading import Event, RLock, Thread

QUEUE_BYTES = 4 * 1024 * 1024
"""Lines that wait for the writer; more are lost (chosen: over a second of a busy worker)."""

BATCH_S = 0.1
"""How long a line may wait for others to be written with (chosen: nobody who watches will notice)."""

CLOSE_WITHIN_S = 2.0
"""How long the end of the service waits for the last lines to be taken (chosen)."""


class Sink:
    """Takes lines from any thread; `open` starts the writer, `close` writes what is left."""

    def __init__(self, fd: int, *, say_lost: Callable[[int], bytes], queue_bytes: int = QUEUE_BYTES) -> None:
        """`say_lost(count)` renders the line that tells how many lines were lost. `fd` stays the caller's to close."""
        self._fd = fd
        self._say_lost = say_lost
        self._queue_bytes = queue_bytes
        self._lock = RLock()  # a collected object may log from inside `put`
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._lost_count = 0
        self._roused = False
        self._rouse = Event()
        self._closing = Event()
        self._torn = False
        self._writer = Thread(target=self._run, name="pegboard-logs", daemon=True)  # a stuck write must not hold exit

    def open(self) -> None:
        self._writer.start()

    def put(self, line: bytes) -> None:
        """Queue `line`, which ends with a line feed. Never waits; over the queue's bound it is counted as lost."""
        with self._lock:
            if self._waiting_bytes + len(line) > self._queue_bytes:
                self._lost_count += 1
                return
            self._lines.append(line)
            self._waiting_bytes += len(line)
            if not self._roused:
                self._roused = True
                self._rouse.set()

    def close(self) -> None:
        """Write what is queued and end the writer; returns after `CLOSE_WITHIN_S` seconds at the latest."""
        self._closing.set()
        self._rouse.set()
        self._writer.join(CLOSE_WITHIN_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._rouse.wait()
            self._closing.wait(BATCH_S)
            self._write_queued()
        self._write_queued()

    def _write_queued(self) -> None:
        with self._lock:
            self._rouse.clear()
            self._roused = False
            lines, self._lines = self._lines, []
            self._waiting_bytes = 0
            lost_count, self._lost_count = self._lost_count, 0
        lost_count += self._write(b"".join(lines))
        if lost_count and self._write(self._say_lost(lost_count)):
            with self._lock:
                self._lost_count += lost_count

    def _write(self, data: bytes) -> int:
        """Write all of `data`; returns how many of its lines were lost because the descriptor failed."""
        if not data:
            return 0
        rest = memoryview(b"\n" + data if self._torn else data)  # what broke off stays a line of its own
        while rest:
            try:
                written = os.write(self._fd, rest)
            except BlockingIOError:  # someone who shares the descriptor made it non-blocking
                self._wait_writable()
                continue
            except OSError:
                return bytes(rest).count(b"\n") - (len(rest) > len(data))
            self._torn = rest[written - 1] != ord("\n")
            rest = rest[written:]
        return 0

    def _wait_writable(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll()

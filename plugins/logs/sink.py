"""Where lines go: a bounded queue in memory, and one thread that writes it to a file descriptor in batches.

The event loop only ever appends, exchanges as they are: the thread renders many in a row, which costs a third of
rendering each among the steps of requests (measured; caches are warm then). A pipe that nobody reads, a full disk or a
reader that has gone stops the thread, never a request; what does not fit meanwhile is counted, and said once writing
works again.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque
from collections.abc import Callable
from threading import Event, RLock, Thread

from service.api import Exchange

QUEUE_BYTES = 4 * 1024 * 1024
"""Lines that wait for the writer; more are lost (chosen: over a second of a busy worker)."""

UNRENDERED_COUNT = 512
"""Exchanges that wait as they are, with the headers of their requests; more are rendered at once (chosen)."""

BATCH_S = 0.01
"""How long a line may wait for others to be written with (measured: lines kept for 0.1 s instead cost a busy worker
6 us a request, because each then lies in memory that no cache holds)."""

CLOSE_WITHIN_S = 2.0
"""How long the end of the service waits for the last lines to be taken (chosen)."""


class Sink:
    """Takes lines from any thread; `open` starts the writer, `close` writes what is left."""

    def __init__(
        self,
        fd: int,
        *,
        render: Callable[[Exchange], bytes],
        say_lost: Callable[[int], bytes],
        say_broken: Callable[[str], None] = lambda reason: None,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        """`render` makes the line of an exchange, `say_lost(count)` the one that tells how many were lost, and
        `say_broken(reason)` is called once when writing begins to fail; all on any thread. `fd` stays the caller's to
        close."""
        self._fd = fd
        self._render = render
        self._say_lost = say_lost
        self._say_broken = say_broken
        self._is_broken = False
        self._queue_bytes = queue_bytes
        self._lock = RLock()  # a collected object may log from inside `put`
        self._queue: deque[Exchange | bytes] = deque()
        self._waiting_bytes = 0
        self._lost_count = 0
        self._roused = False
        self._rouse = Event()
        self._closing = Event()
        self._torn = False
        self._is_shared_stream = False
        self._writer = Thread(target=self._run, name="pegboard-logs", daemon=True)  # a stuck write must not hold exit

    def open(self) -> None:
        mode = os.fstat(self._fd).st_mode
        self._is_shared_stream = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self._writer.start()

    def put(self, line: bytes) -> None:
        """Queue `line`, which ends with a line feed. Never waits; over the queue's bound it is counted as lost."""
        with self._lock:
            if self._waiting_bytes + len(line) > self._queue_bytes:
                self._lost_count += 1
                return
            self._queue.append(line)
            self._waiting_bytes += len(line)
        if not self._roused:
            self._rouse_writer()

    def put_exchange(self, exchange: Exchange) -> None:
        """Queue the line of `exchange`, which is rendered later, unless it holds on to a crash or many wait already."""
        if exchange.failure is not None or len(self._queue) >= UNRENDERED_COUNT:
            self.put(self._rendered(exchange))
            return
        self._queue.append(exchange)
        if not self._roused:
            self._rouse_writer()

    def _rouse_writer(self) -> None:
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
        self._rouse.clear()
        self._roused = False  # before the queue is emptied: who comes later rouses again
        entries = [self._queue.popleft() for _ in range(len(self._queue))]
        data = b"".join(map(self._rendered, entries))
        with self._lock:
            self._waiting_bytes -= sum(len(entry) for entry in entries if isinstance(entry, bytes))
            lost_count, self._lost_count = self._lost_count, 0
        lost_count += self._write(data)
        if lost_count and self._write(self._say_lost(lost_count)):
            with self._lock:
                self._lost_count += lost_count

    def _rendered(self, entry: Exchange | bytes) -> bytes:
        if isinstance(entry, bytes):
            return entry
        try:
            return self._render(entry)
        except Exception:  # a plugin put something into it that is no text; the others must still be written
            with self._lock:
                self._lost_count += 1
            return b""

    def _write(self, data: bytes) -> int:
        """Write all of `data`; returns how many of its lines were lost because the descriptor failed."""
        if not data:
            return 0
        rest = memoryview(b"\n" + data if self._torn else data)  # what broke off stays a line of its own
        while rest:
            try:
                written = os.write(self._fd, self._piece(rest))
            except BlockingIOError:  # someone who shares the descriptor made it non-blocking
                self._wait_writable()
                continue
            except OSError as error:
                if not self._is_broken:
                    self._is_broken = True
                    self._say_broken(error.strerror or "")
                return bytes(rest).count(b"\n") - (len(rest) > len(data))
            self._is_broken = False
            self._torn = rest[written - 1] != ord("\n")
            rest = rest[written:]
        return 0

    def _piece(self, rest: memoryview) -> memoryview:
        """What is written at once. Other workers write too: into a pipe, whole lines that the kernel does not divide
        (pipe(7), PIPE_BUF)."""
        if not self._is_shared_stream or len(rest) <= select.PIPE_BUF:
            return rest
        end = bytes(rest[: select.PIPE_BUF]).rfind(b"\n") + 1
        return rest[: end or select.PIPE_BUF]

    def _wait_writable(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll()

"""A generation: so many workers that run one state of code and settings, as the supervisor sees them.

`open` has all of them ready or none; `serve` lets them begin; one that dies is replaced until the generation ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from itertools import count
from threading import Thread
from typing import Final

from service.channel import Ask, Channel, End, Failed, Message, Ready, Record, Retire, Serve, Start, Told
from service.chosen import Chosen
from service.errors import SettingsError, StartError
from service.listening import Listeners
from service.settings import ServiceSettings
from service.spawning import Spawned

STEADY_S: Final = 10.0
"""A worker that dies sooner than this after it was ready has crashed again (chosen)."""

LONGEST_PAUSE_S: Final = 30.0
"""Between two tries to replace what keeps crashing: 0, 1, 2, 4 seconds and so on, up to this (chosen)."""

LAST_MESSAGES_S: Final = 0.5
"""How long what a worker said last may be on its way once its process has ended (chosen)."""

CRASH_LOOP_COUNT: Final = 3
"""Crashes in a row that are called a crash loop (chosen)."""

Tell = Callable[[int, str], None]
"""Tell the operator a sentence, at a level of `logging`."""


class WorkerFailed(StartError):
    """A worker could not be started."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class WorkerProcess:
    """One worker, as its supervisor sees it."""

    def __init__(self, spawned: Spawned, *, heard: Callable[[Message], None]) -> None:
        """`heard` gets what it says while it serves. Needs a running loop."""
        loop = asyncio.get_running_loop()
        self.pid = spawned.pid
        self.ready: asyncio.Future[Ready] = loop.create_future()
        """What it has opened; WorkerFailed or SettingsError where it could not."""
        self.ended: asyncio.Future[int] = loop.create_future()
        """Its exit code; negative is the signal that ended it."""
        self._loop = loop
        self._spawned = spawned
        self._heard = heard
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[Told]] = {}
        self._code: int | None = None
        self._has_said_all = False
        Thread(target=self._reap, name="reaping a worker", daemon=True).start()
        self._channel = Channel(spawned.sock, receive=lambda message, _: self._receive(message), lost=self._lost)

    def send(self, message: Message) -> bool:
        return self._channel.send(message)

    def serve(self, listeners: Listeners) -> None:
        self._channel.send(Serve(listeners.names), listeners.sockets)

    async def ask(self, question: str, within_s: float) -> Told:
        """What it tells to the question, or that it says nothing within so many seconds."""
        number = next(self._numbers)
        answer: asyncio.Future[Told] = self._loop.create_future()
        self._asked[number] = answer
        try:
            if self.send(Ask(number, question)):
                either: set[asyncio.Future[Told] | asyncio.Future[int]] = {answer, self.ended}
                await asyncio.wait(either, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            return Told(number, None, f"there is no answer to {question} within {within_s:g} s")
        finally:
            del self._asked[number]

    def kill(self) -> None:
        if not self.ended.done():
            self._spawned.kill()

    def _receive(self, message: Message) -> None:
        if isinstance(message, Ready):
            if not self.ready.done():  # nobody waits any more where the start was given up
                self.ready.set_result(message)
        elif isinstance(message, Failed):
            text, code = message.text, message.exit_code
            self._fail(SettingsError(text) if message.is_report else WorkerFailed(text, code))
        elif isinstance(message, Told):
            if (answer := self._asked.get(message.number)) is not None:  # else nobody waits for it any more
                answer.set_result(message)
        else:
            self._heard(message)

    def _lost(self) -> None:
        self._has_said_all = True
        if self._code is not None:
            self._end(self._code)

    def _reap(self) -> None:
        """In a thread: its process is what ends, whoever else may hold its end of the channel."""
        code = self._spawned.wait()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._reaped, code)

    def _reaped(self, code: int) -> None:
        self._code = code
        self._loop.call_later(0 if self._has_said_all else LAST_MESSAGES_S, self._end, code)

    def _end(self, code: int) -> None:
        if self.ended.done():
            return
        text = f"the worker {how_it_ended(code)} before it was ready; see what it printed."
        self._fail(WorkerFailed(text, os.EX_SOFTWARE))
        self._channel.close()
        self.ended.set_result(code)

    def _fail(self, error: StartError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # seen: whoever waits hears of it, and nobody need


class Generation:
    """`count` workers of one state of code and settings."""

    def __init__(
        self,
        chosen: Chosen,
        count: int,
        *,
        service: ServiceSettings,
        listeners: Listeners,
        household: Mapping[str, object],
        heard: Callable[[Message], None],
        tell: Tell,
        spawn: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
    ) -> None:
        """`spawn` runs what looks after the workers."""
        self.service = service
        self.listeners = listeners
        self.workers: set[WorkerProcess] = set()
        self._chosen = chosen
        self._count = count
        self._household = household
        self._heard = heard
        self._tell = tell
        self._spawn = spawn
        self._is_ending = False
        self._crash_count = 0

    async def open(self, ahead: Spawned | None = None, *, within_s: float | None = None) -> Ready:
        """Start all workers, `ahead` being one of them; returns what one of them has opened. Raises StartError where
        one fails, or where they are not ready within so many seconds; ending the others is the caller's."""
        first = self._begin(ahead or Spawned(self._chosen))
        others = [self._begin(Spawned(self._chosen)) for _ in range(self._count - 1)]
        ready = await _ready([first, *others], within_s)
        if gone := [worker for worker in (first, *others) if worker.ended.done()]:
            how = how_it_ended(gone[0].ended.result())
            raise WorkerFailed(
                f"worker {gone[0].pid} {how} before all were ready; see what it printed.", os.EX_SOFTWARE
            )
        return ready[0]

    def serve(self) -> None:
        """Let them serve, and look after them from now on."""
        for worker in self.workers:
            self._employ(worker)

    def retire(self, within_s: float, *, kept: Sequence[str]) -> None:
        """Let running requests finish within so many seconds: a newer generation serves, which has the listeners `kept`
        too."""
        self._is_ending = True
        for worker in self.workers:
            worker.send(Retire(within_s, kept))

    def end(self, *, drain: bool) -> None:
        """End them with the service, in good order; those that retire go on as they were told."""
        if not self._is_ending:
            self._is_ending = True
            for worker in self.workers:
                worker.send(End(drain))

    def urge(self) -> None:
        """End at once."""
        for worker in self.workers:
            worker.send(End(drain=False, at_once=True))

    def kill(self) -> tuple[WorkerProcess, ...]:
        """Kill those that are left; returns them."""
        for worker in self.workers:
            worker.kill()
        return tuple(self.workers)

    async def ended(self) -> None:
        """Returns once every worker has ended."""
        while self.workers:
            await asyncio.wait([worker.ended for worker in self.workers])
            await asyncio.sleep(0)

    def record(self, level: int, sentence: str) -> bool:
        """Have a worker write it into the log; False where none could."""
        return any(worker.ready.done() and worker.send(Record(level, sentence)) for worker in tuple(self.workers))

    async def ask(self, question: str, within_s: float) -> dict[int, Told]:
        """What each worker that is ready tells to the question, by process id."""
        asked = [worker for worker in self.workers if worker.ready.done()]
        told = await asyncio.gather(*[worker.ask(question, within_s) for worker in asked])
        return {worker.pid: each for worker, each in zip(asked, told, strict=True)}

    def _begin(self, spawned: Spawned) -> WorkerProcess:
        worker = WorkerProcess(spawned, heard=self._heard)
        self.workers.add(worker)
        worker.ended.add_done_callback(lambda _: self.workers.discard(worker))
        worker.send(Start(self._household))
        return worker

    def _employ(self, worker: WorkerProcess) -> None:
        worker.serve(self.listeners)
        self._spawn(self._look_after(worker))

    async def _look_after(self, worker: WorkerProcess) -> None:
        """Wait for its end; where that was not asked for, put another in its place."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        code = await worker.ended
        if self._is_ending:
            return
        self._crash_count = self._crash_count + 1 if loop.time() - began_s < STEADY_S else 1
        reason = f"worker {worker.pid} {how_it_ended(code)}"
        while not self._is_ending:
            pause_s = min(2.0 ** (self._crash_count - 2), LONGEST_PAUSE_S) if self._crash_count > 1 else 0.0
            self._tell(logging.ERROR, f"{reason}; {self._prospect(pause_s)}.")
            await asyncio.sleep(pause_s)
            if self._is_ending:
                return
            successor: WorkerProcess | None = None
            try:
                successor = self._begin(Spawned(self._chosen))
                await _ready([successor], self.service.timeouts.reload.seconds)
            except StartError as error:
                if successor is not None:
                    successor.kill()
                    await successor.ended
                self._crash_count += 1
                reason = f"a worker in the place of worker {worker.pid} could not be started: {error}".rstrip(".")
                continue
            if self._is_ending:
                return  # it has been told to end like the others
            self._tell(logging.INFO, f"worker {successor.pid} serves in the place of worker {worker.pid}.")
            self._employ(successor)
            return

    def _prospect(self, pause_s: float) -> str:
        if not pause_s:
            return "another one is started in its place"
        loop = "workers keep crashing, " if self._crash_count >= CRASH_LOOP_COUNT else ""
        return f"{loop}{self._crash_count} times in a row now: the next one is started in {pause_s:g} s"


async def _ready(workers: Sequence[WorkerProcess], within_s: float | None) -> list[Ready]:
    """What each has opened. Raises StartError where one cannot, or where one takes longer (None: it may)."""
    try:
        async with asyncio.timeout(within_s):
            return await asyncio.gather(*[worker.ready for worker in workers])
    except TimeoutError:
        raise WorkerFailed(
            f"a worker was not ready within {within_s:g} s; see in the log what it waits for, or give it longer: "
            'reload = "5m" under [service.timeouts].',
            os.EX_UNAVAILABLE,
        ) from None


def how_it_ended(code: int) -> str:
    """`was ended by SIGKILL`, `ended with exit code 70`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"

"""The supervisor: what outlives a worker. Households, listening sockets, generations of workers, signals, reload.

    households entered → sockets bound → a generation ready → listening … → workers ended → households left

SIGTERM   readiness fails → `drain` → running requests finish within `shutdown` → exit 0; SIGINT: without `drain`
again     ends at once
SIGHUP    reload: a new generation must be ready before the old one retires; one that fails changes nothing

A worker that dies is replaced; the workers of a supervisor that dies finish what runs and end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from service.app import household
from service.channel import End, Message, Ready, Reload, Told
from service.chosen import Chosen
from service.errors import StartError
from service.generation import Generation
from service.listening import Listeners, addresses
from service.notifying import READY, STOPPING, notify, reloading
from service.processors import worker_count
from service.questions import ANSWER_S
from service.run import Tasks
from service.server import CUT_S, Stop
from service.settings import Settings
from service.spawning import Spawned

log = logging.getLogger("pegboard")

OVERDUE_S: Final = 5.0
"""What workers get beyond their own deadlines before they are killed: their plugins close in it (chosen)."""

CALM_S: Final = 0.1
"""How long a reload that was asked for waits for others who ask: each worker hears of the same thing (chosen)."""

URGED_S: Final = 3 * CUT_S
"""The same where the operator has asked twice: handlers and plugins are cancelled, and threads awaited, in it."""


@dataclass(frozen=True, slots=True)
class Started:
    """A generation that serves, for whoever tells of it."""

    settings: Settings
    listeners: Listeners
    worker_count: int
    ready: Ready
    notes: tuple[str, ...]
    """What plugins and households had to say."""


class Supervisor:
    """One service. `run` is its life."""

    def __init__(self, chosen: Chosen, ahead: Spawned) -> None:
        """`ahead` is a worker that was started before anything else was imported. Takes over the signals of the
        running loop."""
        self._chosen = chosen
        self._ahead: Spawned | None = ahead
        self._tasks = Tasks()
        self._household: Mapping[str, object] = {}
        self._household_notes: dict[str, None] = {}
        self._generations: set[Generation] = set()
        self._current: Generation | None = None
        self._listeners = Listeners()
        self._notes: tuple[str, ...] = ()
        self._reloading = asyncio.Lock()
        self._is_reload_waiting = False
        self._signals: list[signal.Signals] = []
        self._stop = Stop()
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup
        self._has_terminal = has_terminal() and not is_ignored
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end_asked, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    async def run(self, accompany: Callable[[Started], Coroutine[object, object, None]]) -> int:
        """Start, serve until a signal, end. Returns the exit code: 0, or 128 + the signal that urged it.

        `accompany` runs beside the service once that serves, and is cancelled when it ends. Raises StartError.
        """
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._tasks.end)
                stack.callback(self._dismiss_ahead)
                loaded = self._chosen.load(tasks=self._tasks, say=self._say, serves=True)
                self._household = await stack.enter_async_context(household(loaded))
                stack.callback(lambda: self._listeners.remove_paths())
                stack.push_async_callback(self._end_everyone)
                started = await self._start(loaded.settings)
                with self._stop.patient():
                    companion = self._tasks.spawn(accompany(started), name="beside the service")
                    notify(READY)
                    await self._stop.asked.wait()
                    notify(STOPPING)
                    companion.cancel()
        except (asyncio.CancelledError, StartError):
            if not self._signals:
                raise
            # asked to end before it served, or urged while it ended: all is closed again
        return 128 + self._signals[1] if len(self._signals) > 1 else os.EX_OK

    async def reload(self) -> str:
        """Start a new generation and let the old one retire; returns what there is to tell. Raises StartError where
        there is none: then nothing has changed."""
        async with self._reloading:
            if self._stop.asked.is_set():
                raise StartError("the service is ending.")
            began_s = time.monotonic()
            old, known = self._current, self._notes
            notify(reloading())
            try:
                settings = self._chosen.settings()
                settings.raise_faults()
                started = await self._start(settings, within_s=settings.service.timeouts.reload.seconds)
            finally:
                notify(READY)
            if old is not None:
                self._tasks.spawn(self._retire(old, started.listeners), name="retiring workers")
            for note in started.notes:
                if note not in known:
                    self._tell(logging.WARNING, note)
            count = f"{started.worker_count} workers serve" if started.worker_count > 1 else "1 worker serves"
            sentence = f"Reloaded in {time.monotonic() - began_s:.2f} s: {count}."
            self._tell(logging.INFO, sentence)
            return sentence

    def addresses(self) -> list[str]:
        """Where it listens."""
        return [str(address) for address in self._listeners.addresses]

    async def ask(self, question: str) -> Mapping[int, Told]:
        """What the workers that serve tell to a question, by process id."""
        return await self._current.ask(question, ANSWER_S) if self._current is not None else {}

    # --- generations

    async def _start(self, settings: Settings, *, within_s: float | None = None) -> Started:
        """A new generation that serves. Raises StartError where it cannot, or is not ready in time; it is gone again
        then. A first start may take as long as it takes: its plugins have deadlines of their own."""
        service = settings.service
        listeners = self._listeners.change(addresses(service, settings.config_path.parent))
        generation = Generation(
            self._chosen,
            worker_count(service.workers),
            service=service,
            listeners=listeners,
            household=self._household,
            heard=self._heard,
            tell=self._tell,
            spawn=lambda looking: self._tasks.spawn(looking, name="looking after a worker"),
        )
        self._generations.add(generation)
        ahead, self._ahead = self._ahead, None
        try:
            ready = await generation.open(ahead, within_s=within_s)
            if self._stop.asked.is_set():
                raise StartError("the service is ending.")
            listeners.listen()
        except BaseException:
            await self._end([generation], within_s=0)
            listeners.remove_paths(but=self._listeners)
            listeners.close()
            raise
        generation.serve()
        old, self._listeners, self._current = self._listeners, listeners, generation
        old.remove_paths(but=listeners)
        old.close()
        self._notes = tuple(dict.fromkeys([*self._household_notes, *ready.notes]))
        return Started(settings, listeners, len(generation.workers), ready, self._notes)

    async def _retire(self, generation: Generation, newer: Listeners) -> None:
        """Let it finish what runs, as long as a handler may take."""
        timeouts = generation.service.timeouts
        within_s = max(timeouts.shutdown.seconds, timeouts.handler.seconds)
        generation.retire(within_s, others_listen=generation.listeners.are_where(newer))
        await self._await_end([generation], within_s=within_s + OVERDUE_S)

    async def _end_everyone(self) -> None:
        """The end of the service."""
        every = list(self._generations)
        for generation in every:
            generation.listeners.close()  # the last copies are the workers', who know what waits there
        timeouts = [generation.service.timeouts for generation in every]
        within_s = max([each.drain.seconds + each.shutdown.seconds for each in timeouts], default=0)
        await self._end(every, within_s=within_s)

    async def _end(self, generations: Sequence[Generation], *, within_s: float) -> None:
        drain = self._signals[:1] == [signal.SIGTERM]
        for generation in generations:
            generation.end(drain=drain)
        await self._await_end(generations, within_s=within_s + OVERDUE_S)

    async def _await_end(self, generations: Sequence[Generation], *, within_s: float) -> None:
        """Returns once every worker has ended; those that are overdue, or where the operator urges, are made to."""
        with self._stop.patient():
            ended = asyncio.gather(*[generation.ended() for generation in generations])
            await self._stop.wait_for(ended, within_s)
            if not ended.done():
                for generation in generations:
                    generation.urge()
                await asyncio.wait({ended}, timeout=URGED_S)
            if not ended.done():
                for generation in generations:
                    for worker in generation.kill():
                        log.error("Worker %d did not end, so it was killed.", worker.pid)  # it may be the last
            await ended
            self._generations.difference_update(generations)

    def _dismiss_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.dismiss()

    # --- what it hears, and what it tells

    def _end_asked(self, number: signal.Signals) -> None:
        self._signals.append(number)
        self._stop.ask(End(drain=number == signal.SIGTERM, at_once=len(self._signals) > 1))

    def _hung_up(self) -> None:
        if self._has_terminal and not has_terminal():
            self._end_asked(signal.SIGTERM)  # the terminal that it was started from has gone
        else:
            self.request_reload("SIGHUP")

    def _heard(self, message: Message) -> None:
        if isinstance(message, Reload):
            self.request_reload(message.reason)

    def request_reload(self, reason: str) -> None:
        """Reload soon, and tell what came of it; asked while another request waits, once."""
        if self._current is not None and not self._is_reload_waiting:
            self._is_reload_waiting = True
            self._tasks.spawn(self._reload_for(reason), name="reload")

    async def _reload_for(self, reason: str) -> None:
        await asyncio.sleep(CALM_S)
        async with self._reloading:  # until the one before has ended
            self._is_reload_waiting = False
        try:
            await self.reload()
        except StartError as error:
            if not self._stop.asked.is_set():
                self._tell(logging.ERROR, f"Not reloaded ({reason}), so the service goes on as it was: {error}")

    def _say(self, sentence: str) -> None:
        """What households have to say."""
        if self._current is None:
            self._household_notes.setdefault(sentence)
        else:
            self._tell(logging.WARNING, sentence)

    def _tell(self, level: int, sentence: str) -> None:
        """Into the log that a worker writes; where there is none, to standard error."""
        if self._current is None or not self._current.record(level, sentence):
            log.log(level, "%s", sentence)


def has_terminal() -> bool:
    """True where there is a terminal that can hang up."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True

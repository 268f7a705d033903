"""A worker: the process that serves. It is started by the supervisor and told by it what to load, and then, over a
channel, what to do.

    (errand) → load → (Start) → open → Ready → (Serve) → serve → (End, Retire, or the supervisor has gone) → close

SIGTERM to a worker alone ends it as a service would end; the supervisor puts another in its place. Ctrl-C and SIGHUP
reach the whole process group and are the supervisor's affair.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import uvloop

from service.app import Application, build
from service.channel import Ask, Channel, End, Failed, Message, Ready, Record, Reload, Retire, Serve, Start
from service.chosen import Chosen
from service.errors import PluginError, SettingsError, StartError
from service.listening import tls_context
from service.loader import Loaded
from service.parts import MountedRoute
from service.questions import Answering, told
from service.run import Tasks
from service.server import CUT_S, Listener, Stop, serve
from service.slots import Door
from service.sources import plugin_folders
from service.spawning import SUPERVISORS
from service.stderr import log_to_stderr
from service.table import UNMATCHED

log = logging.getLogger("pegboard")

COLLECT_AFTER: Final = 10_000
"""Objects made and kept before the garbage collector looks at the young ones (chosen: what requests in flight and log
lines in waiting hold stays below it, so that it looks where something really grows; measured: 1 to 2 us a request)."""

ORPHAN_S: Final = 60.0
"""How long a worker whose supervisor has gone may take to finish and close (chosen)."""

LISTED: Final = ".list"
"""How the name of a route that takes `limit` ends: `users.list`."""

ITEM: Final = re.compile(r"/\{[^/]+\}")
"""What the path of an item adds to that of its list."""


def main(channel: str, errand: str) -> None:
    """Serve what comes through the pipe `errand` (`Chosen` as JSON), told over the socket `channel`: descriptors."""
    for number in SUPERVISORS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SUPERVISORS)
    log_to_stderr()
    sock = socket.socket(fileno=int(channel))
    sock.set_inheritable(False)  # what a plugin starts must not keep the channel open
    with open(int(errand), encoding="utf-8") as stream:
        told = stream.read()
    if told:  # else the supervisor has gone
        sys.exit(work(Chosen.from_json(told), sock))


def work(chosen: Chosen, sock: socket.socket) -> int:
    """A worker's whole life, in a loop of its own; returns the exit code. What ignores its cancellation does not hold
    the process."""
    loop = uvloop.new_event_loop()
    executor = ThreadPoolExecutor(thread_name_prefix="pegboard")
    loop.set_default_executor(executor)
    try:
        code = loop.run_until_complete(Worker.live(chosen, sock))
    except Exception:
        traceback.print_exc()
        code = os.EX_SOFTWARE
    finally:
        loop.run_until_complete(_cancel_strays())
        loop.run_until_complete(loop.shutdown_asyncgens())
        executor.shutdown(wait=False, cancel_futures=True)
        loop.close()
    if _have_ended([thread for thread in threading.enumerate() if thread.name.startswith("pegboard")]):
        return code
    log.error("A thread that does not end is left behind: a handler blocks in it.")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Python itself would wait for the thread


async def _cancel_strays() -> None:
    """Cancel what plugins have started without `run.spawn`."""
    strays = asyncio.all_tasks() - {asyncio.current_task()}
    for task in strays:
        task.cancel()
    if strays:
        await asyncio.wait(strays, timeout=CUT_S)


def _have_ended(threads: Sequence[threading.Thread]) -> bool:
    deadline_s = time.monotonic() + CUT_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


class Worker:
    """What the supervisor's messages do here."""

    def __init__(self, chosen: Chosen, sock: socket.socket) -> None:
        self._chosen = chosen
        self._tasks = Tasks()
        self._stop = Stop()
        self._notes: dict[str, None] = {}  # plugins are made twice where one has a household
        self._is_serving = False
        self._answering: Mapping[str, Answering] = {}
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[Mapping[str, object]] = loop.create_future()
        self._listeners: asyncio.Future[Mapping[str, socket.socket]] = loop.create_future()
        self._channel = Channel(sock, receive=self._receive, lost=self._lost)
        loop.add_signal_handler(signal.SIGTERM, self._end, End(drain=True, others_listen=True))

    @classmethod
    async def live(cls, chosen: Chosen, sock: socket.socket) -> int:
        """Load, open, serve until told to end, close. Returns the exit code."""
        worker = cls(chosen, sock)
        try:
            await worker._serve()
        except StartError as error:
            if not worker._stop.asked.is_set():
                worker._channel.send(Failed(str(error), error.exit_code, isinstance(error, SettingsError)))
                return error.exit_code
        except asyncio.CancelledError:
            if not worker._stop.asked.is_set():
                raise
            # told to end before it was open, or urged while it closed: all is closed again
        finally:
            worker._channel.close()
        return os.EX_OK

    async def _serve(self) -> None:
        loaded = self._load({})  # while the supervisor opens the households
        household = await self._started
        for name in loaded.hook("household"):
            if name not in household:
                raise PluginError(
                    f"plugin {name} has what lives as long as the service, which a reload cannot begin; restart the "
                    "service."
                )
        if any(part is not None for part in household.values()):
            loaded = self._load(household)
        tls = tls_context(loaded.settings.service, loaded.settings.config_path.parent)
        async with build(loaded, tasks=self._tasks) as application:
            self._answering = application.state.answering
            self._channel.send(description(application, self._notes))
            if self._stop.asked.is_set():
                return  # a plugin has kept quiet about it while it opened
            with self._stop.patient():  # from here on clients may wait in the queue
                sockets = await self._listeners
                if not sockets:
                    return  # told to end
                self._is_serving = True
                settle_memory()
                listeners = [Listener(name, sock, application.front(name), tls) for name, sock in sockets.items()]
                await serve(application, listeners, self._stop)

    def _load(self, household: Mapping[str, object]) -> Loaded:
        return self._chosen.load(
            tasks=self._tasks,
            say=self._say,
            request_reload=self._request_reload,
            household=household,
            serves=True,
        )

    def _say(self, sentence: str) -> None:
        """Told with the start lines, logged from then on."""
        if self._is_serving:
            log.warning("%s", sentence)
        else:
            self._notes.setdefault(sentence)

    def _request_reload(self, reason: str) -> None:
        self._channel.send(Reload(reason))

    def _receive(self, message: Message, sockets: Sequence[socket.socket]) -> None:
        match message:
            case Start():
                self._started.set_result(message.household)
            case Serve():
                if not self._listeners.done():
                    self._listeners.set_result(dict(zip(message.listeners, sockets, strict=True)))
            case Retire() | End():
                self._end(message)
            case Record():
                log.log(message.level, "%s", message.sentence)
            case Ask():
                self._channel.send(told(self._answering, message))
            case _:
                raise AssertionError(message)

    def _end(self, how: Retire | End) -> None:
        self._stop.ask(how)
        if not self._listeners.done():
            self._listeners.set_result({})  # there is nothing to serve on any more

    def _lost(self) -> None:
        """The supervisor has gone, so nobody would ever end this process."""
        if not self._stop.asked.is_set():
            if self._is_serving:
                log.error("The supervisor has gone: this worker finishes what runs and ends.")
            self._end(End(drain=False))
            overdue = threading.Timer(ORPHAN_S, os._exit, (os.EX_SOFTWARE,))  # nobody else would kill it
            overdue.daemon = True
            overdue.start()


def settle_memory() -> None:
    """What the start has made stays: the garbage collector need not look at it again, nor as often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def description(application: Application, notes: Iterable[str]) -> Ready:
    """What there is to tell of what was opened."""
    loaded = application.loaded
    routes = [plan.route for plan in application.plans if plan.route.name != UNMATCHED]
    return Ready(
        plugins=[plugged.name for plugged in loaded.plugins],
        off=loaded.off,
        notes=[*notes, *loaded.settings.warnings],
        route_count=len(routes),
        examples=examples(routes),
        watched=[str(place) for place in watched(loaded)],
    )


def examples(routes: Iterable[MountedRoute]) -> list[str]:
    """Paths to try: a probe, the root of the API, a list and an item of it; without lists, what needs no argument."""
    readable = [route for route in routes if route.method == "GET"]
    plain = [route for route in readable if "{" not in route.path]
    probes = sorted([route.path for route in plain if route.door is Door.PROBE], key=len)
    api = [route for route in plain if route.door is Door.API]
    lists = [route.path for route in api if route.name.endswith(LISTED)]
    others = [route.path for route in api if route.path not in lists]
    others.sort(key=lambda path: not lists or not lists[0].startswith(f"{path}/"))  # first what the list is below
    items = [f"{path}/1" for path in lists[:1] for route in readable if ITEM.fullmatch(route.path.removeprefix(path))]
    return [*probes[:1], *others[: 1 if lists else 3], *[f"{path}?limit=3" for path in lists[:1]], *items[:1]]


def watched(loaded: Loaded) -> list[Path]:
    """Folders with code of plugins that may be being written: the operator's, and what is outside of site-packages."""
    places = plugin_folders(loaded.settings)
    for plugged in loaded.plugins:
        module = sys.modules.get(type(plugged.plugin).__module__)
        file = Path(getattr(module, "__file__", None) or __file__)
        if "site-packages" not in file.parts:
            places.append(file.parent)
    return list(dict.fromkeys(place.resolve() for place in places if place.is_dir()))

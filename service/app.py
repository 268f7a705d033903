"""`async with build(loaded) as application`: open → declare → fold → freeze, and back in reverse.

A fault in any phase closes what was opened and is one sentence. Nothing here is called while a request is served.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from aiohttp import web

from service import __version__
from service.blame import blame
from service.client import client_of
from service.errors import PluginError
from service.events import Change
from service.listening import MAIN, OPERATOR, addresses, is_local
from service.loader import Loaded, Plugged
from service.parts import Check, Finish, MountedRoute, Probe, Release, Route, Step, Wrap
from service.pipeline import Observer, Plan
from service.ports import CHANGES, CORE, OPERATORS, SERVING, About, Operators, Ports
from service.processors import worker_count
from service.protocol import Front
from service.questions import Answering
from service.run import Clock, Run, SystemClock, Tasks
from service.settings import PluginSettings, Settings
from service.slots import Door, Slot
from service.specs import specs_of
from service.table import MALFORMED_SLOTS, UNMATCHED, UNMATCHED_SLOTS, Table, lost, malformed, pseudo_route

log = logging.getLogger("pegboard")

PROBE_SLOTS: Final = frozenset({Slot.RECEIVE})
EVERY_SLOT: Final = frozenset(Slot)


@dataclass(frozen=True, slots=True)
class Application:
    """All that serves: made by `build`, handed to a server."""

    tables: Mapping[str, Table]
    """What is served on each listener."""
    plans: tuple[Plan, ...]
    state: State
    loaded: Loaded

    def front(self, listener: str = MAIN) -> Front:
        """What a listening socket calls for each connection. Needs a running loop."""
        service = self.loaded.settings.service
        return Front(self.tables[listener], timeouts=service.timeouts, limits=service.limits)


class State:
    """What the core tells plugins of the application: the port SERVING."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.draining = False
        self.retiring = False
        """True once a newer generation serves: connections end, readiness does not."""
        self.routes: tuple[MountedRoute, ...] = ()
        self.probes: tuple[Probe, ...] = ()
        self.excused: set[str] = set()
        self.answering: dict[str, Answering] = {}
        """Who answers which question."""
        self._declared = asyncio.Event()

    @property
    def is_declared(self) -> bool:
        """True once every hook was called: none is called again."""
        return self._declared.is_set()

    def is_closing(self) -> bool:
        """True once connections should end with their next answer."""
        return self.draining or self.retiring

    def excuse(self, prefix: str) -> None:
        self.excused.add(prefix)

    def answer(self, question: str, function: Answering) -> None:
        if inspect.iscoroutinefunction(function):
            raise PluginError(f"the question {question} is answered by a coroutine; write a plain def.")
        if self.answering.setdefault(question, function) is not function:
            raise PluginError(f"the question {question} is answered already; put the plugin's name before yours.")

    async def wait_declared(self) -> None:
        await self._declared.wait()

    def declare(self, routes: Iterable[MountedRoute], probes: Iterable[Probe]) -> None:
        self.routes, self.probes = tuple(routes), tuple(probes)
        self._declared.set()


class Announcer:
    """Hands what writers announce to every `changes` hook: the port CHANGES."""

    def __init__(self) -> None:
        self.listeners: tuple[Callable[[Change], None], ...] = ()

    def announce(self, change: Change) -> None:
        for listener in self.listeners:
            try:
                listener(change)
            except Exception:
                log.exception("A listener for changes failed on %s.", change.resource)


def process_run(
    settings: Settings,
    *,
    tasks: Tasks,
    say: Callable[[str], None],
    request_reload: Callable[[str], None] | None = None,
    clock: Clock | None = None,
    serves: bool = True,
) -> Run:
    """What the plugins of this process share of their `Run`. Without `request_reload` a reload that is asked for is
    told as a sentence."""
    folder = settings.config_path.parent
    return Run(
        serves=serves,
        strict=settings.service.strict,
        workers=worker_count(settings.service.workers),
        state_dir=folder / settings.service.state_dir,
        has_operator_listener=settings.service.operator is not None,
        is_reachable=not is_local(addresses(settings.service, folder)[MAIN]),
        clock=clock or SystemClock(),
        household=None,
        say=say,
        request_reload=request_reload or (lambda reason: say(f"A reload is asked for: {reason}.")),
        spawn=tasks.spawn,
    )


@asynccontextmanager
async def household(loaded: Loaded) -> AsyncIterator[Mapping[str, object]]:
    """Enter every `household` hook; what each yields, by instance name."""
    async with AsyncExitStack() as stack:
        yielded: dict[str, object] = {}
        for name, enter in loaded.hook("household").items():
            plugged = loaded[name]
            yielded[name] = await _enter(stack, plugged, "household", enter(run=plugged.run), loaded.settings)
        yield yielded


@asynccontextmanager
async def open_for(loaded: Loaded, name: str, *, tasks: Tasks) -> AsyncIterator[Ports]:
    """The ports of the plugin called `name`, for its commands: what it needs is open, itself and all else is not."""
    settings = loaded.settings
    names = tuple([plugged.name for plugged in loaded.plugins])
    state = State(About(__version__, settings.environment, names))
    shelf = _shelf(state, Announcer())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tasks.end)
        try:
            await _open(stack, loaded.needed_by(name), state, shelf)
            yield _ports(loaded[name], loaded, state, shelf)
        finally:
            await tasks.end()


@asynccontextmanager
async def build(loaded: Loaded, *, tasks: Tasks) -> AsyncIterator[Application]:
    """Open every plugin, collect what they declare, fold it into plans, freeze. Raises PluginError, SettingsError."""
    names = tuple([plugged.name for plugged in loaded.plugins])
    state, announcer = State(About(__version__, loaded.settings.environment, names)), Announcer()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tasks.end)  # what plugins spawn while they close
        try:
            shelf = _shelf(state, announcer)
            await _open(stack, loaded, state, shelf)
            announcer.listeners = tuple(_functions(loaded, "changes"))
            observers = tuple(_functions(loaded, "observers"))
            routes = mount(loaded, guards=_guards(shelf), excused=state.excused)
            plans = fold(loaded, routes, observers=observers, closing=state.is_closing)
            tables = {
                listener: await _freeze(stack, plans, doors) for listener, doors in _doors(loaded.settings).items()
            }
            probes = _probes(loaded)
            loaded.settings.close_report()
            state.declare(routes, probes)
            yield Application(tables, tuple(plans), state, loaded)
        finally:
            await tasks.end()  # before plugins close: what runs may use what they have opened


# --- open


Shelf = dict[str, list[tuple[str, object]]]
"""By port name, who provided what."""


def _shelf(state: State, announcer: Announcer) -> Shelf:
    """With what the core itself provides."""
    return {SERVING.name: [(CORE, state)], CHANGES.name: [(CORE, announcer)]}


def _ports(plugged: Plugged, loaded: Loaded, state: State, shelf: Shelf) -> Ports:
    """The ports as one plugin sees them."""

    def implementations(hook: str) -> Mapping[str, Callable[..., object]]:
        if state.is_declared:
            raise PluginError(
                f"plugin {plugged.name} calls its hook {hook} while requests are served; "
                "call it once, at start, and keep what it returns."
            )
        return loaded.hook(hook)

    plugin = plugged.plugin
    return Ports(
        plugged.name,
        shelf,
        requires=getattr(plugin, "requires", ()),
        uses=getattr(plugin, "uses", ()),
        provides=getattr(plugin, "provides", ()),
        providers=plugged.providers,
        published=specs_of(plugged.published).values() if plugged.published else (),
        implementations=implementations,
    )


async def _open(stack: AsyncExitStack, loaded: Loaded, state: State, shelf: Shelf) -> None:
    """Enter every lifespan."""
    lifespans = loaded.hook("lifespan")
    for plugged in loaded.plugins:
        if (enter := lifespans.get(plugged.name)) is not None:
            ports = _ports(plugged, loaded, state, shelf)
            await _enter(stack, plugged, "lifespan", enter(ports=ports), loaded.settings)
        for key in getattr(plugged.plugin, "provides", ()):
            if plugged.name not in [owner for owner, _ in shelf.get(key.name, ())]:
                raise PluginError(
                    f"plugin {plugged.name} lists the port {key.name} in provides and has not provided it when its "
                    f"lifespan was entered; call ports.provide({key.name.upper()}, ...) there."
                )


async def _enter(stack: AsyncExitStack, plugged: Plugged, hook: str, context: object, settings: Settings) -> object:
    """Enter what a hook returned; what it raises on the way out is logged, so that the others still close.

    Raises SettingsError for the faults that it told by `run.fault`, also where it gave up after them.
    """
    if not isinstance(context, AbstractAsyncContextManager):
        raise PluginError(
            f"plugin {plugged.name}: its hook {hook} returns {type(context).__name__}; "
            "return an async context manager (contextlib.asynccontextmanager)."
        )
    try:
        with blame(plugged.name, f"hook {hook}"):
            entered: object = await context.__aenter__()
    except PluginError:
        settings.raise_faults()
        raise

    async def leave() -> None:
        try:
            await context.__aexit__(None, None, None)
        except Exception:
            log.exception("Plugin %s failed to close what its hook %s had opened.", plugged.name, hook)

    stack.push_async_callback(leave)
    settings.raise_faults()
    return entered


# --- declare


def _functions(loaded: Loaded, hook: str) -> list[Callable[..., None]]:
    """What every plugin returns from a hook for functions. Raises PluginError for what cannot be called."""
    functions: list[Callable[..., None]] = []
    for name, declare in loaded.hook(hook).items():
        for function in _listed(name, hook, declare()):
            if not callable(function):
                raise PluginError(f"plugin {name}: its hook {hook} returned {function!r}; return functions.")
            functions.append(function)
    return functions


def _probes(loaded: Loaded) -> list[Probe]:
    """Every plugin's probes. Raises PluginError for what is none, and for two of one name."""
    probes: dict[str, tuple[str, Probe]] = {}
    for name, declare in loaded.hook("probes").items():
        for probe in _listed(name, "probes", declare()):
            if not isinstance(probe, Probe):
                raise PluginError(f"plugin {name}: its hook probes returned {probe!r}; return Probes.")
            if probe.name in probes:
                raise PluginError(f"{_both(probes[probe.name][0], name)} a probe {probe.name}; rename one of them.")
            probes[probe.name] = (name, probe)
    return [probe for _, probe in probes.values()]


def _listed(name: str, hook: str, parts: object) -> list[object]:
    if parts is None:
        return []
    if not isinstance(parts, Iterable):
        raise PluginError(f"plugin {name}: its hook {hook} returned {parts!r}; return a list, or yield.")
    return list(parts)


def _both(one: str, other: str) -> str:
    """How a clash of names begins."""
    return f"plugin {one} twice calls" if one == other else f"plugins {one} and {other} both call"


def _guards(shelf: Shelf) -> dict[str, Operators]:
    """Who keeps others from operators' routes on the main address, by instance name."""
    return {owner: guard for owner, guard in shelf.get(OPERATORS.name, ()) if isinstance(guard, Operators)}


def mount(
    loaded: Loaded, *, guards: Mapping[str, Operators] = MappingProxyType({}), excused: Iterable[str] = ()
) -> list[MountedRoute]:
    """Every plugin's routes at their places: relative paths below `{api_root}/{version}`. Operators' are left out where
    they would be on the main address with none of `guards` there, when strict.

    Raises PluginError for what is no route or has a name that is taken, SettingsError for settings of routes that are
    not there.
    """
    service = loaded.settings.service
    is_unguarded = service.strict and service.operator is None and not guards
    named: dict[tuple[str, str], MountedRoute] = {}
    for name, declare in loaded.hook("routes").items():
        for route in _listed(name, "routes", declare()):
            if not isinstance(route, Route):
                raise PluginError(f"plugin {name}: its hook routes returned {route!r}; return Routes.")
            if route.name == UNMATCHED:
                raise PluginError(
                    f"plugin {name} calls a route {UNMATCHED}, the name of what matches no route; give it another."
                )
            placed = _placed(route, name, api_root=service.api_root)
            if (other := named.setdefault((placed.version, placed.name), placed)) is not placed:
                raise PluginError(
                    f"{_both(other.plugin, name)} a route {placed.name}; names are unique, so rename one or turn its "
                    "plugin off."
                )
            if placed.door is Door.OPERATOR and is_unguarded:
                loaded[name].run.say(
                    f"{placed.method} {placed.path} ({name}) is for operators and not served, since nothing guards it "
                    "here; give operators a listener of their own: operator = { port = 3001 } under [service]."
                )
    loaded.settings.check_routes([*(route.name for route in named.values()), UNMATCHED], tolerated_prefixes=excused)
    loaded.settings.raise_faults()
    if service.operator is None and any(route.door is Door.OPERATOR for route in named.values()):
        for name, guard in guards.items():
            loaded[name].run.say(f"Operators' routes are on the main address, where {name} lets in {guard.who}.")
    return [route for route in named.values() if not (route.door is Door.OPERATOR and is_unguarded)]


def _placed(route: Route, plugin: str, *, api_root: str) -> MountedRoute:
    """`route` at the place where it is served."""
    absolute = route.path.startswith("/")
    below = "/".join(part for part in (api_root.rstrip("/"), route.version, route.path) if part)
    return MountedRoute(
        route.method,
        route.path if absolute else f"/{below.lstrip('/')}",
        route.name,
        plugin,
        "" if absolute else route.version,
        route.door,
        route.handler,
        tags=route.tags,
        reads=route.reads,
        writes=route.writes,
        summary=route.summary,
        request=route.request,
        response=route.response,
        authored=route.settings,
    )


# --- fold


def fold(
    loaded: Loaded, routes: Iterable[MountedRoute], *, observers: tuple[Observer, ...], closing: Callable[[], bool]
) -> list[Plan]:
    """A plan for each route, then those for what matches nothing and for what cannot be parsed."""
    service = loaded.settings.service
    client = client_of(service.trusted_proxies)
    declare_steps = loaded.hook("steps")
    slots_of = {Door.API: EVERY_SLOT, Door.OPERATOR: EVERY_SLOT, Door.PROBE: PROBE_SLOTS}

    def plan(route: MountedRoute, slots: frozenset[Slot]) -> Plan:
        steps = [
            step
            for name in loaded.step_order
            for step in _steps_of(loaded, loaded[name], route, declare_steps.get(name))
            if step.slot in slots
        ]
        return Plan(
            route,
            steps,
            observers=observers,
            clock=loaded.run.clock,
            handler_s=service.timeouts.handler.seconds,
            body_limit=service.limits.body.bytes,
            client_of=client,
            closing=closing,
        )

    plans = [plan(route, slots_of[route.door]) for route in routes]
    plans.append(plan(pseudo_route(lost), UNMATCHED_SLOTS))
    plans.append(plan(pseudo_route(malformed), MALFORMED_SLOTS))
    loaded.settings.raise_faults()
    return plans


def _doors(settings: Settings) -> Mapping[str, frozenset[Door]]:
    """Whose routes are served on each listener. Operators' are on the main one for want of their own, unless strict."""
    if settings.service.operator is None:
        return {MAIN: frozenset(Door)}
    return {MAIN: frozenset({Door.API, Door.PROBE}), OPERATOR: frozenset({Door.OPERATOR, Door.PROBE})}


async def _freeze(stack: AsyncExitStack, plans: Sequence[Plan], doors: frozenset[Door]) -> Table:
    """The table of the routes behind these doors, complete: nothing is added to it any more."""
    app = web.Application()
    *placed, unmatched, malformed = plans
    table = Table(
        app,
        [plan for plan in placed if plan.route.door in doors],
        unmatched=unmatched,
        malformed=malformed,
    )
    app.freeze()
    await app.startup()
    stack.push_async_callback(app.cleanup)
    return table


def _steps_of(
    loaded: Loaded, plugged: Plugged, route: MountedRoute, declare: Callable[..., object] | None
) -> list[Step]:
    """What `plugged` puts around `route`, which it sees with its own settings for it."""
    model = plugged.route_model or PluginSettings  # which takes no key: where there is no model, each is a fault
    author = route.authored.get(plugged.name) if plugged.route_model else None
    bound = loaded.settings.bind_route(plugged.name, route.name, author, model, run=plugged.run)
    if bound is None or declare is None:
        return []  # a fault that is in the report, or no steps at all
    route = replace(route, bound=bound if plugged.route_model else None)
    steps: list[Step] = []
    for step in _listed(plugged.name, "steps", declare(route=route)):
        if not isinstance(step, Check | Finish | Release | Wrap):
            raise PluginError(
                f"plugin {plugged.name}: its hook steps returned {step!r}; return Check, Finish, Release and Wrap."
            )
        steps.append(step)
    return steps

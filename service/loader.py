"""Names → modules → plugin objects, ordered by what they require and provide. No I/O beyond reading code.

Where a plugin comes from makes no difference here (see `sources.py`). Those that are off are not imported. Whatever
is wrong joins the one report of the settings.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final

import pluggy

from service.errors import PluginError, StartError
from service.hooks import PROJECT, Hooks
from service.ports import CHANGES, SERVING, PortKey
from service.run import Run
from service.settings import Instance, PluginSettings, Settings, nearest
from service.sources import Source, find_sources

CORE_PORTS: Final = frozenset({SERVING.name, CHANGES.name})
"""What the core itself provides; nobody needs to list it."""


@dataclass(frozen=True, slots=True)
class Plugged:
    """One plugin instance, made and ready to be opened."""

    name: str
    source: Source
    plugin: object
    run: Run
    route_model: type[PluginSettings] | None
    providers: Mapping[str, tuple[str, ...]]
    """For each port that it requires or uses: the instances that provide it to this one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that is known before anything is opened."""

    settings: Settings
    run: Run
    """What all plugins share of it."""
    plugins: tuple[Plugged, ...]
    """In the order in which they are opened: providers before those who need them."""
    step_order: tuple[str, ...]
    """Instance names in the order in which their steps share a slot."""
    off: tuple[str, ...]
    """What could be turned on: names of plugins that are found and off."""
    manager: pluggy.PluginManager

    def hook(self, name: str) -> dict[str, Callable[..., object]]:
        """The implementations of hook `name` by instance, in opening order. Each takes the spec's arguments by name,
        returns a list for an iterable, and raises PluginError naming plugin and hook."""
        impls = {id(impl.plugin): impl for impl in getattr(self.manager.hook, name).get_hookimpls()}
        return {
            plugged.name: partial(_call, plugged, name, impls[id(plugged.plugin)])
            for plugged in self.plugins
            if id(plugged.plugin) in impls
        }

    def __getitem__(self, name: str) -> Plugged:
        return next(plugged for plugged in self.plugins if plugged.name == name)


def _call(plugged: Plugged, hook: str, impl: pluggy.HookImpl, **arguments: object) -> object:
    with blame(plugged, f"hook {hook}"):
        result = impl.function(*(arguments[name] for name in impl.argnames))
        return list(result) if inspect.isgenerator(result) else result


class blame:  # noqa: N801 (reads as a statement: with blame(plugin, "hook routes"))
    """Turns what a plugin raises into one sentence that names the plugin, the hook and the place."""

    def __init__(self, plugged: Plugged, what: str) -> None:
        self._plugged = plugged
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or not isinstance(error, Exception):
            return
        name = self._plugged.name
        if isinstance(error, StartError):
            text = str(error)
            raise PluginError(text if text.startswith("plugin ") else f"plugin {name}: {text}") from error
        raise PluginError(
            f"plugin {name}: its {self._what} failed with {explain(error)}; correct it, or turn it off with "
            f"enabled = false under [plugins.{name}]"
        ) from error


def load(
    settings: Settings,
    run: Run,
    *,
    household: Mapping[str, object] | None = None,
    with_off: bool = False,
    modules: Mapping[str, ModuleType] | None = None,
) -> Loaded:
    """Find, import, check, make and order every enabled plugin.

    `run` is what all share; each gets its own part of `household`, by instance name. `with_off` imports and checks
    the tables of plugins that are off too, without making them. `modules` are plugins that are at hand already, by
    name (a test's own). Raises SettingsError with one report of all faults.
    """
    sources = find_sources(settings)
    for name, at_hand in (modules or {}).items():
        sources[name] = Source(name, "at hand", partial(_itself, at_hand))
    plugins: list[Plugged] = []
    enabled = [instance for instance in settings.instances if instance.enabled]
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    for instance in settings.instances:
        source = _source_of(instance, sources, settings)
        if source is None or not (instance.enabled or with_off):
            continue
        if (module := _import(instance, source, settings)) is None:
            continue
        own_run = replace(run, name=instance.name, household=(household or {}).get(instance.name))
        bound = settings.bind(instance.name, getattr(module, "Settings", PluginSettings), run=own_run)
        if bound is None or not instance.enabled:
            continue
        plugin = _make(instance, module, bound, own_run, settings)
        if plugin is None or not _register(instance, plugin, manager, settings):
            continue
        route_model = getattr(module, "RouteSettings", None)
        plugins.append(Plugged(instance.name, source, plugin, own_run, route_model, {}))
    known = {plugged.name for plugged in plugins}
    if known == {instance.name for instance in enabled}:  # else every missing provider would be a fault twice
        plugins = _wire(plugins, settings, sources)
    settings.raise_faults()
    step_order = _order_steps(settings, known)
    settings.raise_faults()
    used = {instance.use for instance in enabled}
    off = tuple(sorted(name for name in sources if name not in used))
    return Loaded(settings, run, tuple(plugins), step_order, off, manager)


def _itself(module: ModuleType) -> ModuleType:
    return module


def _source_of(instance: Instance, sources: Mapping[str, Source], settings: Settings) -> Source | None:
    source = sources.get(instance.use)
    if source is None:
        guess = nearest(instance.use, list(sources))
        looked = ", ".join(str(folder) for folder in settings.service.plugin_dirs) or "no plugin_dirs"
        hint = f"; did you mean {guess!r}?" if guess else ""
        if instance.use == instance.name:
            path: tuple[str, ...] = ("plugins", instance.name)
            fix = f"[plugins.{guess or 'NAME'}]"
        else:
            path, fix = ("plugins", instance.name, "use"), f'use = "{guess or "NAME"}"'
        settings.fault(
            path,
            f"there is no plugin called {instance.use!r}, built in, installed or in {looked}{hint}",
            fix=fix,
        )
    return source


def _import(instance: Instance, source: Source, settings: Settings) -> ModuleType | None:
    path = ("plugins", instance.name)
    try:
        module = source.load()
    except Exception as error:
        settings.fault(path, f"the plugin ({source.place}) cannot be imported: {explain(error)}", fix="enabled = false")
        return None
    if not inspect.isclass(getattr(module, "Plugin", None)):
        settings.fault(path, f"the plugin ({source.place}) has no class called Plugin", fix="enabled = false")
        return None
    for name in ("Settings", "RouteSettings"):
        model = getattr(module, name, None)
        if model is not None and not (inspect.isclass(model) and issubclass(model, PluginSettings)):
            settings.fault(
                path,
                f"the plugin ({source.place}) has a {name} that is no subclass of service.api.PluginSettings",
                fix="enabled = false",
            )
            return None
    return module


def _make(instance: Instance, module: ModuleType, bound: PluginSettings, run: Run, settings: Settings) -> object | None:
    """`Plugin()`, `Plugin(settings)` or `Plugin(settings, run)`, by what its constructor takes."""
    try:
        takes = len(inspect.signature(module.Plugin).parameters)
        plugin: object = module.Plugin(*(bound, run)[:takes])
    except StartError as error:
        settings.fault(("plugins", instance.name), str(error), fix="enabled = false")
    except Exception as error:
        settings.fault(
            ("plugins", instance.name), f"the plugin cannot be made: {explain(error)}", fix="enabled = false"
        )
    else:
        return plugin
    return None


def _register(instance: Instance, plugin: object, manager: pluggy.PluginManager, settings: Settings) -> bool:
    """Register with pluggy; False with a fault for a hook that does not exist or is written wrongly."""

    def refuse(what: str) -> bool:
        settings.fault(("plugins", instance.name), what, fix="enabled = false")
        return False

    try:
        manager.register(plugin, name=instance.name)
    except pluggy.PluginValidationError as error:
        return refuse(f"the plugin has a hook with wrong arguments: {str(error).splitlines()[-1].strip()}")
    names = [name for name in vars(Hooks) if not name.startswith("_")]
    for caller in manager.get_hookcallers(plugin) or ():
        impl = next(impl for impl in caller.get_hookimpls() if impl.plugin is plugin)
        if not caller.has_spec():
            guess = nearest(caller.name, names)
            known = f"did you mean {guess!r}?" if guess else f"there are {', '.join(names)}"
            return refuse(f"the plugin has a hook {caller.name!r}, which does not exist; {known}")
        if impl.hookwrapper or impl.wrapper:
            return refuse(f"the plugin's hook {caller.name!r} is a wrapper; hooks declare, a step called Wrap wraps")
        if inspect.iscoroutinefunction(impl.function):
            return refuse(f"the plugin's hook {caller.name!r} is async; hooks are plain def, what they return may wait")
        if impl.kwargnames:
            return refuse(f"the plugin's hook {caller.name!r} has default values; hooks have none")
    return True


# --- ordering


class Cycle(Exception):
    """Names that wait for each other."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(" → ".join(names))


def arrange(names: Sequence[str], after: Mapping[str, Iterable[str]]) -> list[str]:
    """`names` so that each comes after those that `after` gives it, else in their own order. Raises Cycle."""
    waiting = {name: {other for other in after.get(name, ()) if other in names and other != name} for name in names}
    ordered: list[str] = []
    while waiting:
        free = next((name for name in waiting if not waiting[name]), None)
        if free is None:
            trail = [next(iter(waiting))]
            while trail[-1] not in trail[:-1]:
                trail.append(min(waiting[trail[-1]]))
            raise Cycle(trail[trail.index(trail[-1]) :])
        ordered.append(free)
        del waiting[free]
        for others in waiting.values():
            others.discard(free)
    return ordered


def _keys(plugin: object, attribute: str) -> tuple[PortKey[object], ...]:
    return tuple(getattr(plugin, attribute, ()))


def _wire(plugins: Sequence[Plugged], settings: Settings, sources: Mapping[str, Source]) -> list[Plugged]:
    """Find who provides what to whom, and the opening order that follows."""
    ports_of = {instance.name: instance.ports for instance in settings.instances}
    wired: list[Plugged] = []
    for plugged in plugins:
        providers: dict[str, tuple[str, ...]] = {}
        chosen = ports_of[plugged.name]
        required = _keys(plugged.plugin, "requires")
        for key in (*required, *_keys(plugged.plugin, "uses")):
            if key.name in CORE_PORTS:
                continue
            offers = tuple(other.name for other in plugins if key in _keys(other.plugin, "provides"))
            if key.name in chosen and chosen[key.name] not in offers:
                guess = nearest(chosen[key.name], offers) or (offers[0] if offers else key.name)
                settings.fault(
                    ("plugins", plugged.name, "ports"),
                    f"{chosen[key.name]!r} is no enabled plugin that provides the port {key.name}",
                    fix=f'ports = {{ {key.name} = "{guess}" }}',
                )
            elif key.name in chosen:
                offers = (chosen[key.name],)
            elif len(offers) > 1 and not key.many:
                if key.name not in offers:
                    settings.fault(
                        ("plugins", plugged.name),
                        f"several plugins provide the port {key.name}: {', '.join(offers)}",
                        fix=f'ports = {{ {key.name} = "{offers[0]}" }}',
                    )
                offers = (key.name,)
            elif not offers and key in required and not key.many:
                _miss(plugged.name, key, settings, sources)
            providers[key.name] = offers
        for name in chosen:
            if name not in providers:
                settings.fault(
                    ("plugins", plugged.name, "ports"),
                    f"the plugin neither requires nor uses a port called {name!r}",
                    fix=f'ports = {{ {next(iter(providers), "database")} = "INSTANCE" }}',
                )
        wired.append(replace(plugged, providers=providers))
    by_name = {plugged.name: plugged for plugged in wired}
    after = {plugged.name: {name for offers in plugged.providers.values() for name in offers} for plugged in wired}
    try:
        return [by_name[name] for name in arrange(list(by_name), after)]
    except Cycle as cycle:
        settings.fault(
            ("plugins", str(cycle).split(" → ", 1)[0]),
            f"plugins require each other in a circle: {cycle}",
            fix="enabled = false",
        )
        return wired


def _miss(name: str, key: PortKey[object], settings: Settings, sources: Mapping[str, Source]) -> None:
    """A required port that nobody provides: name the plugin that would, and the line that turned it off."""
    for instance in settings.instances:
        if not instance.enabled and _would_provide(sources.get(instance.use), key):
            settings.fault(
                ("plugins", instance.name, "enabled"),
                f"plugin {name} requires the port {key.name}, which {instance.name} provides, so it cannot be off",
                fix="enabled = true",
            )
            return
    provider = next((source for source in sources.values() if _would_provide(source, key)), None)
    other = f", which plugin {provider.name} would" if provider else ""
    settings.fault(
        ("plugins", name),
        f"plugin {name} requires the port {key.name}, and no plugin provides it{other}",
        fix=f"[plugins.{provider.name}]\nenabled = true" if provider else "enabled = false",
    )


def _would_provide(source: Source | None, key: PortKey[object]) -> bool:
    """Look into a plugin that is off; only ever on the way to a fault."""
    if source is None:
        return False
    try:
        return key in _keys(source.load().Plugin, "provides")
    except Exception:
        return False


def _order_steps(settings: Settings, known: Iterable[str]) -> tuple[str, ...]:
    """The order of steps that share a slot: `before` / `after`, then the order of config.toml."""
    names = [instance.name for instance in settings.instances if instance.name in set(known)]
    everyone = [instance.name for instance in settings.instances]
    after: dict[str, set[str]] = {name: set() for name in names}
    for instance in settings.instances:
        for key, others in (("before", instance.before), ("after", instance.after)):
            for other in others:
                if other not in everyone:
                    guess = nearest(other, everyone) or everyone[0]
                    settings.fault(
                        ("plugins", instance.name, key), f"there is no plugin {other!r}", fix=f'{key} = ["{guess}"]'
                    )
                elif instance.name in after and other in after:
                    first, second = (instance.name, other) if key == "before" else (other, instance.name)
                    after[second].add(first)
    try:
        return tuple(arrange(names, after))
    except Cycle as cycle:
        first = str(cycle).split(" → ", 1)[0]
        settings.fault(("plugins", first), f"before and after contradict each other: {cycle}", fix="after = []")
        return tuple(names)


def explain(error: BaseException) -> str:
    """`TypeError: ... (hello.py, line 12)`: an error in one line, with its innermost place."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"

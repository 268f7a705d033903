"""Names → modules → plugin objects, ordered by what they require and provide. No I/O beyond reading code.

Where a plugin comes from makes no difference here (see `sources.py`). Those that are off are not imported. Whatever
is wrong joins the one report of the settings.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

import pluggy

from service.blame import blame, explain
from service.errors import StartError
from service.hooks import PROJECT, Hooks
from service.registering import register
from service.run import Run
from service.settings import Instance, PluginSettings, Settings, nearest, toml, toml_key
from service.sources import Source, find_sources
from service.specs import SPECS, Published, Specs, arguments, specs_of
from service.wiring import Providers, order_steps, wire


@dataclass(frozen=True, slots=True)
class Plugged:
    """One plugin instance, made and ready to be opened."""

    name: str
    source: Source
    plugin: object
    run: Run
    route_model: type[PluginSettings] | None
    published: type | None
    """The class with the hooks that it publishes."""
    providers: Providers


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
        returns a list for an iterator, and raises PluginError naming plugin and hook."""
        impls = {id(impl.plugin): impl for impl in getattr(self.manager.hook, name).get_hookimpls()}
        return {
            plugged.name: partial(_call, plugged.name, name, impls[id(plugged.plugin)])
            for plugged in self.plugins
            if id(plugged.plugin) in impls
        }

    def needed_by(self, name: str) -> Loaded:
        """The same with those plugins only that `name` needs: who provides what it requires or uses, and so on."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            offers = {other for others in self[waiting.pop()].providers.values() for other in others}
            waiting += offers - found
            found |= offers
        return replace(self, plugins=tuple([plugged for plugged in self.plugins if plugged.name in found]))

    def __getitem__(self, name: str) -> Plugged:
        return next(plugged for plugged in self.plugins if plugged.name == name)


def _call(plugin: str, hook: str, impl: pluggy.HookImpl, **arguments: object) -> object:
    route = getattr(arguments.get("route"), "name", None)
    with blame(plugin, f"hook {hook} for route {route}" if route else f"hook {hook}"):
        result = impl.function(*(arguments[name] for name in impl.argnames))
        return list(result) if isinstance(result, Iterator) else result


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
    made: dict[str, Plugged] = {}
    failed: dict[str, Source | None] = {}
    for instance in settings.instances:
        source = _source_of(instance, sources, settings)
        if not (instance.enabled or with_off):
            continue
        own_run = replace(
            run,
            name=instance.name,
            household=(household or {}).get(instance.name),
            fault=partial(settings.fault_in, instance.name),
        )
        plugged = _plug(instance, source, own_run, settings) if source else None
        if plugged is not None:
            made[instance.name] = plugged
        elif instance.enabled:
            failed[instance.name] = source
    manager = _register(made, failed, sources, settings)
    settings.check_unique({name: plugged.source.name for name, plugged in made.items()})
    plugins = {name: plugged.plugin for name, plugged in made.items()}
    wired = wire(plugins, settings, sources, failed=failed)
    step_order = order_steps(settings, made)
    settings.raise_faults()
    opening = tuple([replace(made[name], providers=providers) for name, providers in wired.items()])
    used = {plugged.source.name for plugged in opening}
    off = tuple(sorted(name for name in sources if name not in used))
    return Loaded(settings, run, opening, step_order, off, manager)


def _itself(module: ModuleType) -> ModuleType:
    return module


def _source_of(instance: Instance, sources: Mapping[str, Source], settings: Settings) -> Source | None:
    source = sources.get(instance.use)
    if source is None:
        guess = nearest(instance.use, list(sources))
        folders = "".join(f", in {folder}" for folder in settings.service.plugin_dirs)
        hint = f"; did you mean {guess!r}?" if guess else ""
        if instance.use == instance.name:
            path: tuple[str, ...] = ("plugins", instance.name)
            fix = f"[plugins.{toml_key(guess or 'NAME')}]"
        else:
            path, fix = ("plugins", instance.name, "use"), f"use = {toml(guess or 'NAME')}"
        settings.fault(
            path,
            f"there is no plugin called {instance.use!r} (looked: built in, installed{folders}){hint}",
            fix=fix,
        )
    return source


def _register(
    made: dict[str, Plugged], failed: dict[str, Source | None], sources: Mapping[str, Source], settings: Settings
) -> pluggy.PluginManager:
    """Everyone's hooks in one manager: first those that plugins publish, then all implementations. What leaves a fault
    moves from `made` to `failed`."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    published = Published(manager)
    for name, plugged in made.items():
        if plugged.published is not None:
            _refuse(settings, name, *published.add(name, plugged.published))

    def publisher(hook: str) -> str | None:
        return next((name for name, source in sources.items() if hook in (_publishes(source) or ())), None)

    missed = [_publishes(source) if source else None for source in failed.values()]
    known = {**SPECS, **published.specs, **{hook: names for specs in missed for hook, names in (specs or {}).items()}}
    for name, plugged in list(made.items()):
        if faults := register(
            name, plugged.plugin, manager, known=known, publisher=None if None in missed else publisher
        ):
            _refuse(settings, name, *faults)
            failed[name] = made.pop(name).source
    return manager


def _publishes(source: Source) -> Specs | None:
    """The hooks that a plugin would publish, None where that cannot be told. Only ever on the way to a fault: it
    imports what is off."""
    try:
        hooks = getattr(source.load(), "Hooks", None)
    except (Exception, SystemExit):
        return None
    return {name: arguments(spec) for name, spec in specs_of(hooks).items()} if inspect.isclass(hooks) else {}


def _refuse(settings: Settings, instance: str, *faults: str) -> None:
    for fault in faults:
        settings.fault(("plugins", instance), fault, fix="enabled = false")


def _plug(instance: Instance, source: Source, run: Run, settings: Settings) -> Plugged | None:
    """Import, bind and make one instance; None where that left a fault, or where it is off."""
    refuse = partial(_refuse, settings, instance.name)
    try:
        module = source.load()
    except (Exception, SystemExit) as error:
        refuse(f"the plugin ({source.place}) cannot be imported: {explain(error)}")
        return None
    if (wrong := _wrong_module(module)) is not None:
        refuse(f"the plugin ({source.place}) has {wrong}")
        return None
    route_model: type[PluginSettings] | None = getattr(module, "RouteSettings", None)
    if instance.enabled:
        settings.check_route_keys(instance.name, route_model or PluginSettings, run=run)  # which takes no key
    bound = settings.bind(instance.name, getattr(module, "Settings", PluginSettings), run=run)
    if bound is None or not instance.enabled:
        return None
    try:
        plugin = _made(module.Plugin, bound, run)
    except StartError as error:
        refuse(str(error))
        return None
    except (Exception, SystemExit) as error:
        refuse(f"the plugin cannot be made: {explain(error)}")
        return None
    return Plugged(instance.name, source, plugin, run, route_model, getattr(module, "Hooks", None), {})


def _wrong_module(module: ModuleType) -> str | None:
    if not inspect.isclass(getattr(module, "Plugin", None)):
        return "no class called Plugin"
    if not inspect.isclass(getattr(module, "Hooks", Hooks)):
        return "a Hooks that is no class"
    for name in ("Settings", "RouteSettings"):
        model = getattr(module, name, PluginSettings)
        if not (inspect.isclass(model) and issubclass(model, PluginSettings)):
            return f"a {name} that is no subclass of service.api.PluginSettings"
    return None


def _made(kind: Callable[..., object], bound: PluginSettings, run: Run) -> object:
    """`Plugin()`, `Plugin(settings)` or `Plugin(settings, run)`, by what its constructor takes."""
    given: tuple[object, ...] = (bound, run)
    parameters = inspect.signature(kind).parameters.values()
    if not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        given = given[: sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)]
    return kind(*given)

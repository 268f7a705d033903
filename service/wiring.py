"""Who provides what to whom, and the orders that follow: of opening, and of steps that share a slot.

Plugins are told apart by instance name. Whatever is wrong is a fault of the settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from service.ports import CHANGES, SERVING, PortKey
from service.settings import Settings, listed, nearest, toml, toml_key
from service.sources import Source

CORE_PORTS = frozenset({SERVING.name, CHANGES.name})
"""What the core itself provides; nobody needs to list it."""

Providers = Mapping[str, tuple[str, ...]]
"""For each port that a plugin requires or uses: the instances that provide it to this one."""


class Cycle(Exception):
    """Names that wait for each other."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(" → ".join(names))
        self.names = tuple(names)


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


def port_keys(plugin: object, attribute: str) -> tuple[PortKey[object], ...]:
    """The plugin's `provides`, `requires` or `uses`."""
    return tuple(getattr(plugin, attribute, ()))


def wire(
    plugins: Mapping[str, object],
    settings: Settings,
    sources: Mapping[str, Source],
    *,
    failed: Mapping[str, Source | None],
) -> Mapping[str, Providers]:
    """Each plugin's providers, in the order in which plugins are opened.

    `failed` are enabled instances that have a fault already: what they might have provided is not missed.
    """
    wired = {name: _providers(name, plugins, settings, sources, failed) for name in plugins}
    after = {name: {other for offers in providers.values() for other in offers} for name, providers in wired.items()}
    try:
        return {name: wired[name] for name in arrange(list(wired), after)}
    except Cycle as cycle:
        settings.fault(
            ("plugins", cycle.names[0]),
            f"plugins require each other in a circle: {cycle}",
            fix="enabled = false",
        )
        return wired


def _providers(
    name: str,
    plugins: Mapping[str, object],
    settings: Settings,
    sources: Mapping[str, Source],
    failed: Mapping[str, Source | None],
) -> dict[str, tuple[str, ...]]:
    providers: dict[str, tuple[str, ...]] = {}
    chosen = next(instance.ports for instance in settings.instances if instance.name == name)
    required = port_keys(plugins[name], "requires")
    for key in (*required, *port_keys(plugins[name], "uses")):
        if key.name in CORE_PORTS:
            continue
        offers = tuple(other for other, plugin in plugins.items() if key in port_keys(plugin, "provides"))
        choice = chosen.get(key.name)
        if choice is not None and choice not in offers:
            if choice not in failed:
                guess = nearest(choice, offers) or (offers[0] if offers else "INSTANCE")
                settings.fault(
                    ("plugins", name, "ports", key.name),
                    f"{choice!r} is no enabled plugin that provides the port {key.name}",
                    fix=f"ports = {toml({key.name: guess})}",
                )
        elif choice is not None:
            offers = (choice,)
        elif len(offers) > 1 and not key.many:
            if key.name not in offers:
                settings.fault(
                    ("plugins", name),
                    f"several plugins provide the port {key.name}: {listed(offers)}",
                    fix=f"ports = {toml({key.name: offers[0]})}",
                )
            offers = (key.name,)
        elif not offers and key in required and not key.many:
            _miss(name, key, settings, sources, failed)
        providers[key.name] = offers
    for port in chosen:
        if port not in providers:
            settings.fault(
                ("plugins", name, "ports", port),
                f"the plugin neither requires nor uses a port called {port!r}; of others it takes {listed(providers)}",
                fix=f"ports = {toml(dict.fromkeys([*providers][:1], 'INSTANCE'))}",
            )
    return providers


def _miss(
    name: str,
    key: PortKey[object],
    settings: Settings,
    sources: Mapping[str, Source],
    failed: Mapping[str, Source | None],
) -> None:
    """A required port that nobody provides: name the plugin that would, and the line that turned it off."""
    for source in failed.values():
        if source is None or (offers := _offers(source)) is None or key in offers:
            return  # its own fault says enough
    for instance in settings.instances:
        off = sources.get(instance.use)
        if not instance.enabled and off is not None and key in (_offers(off) or ()):
            settings.fault(
                ("plugins", instance.name, "enabled"),
                f"plugin {name} requires the port {key.name}, which {instance.name} provides, so it cannot be off",
                fix="enabled = true",
            )
            return
    provider = next((source for source in sources.values() if key in (_offers(source) or ())), None)
    other = f", though plugin {provider.name} would" if provider else ""
    settings.fault(
        ("plugins", name),
        f"plugin {name} requires the port {key.name}, and no plugin provides it{other}",
        fix=f"[plugins.{toml_key(provider.name)}]\nenabled = true" if provider else "enabled = false",
    )


def _offers(source: Source) -> tuple[PortKey[object], ...] | None:
    """What a plugin that was not made would provide, None where that cannot be told. Only ever on the way to a fault:
    it imports what is off."""
    try:
        return port_keys(source.load().Plugin, "provides")
    except (Exception, SystemExit):
        return None


def order_steps(settings: Settings, known: Iterable[str]) -> tuple[str, ...]:
    """The order of steps that share a slot: `before` / `after`, then the order of config.toml."""
    names = [instance.name for instance in settings.instances if instance.name in set(known)]
    everyone = [instance.name for instance in settings.instances]
    after: dict[str, set[str]] = {name: set() for name in names}
    for instance in settings.instances:
        for key, others in (("before", instance.before), ("after", instance.after)):
            for other in others:
                if other not in everyone:
                    guess = nearest(other, everyone)
                    hint = f"; did you mean {guess!r}?" if guess else ""
                    settings.fault(
                        ("plugins", instance.name, key),
                        f"there is no plugin {other!r}{hint}",
                        fix=f"{key} = {toml([guess] if guess else [])}",
                    )
                elif instance.name in after and other in after:
                    first, second = (instance.name, other) if key == "before" else (other, instance.name)
                    after[second].add(first)
    try:
        return tuple(arrange(names, after))
    except Cycle as cycle:
        told = next(each for each in settings.instances if each.name in cycle.names and (each.before or each.after))
        key = "before" if told.before else "after"
        settings.fault(
            ("plugins", told.name, key), f"before and after contradict each other: {cycle}", fix=f"{key} = []"
        )
        return tuple(names)

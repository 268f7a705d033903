"""Is a plugin object written as a plugin is? Its hooks and its ports, checked before pluggy gets to see them.

pluggy itself takes a misspelt hook in silence and a plain method called like a hook for none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import pluggy

from service.blame import explain
from service.hooks import PROJECT
from service.ports import PortKey
from service.settings import nearest
from service.specs import SPECS, Specs

CONTEXTS: Final = frozenset({"household", "lifespan"})
"""The hooks that return an async context manager, which may be written as an async generator."""


def register(
    name: str,
    plugin: object,
    manager: pluggy.PluginManager,
    *,
    known: Specs,
    publisher: Callable[[str], str | None] | None,
) -> list[str]:
    """Register the instance `name` with `manager`, unless something is wrong with it: returns what, a line each.

    `known` are the hooks that there are; `publisher` names a plugin that is off and would publish one that is missing.
    It is None where not all can be known, so that a missing one may be no fault.
    """
    wrong = [*_wrong_ports(plugin), *_wrong_hooks(plugin, known, publisher)]
    if not wrong:
        try:
            manager.register(plugin, name=name)
        except Exception as error:
            wrong.append(f"the plugin's hooks cannot be read: {explain(error)}")
    return wrong


def _wrong_ports(plugin: object) -> Iterator[str]:
    for attribute in ("provides", "requires", "uses"):
        try:
            keys = getattr(plugin, attribute, ())
        except Exception as error:
            yield f"the plugin's {attribute} cannot be read: {explain(error)}"
            continue
        if not isinstance(keys, Iterable) or isinstance(keys, str) or not all(isinstance(key, PortKey) for key in keys):
            yield f"the plugin's {attribute} is {keys!r}; it is a tuple of port keys, as in {attribute} = (DATABASE,)"


def _wrong_hooks(plugin: object, known: Specs, publisher: Callable[[str], str | None] | None) -> Iterator[str]:
    for name in dir(plugin):
        method = inspect.getattr_static(plugin, name)
        options = getattr(method, f"{PROJECT}_impl", None)
        if options is not None and name not in known:
            if not options.get("optionalhook"):
                yield from _unknown_hook(name, known, publisher)
        elif options is not None:
            yield from _wrong_hook(name, getattr(plugin, name), options, known[name])
        elif name in SPECS and callable(method):
            yield f"the plugin has a method {name!r} that is not marked as the hook of that name; write @hookimpl above"


def _unknown_hook(name: str, known: Specs, publisher: Callable[[str], str | None] | None) -> Iterator[str]:
    if publisher is not None and (off := publisher(name)) is not None:
        yield (
            f"the plugin has a hook {name!r}, which plugin {off} publishes, and that is off; turn it on with "
            f"enabled = true under [plugins.{off}], or mark the hook @hookimpl(optionalhook=True)"
        )
    elif guess := nearest(name, list(known)):
        yield f"the plugin has a hook {name!r}, which does not exist; did you mean {guess!r}?"
    elif publisher is not None:
        yield f"the plugin has a hook {name!r}, which does not exist; there are {', '.join(known)}"


def _wrong_hook(name: str, method: object, options: Mapping[str, object], right: tuple[str, ...]) -> Iterator[str]:
    if options.get("wrapper") or options.get("hookwrapper"):
        yield f"the plugin's hook {name!r} is a wrapper; hooks declare, a step called Wrap wraps"
        return
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        instead = "write @asynccontextmanager below @hookimpl" if name in CONTEXTS else "what they return may wait"
        yield f"the plugin's hook {name!r} is async; hooks are plain def, {instead}"
        return
    parameters = inspect.signature(method).parameters.values()  # type: ignore[arg-type]
    if any(parameter.default is not parameter.empty for parameter in parameters):
        yield f"the plugin's hook {name!r} has default values; hooks have none"
    elif wrong := [str(p) for p in parameters if p.kind is not p.POSITIONAL_OR_KEYWORD or p.name not in right]:
        yield f"the plugin's hook {name!r} takes {', '.join(wrong)}; write def {name}({', '.join(('self', *right))})"

"""Is a plugin object written as a plugin is? Its hooks and its ports, checked before pluggy gets to see them.

pluggy itself takes a misspelt hook in silence and a plain method called like a hook for none.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pluggy

from service.blame import explain
from service.hooks import PROJECT, Hooks
from service.ports import PortKey
from service.settings import nearest

SPECS: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(inspect.signature(spec).parameters)[1:]
    for name, spec in vars(Hooks).items()
    if inspect.isfunction(spec) and hasattr(spec, f"{PROJECT}_spec")
}
"""The hooks that there are, with their arguments."""

CONTEXTS: Final = frozenset({"household", "lifespan"})
"""The hooks that return an async context manager, which may be written as an async generator."""


def register(name: str, plugin: object, manager: pluggy.PluginManager) -> list[str]:
    """Register the instance `name` with `manager`, unless something is wrong with it: returns what, a line each."""
    wrong = [*_wrong_ports(plugin), *_wrong_hooks(plugin)]
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


def _wrong_hooks(plugin: object) -> Iterator[str]:
    for name in dir(plugin):
        method = inspect.getattr_static(plugin, name)
        options = getattr(method, f"{PROJECT}_impl", None)
        if options is not None:
            yield from _wrong_hook(name, getattr(plugin, name), options)
        elif name in SPECS and callable(method):
            yield f"the plugin has a method {name!r} that is not marked as the hook of that name; write @hookimpl above"


def _wrong_hook(name: str, method: object, options: Mapping[str, object]) -> Iterator[str]:
    if name not in SPECS:
        guess = nearest(name, list(SPECS))
        known = f"did you mean {guess!r}?" if guess else f"there are {', '.join(SPECS)}"
        yield f"the plugin has a hook {name!r}, which does not exist; {known}"
        return
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
    elif wrong := [str(p) for p in parameters if p.kind is not p.POSITIONAL_OR_KEYWORD or p.name not in SPECS[name]]:
        right = ", ".join(("self", *SPECS[name]))
        yield f"the plugin's hook {name!r} takes {', '.join(wrong)}; write def {name}({right})"

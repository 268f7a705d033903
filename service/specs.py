"""Which hooks there are: the core's own, and those that plugins publish in a class `Hooks` beside their `Plugin`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import pluggy

from service.hooks import PROJECT, Hooks

Specs = Mapping[str, tuple[str, ...]]
"""Hooks by name, with the arguments that each is called with."""


def functions_of(hooks: type) -> dict[str, Callable[..., object]]:
    """The functions in a class and in those that it is derived from, by name, in their order."""
    members = {name: member for base in reversed(hooks.__mro__) for name, member in vars(base).items()}
    return {name: member for name, member in members.items() if inspect.isfunction(member)}


def specs_of(hooks: type) -> dict[str, Callable[..., object]]:
    """The hookspecs in a class, by name."""
    return {name: spec for name, spec in functions_of(hooks).items() if hasattr(spec, f"{PROJECT}_spec")}


def arguments(spec: Callable[..., object]) -> tuple[str, ...]:
    """What a hook is called with, `self` left out."""
    return tuple(inspect.signature(spec).parameters)[1:]


SPECS: Final[Specs] = {name: arguments(spec) for name, spec in specs_of(Hooks).items()}
"""The core's own."""


class Published:
    """What plugins publish, added to `manager` once it is known to be written as a hookspec is."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.specs: dict[str, tuple[str, ...]] = {}
        self._manager = manager
        self._owners: dict[str, str] = {}
        self._classes: set[type] = set()

    def add(self, instance: str, hooks: type) -> list[str]:
        """Add what `instance` publishes, unless something is wrong with it: returns what, a line each."""
        if hooks in self._classes:  # a second instance of one plugin publishes nothing more
            return []
        self._classes.add(hooks)
        wrong = [line for name, spec in functions_of(hooks).items() for line in self._wrong(name, spec)]
        if not wrong:
            self._manager.add_hookspecs(hooks)
            for name, spec in specs_of(hooks).items():
                self.specs[name], self._owners[name] = arguments(spec), instance
        return wrong

    def _wrong(self, name: str, spec: Callable[..., object]) -> Iterator[str]:
        if name.startswith("_"):
            return
        if not hasattr(spec, f"{PROJECT}_spec"):
            yield f"the plugin's class Hooks has a method {name!r} that is not marked as a hook; write @hookspec above"
            return
        if name in SPECS:
            yield f"the plugin publishes a hook {name!r}, which is the core's own; call it something else"
        elif name in self._owners:
            yield f"the plugin publishes a hook {name!r}, as {self._owners[name]} does; call one of them something else"
        if inspect.iscoroutinefunction(spec) or inspect.isasyncgenfunction(spec):
            yield f"the plugin publishes a hook {name!r} that is async; hooks are plain def, what they return may wait"
        parameters = list(inspect.signature(spec).parameters.values())
        plain = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD and each.default is each.empty]
        if plain != parameters or [each.name for each in plain[:1]] != ["self"]:
            yield f"the plugin publishes a hook {name!r} whose arguments are not plain names; write def {name}(self, x)"

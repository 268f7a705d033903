"""The hooks: every way in which a plugin takes part, in the order of a plugin's life.

Hooks are synchronous, called once per application while it is built, and return declarations. None is called while
a request is served. Mark an implementation with `@hookimpl`; neither specs nor implementations have default values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

import pluggy

from service.events import Change, Exchange
from service.parts import MountedRoute, Probe, Route, Step
from service.ports import Ports
from service.run import Run

if TYPE_CHECKING:
    import click

PROJECT = "pegboard"

F = TypeVar("F", bound=Callable[..., object])

_hookspec = pluggy.HookspecMarker(PROJECT)
_hookimpl = pluggy.HookimplMarker(PROJECT)


def hookimpl(function: F) -> F:
    """Mark a method of a `Plugin` as the implementation of the hook with its name."""
    return _hookimpl(function)


class Hooks:
    """The hookspecs. The docstring of each is its documentation."""

    @_hookspec
    def household(self, run: Run) -> AbstractAsyncContextManager[object]:
        """What lives longer than one worker: the embedded database, shared memory.

        Entered once, before the first worker, and left after the last. What it yields (plain data) reaches this
        plugin in every worker as `run.household`.
        """
        raise AssertionError

    @_hookspec
    def lifespan(self, ports: Ports) -> AbstractAsyncContextManager[None]:
        """What the plugin opens and closes: pools, clients, background tasks.

        Entered in the order of what plugins provide and require, left in reverse, also after a failed start.
        Ports are needed, found and provided here.
        """
        raise AssertionError

    @_hookspec
    def routes(self) -> Iterable[Route]:
        """The plugin's own routes. Called after every lifespan was entered."""
        raise AssertionError

    @_hookspec
    def steps(self, route: MountedRoute) -> Iterable[Step]:
        """The steps around this route. None means that the plugin costs this route nothing.

        Called once for every route, and twice for the pseudo-route `unmatched`: for what matches no route, which keeps
        the steps of RECEIVE, NEGOTIATE and ADMIT, and for what cannot be parsed, which keeps RECEIVE and ADMIT.
        """
        raise AssertionError

    @_hookspec
    def probes(self) -> Iterable[Probe]:
        """Health checks of what the plugin depends on."""
        raise AssertionError

    @_hookspec
    def observers(self) -> Iterable[Callable[[Exchange], None]]:
        """Functions that get each `Exchange` after its answer is on the way. Synchronous and quick."""
        raise AssertionError

    @_hookspec
    def changes(self) -> Iterable[Callable[[Change], None]]:
        """Functions that get each `Change` after COMMIT and before the writer's answer leaves."""
        raise AssertionError

    @_hookspec
    def commands(self, group: click.Group) -> None:
        """Add subcommands to the command line: `group.add_command(...)`."""
        raise AssertionError

"""The hooks: every way in which a plugin takes part, in the order of a plugin's life.

Hooks are synchronous, called once per application while it is built, and return declarations. None is called while
a request is served. Mark an implementation with `@hookimpl`; neither specs nor implementations have default values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar, overload

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


@overload
def hookimpl(function: F) -> F: ...


@overload
def hookimpl(*, optionalhook: bool) -> Callable[[F], F]: ...


def hookimpl(function: F | None = None, *, optionalhook: bool = False) -> F | Callable[[F], F]:
    """Mark a method of a `Plugin` as the implementation of the hook with its name.

    `@hookimpl(optionalhook=True)` is for a hook that another plugin publishes: nothing comes of it while that is off.
    """
    if function is None:
        return _hookimpl(optionalhook=optionalhook)
    return _hookimpl(function)


def hookspec(function: F) -> F:
    """Mark a method of a plugin's class `Hooks` as a hook that the plugin publishes: any plugin may implement it, and
    the publisher asks them with `ports.hook(Hooks.NAME)`."""
    return _hookspec(function)


class Hooks:
    """The hookspecs. The docstring of each is its documentation."""

    @hookspec
    def household(self, run: Run) -> AbstractAsyncContextManager[object]:
        """What lives longer than one worker: the embedded database, shared memory.

        Entered once, before the first worker, and left after the last. What it yields (plain data) reaches this
        plugin in every worker as `run.household`.
        """
        raise AssertionError

    @hookspec
    def lifespan(self, ports: Ports) -> AbstractAsyncContextManager[None]:
        """What the plugin opens and closes: pools, clients, background tasks.

        Entered in the order of what plugins provide and require, left in reverse, also after a failed start.
        Ports are needed, found and provided here.
        """
        raise AssertionError

    @hookspec
    def routes(self) -> Iterable[Route]:
        """The plugin's own routes. Called after every lifespan was entered."""
        raise AssertionError

    @hookspec
    def steps(self, route: MountedRoute) -> Iterable[Step]:
        """The steps around this route. None means that the plugin costs this route nothing.

        Called once for every route, and twice for the pseudo-route `unmatched`: for what matches no route, which keeps
        the steps of RECEIVE, NEGOTIATE and ADMIT, and for what cannot be parsed, which keeps RECEIVE and ADMIT.
        """
        raise AssertionError

    @hookspec
    def probes(self) -> Iterable[Probe]:
        """Health checks of what the plugin depends on."""
        raise AssertionError

    @hookspec
    def observers(self) -> Iterable[Callable[[Exchange], None]]:
        """Functions that get each `Exchange` after its answer is on the way. Synchronous and quick."""
        raise AssertionError

    @hookspec
    def changes(self) -> Iterable[Callable[[Change], None]]:
        """Functions that get each `Change` after COMMIT and before the writer's answer leaves."""
        raise AssertionError

    @hookspec
    def commands(self, group: click.Group) -> None:
        """Add subcommands to the command line: `group.add_command(...)`.

        Called on a plugin that is made and not open. A command opens what its plugin needs with `opened(run)`, and asks
        a running service with `ask_service`. A group that another plugin adds under the same name becomes one with it.
        """
        raise AssertionError

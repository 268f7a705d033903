"""What hooks return: frozen declarations that the core folds, once, before it listens.

Route                          a handler at a method and path (`MountedRoute` once it has its place)
Check · Finish · Release · Wrap   steps around a handler, each in a `Slot`
Probe                          a health check
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from aiohttp.web import Request, StreamResponse

from service.errors import PluginError
from service.slots import Door, Slot

if TYPE_CHECKING:
    from pydantic import BaseModel

    from service.answers import Answer
    from service.settings import PluginSettings

S = TypeVar("S", bound="PluginSettings")

EMPTY: Mapping[str, object] = MappingProxyType({})

Handler = Callable[[Request], "Answer | StreamResponse | Awaitable[Answer | StreamResponse]"]
CheckFn = Callable[[Request], "Answer | Awaitable[Answer | None] | None"]
FinishFn = Callable[[Request, "Answer"], "Answer | Awaitable[Answer | None] | None"]
ReleaseFn = Callable[[Request], None]
Proceed = Callable[[], Awaitable["Answer | StreamResponse"]]
WrapFn = Callable[[Request, Proceed], Awaitable["Answer | StreamResponse"]]


@dataclass(frozen=True, slots=True)
class Route:
    """A handler and where it stands.

    `path` is below `{api_root}/{version}` (`users/{id}`), or stands as it is when it begins with a slash
    (`/health`). A placeholder is a whole segment. GET answers HEAD too.
    """

    method: str
    path: str
    handler: Handler
    name: str = field(kw_only=True)
    """`users.list`: what `[routes]`, logs and metrics call it; unique per version, and not `unmatched`."""
    version: str = field(default="v1", kw_only=True)
    door: Door = field(default=Door.API, kw_only=True)
    tags: tuple[str, ...] = field(default=(), kw_only=True)
    reads: tuple[str, ...] = field(default=(), kw_only=True)
    """Names of the resources that its answer shows."""
    writes: tuple[str, ...] = field(default=(), kw_only=True)
    summary: str = field(default="", kw_only=True)
    request: type[BaseModel] | None = field(default=None, kw_only=True)
    """Model of the body it takes."""
    response: type[BaseModel] | None = field(default=None, kw_only=True)
    settings: Mapping[str, object] = field(default_factory=lambda: EMPTY, kw_only=True)
    """The author's settings for other plugins, under the operator's `[routes]`: `{"auth": "none"}`."""


@dataclass(frozen=True, slots=True)
class MountedRoute:
    """A route as it is served, as `steps(route)` sees it."""

    method: str
    path: str
    """The whole path with its placeholders: `/api/v1/users/{id}`."""
    name: str
    plugin: str
    """Instance name of the plugin that declared it."""
    version: str
    door: Door
    handler: Handler
    tags: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    summary: str = ""
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    authored: Mapping[str, object] = field(default_factory=lambda: EMPTY)
    """`Route.settings`: the author's settings for other plugins, by instance name."""
    bound: PluginSettings | None = None
    """The asking plugin's settings for this route; read it with `settings()`."""

    def settings(self, model: type[S]) -> S:
        """The asking plugin's `RouteSettings` for this route, author's values under the operator's.

        Raises PluginError if the plugin declares no `RouteSettings` or another class.
        """
        if not isinstance(self.bound, model):
            raise PluginError(f"route.settings() takes the plugin's own RouteSettings class, not {model.__name__}.")
        return self.bound


@dataclass(frozen=True, slots=True)
class Check:
    """A step before the handler. None goes on; an answer ends the way in; a refusal is raised."""

    slot: Slot
    fn: CheckFn


@dataclass(frozen=True, slots=True)
class Finish:
    """A step after the handler, run outward on every answer from the slot where it arose.

    None keeps the answer (`answer.add(name, value)` adds a header), an answer replaces it. One that fails becomes
    the error answer, and the others still run. A `StreamResponse` gets it when it is prepared, as a `StreamHead`.
    """

    slot: Slot
    fn: FinishFn


@dataclass(frozen=True, slots=True)
class Release:
    """Gives back what its slot took. Synchronous; exactly once per request that entered the slot, at its very end."""

    slot: Slot
    fn: ReleaseFn


@dataclass(frozen=True, slots=True)
class Wrap:
    """A step around all that stands inside it. `proceed()` returns the shield's answer for an error.

    It makes everything inside it asynchronous: prefer Check, Finish and Release on hot routes.
    """

    slot: Slot
    fn: WrapFn


Step = Check | Finish | Release | Wrap


class Alarm:
    """Rung by whoever notices a failure first, heard by whoever reports health."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    def ring(self) -> None:
        """Say that the thing behind the probe has just failed."""
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)


@dataclass(frozen=True, slots=True)
class Probe:
    """A health check, run in the background. It passes by returning and fails by raising.

    What it raises is logged; clients see only that it failed.
    """

    name: str
    check: Callable[[], Awaitable[None]]
    timeout_s: float = field(default=2.0, kw_only=True)
    critical: bool = field(default=True, kw_only=True)
    """Its failure makes the service unhealthy (503); otherwise degraded (200)."""
    alarm: Alarm | None = field(default=None, kw_only=True)
    """Rung when a failure is seen in between: the probe is unhealthy at once, until it passes again."""
    facts: Callable[[], Mapping[str, object]] | None = field(default=None, kw_only=True)
    """What else `/health` shows of it, to anyone who asks: plain data, at hand, under names in camelCase."""

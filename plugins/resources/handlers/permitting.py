"""Permitting: what a principal is granted decides which handler serves it, made once for all with the same columns.

A `Gate` stands at one route: its Check asks for the grants (AUTHORIZE), so that neither a budget nor a stored answer is
spent on what is refused, and leaves the handler on the request. Where nobody provides ACCESS there are no gates.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp.web import Request, RequestKey

from plugins.resources.render import absence
from plugins.resources.schema.granted import Granted, as_granted
from plugins.resources.schema.resource import Resource
from service.api import PRINCIPAL, Access, Action, Answer, Forbidden, Grant, Principal

Served = Answer | Awaitable[Answer]

Handle = Callable[[Request, Sequence[str]], Served]
"""Answers a request; takes the values of the rows that are granted, in the order of what was asked for."""

Make = Callable[[Sequence[Granted | None]], Handle]
"""Makes what serves whoever is granted this."""

BOUND: Final[RequestKey[tuple[Handle, tuple[str, ...]]]] = RequestKey("resources_bound", tuple)
"""Written by a gate's Check: the handler, and the values of rows that it takes."""

MAX_KEPT: Final = 2_000
"""Grants that one gate remembers (chosen: below 1 MB)."""

MAX_HANDLERS: Final = 64
"""Handlers of one gate (chosen): there are as many as sets of columns that rules tell apart."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a route does with a resource."""

    resource: Resource
    action: Action
    is_optional: bool = False
    """True where it is done only as far as it is granted."""


class Gate:
    """Stands at one route."""

    def __init__(self, access: Access, names: Mapping[str, str], needs: Sequence[Need], make: Make) -> None:
        self._access = access
        self._needs = [(need, names[need.resource.name]) for need in needs]
        self._make = make
        self._bound: dict[tuple[str, ...], tuple[Handle, tuple[str, ...]]] = {}
        """By the fingerprints of grants."""
        self._handlers: dict[tuple[object, ...], Handle] = {}
        """By the columns that are granted, and those that rows are told apart by."""

    def check(self, request: Request) -> None:
        """Refuse whoever is not granted what the route does. Raises Forbidden, Unauthenticated."""
        principal = request[PRINCIPAL]
        grants = [self._access.grant(principal, name, need.action) for need, name in self._needs]
        key = tuple(["" if grant is None else grant.fingerprint for grant in grants])
        found = self._bound.get(key)
        if found is None:
            found = self._bind(principal, grants)
            if len(self._bound) >= MAX_KEPT:
                self._bound.clear()
            self._bound[key] = found
        request[BOUND] = found

    def serve(self, request: Request) -> Served:
        """What is bound to the route."""
        handle, values = request[BOUND]
        return handle(request, values)

    def _bind(self, principal: Principal, grants: Sequence[Grant | None]) -> tuple[Handle, tuple[str, ...]]:
        parts: list[Granted | None] = []
        bound: list[str] = []
        key: list[object] = []
        for (need, name), grant in zip(self._needs, grants, strict=True):
            part, values = as_granted(need.resource, grant) if grant is not None else (None, ())
            if part is None and not need.is_optional:
                if grant is None:
                    raise self._access.refusal(principal, name, need.action)
                raise Forbidden(f"{name}: you may {need.action} none of its columns.")
            parts.append(part)
            bound += values
            key.append((grant.readable, grant.writable, part.rows) if grant is not None and part is not None else None)
        handler = self._handlers.get(tuple(key))
        if handler is None:
            if len(self._handlers) >= MAX_HANDLERS:
                self._handlers.clear()
            handler = self._handlers[tuple(key)] = self._make(parts)
        return handler, tuple(bound)


def absent(resource: Resource) -> Handle:
    """Serves those for whom there is no such place: they may not see what leads there."""

    def refuse(request: Request, bound: Sequence[str] = ()) -> Answer:
        raise absence(resource)

    return refuse


class Permits:
    """Makes the gates of all routes, where somebody decides who may do what."""

    def __init__(self, access: Access, prefix: str, resources: Sequence[Resource]) -> None:
        """`prefix` is what names begin with where they are granted."""
        self.access = access
        self.names = {resource.name: f"{prefix}{resource.name}" for resource in resources}
        """What resources are called where they are granted."""
        self.gates: dict[str, Gate] = {}
        """By the names of routes."""

    def handler(self, route: str, needs: Sequence[Need], make: Make) -> Callable[[Request], Served]:
        """What is bound to the route of this name."""
        gate = self.gates[route] = Gate(self.access, self.names, needs, make)
        return gate.serve

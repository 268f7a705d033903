"""The look-up table: which plan serves a method and path.

Routes are registered with aiohttp's router, which stays the register (`url_for`, names, foreign runners); requests
are looked up here, because aiohttp's router takes four times as long and builds an exception for every miss. The
table is compiled once, when all routes are known. What matches nothing goes to a plan of its own, so that a 404
passes the same steps as any request.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from aiohttp import web
from aiohttp.web import Request
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from yarl import URL

from service.answers import Answer
from service.errors import MethodNotAllowed, NotFound, PluginError, ServiceError
from service.keys import ALLOWED
from service.parts import MountedRoute
from service.slots import Door, Slot

if TYPE_CHECKING:
    from service.pipeline import Outcome, Plan

AiohttpHandler: TypeAlias = Callable[[Request], Awaitable[web.StreamResponse]]

UNMATCHED: Final = "unmatched"
"""Name of both pseudo-routes, in logs and metrics."""

UNMATCHED_SLOTS: Final = frozenset({Slot.RECEIVE, Slot.NEGOTIATE, Slot.ADMIT})
MALFORMED_SLOTS: Final = frozenset({Slot.RECEIVE, Slot.ADMIT})

FAULT: web.RequestKey[ServiceError] = web.RequestKey("fault", ServiceError)
"""What was wrong with a request that could not be parsed."""

_SEGMENT: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}|[^{}]+")
_SEPARATOR: Final = re.compile(r"[.:-]")


class Place:
    """One path: its plans by method."""

    __slots__ = ("allowed", "plans")

    def __init__(self) -> None:
        self.plans: dict[str, tuple[Plan, web.AbstractRoute, tuple[str, ...]]] = {}
        self.allowed: frozenset[str] = frozenset()


class Node:
    """One segment of the tree of paths."""

    __slots__ = ("place", "static", "variable")

    def __init__(self) -> None:
        self.static: dict[str, Node] = {}
        self.variable: Node | None = None
        self.place: Place | None = None

    def find(self, segments: list[str], at: int, values: list[str]) -> Place | None:
        """The place of `segments[at:]`, plain segments before placeholders; fills `values` on the way."""
        if at == len(segments):
            return self.place
        segment = segments[at]
        child = self.static.get(segment)
        if child is not None:
            found = child.find(segments, at + 1, values)
            if found is not None:
                return found
        if self.variable is not None and segment:
            values.append(segment)
            found = self.variable.find(segments, at + 1, values)
            if found is not None:
                return found
            values.pop()
        return None


class Table:
    """Every plan by method and path; `serve` is the front door of all requests."""

    def __init__(self, app: web.Application, plans: Iterable[Plan], *, unmatched: Plan, malformed: Plan) -> None:
        """Register `plans` with the router of `app` and compile them. Raises PluginError where two claim a place."""
        self._app = app
        self._unmatched = unmatched
        self._malformed = malformed
        self._root = Node()
        self._static: dict[str, Place] = {}
        for plan in plans:
            self._register(plan)
        self._lost_route = app.router.add_route("*", "/{path:.*}", _for_router(self.serve))

    def _register(self, plan: Plan) -> None:
        route = plan.route
        node, names = self._root, []
        path = URL(route.path, encoded=True).path_safe
        for segment in path.split("/")[1:]:
            match = _SEGMENT.fullmatch(segment)
            if segment and match is None:
                raise PluginError(
                    f"plugin {route.plugin}: route {route.name} has the path {route.path}, in which {segment!r} mixes "
                    f"a placeholder with text; make the placeholder a whole segment, as in users/{{id}}."
                )
            if match is not None and match[1]:
                names.append(match[1])
                node.variable = node.variable or Node()
                node = node.variable
            else:
                node = node.static.setdefault(segment, Node())
        place = node.place = node.place or Place()
        if (taken := place.plans.get(route.method)) is not None:
            other = taken[0].route
            raise PluginError(
                f"plugins {other.plugin} and {route.plugin} both serve {route.method} {route.path} (routes "
                f"{other.name} and {route.name}); turn one off or give one of them another path."
            )
        serve = _for_router(plan.serve)
        registered = self._app.router.add_route(route.method, route.path, serve, name=_router_name(route))
        place.plans[route.method] = (plan, registered, tuple(names))
        if route.method == "GET" and "HEAD" not in place.plans:
            self._app.router.add_route("HEAD", route.path, serve)
        methods = set(place.plans) | {"OPTIONS"}
        place.allowed = frozenset(methods | {"HEAD"} if "GET" in methods else methods)
        if not names:
            self._static[path] = place

    def find(self, path: str) -> tuple[Place | None, list[str]]:
        """The place at `path` (percent-decoded but for `%2F` and `%25`) and what its placeholders stand for."""
        place = self._static.get(path)
        if place is not None:
            return place, []
        values: list[str] = []
        return self._root.find(path.split("/"), 1, values), values

    async def serve(self, request: Request) -> Outcome:
        """Look the request up and hand it to its plan."""
        place, values = self.find(request.rel_url.path_safe)
        if place is not None:
            method = request.method
            found = place.plans.get(method) or (place.plans.get("GET") if method == "HEAD" else None)
            if found is not None:
                plan, route, names = found
                match = {name: _decode(value) for name, value in zip(names, values, strict=True)} if names else {}
                self._adopt(request, UrlMappingMatchInfo(match, route))
                return await plan.serve(request)
            request[ALLOWED] = place.allowed
        self._adopt(request, UrlMappingMatchInfo({}, self._lost_route))
        return await self._unmatched.serve(request)

    async def serve_malformed(self, request: Request, fault: ServiceError) -> Outcome:
        """Answer what could not be parsed, through the steps that need no parsed request."""
        request[FAULT] = fault
        self._adopt(request, UrlMappingMatchInfo({}, self._lost_route))
        return await self._malformed.serve(request)

    def _adopt(self, request: Request, match: UrlMappingMatchInfo) -> None:
        """Make `request.match_info` and `request.app` work, as aiohttp's own application does after resolving."""
        match.add_app(self._app)
        request._match_info = match

    def plan(self, name: str) -> Plan | None:
        """The plan of the route called `name`, for tests and the command line."""
        return next((plan for plan in self.plans() if plan.name == name), None)

    def plans(self) -> list[Plan]:
        """Every plan, in path order."""
        found: list[Plan] = []

        def walk(node: Node) -> None:
            if node.place is not None:
                found.extend(plan for plan, _, _ in node.place.plans.values())
            for child in node.static.values():
                walk(child)
            if node.variable is not None:
                walk(node.variable)

        walk(self._root)
        return found


def lost(request: Request) -> Answer:
    """Handler of the pseudo-route for what matched nothing: 404, 405 with Allow, or the answer to OPTIONS."""
    allowed = request.get(ALLOWED)
    if allowed is None:
        raise NotFound("There is nothing at this path.")
    allow = ", ".join(sorted(allowed))
    if request.method == "OPTIONS":
        return Answer(204, headers=[("Allow", allow)])
    raise MethodNotAllowed(f"This path takes {allow}.", headers={"Allow": allow})


def malformed(request: Request) -> Answer:
    """Handler of the pseudo-route for what could not be parsed."""
    raise request[FAULT]


def pseudo_route(handler: Callable[[Request], Answer]) -> MountedRoute:
    """A route without a place, for the plans of what matches nothing."""
    return MountedRoute("*", UNMATCHED, UNMATCHED, "service", "", Door.API, handler)


def _for_router(serve: Callable[[Request], Awaitable[Outcome]]) -> AiohttpHandler:
    return cast(AiohttpHandler, serve)  # an Answer quacks like a StreamResponse


def _router_name(route: MountedRoute) -> str:
    """`v1:users.list`, with whatever aiohttp refuses in a name escaped."""
    return f"{_escape(route.version)}:{'.'.join(_escape(part) for part in _SEPARATOR.split(route.name))}"


def _escape(part: str) -> str:
    if part.isidentifier() and not keyword.iskeyword(part):
        return part
    return "_" + "".join(char if char.isalnum() and char.isascii() else f"_{ord(char):x}_" for char in part)


def _decode(segment: str) -> str:
    """A placeholder's value: `path_safe` has kept `%2F` and `%25` escaped."""
    return segment.replace("%2F", "/").replace("%25", "%") if "%" in segment else segment

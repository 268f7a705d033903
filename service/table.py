"""The look-up table: which plan serves a method and path.

Routes are registered with aiohttp's router, which stays the register (`url_for`, names, foreign runners); requests
are looked up here, because aiohttp's router takes four times as long and builds an exception for every miss. The
table is compiled once, when all routes are known. What matches nothing goes to a plan of its own, so that a 404
passes the same steps as any request.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Set
from typing import Final, TypeAlias, cast

from aiohttp import web
from aiohttp.web import Request
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from yarl import URL

from service.answers import Answer, Sent
from service.errors import MethodNotAllowed, NotFound, PluginError, ServiceError
from service.keys import ALLOWED
from service.parts import MountedRoute
from service.pipeline import Plan
from service.slots import Door, Slot

AiohttpHandler: TypeAlias = Callable[[Request], Awaitable[web.StreamResponse]]

UNMATCHED: Final = "unmatched"
"""Name of both pseudo-routes, in `[routes]`, logs and metrics."""

UNMATCHED_SLOTS: Final = frozenset({Slot.RECEIVE, Slot.NEGOTIATE, Slot.ADMIT})
MALFORMED_SLOTS: Final = frozenset({Slot.RECEIVE, Slot.ADMIT})

FAULT: web.RequestKey[ServiceError] = web.RequestKey("fault", ServiceError)
"""What was wrong with a request that could not be parsed."""

_METHOD: Final = re.compile(r"[A-Z-]+")
_PATH: Final = re.compile(r"/[^?#\s\x00-\x1f]*")
_NO_METHODS: Final[frozenset[str]] = frozenset()
_SEGMENT: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}|[^{}]*")
_SEPARATOR: Final = re.compile(r"([.:-])")


class Entry:
    """A plan at its place, as aiohttp's router knows it."""

    __slots__ = ("names", "plan", "route")

    def __init__(self, plan: Plan, names: tuple[str, ...]) -> None:
        self.plan = plan
        self.names = names
        """Its placeholders, in the order of the path."""
        self.route: web.AbstractRoute


class Node:
    """One segment of the tree of paths."""

    __slots__ = ("entries", "static", "variable")

    def __init__(self) -> None:
        self.static: dict[str, Node] = {}
        self.variable: Node | None = None
        self.entries: dict[str, Entry] = {}
        """What is served at the path that ends here, by method."""

    def find(self, method: str, segments: list[str], at: int, values: list[str], allowed: set[str]) -> Entry | None:
        """What serves `method` at `segments[at:]`, plain segments before placeholders.

        Fills `values` with what the placeholders stand for, and `allowed` with the methods of places passed over.
        """
        if at == len(segments):
            entry = self.entries.get(method)
            if entry is None:
                allowed.update(self.entries)
            return entry
        segment = segments[at]
        child = self.static.get(segment)
        if child is not None:
            found = child.find(method, segments, at + 1, values, allowed)
            if found is not None:
                return found
        if self.variable is not None and segment:
            values.append(segment)
            found = self.variable.find(method, segments, at + 1, values, allowed)
            if found is not None:
                return found
            values.pop()
        return None

    def walk(self) -> Iterator[tuple[str, Entry]]:
        """Every method and entry from here on, in the order in which `find` prefers them."""
        yield from self.entries.items()
        for child in self.static.values():
            yield from child.walk()
        if self.variable is not None:
            yield from self.variable.walk()


class Table:
    """Every plan by method and path; `serve` is the front door of all requests."""

    def __init__(self, app: web.Application, plans: Iterable[Plan], *, unmatched: Plan, malformed: Plan) -> None:
        """Compile `plans` and register them with the router of `app`. Raises PluginError for a method or path that
        cannot be served, and where two plans claim one place."""
        self._app = app
        self._unmatched = unmatched
        self._malformed = malformed
        self._root = Node()
        self._static: dict[str, dict[str, Entry]] = {}
        for plan in plans:
            self._place(plan)
        for method, entry in self._root.walk():  # the preferred first, because aiohttp takes the first that matches
            self._register(method, entry)
        self._lost_route = app.router.add_route("*", "/{path:.*}", _for_router(self.serve))
        app.on_response_prepare.append(_finish_stream)

    def _place(self, plan: Plan) -> None:
        """Put the plan into the tree."""
        route = plan.route
        at = f"plugin {route.plugin}: route {route.name} has the"
        if not _METHOD.fullmatch(route.method):
            raise PluginError(f"{at} method {route.method!r}; write it in capitals, as in GET.")
        if not _PATH.fullmatch(route.path):
            raise PluginError(
                f"{at} path {route.path!r}; write one that begins with a slash and holds no query, fragment or space."
            )
        node, names, path = self._root, [], ""
        for segment in route.path.split("/")[1:]:
            match = _SEGMENT.fullmatch(segment)
            if match is None:
                raise PluginError(
                    f"{at} path {route.path}, in which {segment!r} mixes a placeholder with text; "
                    "make the placeholder a whole segment, as in users/{id}."
                )
            if match[1]:
                names.append(match[1])
                node.variable = node.variable or Node()
                node = node.variable
            else:
                text = URL(f"/{segment}", encoded=True).path_safe  # as requests are looked up
                path += text
                node = node.static.setdefault(text[1:], Node())
        if len(set(names)) < len(names):
            raise PluginError(f"{at} path {route.path}, in which two placeholders have one name; rename one.")
        taken = node.entries.get(route.method)
        if taken is not None and taken.plan.route.method == route.method:
            other = taken.plan.route
            raise PluginError(
                f"plugins {other.plugin} and {route.plugin} both serve {route.method} {route.path} (routes "
                f"{other.name} and {route.name}); turn one off or give one of them another path."
            )
        entry = node.entries[route.method] = Entry(plan, tuple(names))
        if route.method == "GET":
            node.entries.setdefault("HEAD", entry)
        if not names:
            self._static[path] = node.entries

    def _register(self, method: str, entry: Entry) -> None:
        """Make the entry known to aiohttp's router."""
        route, serve, router = entry.plan.route, _for_router(entry.plan.serve), self._app.router
        if method == route.method:
            entry.route = router.add_route(method, route.path, serve, name=_router_name(route))
        else:  # HEAD, answered by GET
            router.add_route(method, route.path, serve)

    def find(self, method: str, path: str) -> tuple[Entry | None, Sequence[str], Set[str]]:
        """What serves `method` at `path` (percent-decoded but for `%2F` and `%25`), what its placeholders stand for,
        and, where nothing does, the methods that the path has."""
        entries = self._static.get(path)
        if entries is not None and (entry := entries.get(method)) is not None:
            return entry, (), _NO_METHODS
        values: list[str] = []
        allowed: set[str] = set()
        return self._root.find(method, path.split("/"), 1, values, allowed), values, allowed

    async def serve(self, request: Request) -> Answer | Sent:
        """Look the request up and hand it to its plan."""
        entry, values, allowed = self.find(request.method, request.rel_url.path_safe)
        if entry is not None:
            match = dict(zip(entry.names, map(_decode, values), strict=True)) if values else {}
            self._adopt(request, UrlMappingMatchInfo(match, entry.route))
            return await entry.plan.serve(request)
        if allowed:
            request[ALLOWED] = frozenset(allowed | {"OPTIONS"})
        self._adopt(request, UrlMappingMatchInfo({}, self._lost_route))
        return await self._unmatched.serve(request)

    async def serve_malformed(self, request: Request, fault: ServiceError) -> Answer | Sent:
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
        return [entry.plan for method, entry in self._root.walk() if method == entry.plan.route.method]


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


def _for_router(serve: Callable[[Request], Awaitable[Answer | Sent]]) -> AiohttpHandler:
    return cast(AiohttpHandler, serve)  # an Answer quacks like a StreamResponse


def _router_name(route: MountedRoute) -> str:
    """`v1:users.list`, with whatever aiohttp refuses in a name escaped, so that no two routes get one name."""
    return f"{_escape(route.version)}:{''.join(map(_escape, _SEPARATOR.split(route.name)))}"


def _escape(part: str) -> str:
    if _SEPARATOR.fullmatch(part) or (part.isidentifier() and not keyword.iskeyword(part) and part[0] != "_"):
        return part
    return "_" + "".join(char if char.isalnum() and char.isascii() else f"_{ord(char):x}_" for char in part)


def _decode(segment: str) -> str:
    """A placeholder's value: `path_safe` has kept `%2F` and `%25` escaped."""
    return segment.replace("%2F", "/").replace("%25", "%") if "%" in segment else segment


async def _finish_stream(request: Request, response: web.StreamResponse) -> None:
    """aiohttp's signal before a stream begins: the Finishes of its route run now."""
    plan = getattr(request.match_info.handler, "__self__", None)
    if isinstance(plan, Plan):
        await plan.finish_stream(request, response)

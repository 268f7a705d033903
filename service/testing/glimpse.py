"""What can be seen of a service from outside: which routes and probes there are, and how each answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiohttp import ClientTimeout

from service.api import Answer, Route, hookimpl
from service.testing.service import Service

PATIENCE = ClientTimeout(total=5)
"""For a route that answers when it likes; how is asked, not what."""


class Neighbour:
    """What is served beside the plugin: something for its steps to stand around."""

    class Plugin:
        @hookimpl
        def routes(self) -> Iterable[Route]:
            yield Route("GET", "neighbour", self._answer, name="neighbour.list")
            yield Route("GET", "neighbour/{id}", self._answer, name="neighbour.read")
            yield Route("POST", "neighbour", self._answer, name="neighbour.create")

        def _answer(self, request: object) -> Answer:
            return Answer.json({})


async def ask(service: Service, method: str, path: str, headers: Mapping[str, str]) -> list[str]:
    """Status and names of headers, with something in the path's placeholders; nothing where the answer takes long."""
    filled = "/".join("1" if segment.startswith("{") else segment for segment in path.split("/"))
    try:
        async with service.client.request(method, filled, headers=headers, timeout=PATIENCE) as response:
            return [str(response.status), *sorted({name.lower() for name in response.headers})]
    except TimeoutError:
        return []


async def ask_every_route(service: Service, headers: Mapping[str, str]) -> dict[str, list[str]]:
    """Each route with the methods that it has and those that it may have, and a path that nobody has."""
    asked = {}
    for route in service.application.state.routes:
        for method in (route.method, "OPTIONS", "DELETE"):
            asked[f"{method} {route.path}"] = await ask(service, method, route.path, headers)
    asked["GET nothing"] = await ask(service, "GET", "/no/such/path", headers)
    return asked


async def glimpse(service: Service) -> dict[str, object]:
    """All of it, as JSON has it."""
    state = service.application.state
    return {
        "routes": [[route.method, route.path, route.name, route.plugin] for route in state.routes],
        "probes": [probe.name for probe in state.probes],
        "answers": await ask_every_route(service, {}),
    }

"""Tell browsers to take every answer of the API for what it says it is."""

from collections.abc import Iterable

from aiohttp.web import Request

from service.api import Answer, Door, Finish, MountedRoute, Slot, hookimpl


class Plugin:
    @hookimpl
    def steps(self, route: MountedRoute) -> Iterable[Finish]:
        if route.door is Door.API:
            yield Finish(Slot.RECEIVE, self._protect)

    def _protect(self, request: Request, answer: Answer) -> None:
        answer.add("X-Content-Type-Options", "nosniff")

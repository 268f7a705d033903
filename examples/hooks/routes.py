"""Say hello."""

from collections.abc import Iterable

from aiohttp.web import Request

from service.api import Answer, Route, hookimpl


class Plugin:
    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "hello/{name}", self._greet, name="hello.greet", summary="Greet somebody.")

    def _greet(self, request: Request) -> Answer:
        return Answer.json({"message": f"Hello, {request.match_info['name']}"})

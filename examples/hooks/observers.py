"""Count requests by route and status."""

from collections import Counter
from collections.abc import Callable, Iterable

from aiohttp.web import Request

from service.api import Answer, Exchange, Route, hookimpl


class Plugin:
    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @hookimpl
    def observers(self) -> Iterable[Callable[[Exchange], None]]:
        yield self._count

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "counts", self._tell, name="counts.read")

    def _count(self, exchange: Exchange) -> None:
        self._counts[f"{exchange.route} {exchange.status}"] += 1

    def _tell(self, request: Request) -> Answer:
        return Answer.json(self._counts)

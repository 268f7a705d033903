"""Tell when each resource was last written to."""

from collections.abc import Callable, Iterable

from aiohttp.web import Request

from service.api import Answer, Change, PluginSettings, Route, Run, hookimpl, timestamp


class Plugin:
    def __init__(self, settings: PluginSettings, run: Run) -> None:
        self._clock = run.clock
        self._written: dict[str, str] = {}

    @hookimpl
    def changes(self) -> Iterable[Callable[[Change], None]]:
        yield self._note

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "written", self._tell, name="written.read")

    def _note(self, change: Change) -> None:
        self._written[change.resource] = timestamp(self._clock.now())

    def _tell(self, request: Request) -> Answer:
        return Answer.json(self._written)

"""Keep a folder that all workers share; it is gone once the service has ended."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory

from aiohttp.web import Request

from service.api import Answer, PluginSettings, Route, Run, hookimpl


class Plugin:
    def __init__(self, settings: PluginSettings, run: Run) -> None:
        self._folder = run.household

    @hookimpl
    @asynccontextmanager
    async def household(self, run: Run) -> AsyncIterator[str]:
        with TemporaryDirectory(prefix="pegboard-") as folder:
            yield folder

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "folder", self._tell, name="folder.read")

    def _tell(self, request: Request) -> Answer:
        return Answer.json({"folder": self._folder})

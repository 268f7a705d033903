"""Hand on what another server answers, over connections that are opened once and closed in the end."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientSession
from aiohttp.web import Request

from service.api import Answer, PluginSettings, Ports, Route, Unavailable, hookimpl


class Settings(PluginSettings):
    url: str
    """What is asked."""


class Plugin:
    def __init__(self, settings: Settings) -> None:
        self._url = settings.url

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        async with ClientSession() as self._session:
            yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "elsewhere", self._ask, name="elsewhere.read")

    async def _ask(self, request: Request) -> Answer:
        try:
            async with self._session.get(self._url) as response:
                return Answer(response.status, await response.read())
        except ClientError:
            raise Unavailable("The other server does not answer.") from None

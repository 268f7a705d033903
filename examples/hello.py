"""Say hello in a language of whoever asks, with greetings from settings, other plugins and the database.

Table     [plugins.hello]
Slot      NEGOTIATE: what cannot be said to somebody should cost nothing more
Needs     DATABASE: a table greetings (language, text)
Provides  GREETER
Publishes greetings: a hook for plugins that know more languages
Command   `pegboard hello`: the greetings of the database, and which of them are not served yet
Raises    NotAcceptable: 406, code NOT_ACCEPTABLE
Source    RFC 9110, section 12.5.4, without its weights

    [plugins.hello]
    greeting = "Hello"
    greetings = { de = "Hallo", fr = "Salut" }

    [routes."hello.*"]
    hello = ["en", "de", "fr"]
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import click
from aiohttp.web import Request, RequestKey

from service.api import (
    DATABASE,
    SERVING,
    Answer,
    Check,
    Database,
    Duration,
    Finish,
    MountedRoute,
    PluginSettings,
    PortKey,
    Ports,
    Probe,
    Route,
    Run,
    ServiceError,
    Slot,
    Step,
    ask_service,
    hookimpl,
    hookspec,
    nearest,
    opened,
)

GREETINGS = "SELECT language, text FROM greetings"

LANGUAGE: RequestKey[str] = RequestKey("language", str)
"""The language to answer in. Written by the Check of routes that speak several."""


class Settings(PluginSettings):
    greeting: str = "Hello"
    """What is said to those for whose language there is nothing better."""

    greetings: Mapping[str, str] = {}
    """What is said, by language."""

    every: Duration = Duration("30s")
    """How often the database is asked for its greetings."""

    fallback: str | None = None
    """The language for those for whose own there is nothing; `greeting` is said to them unless it is set."""


class RouteSettings(PluginSettings):
    languages: tuple[str, ...] = ()
    """What the route speaks, the first to those who name none; who understands none of them gets 406."""


class NotAcceptable(ServiceError):
    """Nothing here is in a language that the client understands."""

    status, code = 406, "NOT_ACCEPTABLE"


class Greeter(Protocol):
    """Who can say hello."""

    def greet(self, name: str, language: str) -> str:
        """In that language, or in another one."""


GREETER: PortKey[Greeter] = PortKey("greeter")


class Hooks:
    """What the plugin asks others."""

    @hookspec
    def greetings(self) -> Mapping[str, str]:
        """Greetings by language. Those of settings and of the database win."""
        raise AssertionError


def understood(accept_language: str, spoken: Sequence[str]) -> str | None:
    """The first language that a client lists and that is spoken; `*` is any."""
    for part in accept_language.lower().split(","):
        language = part.partition(";")[0].strip()
        if language == "*":
            return spoken[0]
        for each in (language, language.partition("-")[0]):
            if each in spoken:
                return each
    return None


class Plugin:
    requires = (DATABASE,)
    provides = (GREETER,)

    def __init__(self, settings: Settings, run: Run) -> None:
        self._greeting = settings.greeting
        self._by_language = dict(settings.greetings)
        self._every_s = settings.every.seconds
        self._fallback = settings.fallback
        self._run = run
        self._read_s = 0.0

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        for greetings in ports.hook(Hooks.greetings)().values():
            self._by_language = {**greetings, **self._by_language}
        database = ports.need(DATABASE)
        await self._read(database)
        self._check_fallback()
        ports.provide(GREETER, self)
        ports.need(SERVING).answer(f"{self._run.name}.greetings", lambda: self._by_language)
        reading = self._run.spawn(self._keep_reading(database), name=self._run.name)
        try:
            yield
        finally:
            reading.cancel()

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "hello/{name}", self._greet, name="hello.greet", summary="Greet somebody.")

    @hookimpl
    def steps(self, route: MountedRoute) -> Iterable[Step]:
        spoken = route.settings(RouteSettings).languages
        if not spoken:
            return

        def choose(request: Request) -> None:
            language = understood(request.headers.get("Accept-Language", "*"), spoken)
            if language is None:
                raise NotAcceptable(f"This is to be had in {', '.join(spoken)}.")
            request[LANGUAGE] = language

        def tell(request: Request, answer: Answer) -> None:
            answer.add("Vary", "Accept-Language")
            if LANGUAGE in request:
                answer.add("Content-Language", request[LANGUAGE])

        yield Check(Slot.NEGOTIATE, choose)
        yield Finish(Slot.NEGOTIATE, tell)

    @hookimpl
    def probes(self) -> Iterable[Probe]:
        yield Probe(self._run.name, self._check, critical=False)

    @hookimpl
    def commands(self, group: click.Group) -> None:
        @group.command(self._run.name)
        def compare() -> None:
            """Say which greetings of the database a running service does not have yet."""
            heard = ask_service(self._run, f"{self._run.name}.greetings")
            served = [answer for answer in heard.answers if isinstance(answer, dict)]
            for language, text in asyncio.run(self._stored()).items():
                is_served = all(answer.get(language) == text for answer in served)
                click.echo(f"{language}: {text}{'' if is_served else ', not served yet'}")
            for problem in heard.problems:
                click.echo(problem, err=True)

    def greet(self, name: str, language: str) -> str:
        greeting = self._by_language.get(self._fallback or "", self._greeting)
        return f"{self._by_language.get(language, greeting)}, {name}"

    def _greet(self, request: Request) -> Answer:
        return Answer.json({"message": self.greet(request.match_info["name"], request.get(LANGUAGE, ""))})

    async def _read(self, database: Database) -> None:
        rows = await database.fetch(GREETINGS)
        self._by_language |= {str(row["language"]): str(row["text"]) for row in rows}
        self._read_s = self._run.clock.monotonic()

    async def _stored(self) -> dict[str, str]:
        async with opened(self._run) as ports:
            rows = await ports.need(DATABASE).fetch(GREETINGS)
        return {str(row["language"]): str(row["text"]) for row in rows}

    def _check_fallback(self) -> None:
        known = list(self._by_language)
        if self._fallback is not None and self._fallback not in known:
            meant = nearest(self._fallback, known) or next(iter(known), "en")
            self._run.fault(("fallback",), f"names {self._fallback}, in which nobody knows a greeting", write=meant)

    async def _keep_reading(self, database: Database) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            with suppress(ServiceError):  # the probe tells how old the greetings are
                await self._read(database)

    async def _check(self) -> None:
        age_s = self._run.clock.monotonic() - self._read_s
        if age_s > 3 * self._every_s:
            raise RuntimeError(f"the greetings are {age_s:.0f} s old")

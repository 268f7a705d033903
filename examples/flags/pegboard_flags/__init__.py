"""Turn new features on and off, by name; which there are, other plugins say.

Table     [plugins.flags]
Provides  FLAGS
Publishes flags: a hook for plugins that have something to turn on and off
Routes    flags.list: GET flags

    [plugins.flags]
    enabled = true
    on = ["new-checkout"]
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, Self

from aiohttp.web import Request
from pydantic import model_validator

from service.api import Answer, PluginError, PluginSettings, PortKey, Ports, Route, Run, hookimpl, hookspec, nearest


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing that can be turned on and off."""

    name: str
    summary: str
    on: bool = False
    """What holds unless the operator says otherwise."""


class Flags(Protocol):
    """Which flags are on."""

    def is_on(self, name: str) -> bool:
        """Raises KeyError for a flag that no plugin has declared."""


FLAGS: PortKey[Flags] = PortKey("flags")


class Hooks:
    """What this plugin asks others."""

    @hookspec
    def flags(self) -> Iterable[Flag]:
        """The flags that the plugin looks at. Asked once, before it is known which are on."""
        raise AssertionError


class Settings(PluginSettings):
    on: tuple[str, ...] = ()
    """Flags that are on, whatever their plugins say."""

    off: tuple[str, ...] = ()
    """Flags that are off, whatever their plugins say."""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if both := sorted({*self.on} & {*self.off}):
            raise ValueError(f"{both[0]} is listed under on and under off; keep one of them")
        return self


class Board:
    """The flags and how they stand: the port FLAGS."""

    def __init__(self, flags: Iterable[Flag], settings: Settings) -> None:
        self.flags = {flag.name: flag for flag in flags}
        self._on = {name for name, flag in self.flags.items() if flag.on} - {*settings.off} | {*settings.on}

    def is_on(self, name: str) -> bool:
        return self.flags[name].name in self._on


def gathered(declared: Mapping[str, Iterable[Flag] | None]) -> list[Flag]:
    """The flags of all plugins. Raises PluginError where two have one of the same name."""
    owners: dict[str, str] = {}
    flags: list[Flag] = []
    for plugin, own in declared.items():
        for flag in own or ():
            if (other := owners.setdefault(flag.name, plugin)) != plugin:
                raise PluginError(f"plugins {other} and {plugin} both have a flag {flag.name}; rename one of them.")
            flags.append(flag)
    return flags


class Plugin:
    provides = (FLAGS,)

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
        flags = gathered(ports.hook(Hooks.flags)())
        for key, names in (("on", self._settings.on), ("off", self._settings.off)):
            self._check_names(key, names, [flag.name for flag in flags])
        self._board = Board(flags, self._settings)
        ports.provide(FLAGS, self._board)
        yield

    @hookimpl
    def routes(self) -> Iterable[Route]:
        yield Route("GET", "flags", self._list, name="flags.list", summary="List the flags and how they stand.")

    def _check_names(self, key: str, names: Iterable[str], known: list[str]) -> None:
        for name in names:
            if name not in known:
                right = [nearest(each, known) if each == name else each for each in names]
                message = f"names {name}, which is no flag of any plugin"
                self._run.fault((key,), message, write=[each for each in right if each])

    def _list(self, request: Request) -> Answer:
        board = self._board
        return Answer.json(
            {
                "data": [
                    {"name": flag.name, "summary": flag.summary, "isOn": board.is_on(flag.name)}
                    for flag in board.flags.values()
                ]
            }
        )

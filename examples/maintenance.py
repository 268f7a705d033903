"""Refuse requests for routes that are closed for maintenance, with 503 and a time to come back.

Table   [plugins.maintenance]
Slot    NEGOTIATE: a closed route should cost nothing more
Raises  Closed: 503, code MAINTENANCE
Source  RFC 9110, sections 10.2.3 and 15.6.4

    [plugins.maintenance]
    enabled = true

    [routes."users.*"]
    maintenance = true
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from aiohttp.web import Request

from service.api import Check, Duration, MountedRoute, PluginSettings, ServiceError, Slot, hookimpl


class Settings(PluginSettings):
    retry_after: Duration = Duration("5m")
    """What clients are told to wait."""


class RouteSettings(PluginSettings):
    closed: bool = False
    """True closes the route."""


class Closed(ServiceError):
    """The route is closed for maintenance."""

    status, code = 503, "MAINTENANCE"


class Plugin:
    def __init__(self, settings: Settings) -> None:
        self._headers = {"Retry-After": str(math.ceil(settings.retry_after.seconds))}

    @hookimpl
    def steps(self, route: MountedRoute) -> Iterable[Check]:
        if route.settings(RouteSettings).closed:
            yield Check(Slot.NEGOTIATE, self._refuse)

    def _refuse(self, request: Request) -> None:
        raise Closed("This part of the API is closed for maintenance.", headers=self._headers)

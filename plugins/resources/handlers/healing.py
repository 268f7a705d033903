"""The schema was changed under us: clients are told to come back, and the schema is read anew by a reload."""

from __future__ import annotations

from typing import Final

from service.api import Database, Run, SchemaChanged, Unavailable

AGAIN_AFTER_S: Final = 60.0
"""How long a reload that was asked for and did not come is waited for (chosen): where it fails, this one serves on."""


class Healing:
    """The database as handlers ask it; all of our SQL comes from the catalogue, so it is out of date where it fails."""

    def __init__(self, database: Database, run: Run) -> None:
        self._database = database
        self._now_s = run.clock.monotonic
        self._request_reload = run.request_reload
        self._asked_at_s: float | None = None

    async def fetch_json(self, sql: str, *args: object) -> bytes | None:
        try:
            return await self._database.fetch_json(sql, *args)
        except SchemaChanged as changed:
            raise self._heal() from changed

    async def count(self, sql: str, *args: object) -> int | None:
        try:
            return await self._database.count(sql, *args)
        except SchemaChanged as changed:
            raise self._heal() from changed

    async def write(self, sql: str, *args: object) -> bytes | None:
        try:
            return await self._database.write(sql, *args)
        except SchemaChanged as changed:
            raise self._heal() from changed

    def _heal(self) -> Unavailable:
        now_s = self._now_s()
        if self._asked_at_s is None or now_s >= self._asked_at_s + AGAIN_AFTER_S:
            self._asked_at_s = now_s
            self._request_reload("the schema of the database has changed")
        return Unavailable("The database was changed just now; try again.", headers={"Retry-After": "1"})

"""Committing: a write runs to its end also when its client leaves, and is announced before anybody is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from plugins.resources.handlers.healing import Healing
from plugins.resources.parse.keys import spelled
from service.api import Change, Changes, OutcomeUnknown, Run

ENDED: Final = "The service ended while the change was made: it may have been made. Look before trying again."


@dataclass(frozen=True, slots=True)
class Written:
    """One row that was written."""

    row: bytes
    """As it is read; `null` where it is gone."""
    key: tuple[str, ...]
    """Empty where no URL names it."""


class Committer:
    """Runs the statements of one resource, which is called `name` where changes are announced."""

    def __init__(self, database: Healing, changes: Changes, run: Run, *, name: str) -> None:
        self._write = database.write
        self._announce = changes.announce
        self._spawn = run.spawn
        self._name = name
        self._task = f"write {name}"

    async def commit(self, sql: str, arguments: Sequence[object], *, reach: Sequence[str]) -> Written | None:
        """The row that was written, once that is committed; None if there was none. `reach` are the names of resources
        that differ then too. Raises ServiceErrors."""
        answer: asyncio.Future[Written | None] = asyncio.get_running_loop().create_future()
        self._spawn(self._to_the_end(answer, sql, arguments, reach), name=self._task)
        return await answer  # where this is cancelled, so is the future, and the task goes on

    async def _to_the_end(
        self, answer: asyncio.Future[Written | None], sql: str, arguments: Sequence[object], reach: Sequence[str]
    ) -> None:
        try:
            written = await self._written(sql, arguments, reach)
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # seen, also where the client leaves in this very moment
        except asyncio.CancelledError:
            if not answer.done():
                answer.set_exception(OutcomeUnknown(ENDED, headers={"Retry-After": "1"}))
            raise
        else:
            if not answer.done():
                answer.set_result(written)

    async def _written(self, sql: str, arguments: Sequence[object], reach: Sequence[str]) -> Written | None:
        try:
            body = await self._write(sql, *arguments)
        except OutcomeUnknown:
            self._tell((), reach)
            raise
        if body is None:
            return None
        written = read_written(body)
        self._tell((spelled(written.key),) if written.key else (), reach)
        return written

    def _tell(self, keys: tuple[str, ...], reach: Sequence[str]) -> None:
        self._announce(Change(self._name, keys))
        for name in reach:
            self._announce(Change(name))


def read_written(body: bytes) -> Written:
    """What a statement of `plan/writes.py` gave: `[row, "[key, ...]"]`. The row is not looked at."""
    at = body.rindex(b', "')  # inside the text, a quotation mark has a backslash before it
    return Written(body[1:at], tuple(orjson.loads(orjson.loads(body[at + 2 : -1]))))

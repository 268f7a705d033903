"""Committing: a write runs to its end also when its client leaves, and is announced before anybody is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import orjson

from plugins.resources.handlers.healing import Healing
from plugins.resources.parse.keys import spelled
from plugins.resources.plan.writes import OUTSIDE
from service.api import Change, Changes, Conflict, Forbidden, OutcomeUnknown, Run, ServiceError

ENDED: Final = "The service ended while the change was made: it may have been made. Look before trying again."
MAYBE_MADE: Final = "A trigger of the database may have made the change. Look before trying again."
UNMOVED: Final = "A trigger of the database has left this row as it was."

NOT_YOURS: Final = "A row like this is none that you may write."

GONE: Final = b"null"

Write = Callable[[], Awaitable[bytes | None]]
"""Runs a statement and commits it."""


@dataclass(frozen=True, slots=True)
class Written:
    """One row that was written."""

    row: bytes
    """As it is read; `GONE` where it is not there."""
    key: tuple[str, ...]
    """Empty where no URL names it."""


@dataclass(frozen=True, slots=True)
class Look:
    """How to see what became of a row where a trigger may have answered a write with no row."""

    sql: str
    """`WriteStatements.look`; empty for a new row, whose key nobody may know."""
    key: Sequence[str] = ()


class Committer:
    """Runs the statements of one resource, which is called `name` where changes are announced."""

    def __init__(self, database: Healing, changes: Changes, run: Run, *, name: str) -> None:
        self._fetch_json = database.fetch_json
        self._write = database.write
        self._write_checked = partial(database.write_checked, _check)
        self._announce = changes.announce
        self._spawn = run.spawn
        self._name = name
        self._task = f"write {name}"

    async def commit(
        self,
        sql: str,
        arguments: Sequence[object],
        *,
        reach: Sequence[str],
        look: Look | None = None,
        is_restricted: bool = False,
    ) -> Written | None:
        """The row that was written, once that is committed; None if there was none. `reach` are the names of resources
        that differ then too; `look` is for where no row may mean that a trigger kept it: it is announced then, and is a
        Conflict where the row is as it was. With `is_restricted` the statement may give back `OUTSIDE`, which is rolled
        back and Forbidden. Raises ServiceErrors."""
        answer: asyncio.Future[Written | None] = asyncio.get_running_loop().create_future()
        write = partial(self._write_checked if is_restricted else self._write, sql, *arguments)
        written = self._written(write, reach) if look is None else self._looked(write, reach, look)
        self._spawn(self._to_the_end(answer, written), name=self._task)
        return await answer  # where this is cancelled, so is the future, and the task goes on

    async def _to_the_end(
        self, answer: asyncio.Future[Written | None], writing: Coroutine[object, object, Written | None]
    ) -> None:
        try:
            written = await writing
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

    async def _written(self, write: Write, reach: Sequence[str]) -> Written | None:
        try:
            body = await write()
        except OutcomeUnknown:
            self._tell((), reach)
            raise
        if body is None:
            return None
        written = read_written(body)
        self._tell((spelled(written.key),) if written.key else (), reach)
        return written

    async def _looked(self, write: Write, reach: Sequence[str], look: Look) -> Written | None:
        """As `_written`. Whatever a trigger did in place of the write may be a change, and is announced."""
        before = await self._fetch_json(look.sql, *look.key) if look.sql else None
        written = await self._written(write, reach)
        if written is not None or (look.sql and before is None):
            return written
        if before is None:
            self._tell((), reach)
            return Written(GONE, ())
        was = _read_look(before)
        self._tell((spelled(was.key),), reach)
        try:
            after = await self._fetch_json(look.sql, *look.key)
        except ServiceError as error:
            raise OutcomeUnknown(MAYBE_MADE, headers={"Retry-After": "1"}) from error
        if after == before:
            raise Conflict(UNMOVED)
        return Written(GONE, was.key) if after is None else _read_look(after)

    def _tell(self, keys: tuple[str, ...], reach: Sequence[str]) -> None:
        self._announce(Change(self._name, keys))
        for name in reach:
            self._announce(Change(name))


def _check(body: bytes | None) -> None:
    if body == OUTSIDE:
        raise Forbidden(NOT_YOURS)


def read_written(body: bytes) -> Written:
    """What a statement of `plan/writes.py` gave: `[row, "[key, ...]"]`. The row is not looked at."""
    at = body.rindex(b', "')  # inside the text, a quotation mark has a backslash before it
    return Written(body[1:at], tuple(orjson.loads(orjson.loads(body[at + 2 : -1]))))


def _read_look(body: bytes) -> Written:
    return read_written(body[1 : body.rindex(b', "')])

"""Committing: a write runs to its end also when its client leaves, and is announced before anybody is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from service.api import Change, Changes, Database, OutcomeUnknown, Run


@dataclass(frozen=True, slots=True)
class Written:
    """One row that was written."""

    row: bytes
    """As it is read; `null` where it is gone."""
    key: tuple[str, ...]
    """Empty where no URL names it."""


class Committer:
    """Runs the statements of one resource, which is called `name` where changes are announced."""

    def __init__(self, database: Database, changes: Changes, run: Run, *, name: str) -> None:
        self._write = database.write
        self._announce = changes.announce
        self._spawn = run.spawn
        self._name = name

    async def commit(self, sql: str, arguments: Sequence[object], *, reach: Sequence[str]) -> Written | None:
        """The row that was written, once that is committed; None if there was none. `reach` are the names of resources
        that differ then too. Raises ServiceErrors."""
        work = _Work()
        task = self._spawn(self._to_the_end(work, sql, arguments, reach), name=f"write {self._name}")
        await asyncio.wait([task])  # which goes on where this is cancelled
        if work.error is not None:
            raise work.error
        if task.cancelled():
            raise OutcomeUnknown(
                "The service ended while the change was made: it may have been made. Look before trying again.",
                headers={"Retry-After": "1"},
            )
        return work.written

    async def _to_the_end(self, work: _Work, sql: str, arguments: Sequence[object], reach: Sequence[str]) -> None:
        try:
            body = await self._write(sql, *arguments)
        except Exception as error:
            work.error = error
            if not isinstance(error, OutcomeUnknown):
                return
            body = None
        else:
            if body is None:
                return
            work.written = read_written(body)
        keys = (spelled(work.written.key),) if work.written is not None and work.written.key else ()
        self._announce(Change(self._name, keys))
        for name in reach:
            self._announce(Change(name))


class _Work:
    """What has come of a write."""

    __slots__ = ("error", "written")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.written: Written | None = None


def read_written(body: bytes) -> Written:
    """What a statement of `plan/writes.py` gave: `[row, "[key, ...]"]`. The row is not looked at."""
    at = body.rindex(b', "')  # inside the text, a quotation mark has a backslash before it
    key = json.loads(json.loads(body[at + 2 : -1]), parse_int=str, parse_float=str)
    return Written(body[1:at], tuple(["true" if part is True else "false" if part is False else part for part in key]))


def spelled(key: Sequence[str]) -> str:
    r"""The key as it stands in a path, percent-decoded: of several values, with commas between them."""
    if len(key) == 1:
        return key[0]
    return ",".join([part.replace("\\", "\\\\").replace(",", "\\,") for part in key])

"""Statements that fail for the schema's sake: it was changed under us, or something of the operator's is broken.

All of our SQL comes from the catalogue. Where the catalogue has changed since, clients are told to come back, and the
service reloads. Where it has not, no reload would help: a trigger, view or function fails, and the operator is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from service.api import Database, InternalError, InvalidRequest, Run, SchemaChanged, ServiceError, Unavailable

AGAIN_AFTER_S: Final = 60.0
"""How long a reload that was asked for and did not come is waited for, and how long what was said of a resource is not
said again (chosen)."""

LOOK_EVERY_S: Final = 3.0
"""How long what a look has shown is taken to hold (chosen: a look reads the whole catalogue)."""

FAILED: Final = "The database failed at this for a reason that is not the caller's."

T = TypeVar("T")


class Healer:
    """Finds out whether the schema is still the one that this service was made from, and asks for a reload if not.

    `differs` looks; it raises ServiceErrors, and what cannot be looked at is not known to be the same.
    """

    def __init__(self, differs: Callable[[], Awaitable[bool]], run: Run) -> None:
        self._differs = differs
        self._now_s = run.clock.monotonic
        self._request_reload = run.request_reload
        self._say = run.say
        self._spawn = run.spawn
        self._asked_at_s: float | None = None
        self._said_at_s: dict[str, float] = {}
        self._look: asyncio.Task[None] | None = None
        self._looked_at_s = 0.0
        self._may_differ = True

    async def answer(self, changed: SchemaChanged, name: str) -> ServiceError:
        """What is answered where a statement of the resource `name` has met this."""
        now_s = self._now_s()
        if self._look is None or (self._look.done() and now_s >= self._looked_at_s + LOOK_EVERY_S):
            self._looked_at_s = now_s
            self._look = self._spawn(self._look_again(), name="look at the schema again")
        await asyncio.wait((self._look,))  # which ends also where the client leaves
        if self._may_differ:
            return Unavailable("The database was changed just now; try again.", headers={"Retry-After": "1"})
        self.blame(changed, name, "though its tables are as this service knows them")
        return InternalError(FAILED)

    def blame(self, error: ServiceError, name: str, circumstance: str) -> None:
        """Tell the operator that something in the database makes statements of the resource `name` fail."""
        now_s = self._now_s()
        if now_s < self._said_at_s.get(name, -AGAIN_AFTER_S) + AGAIN_AFTER_S:
            return
        self._said_at_s[name] = now_s
        why = "; ".join(getattr(error.__cause__, "__notes__", ())) or "the log has the reason"
        self._say(
            f"A statement of {name} fails in the database ({why}), {circumstance}"
            ": correct the trigger, view or function."
        )

    async def _look_again(self) -> None:
        self._may_differ = True
        try:
            self._may_differ = await self._differs()
        except ServiceError:
            return
        now_s = self._now_s()
        if self._may_differ and (self._asked_at_s is None or now_s >= self._asked_at_s + AGAIN_AFTER_S):
            self._asked_at_s = now_s
            self._request_reload("the schema of the database has changed")


class Healing:
    """The database as the handlers of one resource ask it, which is called `name` where operators are told of it."""

    def __init__(self, database: Database, healer: Healer, *, name: str) -> None:
        self._database = database
        self._healer = healer
        self._name = name

    async def fetch_json(self, sql: str, *args: object) -> bytes | None:
        return await self._healed(self._database.fetch_json(sql, *args))

    async def count(self, sql: str, *args: object) -> int | None:
        return await self._healed(self._database.count(sql, *args))

    async def write(self, sql: str, *args: object) -> bytes | None:
        return await self._healed(self._database.write(sql, *args))

    async def write_checked(self, check: Callable[[bytes | None], None], sql: str, *args: object) -> bytes | None:
        """As `write`, in a transaction that `check` may still undo, by raising. It is not tried again."""
        return await self._healed(self._checked(check, sql, args))

    async def _checked(self, check: Callable[[bytes | None], None], sql: str, args: Sequence[object]) -> bytes | None:
        async with self._database.transaction() as transaction:
            body = await transaction.fetch_json(sql, *args)
            check(body)
        return body

    async def _healed(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except SchemaChanged as changed:
            raise await self._healer.answer(changed, self._name) from changed.__cause__

    async def fault(self, refused: InvalidRequest, sql: str, *args: object) -> ServiceError:
        """What is answered where `sql`, which reads, was refused for a value: a client's, or one that a view computes.

        The planner reads the values of clients, and computes no row.
        """
        try:
            await self.fetch_json(f"EXPLAIN (FORMAT JSON) {sql}", *args)
        except InvalidRequest:
            return refused
        self._healer.blame(refused, self._name, "on a value that no client sent")
        return InternalError(FAILED)

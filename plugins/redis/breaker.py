"""The circuit breaker: open while Redis is away, so that nobody waits for it.

What opens and closes it is a look of its own, never the number of commands that fail: whoever fails only has it looked
at now. So it opens as soon as a failure is confirmed, a slow moment of our own does not open it, and one who is away is
looked for without a request having to try.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from plugins.redis.opening import DRIVER_ERRORS, Unusable, reason
from service.api import Alarm

EVERY_S = 2.0
"""Between looks while all is well: so long, at most, a master is used that Sentinels have replaced (chosen)."""

RETRY_S = 0.5
"""Between looks while it is away: one that has returned is to be found within 2 s."""

log = logging.getLogger("pegboard.redis")


class Breaker:
    """`run` is its task; until the first look it is open."""

    def __init__(
        self,
        check: Callable[[], Awaitable[None]],
        *,
        name: str,
        alarm: Alarm,
        say: Callable[[str], None],
        every_s: float = EVERY_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """`check` raises where it is away; `name` is what the operator is told is away."""
        self._check = check
        self._name = name
        self._alarm = alarm
        self._say = say
        self._every_s = every_s
        self._retry_s = retry_s
        self.is_open = True
        self._doubted = asyncio.Event()
        self._closed = asyncio.Event()
        self._outcome: asyncio.Future[BaseException | None] | None = None
        self._last_reason = ""
        self.on_open: list[Callable[[], Awaitable[None]]] = []
        """Called, in order, whenever it has opened."""

    def doubt(self) -> None:
        """Have it looked at now: something has failed."""
        self._doubted.set()

    async def until_closed(self) -> None:
        await self._closed.wait()

    async def confirm(self) -> None:
        """Look now, or with whoever looks. Raises Unusable, which says in plain words why it is away."""
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
            self._doubted.set()
        if (error := await asyncio.shield(self._outcome)) is not None:
            raise Unusable(reason(error)) from error

    async def begin(self) -> BaseException | None:
        """The first look, for the start: what it found. The operator is told by whoever starts."""
        error = await self._found()
        if error is None:
            self._close()
        else:
            self._last_reason = reason(error)
        return error

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._retry_s if self.is_open else self._every_s):
                    await self._doubted.wait()
            except TimeoutError:
                pass
            await self._look()

    async def _look(self) -> None:
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
        self._doubted.clear()
        error = await self._found()
        outcome, self._outcome = self._outcome, None
        if error is None:
            self._found_it()
        else:
            await self._lost_it(error)
        outcome.set_result(error)

    async def _found(self) -> BaseException | None:
        try:
            await self._check()
        except (*DRIVER_ERRORS, Unusable) as error:
            return error
        except Exception as error:  # whatever a server may answer: to look again must go on
            log.exception("Looking at %s failed.", self._name)
            return error
        return None

    def _found_it(self) -> None:
        if self.is_open:
            self._close()
            self._say(f"{self._name} is back")

    def _close(self) -> None:
        self.is_open = False
        self._last_reason = ""
        self._closed.set()

    async def _lost_it(self, error: BaseException) -> None:
        why = reason(error)
        if self.is_open:
            if why != self._last_reason:
                log.warning("%s is still away: %s.", self._name, why)
        else:
            self.is_open = True
            self._closed.clear()
            self._say(f"{self._name} is lost ({why}): going on without it until it is back")
            self._alarm.ring()
            for call in self.on_open:
                await call()
        self._last_reason = why

"""Keeps what one worker holds as the store has it: hears of each new revocation, and reads all of them when it may have
missed some.

hears, and has read since it began to     up to date
does not hear                             reads all of them twice a second: at most a second behind
does not hear, and cannot read            in doubt

So a message that is lost, and one that was told while this worker was not there, is made up for by the next reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from plugins.auth.revocation.doubt import Doubt
from plugins.auth.revocation.held import Held, Revoked
from plugins.auth.revocation.messages import ANEW, decoded
from plugins.auth.revocation.stores import Store
from plugins.auth.tokens.verifying import Verified
from service.api import Alarm, Run, ServiceError

EVERY_S: Final = 30.0
"""Between readings while it hears (chosen): for what was kept and could not be told."""

RETRY_S: Final = 0.5
"""Between readings while it does not."""

PATIENCE_S: Final = 1.0
"""For one reading (chosen): what takes longer is no answer."""

LISTEN_AGAIN_S: Final = 5.0
"""Before another attempt where there is nothing to hear, as on a standby (chosen)."""

AT_ONCE: Final = 5_000
"""Revocations that are taken in before requests have their turn (chosen): some milliseconds."""

TELL_EVERY_S: Final = 60.0
"""How often the log repeats that messages are dropped (chosen)."""

Forget = Callable[[Callable[[Verified], bool]], None]
"""Forgets those of the remembered tokens that are meant."""

log = logging.getLogger("pegboard.auth")


class InDoubt(Exception):
    """What is revoked cannot be found out. The text says since when, and what came of it."""


class Following:
    """For one worker. `follow` is its life."""

    def __init__(self, store: Store, held: Held, doubt: Doubt, forget: Forget, run: Run, alarm: Alarm) -> None:
        self._store = store
        self._held = held
        self._doubt = doubt
        self._forget = forget
        self._run = run
        self._alarm = alarm
        self._hears = False
        self._begun_count = 0
        """How often it has begun to hear."""
        self._is_whole = False
        """True where it hears and has read since it began to, so that it has missed nothing."""
        self._is_behind = asyncio.Event()
        """Set when it should read now."""
        self._has_looked = asyncio.Event()
        self._told_s: float | None = None

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[None]:
        """Entered once it is up to date, or in doubt."""
        tasks = [
            self._run.spawn(self._listen(), name=f"{self._run.name}: revocations are heard"),
            self._run.spawn(self._keep_up(), name=f"{self._run.name}: revocations are read"),
        ]
        try:
            await self._has_looked.wait()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def check(self) -> None:
        """The health check; looks where nobody follows. Raises InDoubt."""
        if not self._has_looked.is_set():
            await self._look()
        if self._doubt.lasts:
            facts = ", ".join(f"{name} {value}" for name, value in self._doubt.facts().items())
            raise InDoubt(f"what is revoked cannot be found out ({facts})")

    def take(self, revoked: Revoked) -> None:
        """Hold it, and forget which tokens it hits."""
        if self._held.add(revoked, self._run.clock.now()):
            self._forget(revoked.hits)

    # --- hearing

    async def _listen(self) -> None:
        while True:
            try:
                async with self._store.hear(self._hear, begun=self._begin, lost=self._lose):
                    await asyncio.Event().wait()
            except ServiceError as error:
                log.debug("Revocations are not heard: %s", error)
            except Exception:  # to go on without hearing is safe, to end would not be noticed
                log.exception("Hearing of revocations failed.")
            self._lose()
            await asyncio.sleep(LISTEN_AGAIN_S)

    def _begin(self) -> None:
        self._hears = True
        self._begun_count += 1
        self._is_whole = False
        self._is_behind.set()

    def _lose(self) -> None:
        self._hears = self._is_whole = False
        self._is_behind.set()

    def _hear(self, message: bytes | str) -> None:
        if message in (ANEW, ANEW.decode()):
            self._is_behind.set()
            return
        revoked = decoded(message)
        if revoked is not None:
            self.take(revoked)
            return
        now_s = self._run.clock.monotonic()
        if self._told_s is None or now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            log.warning(
                "A message about revocations is none (%d characters), and is dropped: somebody else writes to their "
                "channel.",
                len(message),
            )

    # --- reading

    async def _keep_up(self) -> None:
        while True:
            self._is_behind.clear()
            await self._look()
            self._has_looked.set()
            try:
                async with asyncio.timeout(EVERY_S if self._is_whole else RETRY_S):
                    await self._is_behind.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        """Read all, once, and know from then on whether that is up to date."""
        begun_count = self._begun_count
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._store.read(self._run.clock.now())
        except (ServiceError, TimeoutError) as error:
            self._begin_doubt(str(error) or "no answer")
        except Exception:  # whatever the store may have: to look again must go on
            log.exception("Reading revocations failed.")
            self._begin_doubt("they cannot be read")
        else:
            await self._take_all(found)
            self._is_whole = self._hears and self._begun_count == begun_count
            self._end_doubt()
            await self._restore(found)

    async def _take_all(self, found: Iterable[Revoked]) -> None:
        now_s, is_new = self._run.clock.now(), False
        self._held.drop_ended(now_s)
        for number, revoked in enumerate(found, start=1):
            is_new = self._held.add(revoked, now_s) or is_new
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        if is_new:
            self._forget(self._held.hits)

    async def _restore(self, found: Iterable[Revoked]) -> None:
        """What the store has lost, or never had."""
        there = set(found)
        lacking = [revoked for revoked in self._held if revoked not in there]
        if lacking:
            try:
                await self._store.restore(lacking)
            except ServiceError as error:
                log.debug("Revocations that the store lacks could not be kept there: %s", error)

    def _begin_doubt(self, why: str) -> None:
        if self._is_whole or self._doubt.lasts:
            return
        self._doubt.begin(self._run.clock.now())
        self._alarm.ring()
        self._run.say(
            f"Which tokens are revoked cannot be found out ({why.rstrip('.')}): what happens to them until it can, "
            f"[plugins.{self._run.name}.revocation] on_store_failure says"
        )

    def _end_doubt(self) -> None:
        if not self._doubt.lasts:
            return
        self._doubt.end()
        self._run.say("Which tokens are revoked is known again")

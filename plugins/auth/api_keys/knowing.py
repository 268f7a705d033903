"""Whose an API key is: asked of PostgreSQL as seldom as is safe, and never answered from what may be out of date.

A key that was found good is remembered for `REMEMBERED_S`, unless a message says sooner that it was revoked. While such
messages are not heard nothing is remembered (a pooler that lends connections by the transaction takes LISTEN and passes
nothing on, so whoever listens calls itself first): then, and for keys that are refused, each id is asked for once in
`ASKED_EVERY_S`, however many send it. That bounds both what a flood of one wrong key costs and how long a revoked one
is good.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from plugins.auth.api_keys.text import ApiKey, shown_id
from plugins.auth.store.channel import CHANNEL, Message, heard, tell
from plugins.auth.store.keys import KIND, StoredKey, find_key
from plugins.auth.tokens.remembering import Memory
from service.api import Database, Forbidden, Principal, Run, SchemaChanged, ServiceError

SCHEME: Final = "apikey"

REMEMBERED_S: Final = 60.0
"""How long a key is believed to be good that nobody said was revoked (chosen): a message can be lost without a word."""

ASKED_EVERY_S: Final = 1.0
"""How long an answer of PostgreSQL's is good for the same id: what "within 1 s" of a revocation allows."""

CALLS_EVERY_S: Final = (1.0, 60.0)
"""Between calls that were not heard: at first, and at last after twice as long each time (chosen)."""

ECHO: Final = "echo"

MOST_ASKED: Final = 1_000
"""Ids whose answers are kept for that long; clients make them up (chosen)."""

NOBODY: Final = StoredKey(
    id="", name="", digest=secrets.token_bytes(32), roles=(), scopes=(), created_at=datetime.fromtimestamp(0, UTC),
    expires_at=datetime.fromtimestamp(0, UTC), revoked_at=None,
)  # fmt: skip
"""In place of a key that is absent, so that it costs what a wrong one does."""

log = logging.getLogger("pegboard.auth")


@dataclass(frozen=True, slots=True)
class Known:
    """A key that was found good."""

    id: str
    principal: Principal
    ends_at: float


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question to PostgreSQL, and in time its answer: for all who ask the same meanwhile."""

    since_s: float
    """By the monotonic clock. The answer may be as old as the question."""
    answer: asyncio.Future[StoredKey]


class KnownKeys:
    """In the memory of one worker."""

    def __init__(self, database: Database, run: Run, *, size: int) -> None:
        self._database = database
        self._run = run
        self._clock = run.clock
        self._memory: Memory[Known] = Memory(size)
        self._asked: OrderedDict[str, Asked] = OrderedDict()
        self._hears = asyncio.Event()
        self._sign = ""
        self._has_complained = False

    # --- what the channel says

    def begin(self) -> None:
        """From now on revocations are heard, once the own call is; those of before may not have been."""
        self.lose()
        self._sign = secrets.token_hex(8)
        self._run.spawn(self._call(self._hears), name=f"{self._run.name}: call on {CHANNEL}")

    def lose(self) -> None:
        """They are not heard any more."""
        self._hears = asyncio.Event()
        self._forget_all()

    def hear(self, payload: str) -> None:
        message = heard(payload)
        if message is not None and message.kind == KIND:
            self._asked.pop(message.value, None)
            self._memory.forget(lambda known: known.id == message.value)
        elif message == Message(ECHO, self._sign):
            self._hears.set()

    async def does_hear(self, *, within_s: float) -> bool:
        """Whether the own call was heard by then; at once where nobody listens."""
        return bool(self._sign) and await _comes(self._hears, within_s)

    async def _call(self, hears: asyncio.Event) -> None:
        delay_s, longest_s = CALLS_EVERY_S
        while self._hears is hears:
            with suppress(ServiceError):
                await tell(self._database, Message(ECHO, self._sign))
            if await _comes(hears, delay_s):
                return
            delay_s = min(2 * delay_s, longest_s)

    def _forget_all(self) -> None:
        self._asked.clear()
        self._memory.clear()

    # --- who asks

    def recall(self, text: str) -> Principal | None:
        """Whose this key is; None where that has to be asked."""
        return self._memory.recall(text, self._clock.now())

    async def ask(self, key: ApiKey) -> Principal | None:
        """Whose it is; None for one that is absent, wrong, expired or revoked, at the same cost. Raises Unavailable
        and other ServiceErrors while PostgreSQL gives no answer."""
        asked = self._asking(key.id)
        stored = await asyncio.shield(asked.answer)  # others may be waiting for it too
        is_right = hmac.compare_digest(key.digest, stored.digest)
        now_s = self._clock.now()
        is_good = now_s < stored.ends_at
        if not (is_right and is_good):
            return None
        principal = _principal(stored)
        if self._hears.is_set() and self._asked.get(key.id) is asked:  # else it may have been revoked since it was read
            ends_at = min(stored.ends_at, now_s + REMEMBERED_S)
            self._memory.keep(key.text, Known(stored.id, principal, ends_at))
        return principal

    def _asking(self, identity: str) -> Asked:
        now_s = self._clock.monotonic()
        asked = self._asked.get(identity)
        if asked is not None and now_s < asked.since_s + ASKED_EVERY_S:
            return asked
        asked = self._asked[identity] = Asked(now_s, asyncio.get_running_loop().create_future())
        self._asked.move_to_end(identity)
        if len(self._asked) > MOST_ASKED:
            self._asked.popitem(last=False)
        self._run.spawn(self._answer(identity, asked), name=f"{self._run.name}: look up an API key")
        return asked

    async def _answer(self, identity: str, asked: Asked) -> None:
        try:
            asked.answer.set_result(await self._find(identity) or NOBODY)
        except ServiceError as error:
            if self._asked.get(identity) is asked:
                del self._asked[identity]
            asked.answer.set_exception(error)
            asked.answer.exception()  # whoever waited for it may have gone
        finally:
            asked.answer.cancel()  # where the service ends meanwhile

    async def _find(self, identity: str) -> StoredKey | None:
        try:
            return await find_key(self._database, identity)
        except (SchemaChanged, Forbidden) as error:
            if not self._has_complained:
                self._has_complained = True
                log.warning("%s", _complaint(error))
            return None


async def _comes(event: asyncio.Event, within_s: float) -> bool:
    """Whether it is set by then."""
    try:
        async with asyncio.timeout(within_s):
            return await event.wait()
    except TimeoutError:
        return False


def _principal(key: StoredKey) -> Principal:
    subject = f"key:{key.name}"
    claims = MappingProxyType({"sub": subject, "keyId": shown_id(key.id)})
    return Principal(subject, frozenset(key.roles), frozenset(key.scopes), claims, SCHEME)


def _complaint(error: ServiceError) -> str:
    if isinstance(error, Forbidden):
        return (
            "API keys are refused, since the role that connects to the database may not read pegboard.api_keys; "
            "as their owner, run: GRANT USAGE ON SCHEMA pegboard TO name_of_the_role; "
            "GRANT SELECT ON pegboard.api_keys TO name_of_the_role;"
        )
    return "API keys are refused, since the database has no schema pegboard to keep them in; run: pegboard auth init"

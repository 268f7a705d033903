"""API keys: for machines, which no one logs in and no one can ask for a password.

- `text.py`     how one is written; new ones
- `knowing.py`  whose one is: what is remembered, and what is asked of PostgreSQL
- `scheme.py`   where a request has one
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from plugins.auth.api_keys.knowing import ASKED_EVERY_S, KnownKeys
from plugins.auth.api_keys.scheme import ApiKeys
from plugins.auth.store.channel import CHANNEL
from service.api import Database, Run, ServiceError

PATIENCE_S = 1.0
"""How long the start waits until it hears itself (chosen)."""


@asynccontextmanager
async def open_keys(database: Database, run: Run, *, size: int) -> AsyncIterator[ApiKeys]:
    """The scheme, which remembers `size` keys and hears of those that are revoked while the block runs."""
    known = KnownKeys(database, run, size=size)
    async with AsyncExitStack() as stack:
        if run.serves:
            with suppress(ServiceError):
                await stack.enter_async_context(
                    database.listen(CHANNEL, known.hear, begun=known.begin, lost=known.lose)
                )
            if not await known.does_hear(within_s=PATIENCE_S):
                run.say(
                    f"NOTIFY {CHANNEL} is not heard, since this database takes no LISTEN, as a standby does not, or "
                    "stands behind a pooler that passes nothing on; each API key is looked up again after "
                    f"{ASKED_EVERY_S:g} s."
                )
        yield ApiKeys(known)

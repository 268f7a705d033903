"""API keys: for machines, which no one logs in and no one can ask for a password.

- `text.py`     how one is written; new ones
- `knowing.py`  whose one is: what is remembered, and what is asked of PostgreSQL
- `scheme.py`   where a request has one
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from plugins.auth.api_keys.knowing import ASKED_EVERY_S, KnownKeys
from plugins.auth.api_keys.scheme import ApiKeys
from plugins.auth.store.channel import CHANNEL
from service.api import Database, Run, ServiceError


@asynccontextmanager
async def api_keys(database: Database, run: Run, *, size: int) -> AsyncIterator[ApiKeys]:
    """The scheme, which remembers `size` keys and hears of those that are revoked while the block runs."""
    known = KnownKeys(database, run, size=size)
    async with AsyncExitStack() as stack:
        if run.serves:
            try:
                await stack.enter_async_context(
                    database.listen(CHANNEL, known.hear, begun=known.begin, lost=known.lose)
                )
            except ServiceError:
                run.say(
                    f"NOTIFY {CHANNEL} is not heard, since this database takes no LISTEN, as a standby does not; "
                    f"each API key is looked up again after {ASKED_EVERY_S:g} s."
                )
        yield ApiKeys(known)

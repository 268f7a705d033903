"""What workers and commands tell each other through PostgreSQL: NOTIFY on one channel, a small JSON object each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from service.api import Database, Transaction

CHANNEL: Final = "pegboard_auth"

_NOTIFY: Final = "SELECT pg_notify($1, $2)"


@dataclass(frozen=True, slots=True)
class Message:
    kind: str
    """What it is about: `key`, an API key that is revoked; `revocation`, of tokens; `echo`, of who wants to know
    whether it hears."""
    value: str
    """Which one: no secret, since whoever may connect may listen."""


async def tell(teller: Transaction | Database, message: Message) -> None:
    """Tell it to all who listen: in a transaction once that is committed, and to nobody where it is not."""
    await teller.fetch(_NOTIFY, CHANNEL, orjson.dumps({"kind": message.kind, "value": message.value}).decode())


def heard(payload: str) -> Message | None:
    """None for what is no message: whoever may connect may notify, too."""
    try:
        said = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    match said:
        case {"kind": str(kind), "value": str(value)}:
            return Message(kind, value)
    return None

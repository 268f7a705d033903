"""What workers and commands tell each other through PostgreSQL: NOTIFY on one channel, a small JSON object each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from service.api import Transaction

CHANNEL: Final = "pegboard_auth"

_NOTIFY: Final = "SELECT pg_notify($1, $2)"


@dataclass(frozen=True, slots=True)
class Message:
    kind: str
    """What it is about: `key`, an API key that is revoked; `revocation`, of tokens."""
    value: str
    """Which one: no secret, since whoever may connect may listen."""


async def tell(transaction: Transaction, message: Message) -> None:
    """Tell it to all who listen, once the transaction is committed; to nobody where it is not."""
    payload = orjson.dumps({"kind": message.kind, "value": message.value}).decode()
    await transaction.execute(_NOTIFY, CHANNEL, payload)


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

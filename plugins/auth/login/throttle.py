"""How hard guessing is made: what counts an attempt to log in, refuses it or lets it wait.

    account and address   five wrong passwords in 15 minutes, then 429
    address               fifty for all accounts, then 429
    account               never refused, so that a stranger cannot lock its owner out: from ten wrong ones on, from
                          wherever, each attempt waits, longer and longer, 2 s at most

An account is counted by what was sent for it, whether there is one or not, so that the answers do not tell which.
Source: OWASP ASVS 5.0, 6.3.1; RFC 4291 and BCP 157 on what one subscriber has of IPv6.
"""

from __future__ import annotations

import asyncio
import hashlib
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from plugins.auth.login.settings import Attempts
from plugins.auth.store.failures import Failures, Full, Tally
from service.api import Clock, RateLimited

FREE_OF_DELAY: Final = 10
"""Wrong passwords for one account, from wherever, before attempts wait (chosen)."""

FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 2.0
"""The first one waits for so long, each next one twice as long, up to this (chosen)."""

COUNTED: Final = FREE_OF_DELAY + 6
"""Of an account: from so many on the delay does not grow."""

MOST_WAITING: Final = 100
"""Of one worker (chosen). Whoever comes then does not wait here: the queue for hashing is what holds them."""

NETWORK_BITS: Final = 56
"""Of an IPv6 address: what one subscriber usually has."""

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that was counted."""

    pair: Tally
    address: Tally
    account: Tally
    at_s: float

    @property
    def tallies(self) -> tuple[Tally, Tally, Tally]:
        """In the order in which everyone counts them."""
        return self.pair, self.address, self.account


class Throttle:
    """Counts over all workers, by `failures`; who waits does so here."""

    def __init__(self, failures: Failures, limits: Attempts, clock: Clock, *, pause: Pause = asyncio.sleep) -> None:
        self._failures = failures
        self._limits = limits
        self._now = clock.now
        self._pause = pause
        self._waiting = 0

    async def admit(self, identifier: str, address: str) -> Attempt:
        """Count an attempt as a wrong one, until it turns out to be right. Raises RateLimited."""
        account, network = _alike(identifier), _network(address)
        attempt = Attempt(
            Tally(_digest("pair", account, network), self._limits.account_and_address),
            Tally(_digest("address", network), self._limits.address),
            Tally(_digest("account", account), COUNTED, refuses=False),
            self._now(),
        )
        try:
            *_, count = await self._failures.count(attempt.tallies, attempt.at_s)
        except Full as full:
            raise RateLimited(
                "There were too many attempts to log in; wait before the next one.",
                headers={"Retry-After": str(full.retry_s)},
            ) from None
        delay_s = delay(count - 1)
        if delay_s and self._waiting < MOST_WAITING:
            self._waiting += 1
            try:
                await self._pause(delay_s)
            finally:
                self._waiting -= 1
        return attempt

    async def was_right(self, attempt: Attempt) -> None:
        """It counts no longer, and what was wrong before it for this account from this address neither."""
        await self._failures.take_back(attempt.tallies, attempt.at_s, cleared=attempt.pair)

    async def was_none(self, attempt: Attempt) -> None:
        """It counts no longer: nobody has looked at its password."""
        await self._failures.take_back(attempt.tallies, attempt.at_s)


def delay(failures: int) -> float:
    """How many seconds an attempt waits after so many wrong ones."""
    if failures < FREE_OF_DELAY:
        return 0.0
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (failures - FREE_OF_DELAY))


def _alike(identifier: str) -> str:
    """What is the same for all spellings that a column may take for one: citext and collations look past case and
    accents, char(n) past spaces. Two accounts that share it share their attempts."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", identifier).casefold())
    return "".join([char for char in decomposed if not unicodedata.combining(char) and not char.isspace()])


def _network(address: str) -> str:
    """Whose address it is: IPv4 whole, of IPv6 what one subscriber has. Empty over a unix socket without a proxy."""
    if not address:
        return ""
    parsed = ip_address(address)
    return address if parsed.version == 4 else str(ip_network((parsed, NETWORK_BITS), strict=False))


def _digest(*parts: str) -> bytes:
    """Of these parts, and of no others that read the same together."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4) + data)
    return digest.digest()

"""The keys of an issuer: fetched from the URL in the settings, kept, and fetched anew in the background.

No URL comes from a token, no redirect is followed, time and size are bounded. Whatever a source answers, keys that are
known stay until it gives a set in which they are not. However many tokens name keys that nobody knows, the source is
asked once in 30 s.
Source: RFC 7517, section 5 (sets of keys)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar

from plugins.auth.tokens.keys import Key, Keys, WrongKey, key_of_jwk
from service.api import PluginError, Run

REFRESH_S: Final = 600.0
"""How old keys become before the source is asked again (chosen)."""

COOLDOWN_S: Final = 30.0
"""Between two requests to the source, whoever wants them."""

PATIENCE_S: Final = 5.0
"""For one answer of the source (chosen): requests wait for it whose keys are unknown."""

LARGEST_SET: Final = 256 * 1024
"""Bytes (chosen): hundreds of keys with their certificates."""

MOST_KEYS: Final = 100
"""Of one set (chosen); those after them are left out."""

log = logging.getLogger("pegboard.auth")


class BadSource(Exception):
    """What the source answered is no set of keys. The text says why, and repeats nothing of it."""


class Jwks:
    """Keeps `keys.fetched` as the source has them."""

    def __init__(
        self,
        url: str,
        keys: Keys,
        algorithms: Sequence[str],
        run: Run,
        *,
        changed: Callable[[], None],
        refresh_s: float = REFRESH_S,
    ) -> None:
        """`changed` is called whenever `keys.fetched` has become another set."""
        self._url = url
        self._keys = keys
        self._algorithms = algorithms
        self._run = run
        self._changed = changed
        self._refresh_s = refresh_s
        self._began_s: float | None = None
        """When the source was asked last."""
        self._fetching: asyncio.Task[None] | None = None
        self._failure: str | None = None
        self.has_fetched = False
        """True once the source has given a set of keys."""

    def may_learn(self) -> bool:
        """True if `refresh` would wait for the source: it is being asked, or may be."""
        return self._fetching is not None or self.due_in_s() <= 0

    def due_in_s(self) -> float:
        """Seconds until the source may be asked again."""
        if self._began_s is None:
            return 0
        return max(0.0, self._began_s + COOLDOWN_S - self._run.clock.monotonic())

    async def refresh(self) -> None:
        """Ask the source, or wait for whoever asks it just now. Does nothing while it may not be asked, and raises
        nothing if it fails."""
        if self._fetching is None and self.due_in_s() <= 0:
            self._began_s = self._run.clock.monotonic()
            self._fetching = self._run.spawn(self._fetch(), name=f"{self._run.name}: keys of the issuer")
            self._fetching.add_done_callback(self._fetched)
        if self._fetching is not None:
            await asyncio.wait({self._fetching})  # goes on for the others where one of them is cancelled

    async def keep_fresh(self) -> None:
        """Run until cancelled: the first fetch, then one in a while, sooner after a failure."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._refresh_s if self._failure is None else min(COOLDOWN_S, self._refresh_s))

    async def check(self) -> None:
        """For a probe: raises if the source gave no keys when it was asked last."""
        if not self.has_fetched and self._failure is None:
            await self.refresh()
        if self._failure is not None:
            raise PluginError(f"the issuer's keys could not be fetched: {self._failure}.")

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        try:
            fetched = self._read(await self._ask())
        except (BadSource, ClientError, OSError, TimeoutError) as error:
            self._failure = _reason(error)
            kept = f"; the {len(self._keys.fetched)} known ones are kept" if self._keys.fetched else ""
            log.warning("The keys of the issuer could not be fetched: %s%s.", self._failure, kept)
            return
        self._failure = None
        self.has_fetched = True
        if [key.identity for key in fetched] != [key.identity for key in self._keys.fetched]:
            self._keys.fetched = fetched
            self._changed()
            log.info("The issuer has %s usable keys.", len(fetched))

    async def _ask(self) -> bytes:
        """The body. Nothing is kept between two requests, which are minutes apart; nothing is unpacked, so that its
        size is that of what was sent."""
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        async with (
            ClientSession(
                timeout=ClientTimeout(total=PATIENCE_S), cookie_jar=DummyCookieJar(), auto_decompress=False
            ) as session,
            session.get(self._url, headers=headers, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise BadSource(f"it answers {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > LARGEST_SET:
                    raise BadSource(f"its answer is larger than {LARGEST_SET // 1024} KiB")
            return bytes(body)

    def _read(self, body: bytes) -> tuple[Key, ...]:
        """The usable keys of a set, each name once. Raises BadSource for what is none, or has none."""
        try:
            document = orjson.loads(body)
        except ValueError:
            raise BadSource("its answer is no JSON") from None
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise BadSource("its answer has no list of keys")
        found: dict[bytes, Key] = {}
        for jwk in listed[:MOST_KEYS]:
            try:
                key = key_of_jwk(jwk, self._algorithms)
            except WrongKey as wrong:
                log.info("A key of the issuer is left out: it %s.", wrong)
            else:
                found[key.identity] = key
        if not found:
            raise BadSource("none of its keys is for the algorithms in the settings")
        return tuple(found.values())


def _reason(error: Exception) -> str:
    """What went wrong, without the address that aiohttp puts into its messages."""
    if isinstance(error, BadSource):
        return str(error)
    return "it takes too long" if isinstance(error, TimeoutError) else f"it cannot be asked ({type(error).__name__})"

"""Dependencies that are probed by URL: one GET without following redirects, of which only the status is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

USER_AGENT = "pegboard-health"


def checked_url(text: str) -> str:
    """`text`, if it can be probed. Raises ValueError, saying why not."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('a URL to probe is absolute, like "https://payments.example.com/health"')
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL to probe has no user and no password: they would be shown where settings are")
    return text


@asynccontextmanager
async def open_session() -> AsyncIterator[ClientSession]:
    """A client that keeps nothing: every probe connects anew, as a new caller would, and no answer sets a cookie."""
    async with ClientSession(
        connector=TCPConnector(force_close=True),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None),  # the probe has its own
        headers={"User-Agent": USER_AGENT},
        auto_decompress=False,
    ) as session:
        yield session


async def probe_url(session: ClientSession, url: str, *, expect: frozenset[int]) -> None:
    """Pass if `url` answers with one of `expect`, or any 2xx where that is empty; raise otherwise."""
    async with session.get(url, allow_redirects=False) as response:
        if response.status not in expect and (expect or not 200 <= response.status < 300):
            raise ConnectionError(f"it answered {response.status}")

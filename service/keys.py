"""Typed keys of what a request carries. Each has one writer; whoever reads it imports the key, never the writer."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp.web import RequestKey

from service.ports import Principal


class Client(NamedTuple):
    """Where a request came from, as `client.py` finds it. A named tuple, because one is made for every request."""

    address: str
    """IPv4, or IPv6 compressed, in lower case and without zone; empty over a unix socket that is not trusted to say."""
    scheme: str
    """`http` or `https`, as the client spoke it."""
    host: str
    """The host that the client asked, for building links: the Host header as sent, or what a trusted proxy says."""


REQUEST_ID: RequestKey[str] = RequestKey("request_id", str)
"""Written by the core. The caller's `X-Request-Id` if it is 8 to 128 of `[A-Za-z0-9._-]`, else our own."""

CLIENT: RequestKey[Client] = RequestKey("client", Client)
"""Written by the core."""

VERSION: RequestKey[str] = RequestKey("version", str)
"""The API version that serves this request, empty for a route without one. Written by the core from the route."""

ALLOWED: RequestKey[frozenset[str]] = RequestKey("allowed", frozenset)
"""The methods that the path has. Written by the core where the method matched no route."""

PRINCIPAL: RequestKey[Principal] = RequestKey("principal", Principal)
"""Who asks: `ANONYMOUS` as the request arrives, then whoever the authentication plugin finds. Always there."""

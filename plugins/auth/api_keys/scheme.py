"""The scheme: `X-API-Key: KEY`, or `Authorization: ApiKey KEY`, and nothing else beside it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from aiohttp.hdrs import AUTHORIZATION
from aiohttp.web import Request
from multidict import istr

from plugins.auth.api_keys.knowing import SCHEME, KnownKeys
from plugins.auth.api_keys.text import LENGTH, ApiKey, parse_key
from plugins.auth.schemes import names_scheme
from service.api import InvalidToken, Principal

X_API_KEY: Final = istr("X-API-Key")

INVALID: Final = "The API key is not valid."
"""Whatever is wrong with it, expired or revoked too: whoever has found one learns nothing of whose it was."""

TWICE: Final = "There is more than one X-API-Key header; send one."
BESIDE: Final = "There are X-API-Key and Authorization headers; send one of them."


class ApiKeys:
    """The `Authenticator`."""

    scheme: Final = SCHEME
    challenge: Final = 'ApiKey realm="api"'

    def __init__(self, keys: KnownKeys) -> None:
        self._keys = keys

    def recognises(self, request: Request) -> bool:
        return X_API_KEY in request.headers or names_scheme(request, SCHEME)

    def authenticate(self, request: Request) -> Principal | Awaitable[Principal]:
        """At once where the key is remembered. Raises InvalidToken."""
        text = _sent(request)
        if len(text) == LENGTH and text.isascii():
            principal = self._keys.recall(text)
            if principal is not None:
                return principal
            key = parse_key(text)
            if key is not None:
                return self._ask(key)
        raise InvalidToken(INVALID)

    async def _ask(self, key: ApiKey) -> Principal:
        principal = await self._keys.ask(key)
        if principal is None:
            raise InvalidToken(INVALID)
        return principal


def _sent(request: Request) -> str:
    keys = request.headers.getall(X_API_KEY, ())
    if not keys:
        return request.headers[AUTHORIZATION][7:].strip(" ")
    if len(keys) > 1:
        raise InvalidToken(TWICE)
    if AUTHORIZATION in request.headers:
        raise InvalidToken(BESIDE)
    return keys[0]

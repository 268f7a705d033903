"""Schemes: what recognises a request's credentials, and finds out whose they are. Bearer tokens are the one of our own.

Each is an `Authenticator`, as plugins provide them: the first that recognises a request decides.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Final

from aiohttp.hdrs import AUTHORIZATION
from aiohttp.web import Request

from plugins.auth.revocation.held import Held
from plugins.auth.tokens.jwks import Jwks
from plugins.auth.tokens.keys import Keys
from plugins.auth.tokens.remembering import Memory
from plugins.auth.tokens.verifying import LONGEST_TOKEN, Expired, Refused, Rules, UnknownKey, Verified, parse, verify
from service.api import Clock, InvalidToken, Principal, TokenExpired, Unavailable

REALM: Final = 'realm="api"'

SCHEME: Final = "bearer"

LONGEST_CREDENTIALS: Final = len(SCHEME) + 1 + LONGEST_TOKEN
"""Characters of an Authorization header that says no more than it has to; what is longer is not remembered."""

log = logging.getLogger("pegboard.auth")


def names_scheme(request: Request, scheme: str) -> bool:
    """Whether the Authorization header begins with it, credentials or none after it (RFC 9110, section 11.4)."""
    said = request.headers.get(AUTHORIZATION)
    return said is not None and said[: len(scheme) + 1].lower().removesuffix(" ") == scheme


class Bearer:
    """`Authorization: Bearer TOKEN` (RFC 6750). A token anywhere else is not looked at."""

    scheme: Final = SCHEME
    challenge: Final = f"Bearer {REALM}"

    def __init__(
        self, keys: Keys, rules: Rules, memory: Memory[Verified], clock: Clock, jwks: Jwks | None, held: Held
    ) -> None:
        """`held` is what is revoked: it is asked of tokens that are not in `memory`, which forgets those it hits."""
        self._held = held
        self._keys = keys
        self._rules = rules
        self._memory = memory
        self._now = clock.now
        self._jwks = jwks

    def recognises(self, request: Request) -> bool:
        return names_scheme(request, self.scheme)

    def recall(self, credentials: str) -> Principal | None:
        """Whose the value of an Authorization header is that was found valid before, and is so still."""
        return self._memory.recall(credentials, self._now()) if len(credentials) <= LONGEST_CREDENTIALS else None

    def authenticate(self, request: Request) -> Principal | Awaitable[Principal]:
        """At once, unless keys have to be fetched; what can be recalled never needs it. Raises InvalidToken,
        TokenExpired."""
        credentials = request.headers[AUTHORIZATION]
        token = credentials[7:].strip(" ")
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise _refusal(Refused("it is too long, or has letters that no token has"))
        try:
            return self._keep(credentials, self._verified(token))
        except UnknownKey as refused:
            if self._jwks is None or not self._jwks.may_learn():
                raise self._unknown(refused) from None
            return self._learn(self._jwks, credentials, token)
        except Refused as refused:
            raise _refusal(refused) from None

    async def _learn(self, jwks: Jwks, credentials: str, token: str) -> Principal:
        """The same once the issuer was asked for its keys."""
        await jwks.refresh()
        try:
            return self._keep(credentials, self._verified(token))
        except UnknownKey as refused:
            raise self._unknown(refused) from None
        except Refused as refused:
            raise _refusal(refused) from None

    def _verified(self, token: str) -> Verified:
        verified = verify(parse(token, self._rules), self._keys, self._rules, self._now())
        if self._held.hits(verified):
            raise Refused("it is revoked")
        return verified

    def _keep(self, credentials: str, verified: Verified) -> Principal:
        if len(credentials) <= LONGEST_CREDENTIALS:
            self._memory.keep(credentials, verified)
        return verified.principal

    def _unknown(self, refused: UnknownKey) -> InvalidToken | Unavailable:
        """A key that is unknown is no key of the issuer's, once it has said which those are."""
        if self._jwks is None or self._jwks.has_fetched:
            return _refusal(refused)
        retry_s = max(1, round(self._jwks.due_in_s()))
        return Unavailable(
            "The keys that tokens are checked with are not there yet.", headers={"Retry-After": str(retry_s)}
        )


def _refusal(refused: Refused) -> InvalidToken:
    """What the client is told: never which check failed, which would help whoever forges one. The log is."""
    log.debug("A token was refused: %s.", refused)
    if isinstance(refused, Expired):
        return TokenExpired("The token has expired.", headers=_challenge("The token has expired"))
    return InvalidToken("The token is not valid.", headers=_challenge("The token is not valid"))


def _challenge(description: str) -> dict[str, str]:
    value = f'{Bearer.challenge}, error="invalid_token", error_description="{description}"'
    return {"WWW-Authenticate": value}

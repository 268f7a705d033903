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
from plugins.auth.tokens.remembering import Memory, digest_of
from plugins.auth.tokens.verifying import LONGEST_TOKEN, Expired, Refused, Rules, UnknownKey, Verified, parse, verify
from service.api import Clock, InvalidToken, Principal, TokenExpired, Unavailable

REALM: Final = 'realm="api"'

log = logging.getLogger("pegboard.auth")


class Bearer:
    """`Authorization: Bearer TOKEN` (RFC 6750). A token anywhere else is not looked at."""

    scheme: Final = "bearer"
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
        said = request.headers.get(AUTHORIZATION)
        return said is not None and (said[:7].lower() == "bearer " or said.lower() == "bearer")

    def authenticate(self, request: Request) -> Principal | Awaitable[Principal]:
        """At once, unless keys have to be fetched. Raises InvalidToken, TokenExpired."""
        token = request.headers[AUTHORIZATION][7:].strip(" ")
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise _refusal(Refused("it is too long, or has letters that no token has"))
        digest = digest_of(token)
        principal = self._memory.recall(digest, self._now())
        if principal is not None:
            return principal
        try:
            return self._keep(digest, self._verified(token))
        except UnknownKey as refused:
            if self._jwks is None or not self._jwks.may_learn():
                raise self._unknown(refused) from None
            return self._learn(self._jwks, digest, token)
        except Refused as refused:
            raise _refusal(refused) from None

    async def _learn(self, jwks: Jwks, digest: bytes, token: str) -> Principal:
        """The same once the issuer was asked for its keys."""
        await jwks.refresh()
        try:
            return self._keep(digest, self._verified(token))
        except UnknownKey as refused:
            raise self._unknown(refused) from None
        except Refused as refused:
            raise _refusal(refused) from None

    def _verified(self, token: str) -> Verified:
        verified = verify(parse(token, self._rules), self._keys, self._rules, self._now())
        if self._held.hits(verified):
            raise Refused("it is revoked")
        return verified

    def _keep(self, digest: bytes, verified: Verified) -> Principal:
        self._memory.keep(digest, verified)
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

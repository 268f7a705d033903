"""The Checks: who is asking (IDENTIFY), and whether operators' routes are for them (AUTHORIZE)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp.hdrs import AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE
from aiohttp.web import Request

from plugins.auth.api_keys.knowing import SCHEME
from plugins.auth.api_keys.scheme import X_API_KEY
from plugins.auth.permissions.granting import UNASKED
from plugins.auth.revocation.doubt import Guard
from service.api import (
    PRINCIPAL,
    Answer,
    Authenticator,
    Forbidden,
    InvalidToken,
    Principal,
    Unauthenticated,
    listed,
)

Looks = Callable[[Request], "Awaitable[None] | None"]

SAYING_NOTHING: Final = "Say who you are: send Authorization: Bearer TOKEN"
UNKNOWN: Final = "The Authorization header has no scheme that is known here; send Authorization: Bearer TOKEN"
OR_A_KEY: Final = ", or X-API-Key: KEY"
TWICE: Final = "There is more than one Authorization header; send one."


class Identifying:
    """Asks the schemes in their order; the first that recognises a request decides."""

    def __init__(
        self, schemes: Sequence[Authenticator], guard: Guard, *, recall: Callable[[str], Principal | None]
    ) -> None:
        """`guard` is that of the door at which they are asked, for times when what is revoked is not known. `recall`
        knows whose the value of an Authorization header is that was found valid before: no scheme is asked then."""
        self._schemes = tuple(schemes)
        self._recall = recall
        self._guard = guard
        self._doubt = guard.doubt
        self._challenges = ", ".join([scheme.challenge for scheme in schemes])
        self.takes_keys = any(scheme.scheme == SCHEME for scheme in schemes)
        self._way_in = f"{OR_A_KEY}." if self.takes_keys else "."
        self._nobody = SAYING_NOTHING + self._way_in

    def required(self, request: Request) -> Awaitable[None] | None:
        """Refuses whoever does not say who they are."""
        return self._identify(request, is_required=True)

    def optional(self, request: Request) -> Awaitable[None] | None:
        """Lets those through; what is said and wrong is refused all the same."""
        return self._identify(request, is_required=False)

    @staticmethod
    def unasked(request: Request) -> None:
        """For routes that look at no token, where rules apply all the same."""
        request[PRINCIPAL] = UNASKED

    @staticmethod
    def keep_private(request: Request, answer: Answer) -> None:
        """An answer to whoever sent X-API-Key is not for a shared cache, which knows no such header; with Authorization
        it knows by itself (RFC 9111, section 3.5)."""
        if X_API_KEY in request.headers and answer.header(CACHE_CONTROL) is None:
            answer.add(CACHE_CONTROL, "private")

    def nobody(self) -> Unauthenticated:
        """What whoever has not said who they are is told, where they should have."""
        return Unauthenticated(self._nobody, headers={WWW_AUTHENTICATE: self._challenges})

    def _identify(self, request: Request, *, is_required: bool) -> Awaitable[None] | None:
        headers = request.headers
        said = headers.getall(AUTHORIZATION, ())
        if len(said) == 1 and not (self.takes_keys and X_API_KEY in headers):
            known = self._recall(said[0])
            if known is not None:
                self._accept(request, known)
                return None
        elif len(said) > 1:
            raise self._refused(InvalidToken(TWICE), self._challenges)
        for scheme in self._schemes:
            if scheme.recognises(request):
                try:
                    found = scheme.authenticate(request)
                except Unauthenticated as error:
                    raise self._refused(error, scheme.challenge) from None
                if not isinstance(found, Principal):
                    return self._wait(request, scheme, found)
                self._accept(request, found)
                return None
        if said:
            raise self._refused(InvalidToken(UNKNOWN + self._way_in), self._challenges)
        if is_required:
            raise self.nobody()
        return None

    async def _wait(self, request: Request, scheme: Authenticator, found: Awaitable[Principal]) -> None:
        try:
            principal = await found
        except Unauthenticated as error:
            raise self._refused(error, scheme.challenge) from None
        self._accept(request, principal)

    def _accept(self, request: Request, principal: Principal) -> None:
        if self._doubt.lasts:
            self._guard.weigh(principal)
        request[PRINCIPAL] = principal

    @staticmethod
    def _refused(error: Unauthenticated, challenge: str) -> Unauthenticated:
        """With what a 401 must say (RFC 9110, section 15.5.2), unless it says that itself."""
        if WWW_AUTHENTICATE not in error.headers:
            error.headers = {**error.headers, WWW_AUTHENTICATE: challenge}
        return error


class Operating:
    """Refuses whoever has none of the roles of operators. Stands where somebody is known to ask."""

    def __init__(self, roles: Sequence[str]) -> None:
        self._roles = frozenset(roles)
        self.who = f"principals with {'the role' if len(roles) == 1 else 'one of the roles'} {listed(roles)}"
        """Whom it lets through."""

    def allow(self, request: Request) -> None:
        if self._roles.isdisjoint(request[PRINCIPAL].roles):
            raise Forbidden(f"This is for {self.who}.")

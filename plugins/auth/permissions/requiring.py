"""The Check for routes that ask for roles and scopes (AUTHORIZE)."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp.hdrs import WWW_AUTHENTICATE
from aiohttp.web import Request

from plugins.auth.permissions.granting import ANONYMOUS_ROLES, SAY_WHO
from service.api import PRINCIPAL, Forbidden, Unauthenticated


class Requiring:
    """Refuses whoever has none of the roles, where there are any, or lacks one of the scopes."""

    def __init__(self, roles: Sequence[str], scopes: Sequence[str], *, challenges: str) -> None:
        self._roles = frozenset(roles)
        self._scopes = frozenset(scopes)
        self._challenges = challenges
        needed = []
        if roles:
            needed.append(f"the role {roles[0]}" if len(roles) == 1 else f"one of the roles {', '.join(roles)}")
        if scopes:
            needed.append(f"the scope {scopes[0]}" if len(scopes) == 1 else f"the scopes {', '.join(scopes)}")
        self.message = f"This needs {' and '.join(needed)}."
        """What a refusal says."""

    def allow(self, request: Request) -> None:
        principal = request[PRINCIPAL]
        is_anonymous = principal.subject is None
        roles = ANONYMOUS_ROLES if is_anonymous else principal.roles
        if (self._roles and self._roles.isdisjoint(roles)) or not self._scopes <= principal.scopes:
            if is_anonymous:
                raise Unauthenticated(SAY_WHO, headers={WWW_AUTHENTICATE: self._challenges})
            raise Forbidden(self.message)

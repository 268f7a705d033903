"""The Check for routes that ask for roles and scopes (AUTHORIZE)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp.web import Request

from plugins.auth.permissions.granting import ANONYMOUS_ROLES
from service.api import PRINCIPAL, Forbidden, Unauthenticated


class Requiring:
    """Refuses whoever has none of the roles, where there are any, or lacks one of the scopes."""

    def __init__(self, roles: Sequence[str], scopes: Sequence[str], *, nobody: Callable[[], Unauthenticated]) -> None:
        self._roles = frozenset(roles)
        self._scopes = frozenset(scopes)
        self._nobody = nobody
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
                raise self._nobody()
            raise Forbidden(self.message)

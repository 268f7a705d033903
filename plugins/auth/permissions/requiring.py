"""The Check for routes that ask for roles and scopes (AUTHORIZE), and what is told of roles that nobody may have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from aiohttp.web import Request

from plugins.auth.permissions.settings import ANONYMOUS_ROLE, NEAR, NOT_OF_TOKENS
from service.api import PRINCIPAL, Forbidden, Unauthenticated, nearest, toml

FOR_ANONYMOUS: Final = "This is for those who do not say who they are."


class Requiring:
    """Refuses whoever has none of the roles, where there are any, or lacks one of the scopes."""

    def __init__(self, roles: Sequence[str], scopes: Sequence[str], *, nobody: Callable[[], Unauthenticated]) -> None:
        self._any_role = not roles
        self._is_for_anonymous = ANONYMOUS_ROLE in roles
        self._roles = frozenset(roles) - NOT_OF_TOKENS
        self._scopes = frozenset(scopes)
        self._nobody = nobody
        needed = []
        told = [role for role in roles if role != ANONYMOUS_ROLE]
        if told:
            needed.append(f"the role {told[0]}" if len(told) == 1 else f"one of the roles {', '.join(told)}")
        if scopes:
            needed.append(f"the scope {scopes[0]}" if len(scopes) == 1 else f"the scopes {', '.join(scopes)}")
        self.message = f"This needs {' and '.join(needed)}." if told or not roles else FOR_ANONYMOUS
        """What a refusal says."""

    def allow(self, request: Request) -> None:
        principal = request[PRINCIPAL]
        is_anonymous = principal.subject is None
        has_role = self._is_for_anonymous if is_anonymous else not self._roles.isdisjoint(principal.roles)
        if not (self._any_role or has_role) or not self._scopes <= principal.scopes:
            if is_anonymous:
                raise self._nobody()
            raise Forbidden(self.message)


def strangers(roles: Sequence[str], known: Collection[str], *, are_all: bool) -> Iterator[tuple[str, str]]:
    """Those of a route's roles that are not among the `known` ones, each with what may be meant, as a sentence goes on.

    Unless these are all that there should be, only those that are nearly one of them."""
    for role in roles:
        if role not in known and role != ANONYMOUS_ROLE:
            meant = nearest(role, known, cutoff=NEAR)
            if meant is not None:
                yield role, f"; did you mean {toml(meant)}?"
            elif are_all:
                yield role, ", so whoever asks it needs a token or key that has that role all the same."

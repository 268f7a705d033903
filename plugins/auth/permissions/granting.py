"""The port ACCESS: what principals may do, by the rules of their roles.

Where no role names a table, everyone may read it and nobody may write it. Once any role does, whatever no role grants
on it is refused. A role's own rule for a table stands in place of its rule for `"*"`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from plugins.auth.permissions.checking import Checking
from plugins.auth.permissions.rules import NONE, Claim, Rule, granted, rule_of
from plugins.auth.permissions.settings import (
    ANONYMOUS_ROLE,
    EVERY_ROLE,
    EVERY_TABLE,
    NOT_OF_TOKENS,
    RoleRules,
    TableRule,
)
from service.api import Action, Forbidden, Grant, Grantable, Principal, ServiceError, Unauthenticated

ANONYMOUS_ROLES: Final = frozenset({ANONYMOUS_ROLE})

UNASKED: Final = Principal(subject=None)
"""Whoever asks a route that looks at no token, told from others by identity: to say who they are is of no use there."""

UNRULED: Final[frozenset[Action]] = frozenset({"read", "list"})
"""What everyone may do to a table that no role names."""

MAX_KEPT: Final = 10_000
"""Grants that are kept, and sets of rules (chosen: a few MB); of too many all are forgotten, and made anew."""

LONGEST_KEPT: Final = 200
"""Characters of all the claims of a grant that is kept (chosen); with more it is made for each request."""


@dataclass(frozen=True, slots=True, eq=False)  # by identity, as a key: comparing them would cost more than they do
class _Rules:
    """The rules that apply to one set of roles."""

    rules: tuple[Rule, ...]
    claims: tuple[Claim, ...]


class Permissions:
    """Made once from the settings."""

    def __init__(
        self,
        roles: Mapping[str, RoleRules],
        checking: Checking,
        *,
        nobody: Callable[[], Unauthenticated],
    ) -> None:
        """`nobody` says what whoever should have said who they are is told."""
        self._roles = roles
        self._checking = checking
        self._nobody = nobody
        self._named = frozenset(table for role in roles.values() for table in role.tables)
        self._everything = Grant(writable=NONE)
        self._rules: dict[tuple[frozenset[str] | None, str, Action], _Rules | None] = {}
        """By the roles of a token; None is that of whoever has not said who they are."""
        self._grants: dict[tuple[_Rules, tuple[str | None, ...]], Grant | None] = {}

    def expect(self, resource: Grantable) -> None:
        """Look for mistakes in the rules that name it."""
        self._checking.expect(resource)

    def grant(self, principal: Principal, resource: str, action: Action) -> Grant | None:
        """What it may do; None is nothing."""
        key = (principal.roles if principal.subject is not None else None, resource, action)
        try:
            found = self._rules[key]
        except KeyError:
            found = self._found(key)
        if found is None:
            return None
        if not found.rules:
            return self._everything
        return self._granted(found, principal)

    def _found(self, key: tuple[frozenset[str] | None, str, Action]) -> _Rules | None:
        roles, resource, action = key
        found: _Rules | None
        if not self.is_ruled(resource):
            found = _Rules((), ()) if action in UNRULED else None
        else:
            held = {EVERY_ROLE, *(ANONYMOUS_ROLES if roles is None else roles - NOT_OF_TOKENS)}
            settings = [self._rule(role, resource) for role in sorted(held)]
            rules = tuple([rule_of(each, action) for each in settings if each is not None and action in each.actions])
            claims = tuple([claim for rule in rules for claim in rule.claims])
            found = _Rules(rules, claims) if rules else None
        if len(self._rules) >= MAX_KEPT:
            self._rules.clear()
        self._rules[key] = found
        return found

    def _granted(self, found: _Rules, principal: Principal) -> Grant | None:
        texts = tuple([claim.of(principal) for claim in found.claims])
        key = (found, texts)
        try:
            return self._grants[key]
        except KeyError:
            grant = granted(found.rules, principal)
            if sum([len(text) for text in texts if text is not None]) <= LONGEST_KEPT:
                if len(self._grants) >= MAX_KEPT:
                    self._grants.clear()
                self._grants[key] = grant
            return grant

    def is_ruled(self, resource: str) -> bool:
        """Whether any role names it."""
        return resource in self._named or EVERY_TABLE in self._named

    def _rule(self, role: str, resource: str) -> TableRule | None:
        tables = self._roles[role].tables if role in self._roles else {}
        return tables.get(resource) or tables.get(EVERY_TABLE)

    def refusal(self, principal: Principal, resource: str, action: Action) -> ServiceError:
        """What was needed; to whoever has not said who they are, that they should, where that might help."""
        able = [role for role in sorted(self._roles) if action in self._actions(role, resource)]
        is_anonymous = principal.subject is None
        if is_anonymous and principal is not UNASKED and set(able) - ANONYMOUS_ROLES:
            return self._nobody()
        if not is_anonymous and able == [ANONYMOUS_ROLE]:
            return Forbidden(f"{resource}: {action} is for those who do not say who they are.")
        if not able:
            return Forbidden(f"{resource}: no role may {action}.")
        if not is_anonymous:
            able = [role for role in able if role != ANONYMOUS_ROLE]
        if set(able) & {EVERY_ROLE, *(ANONYMOUS_ROLES if is_anonymous else principal.roles)}:
            return Forbidden(f"{resource}: your roles have no column in common that they may {action}.")
        needed = f"the role {able[0]}" if len(able) == 1 else f"one of the roles {', '.join(able)}"
        return Forbidden(f"{resource}: {action} needs {needed}.")

    def _actions(self, role: str, resource: str) -> tuple[Action, ...]:
        rule = self._rule(role, resource)
        return rule.actions if rule is not None else ()

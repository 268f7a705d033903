"""Mistakes in the rules that show once it is known what there is: names of tables and columns, values of `where`.

What a fault offers to write never grants more than the rule that it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from plugins.auth.permissions.rules import Claim, source_of
from plugins.auth.permissions.settings import CLAIM, EVERY_TABLE, RoleRules, TableRule
from service.api import Action, Grantable, Run, listed, nearest, toml, toml_key

KEYED: Final[tuple[Action, ...]] = ("read", "update", "delete")
"""The actions that name a row by its key."""


class Checking:
    """Tells mistakes by `run.fault` as soon as they show."""

    def __init__(self, roles: Mapping[str, RoleRules], run: Run) -> None:
        self._rules = [(role, table, rule) for role, rules in roles.items() for table, rule in rules.tables.items()]
        self._run = run
        self._expected: dict[str, Grantable] = {}

    def expect(self, resource: Grantable) -> None:
        """Check the rules that name it."""
        self._expected[resource.name] = resource
        for role, table, rule in self._rules:
            if table == resource.name:
                self._check(role, table, rule, [resource])

    def finish(self) -> None:
        """Check the rest, once all is known that can be granted; where nothing can be, nothing is known of names."""
        if not self._expected:
            return
        for role, table, rule in self._rules:
            if table == EVERY_TABLE:
                self._check(role, table, rule, [*self._expected.values()])
                self._tell_of_lacking(role, rule)
            elif table not in self._expected:
                self._blame_table(role, table)

    def _blame_table(self, role: str, table: str) -> None:
        meant = nearest(table, self._expected)
        hint = f"did you mean {toml(meant)}?" if meant else f"there are {listed(sorted(self._expected))}"
        taken = [other for name, other, _ in self._rules if name == role]
        rename = meant or next(iter(self._expected))
        self._run.fault(
            ("roles", role, "tables", table),
            f"no table {toml(table)} is served; {hint}",
            rename=rename if rename not in taken else None,
        )

    def _check(self, role: str, table: str, rule: TableRule, resources: Sequence[Grantable]) -> None:
        """One rule, which is about all of these; a name has to be right for one of them."""
        place = ("roles", role, "tables", table)
        called = "any table" if table == EVERY_TABLE else table
        shown = {column for each in resources for column in each.shown}
        for setting, columns in (("readable", rule.readable), ("writable", rule.writable)):
            right, messages = _standing(columns or (), shown, f"column that {called} shows")
            least = right or ([] if setting == "writable" else sorted(shown)[:1])
            for message in messages:
                self._run.fault((*place, setting), message, write=least)
        self._check_where(place, rule, resources, called)
        if table != EVERY_TABLE:
            if rule.readable is not None:
                self._check_key(place, rule, rule.readable, resources[0])
            if "create" in rule.actions:
                self._check_required(place, rule, resources[0])

    def _check_where(
        self, place: tuple[str, ...], rule: TableRule, resources: Sequence[Grantable], called: str
    ) -> None:
        columns = {column for each in resources for column in each.columns}
        for column, value in rule.where.items():
            if column not in columns:
                _, (message,) = _standing([column], columns, f"column of {called} that values can be compared with")
                meant = nearest(column, columns) or min(columns, default=column)
                right = {meant if name == column else name: each for name, each in rule.where.items()}
                self._run.fault((*place, "where"), message, write=right)
            elif not isinstance(text := source_of(value), Claim) and not any(
                _fits(each, column, text) for each in resources
            ):
                message = f"is no value of the column {column} of {called}"
                self._run.fault((*place, "where", column), message, write=f"{CLAIM}{column}")

    def _check_key(self, place: tuple[str, ...], rule: TableRule, readable: Sequence[str], resource: Grantable) -> None:
        """Whoever may not see the key cannot name a row."""
        lacking = sorted(resource.key.difference(readable))
        keyed = [action for action in KEYED if action in rule.actions]
        if lacking and keyed and resource.key:
            message = f"lacks {listed(lacking)}, the key by which {listed(keyed)} name a row"
            self._run.fault((*place, "readable"), message, write=[*lacking, *readable])

    def _check_required(self, place: tuple[str, ...], rule: TableRule, resource: Grantable) -> None:
        """Whoever makes a row has to give it what it must have."""
        for setting, columns in (("readable", rule.readable), ("writable", rule.writable)):
            lacking = sorted(resource.required.difference(columns)) if columns is not None else []
            if lacking and columns is not None:
                message = f"lacks {listed(lacking)}, without which no row can be made"
                self._run.fault((*place, setting), message, write=[*columns, *lacking])

    def _tell_of_lacking(self, role: str, rule: TableRule) -> None:
        for column in rule.where:
            lacking = sorted(name for name, each in self._expected.items() if column not in each.columns)
            if lacking and len(lacking) < len(self._expected):
                have = "have" if len(lacking) > 1 else "has"
                self._run.say(
                    f'The role {role} has no row of {listed(lacking)}, which {have} no {column} for "*" to ask for; '
                    f"to grant some, name the table under [plugins.{self._run.name}.roles.{toml_key(role)}.tables]."
                )


def _fits(resource: Grantable, column: str, text: str) -> bool:
    is_value: Callable[[str], bool] | None = resource.columns.get(column)
    return is_value is not None and is_value(text)


def _standing(names: Sequence[str], known: Collection[str], what: str) -> tuple[list[str], list[str]]:
    """The names that can stand, near misses mended, and what is wrong with the others."""
    right: dict[str, None] = {}
    messages = []
    for name in names:
        meant = name if name in known else nearest(name, known)
        if meant:
            right.setdefault(meant)
        if meant != name:
            hint = f"did you mean {toml(meant)}?" if meant else f"there are {listed(sorted(known))}"
            messages.append(f"names {toml(name)}, which is no {what}; {hint}")
    return list(right), messages

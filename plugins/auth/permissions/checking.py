"""Mistakes in the rules that show once it is known what there is: tables, columns and values, and what never works.

What a fault offers to write grants what the rule says, under names that are right or nearly so, and beside that at most
the columns without which its actions do nothing. Where only the operator knows what is meant, `UNKNOWN` stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from plugins.auth.permissions.rules import Claim, source_of
from plugins.auth.permissions.settings import EVERY_ROLE, EVERY_TABLE, NEAR, RoleRules, TableRule
from service.api import Action, Grantable, Run, listed, nearest, toml, toml_key

KEYED: Final[tuple[Action, ...]] = ("read", "update", "delete")
"""The actions that name a row by its key."""

WRITING: Final[tuple[Action, ...]] = ("create", "update", "delete")

UNKNOWN: Final = "..."
"""Stands for a name or value in a line to write. As long as it does, the rule is refused as before."""

Lists = Literal["readable", "writable"]


@dataclass(frozen=True, slots=True)
class _Need:
    """Columns that a list must have."""

    columns: Collection[str]
    why: str


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
                self._check(role, rule, resource)

    def finish(self) -> None:
        """Check the rest, once all is known that can be granted; where nothing can be, nothing is known of names."""
        if not self._expected:
            return
        taken = {(role, table) for role, table, _ in self._rules}
        for role, table, rule in self._rules:
            if table == EVERY_TABLE:
                self._check_for_all(role, rule)
            elif table not in self._expected:
                self._blame_table(role, table, taken)
        self._tell_of_open()

    def _blame_table(self, role: str, table: str, taken: set[tuple[str, str]]) -> None:
        """`taken` has the tables of roles that have a rule, or are offered for one."""
        meant = nearest(table, self._expected, cutoff=NEAR)
        message = f"no table {toml(table)} is served"
        if meant is None:
            message = f"{message}; there are {listed(sorted(self._expected))}"
        elif (role, meant) in taken:
            message = f"{message}, and for {toml(meant)} the role has a rule"
            meant = None
        else:
            message = f"{message}; did you mean {toml(meant)}?"
            taken.add((role, meant))
        self._run.fault(("roles", role, "tables", table), message, rename=meant)

    def _check(self, role: str, rule: TableRule, resource: Grantable) -> None:
        """A rule that names this."""
        place = ("roles", role, "tables", resource.name)
        needs = {"readable": [*_key(rule, resource), *_given(rule, resource)], "writable": [*_given(rule, resource)]}
        called = resource.name
        readable = self._check_columns(place, "readable", rule.readable, resource.shown, called, needs["readable"])
        writable = self._check_columns(place, "writable", rule.writable, resource.shown, called, needs["writable"])
        self._check_where(place, rule, [resource], called)
        wrong = {action: why for action in rule.actions if (why := _never(rule, action, resource, readable, writable))}
        left = [action for action in rule.actions if action not in wrong]
        for action, why in wrong.items():
            self._run.fault((*place, "actions"), f"names {action}, {why}", write=left or [UNKNOWN])
        self._tell_of_unserved(role, rule, resource)

    def _tell_of_unserved(self, role: str, rule: TableRule, resource: Grantable) -> None:
        """No mistake: an environment may serve for reading what others serve for writing."""
        if resource.writes is not None:
            out = [action for action in rule.actions if action in WRITING and action not in resource.writes]
            if out:
                name = resource.name
                self._run.say(f"The role {role} may {listed(out)} rows of {name}, which takes that from nobody.")

    def _check_for_all(self, role: str, rule: TableRule) -> None:
        """The rule for `"*"`: a name has to be right for one of them."""
        place, resources, called = ("roles", role, "tables", EVERY_TABLE), [*self._expected.values()], "any table"
        shown = {column for each in resources for column in each.shown}
        self._check_columns(place, "readable", rule.readable, shown, called, ())
        self._check_columns(place, "writable", rule.writable, shown, called, ())
        self._check_where(place, rule, resources, called)
        self._tell_of_lacking(role, rule)

    def _check_columns(
        self,
        place: tuple[str, ...],
        setting: Lists,
        columns: Sequence[str] | None,
        shown: Collection[str],
        called: str,
        needs: Sequence[_Need],
    ) -> list[str] | None:
        """What the list should be; None is all. Every fault offers the same line, in which all of them are mended."""
        if columns is None:
            return None
        right, messages = _standing(columns, shown, f"column that {called} shows")
        for need in needs:
            lacking = sorted(set(need.columns).difference(right))
            if lacking:
                messages.append(f"lacks {listed(lacking)}, {need.why}")
                right = [*lacking, *right]
        for message in messages:
            self._run.fault((*place, setting), message, write=right or [UNKNOWN])
        return right

    def _check_where(
        self, place: tuple[str, ...], rule: TableRule, resources: Sequence[Grantable], called: str
    ) -> None:
        columns = {column for each in resources for column in each.columns}
        right: dict[str, str | int | float] = {}
        messages = []
        for column, value in rule.where.items():
            if column in columns:
                is_value = any(_fits(each, column, source_of(value)) for each in resources)
                right[column] = value if is_value else UNKNOWN
                if not is_value:
                    message = f"is no value of the column {column} of {called}"
                    self._run.fault((*place, "where", column), message, write=UNKNOWN)
                continue
            free = columns.difference(rule.where, right)  # two conditions on one column would be one
            (meant,), (message,) = _standing(
                [column], free, f"column of {called} that values can be compared with", other=UNKNOWN
            )
            while meant in right:
                meant += "."
            right[meant] = value
            messages.append(message)
        for message in messages:
            self._run.fault((*place, "where"), message, write=right)

    def _tell_of_lacking(self, role: str, rule: TableRule) -> None:
        for column in rule.where:
            lacking = sorted(name for name, each in self._expected.items() if column not in each.columns)
            if lacking and len(lacking) < len(self._expected):
                have = "have" if len(lacking) > 1 else "has"
                self._run.say(
                    f'The role {role} has no row of {listed(lacking)}, which {have} no {column} for "*" to ask for; '
                    f"to grant some, name the table under [plugins.{self._run.name}.roles.{toml_key(role)}.tables]."
                )

    def _tell_of_open(self) -> None:
        """Whoever has written rules may think that what they do not name is closed."""
        named = {table for _, table, _ in self._rules}
        unnamed = sorted(self._expected.keys() - named)
        if unnamed and named and EVERY_TABLE not in named:
            self._run.say(
                f"Everyone whom the service answers may read {listed(unnamed)}, since no role names "
                f"{'them' if len(unnamed) > 1 else 'it'}; to say who may, write "
                f"[plugins.{self._run.name}.roles.ROLE.tables.{toml_key(unnamed[0])}]."
            )


def notes(roles: Mapping[str, RoleRules], instance: str) -> Iterator[str]:
    """What rules that are right do not do, though somebody may think so: sentences for the start."""
    for role, rules in roles.items():
        if not rules.tables:
            own = f"plugins.{instance}.roles.{toml_key(role)}"
            yield f"The role {role} has no tables, so it grants nothing; write [{own}.tables.TABLE], or remove [{own}]."
    everyone = roles[EVERY_ROLE].tables if EVERY_ROLE in roles else {}
    rule = everyone.get(EVERY_TABLE)
    if rule is None or rule.where or rule.readable is not None or rule.writable is not None:
        return
    apart = everyone.keys() - {EVERY_TABLE}  # for these the role "*" says something else
    void = [role for role, rules in roles.items() if role != EVERY_ROLE and rules.tables.keys() - apart]
    if void:
        yield (
            f"Everyone may {listed(rule.actions)} rows of every table here, so the rules of {listed(sorted(void))} "
            f'take nothing of that away; for them to count, remove plugins.{instance}.roles."*".tables."*".'
        )


def _key(rule: TableRule, resource: Grantable) -> Iterator[_Need]:
    """Whoever may not see the key cannot name a row."""
    keyed = [action for action in KEYED if action in rule.actions]
    if keyed:
        yield _Need(resource.key, f"the key by which {listed(keyed)} {'name' if len(keyed) > 1 else 'names'} a row")


def _given(rule: TableRule, resource: Grantable) -> Iterator[_Need]:
    """Whoever makes a row has to give it what it must have, and what makes it one of theirs."""
    if "create" in rule.actions:
        yield _Need(resource.required, "without which no row can be made")
        asked = resource.empty & rule.where.keys() & (resource.writes or {}).get("create", frozenset())
        yield _Need(asked, "for which where asks, and which a new row does not have unless it is given one")


def _never(
    rule: TableRule,
    action: Action,
    resource: Grantable,
    readable: Collection[str] | None,
    writable: Collection[str] | None,
) -> str | None:
    """Why nobody can ever do this by the rule, after the action's name; None where somebody might."""
    if action not in WRITING or resource.writes is None or action not in resource.writes:
        return None
    given = resource.writes[action]
    unset = sorted((resource.empty & rule.where.keys()) - given)
    if action == "create" and unset:
        return f"though where asks for {listed(unset)}, to which no new row can give a value"
    if action == "update" and not given.intersection(*[each for each in (readable, writable) if each is not None]):
        return "and leaves no column that it could change"
    return None


def _fits(resource: Grantable, column: str, source: Claim | str) -> bool:
    is_value: Callable[[str], bool] | None = resource.columns.get(column)
    return isinstance(source, Claim) or (is_value is not None and is_value(source))


def _standing(
    names: Sequence[str], known: Collection[str], what: str, *, other: str | None = None
) -> tuple[list[str], list[str]]:
    """The names that can stand, near misses mended and `other` for the rest, and what is wrong with the others."""
    right: dict[str, None] = {}
    messages = []
    for name in names:
        meant = name if name in known else nearest(name, known, cutoff=NEAR)
        if stands := meant or other:
            right.setdefault(stands)
        if meant != name:
            hint = f"did you mean {toml(meant)}?" if meant else f"there are {listed(sorted(known))}"
            messages.append(f"names {toml(name)}, which is no {what}; {hint}")
    return list(right), messages

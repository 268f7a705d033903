"""What clients may do to rows: what the settings ask for, as far as the table and the database's role allow it.

Whatever is asked for and left out is said in one sentence that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, get_args

from plugins.resources.schema.catalogue import Action, Column, Table
from plugins.resources.schema.findings import Findings
from plugins.resources.schema.resource import Field, Resource, Writes
from service.api import NO_ROW, Grant, listed, toml, toml_key

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
VERBS: Final = {"create": "INSERT", "update": "UPDATE", "delete": "DELETE"}

Grants = Callable[[Resource, Action], Grant | None]
"""What somebody may do to a resource; None is nothing."""


def allowed(
    table: Table,
    asked: frozenset[Action],
    fields: Collection[Field],
    *,
    key: Sequence[Field],
    modified: Column | None,
    findings: Findings,
) -> Writes:
    """What of `asked` is possible. `fields` are those that clients see; `key` is empty where no URL names a row."""
    if not asked:
        return Writes(modified=modified)
    if modified is not None and not (modified.is_insertable and modified.is_updatable):
        findings.say(
            f"{table.name}: {modified.name} is not set when a row is written, because the database role may not; grant "
            f"INSERT and UPDATE to allow it."
        )
        modified = None
    keyed = {part.name for part in key}
    ours = modified.name if modified is not None else None
    clients = [field for field in fields if _is_open(field.column) and field.column.name != ours]
    creatable = frozenset(field.name for field in clients if field.column.is_insertable)
    changeable = frozenset(field.name for field in clients if field.column.is_updatable and field.name not in keyed)
    given = {field.column.name for field in fields if field.name in creatable} | {ours}
    missing = [column.name for column in table.columns.values() if must_be_given(column) and column.name not in given]

    def reason(action: Action) -> str | None:
        """Why it cannot be, and the way out, after `because`."""
        if action not in table.supported:
            trigger = "; an INSTEAD OF trigger would make it one" if table.relation == "view" else ""
            return f"no row of a {table.relation} like this can be written{trigger}"
        if action not in table.granted:
            return f"the database role may not; grant {VERBS[action]} to allow it"
        if action in table.mute:
            return "a rule does something else instead and gives no row back; end that rule with RETURNING"
        if action != "create" and not key:
            return "no URL names a single row"
        if action == "create" and missing:
            return f"{listed(missing)} must have a value that clients may not write; give it a default in the database"
        if action == "update" and not changeable:
            return "clients may write none of its columns outside the key"
        return None

    reasons = {action: reason(action) for action in ACTIONS if action in asked}
    actions = [action for action, why in reasons.items() if why is None]
    for why in dict.fromkeys(filter(None, reasons.values())):
        out = listed([action for action, other in reasons.items() if other == why])
        findings.say(
            f"{table.name}: {out} left out, because {why}; where it is meant so, write "
            f"writes = {toml(actions or False)} under {findings.header(table.name)}."
        )
    return Writes(frozenset(actions), creatable, changeable, modified)


def must_be_given(column: Column) -> bool:
    """True where a new row has to have a value for it."""
    return not (column.is_nullable or column.is_filled)


def _is_open(column: Column) -> bool:
    """Whether anybody may write it: PostgreSQL does not do it itself."""
    return not column.is_generated and column.identity != "always"


def exposure(resources: Iterable[Resource], plugin: str, *, grants: Grants, has_rules: bool) -> str | None:
    """What anybody can write, and the lines that take it back; None where that is nothing. `grants` are those of
    whoever has not said who they are; without rules everything is granted."""
    by_actions: dict[tuple[Action, ...], list[Resource]] = {}
    for resource in resources:
        actions = tuple([action for action in ACTIONS if _is_exposed(resource, action, grants)])
        if actions:
            by_actions.setdefault(actions, []).append(resource)
    if not by_actions:
        return None
    what = "; ".join(_sentence(actions, found) for actions, found in by_actions.items())
    why, change = ("rules let everyone", "change these rules, ") if has_rules else ("no rule says who may", "")
    (first, *_), *_ = by_actions.values()
    return (
        f"Whoever this service answers can {what}: {why}; {change}write writes = false under "
        f'[plugins.{plugin}.table.{toml_key(first.name)}], and so for each, or host = "127.0.0.1" under [service].'
    )


def _is_exposed(resource: Resource, action: Action, grants: Grants) -> bool:
    if action not in resource.writes.actions:
        return False
    grant = grants(resource, action)
    if grant is None or grant.where == NO_ROW:
        return False
    return action != "update" or grant.writable is None or bool(grant.writable)


def _sentence(actions: Iterable[Action], resources: Iterable[Resource]) -> str:
    return f"{listed(actions)} rows of {listed([resource.name for resource in resources])}"

"""What else a write changes: tables that foreign keys reach by ON DELETE and ON UPDATE, views, partitions.

Triggers can change anything; what they do is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from plugins.resources.schema.catalogue import Action, Catalogue, ForeignKey, Table


@dataclass(frozen=True, slots=True)
class Affected:
    """The names of other tables whose rows may differ after a row of one table was written."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    """Whichever columns were written."""
    deleted: tuple[str, ...] = ()
    by_columns: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = ()
    """Where one of these columns was updated, those tables too."""

    def of(self, action: Action, columns: Collection[str]) -> tuple[str, ...]:
        """Those that an action on these columns reaches."""
        if action == "create":
            return self.created
        if action == "delete":
            return self.deleted
        more = [names for touched, names in self.by_columns if not touched.isdisjoint(columns)]
        return tuple(dict.fromkeys((*self.updated, *(name for names in more for name in names))))


def affected_by(catalogue: Catalogue, table: Table) -> Affected:
    """What writing to a row of `table` reaches."""
    tree = _Tree(catalogue)
    updated = tree.reached(table.name, "update", frozenset())
    by_columns = []
    for key in {key.target_columns: key for _, key in tree.referring(table.name) if key.on_update}.values():
        names = tree.reached(table.name, "update", frozenset(key.target_columns))
        by_columns.append((frozenset(key.target_columns), tuple(name for name in names if name not in updated)))
    return Affected(
        tree.reached(table.name, "create", None), updated, tree.reached(table.name, "delete", None), tuple(by_columns)
    )


class _Tree:
    """Who refers to whom, and who shows whose rows."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._tables = catalogue.tables
        self._referring: dict[str, list[tuple[str, ForeignKey]]] = {}
        self._shown_by: dict[str, list[str]] = {}
        for table in catalogue.tables.values():
            for key in table.foreign_keys:
                self._referring.setdefault(key.target, []).append((table.name, key))
            for source in table.shows:
                self._shown_by.setdefault(source, []).append(table.name)

    def referring(self, name: str) -> Iterator[tuple[str, ForeignKey]]:
        """Foreign keys to a table, or to one that it is a partition of, with the tables that have them."""
        for target in (name, *self._shown_by.get(name, ())):
            yield from self._referring.get(target, ())

    def reached(self, name: str, action: Action, columns: frozenset[str] | None) -> tuple[str, ...]:
        """The other tables that differ afterwards; without `columns`, any may have been written."""
        written: dict[tuple[str, Action, frozenset[str] | None], None] = {}
        waiting = [(name, action, columns)]
        while waiting:
            event = waiting.pop()
            if event not in written:
                written[event] = None
                waiting += self._following(*event)
        changed = dict.fromkeys(table for table, _, _ in written)
        waiting_names = list(changed)
        while waiting_names:
            for shower in self._shown_by.get(waiting_names.pop(), ()):
                if shower not in changed:
                    changed[shower] = None
                    waiting_names.append(shower)
        return tuple(sorted(changed.keys() - {name}))

    def _following(
        self, name: str, action: Action, columns: frozenset[str] | None
    ) -> Iterator[tuple[str, Action, frozenset[str] | None]]:
        for source in self._tables[name].shows:  # what is written through a view is written to what is behind it
            yield source, action, None
        for owner, key in self.referring(name):
            if action == "delete" and key.on_delete:
                yield owner, key.on_delete, frozenset(key.columns)
            if action == "update" and key.on_update and (columns is None or not columns.isdisjoint(key.target_columns)):
                yield owner, key.on_update, frozenset(key.columns)

"""What selecting has to say: `Findings` gathers mistakes in the settings and sentences, and words them alike."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from plugins.resources.schema.catalogue import Table
from plugins.resources.settings import Columns
from service.api import listed, nearest, toml, toml_key


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in the settings, as `run.fault` takes it; any of them stops the start."""

    path: tuple[str, ...]
    """Below the instance's own table."""
    message: str
    write: object = None
    """The whole value that would be right; None where there is nothing to write."""
    rename: str | None = None
    """How the last key of `path` should be called."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Gathered while tables become resources."""

    plugin: str
    """The instance's name, in config.toml."""
    mistakes: list[Mistake] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    """What the operator should know, one sentence each."""

    def blame(self, *path: str, message: str, write: object = None, rename: str | None = None) -> None:
        self.mistakes.append(Mistake(path, message, write, rename))

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def header(self, table: str) -> str:
        """The line above the settings of a table."""
        return f"[plugins.{self.plugin}.table.{toml_key(table)}]"

    def standing(
        self,
        table: Table,
        setting: str,
        value: Columns,
        *,
        refuse: Callable[[str], str | None] = lambda column: None,
        may_lack: bool = False,
    ) -> list[str]:
        """The names of columns in `value`, a setting of `table`, that can stand.

        Each other one is a mistake, and what to write has all of them corrected. `refuse` says why a column cannot be
        named here. A name that is no column, and like none, is only said where the table `may_lack` it.
        """
        stands: list[str] = []
        stood: set[str] = set()
        right: dict[str, str] = {}  # column to how it is spelled in the setting: a sort has a minus in front
        messages: list[str] = []
        for spelled in names(value):
            name = spelled.removeprefix("-") if setting == "sort" else spelled
            if name in stood:
                messages.append(f"names {toml(name)} twice")
                continue
            meant = nearest(name, table.columns)
            if name in table.columns:
                reason = refuse(name)
                if reason is None:
                    stood.add(name)
                    stands.append(spelled)
                    right.setdefault(name, spelled)
                else:
                    messages.append(f"names {toml(name)}, {reason}")
            elif may_lack and not meant:
                header = self.header(table.name)
                self.say(f"{header} {setting} names {toml(name)}: {table.name} has no such column; remove it.")
            else:
                messages.append(f"names {toml(name)}, which is no column of it; {hint(meant, table.columns)}")
                if meant and refuse(meant) is None:
                    right.setdefault(meant, spelled.removesuffix(name) + meant)
        for message in messages:
            self.blame("table", table.name, setting, message=message, write=_like(value, list(right.values())))
        return stands


def names(value: Columns) -> tuple[str, ...]:
    """`"a, b"` is `["a", "b"]`; a name with a comma in it needs the list."""
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


def _like(value: Columns, right: list[str]) -> object:
    """The names `right` as a text or a list, whichever `value` is; None where none is left."""
    text = ", ".join(right)
    return (text if isinstance(value, str) and list(names(text)) == right else right) or None


def hint(meant: str | None, there: Collection[str]) -> str:
    """How a message about a name that is not there ends."""
    return f"did you mean {toml(meant)}?" if meant else f"it has {listed(there)}"

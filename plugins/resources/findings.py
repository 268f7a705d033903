"""What selecting has to say: `Findings` gathers faults and sentences, and words them alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from service.api import listed as listed
from service.api import nearest, toml, toml_key


@dataclass(frozen=True, slots=True)
class Findings:
    """Gathered while tables become resources."""

    plugin: str
    """The instance's name, in config.toml."""
    faults: list[str] = field(default_factory=list)
    """Mistakes in the settings, one sentence each, that end with the line to write; any of them stops the start."""
    sentences: list[str] = field(default_factory=list)
    """What the operator should know, one sentence each."""

    def blame(self, table: str, mistake: str) -> None:
        """A fault in the settings of one table: what is wrong, then what to write."""
        self.faults.append(f"{self.header(table)} {mistake}.")

    def header(self, table: str) -> str:
        """The line above the settings of a table."""
        return f"[plugins.{self.plugin}.table.{toml_key(table)}]"

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def known(
        self, table: str, setting: str, names: Iterable[str], columns: Collection[str], *, may_lack: bool = False
    ) -> list[str]:
        """Those of `names` that are columns; each other one is a fault, or only said where the table `may_lack` it and
        no column has a name like it."""
        known = []
        for name in names:
            meant = nearest(name, columns)
            if name in columns:
                known.append(name)
            elif may_lack and not meant:
                self.say(f"{self.header(table)} {setting} names {quoted(name)}: {table} has no such column; remove it.")
            else:
                way_out = f"write {quoted(meant)}" if meant else f"it has {listed(columns)}"
                self.blame(table, f"{setting} names {quoted(name)}, which is no column of it; {way_out}")
        return known


def quoted(name: str) -> str:
    """As TOML writes a text."""
    return toml(name)


def quoted_list(names: Iterable[str]) -> str:
    """As TOML writes a list of texts."""
    return toml(list(names))

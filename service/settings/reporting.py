"""Everything that is wrong, in one report: each fault names its place and ends with the line to write.

config.toml:12  plugins.database.pool.mx: there is no such setting; did you mean "max"?
    write: max = 10
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from service.errors import SettingsError
from service.secrets import without_userinfo
from service.settings.positions import Place
from service.settings.spelling import Path_, dotted, printable


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake of the operator's."""

    place: Place
    message: str
    fix: str
    """The line to write, or the key to remove."""
    verb: str = "write"

    @property
    def path(self) -> Path_:
        """As it is written at the place."""
        return self.place.path

    def __str__(self) -> str:
        path = dotted(self.path)
        is_told = not path or self.place.text.endswith(f" {path}")  # by the place itself: --set plugins.x.y
        lines = [f"{self.place.text}: {self.message}" if is_told else f"{self.place.text}  {path}: {self.message}"]
        if self.fix:
            first, *rest = self.fix.split("\n")
            lines.append(f"    {self.verb}: {first}")
            lines += [" " * (len(self.verb) + 6) + line for line in rest]
        return "\n".join([printable(without_userinfo(line)) for line in lines])


class Report:
    """Collects faults and warnings; the same one twice counts once."""

    def __init__(self) -> None:
        self._faults: dict[Fault, None] = {}
        self._warnings: dict[Fault, None] = {}

    def add(self, fault: Fault) -> None:
        self._faults.setdefault(fault)

    def warn(self, fault: Fault) -> None:
        self._warnings.setdefault(fault)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """In the order of the file; what is not in the file comes last."""
        return _ordered(self._faults)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        return _ordered(self._warnings)

    def raise_faults(self) -> None:
        """Raises SettingsError with every fault, if there is one."""
        faults = self.faults
        if faults:
            count = f"\n\n{len(faults)} faults." if len(faults) > 1 else ""
            raise SettingsError("\n\n".join([str(fault) for fault in faults]) + count)


def _ordered(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(
        sorted(faults, key=lambda f: (f.place.line, f.place.column, f.place.text, [str(part) for part in f.path]))
    )

"""Which tables apply: the shape of the file, and the chain of `[env.NAME]` tables that `extends` makes."""

from __future__ import annotations

from collections.abc import Mapping

from service.settings.merging import Table, grown
from service.settings.outside import SECTIONS, environment_option
from service.settings.positions import Document, Layer, Place
from service.settings.reporting import Fault, Report
from service.settings.spelling import Path_, dotted, listed, nearest, there_are, toml

EXTENDS = "extends"


class Environments:
    """The `[env]` tables of one file."""

    def __init__(self, data: Mapping[str, object], document: Document, report: Report) -> None:
        self._report = report
        self._base = Layer(str(document.path), document)
        self._document = document
        self._file = self._shaped(data, (), (*SECTIONS, "env"))
        declared = self._file.pop("env", None)
        self._tables: dict[str, dict[str, object]] = {}
        for name, table in declared.items() if isinstance(declared, Mapping) else ():
            if isinstance(table, Mapping):
                self._tables[name] = self._shaped(table, ("env", name), (*SECTIONS, EXTENDS))
            else:
                self._refuse(("env", name), "an environment is a table", f"[env.{dotted([name])}]")
        self._check_chains()

    def base(self) -> Table:
        """The file without its environments."""
        return grown(self._file, Place(self._base))

    def layers(self, name: str) -> list[Table]:
        """The tables of `name` and of all that it extends, the farthest first."""
        chain = self._chain(name)
        return [
            grown(
                {key: value for key, value in self._tables[link].items() if key != EXTENDS},
                Place(Layer(f"[env.{dotted([link])}]", self._document), ("env", link)),
            )
            for link in reversed(chain)
        ]

    def choose(self, option: str | None, variable: str | None, default: str) -> str | None:
        """The environment's name; one that is not there is a fault, and None."""
        name = option or variable or default
        if name in self._tables:
            return name
        if name == default:  # it may have no table, unless one is called almost so
            if guess := nearest(default, list(self._tables)):
                message = f'there is no environment {toml(default)}; did you mean "{guess}"?'
                self._refuse(("service", "default_env"), message, f"default_env = {toml(guess)}")
                return None
            return name
        guess = nearest(name, [*self._tables, default])
        hint = f'did you mean "{guess}"?' if guess else there_are([*dict.fromkeys([*self._tables, default])])
        layer = Layer(environment_option(name) if option else f"PEGBOARD_ENV={name}")
        choice = guess or default
        fix = environment_option(choice) if option else f"export PEGBOARD_ENV={choice}"
        self._report.add(Fault(Place(layer), f"there is no such environment; {hint}", fix))
        return None

    def _chain(self, name: str) -> list[str]:
        chain: list[str] = []
        link: object = name
        while isinstance(link, str) and link in self._tables and link not in chain:
            chain.append(link)
            link = self._tables[link].get(EXTENDS)
        return chain

    def _check_chains(self) -> None:
        reported: set[frozenset[str]] = set()
        for name, table in self._tables.items():
            if EXTENDS not in table:
                continue
            parent, path = table[EXTENDS], ("env", name, EXTENDS)
            if not isinstance(parent, str) or parent not in self._tables:
                others = [other for other in self._tables if other != name]
                guess = nearest(str(parent), others)
                hint = f'; did you mean "{guess}"?' if guess else f"; {there_are(others)}" if others else ""
                if guess or others:
                    fix = f"extends = {toml(guess or others[0])}"
                    self._refuse(path, f"there is no environment {toml(parent)} to extend{hint}", fix)
                else:
                    self._refuse(path, f"there is no environment {toml(parent)} to extend", EXTENDS, verb="remove")
                continue
            chain = self._chain(name)
            last = self._tables[chain[-1]].get(EXTENDS)
            if last == name and frozenset(chain) not in reported:
                reported.add(frozenset(chain))
                circle = " -> ".join([*chain, name])
                self._refuse(path, f"environments extend each other in a circle: {circle}", EXTENDS, verb="remove")

    def _shaped(self, data: Mapping[str, object], path: Path_, known: tuple[str, ...]) -> dict[str, object]:
        """`data` with what has a place in it; all else is a fault."""
        result: dict[str, object] = {}
        for key, value in data.items():
            here = (*path, key)
            if key not in known:
                self._refuse_unknown(here, value, known)
            elif key == EXTENDS:
                result[key] = value
            elif not isinstance(value, Mapping):
                self._refuse(here, "this is a table", f"[{dotted(here)}]")
            elif key in ("plugins", "routes"):
                result[key] = {name: table for name, table in value.items() if self._is_table((*here, name), table)}
            else:
                result[key] = value
        return result

    def _is_table(self, path: Path_, value: object) -> bool:
        if not isinstance(value, Mapping):
            what = "a plugin's settings are a table" if "plugins" in path[-2:] else "a route's settings are a table"
            on = "\nenabled = true" if value is True and "plugins" in path[-2:] else ""
            self._refuse(path, what, f"[{dotted(path)}]{on}")
            return False
        return True

    def _refuse_unknown(self, path: Path_, value: object, known: tuple[str, ...]) -> None:
        key = str(path[-1])
        guess = nearest(key, known)
        if guess:
            fixed = (*path[:-1], guess)
            fix = f"[{dotted(fixed)}]" if isinstance(value, Mapping) else f"{guess} = ..."
            self._refuse(path, f'there is no such table; did you mean "{guess}"?', fix)
        elif isinstance(value, Mapping) and not isinstance(next(iter(value.values()), None), Mapping):
            fixed = (*path[:-1], "plugins", key)
            self._refuse(path, "there is no such table; a plugin's is below plugins", f"[{dotted(fixed)}]")
        else:
            removed = f"[{dotted(path)}]" if isinstance(value, Mapping) else dotted([key])
            self._refuse(path, f"there is no such table; there are {listed(known)}", removed, verb="remove")

    def _refuse(self, path: Path_, message: str, fix: str, *, verb: str = "write") -> None:
        self._report.add(Fault(Place(self._base, path), message, fix, verb))

"""`read` gives `Settings`: what the file, the environment and the options come to, checked as it is asked for.

Faults are collected, whoever finds them, and raised together by `raise_faults`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from service.settings.annotations import field_at, field_names
from service.settings.binding import Binding
from service.settings.environments import Environments
from service.settings.fixing import safe
from service.settings.merging import Node, Table, Text, Value, at, grown, is_reference, merged, plain
from service.settings.models import RESERVED, Reserved, ServiceSettings, Unique
from service.settings.outside import parsed_table, with_environ, with_overrides
from service.settings.positions import Document, Layer, Place
from service.settings.reading import read_document
from service.settings.references import Resolver
from service.settings.reporting import Fault, Report
from service.settings.showing import Effective, effective
from service.settings.spelling import Path_, dotted, listed, nearest, toml, toml_key

M = TypeVar("M", bound=BaseModel)

ALIKE: Final = 0.75
"""How much a setting of a plugin that is off, whose own settings are not known, must look like `enabled` to be told to
be that misspelt: `enalbe` is 0.77, and `tables`, which is somebody's own, 0.62."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One [plugins.NAME]: its reserved keys."""

    name: str
    use: str
    """The plugin that it is an instance of."""
    enabled: bool
    before: tuple[str, ...]
    after: tuple[str, ...]
    ports: Mapping[str, str]
    """Port name to the name of the instance that provides it."""
    _place: Place = field(repr=False, compare=False)

    @property
    def line(self) -> int:
        """Where its table begins in config.toml; 0 where the environment or an option made it."""
        return self._place.line if self._place.document else 0


class Settings:
    """The settings of one start. Made by `read`."""

    def __init__(
        self, *, document: Document, environment: str, tree: Table, environ: Mapping[str, str], report: Report
    ) -> None:
        self.config_path = document.path
        self.config_text = document.text
        self.environment = environment
        self.tree = tree
        self.bindings: dict[tuple[str, ...], Binding[Any]] = {}
        """What was bound so far, by the path of its table."""
        self.models: dict[tuple[str, ...], type[BaseModel]] = {}
        """What tables of plugins were to be, those too in which that left faults."""
        self._file = Layer(str(document.path), document)
        self._environ = environ
        self._report = report
        self._is_closed = False
        self.service = self._bound_service()
        self.instances = tuple([self._instance(name, node) for name, node in self._tables("plugins")])
        self._check_route_keys()

    # --- typed settings

    def bind(self, instance: str, model: type[M], *, run: object) -> M | None:
        """[plugins.INSTANCE] as `model`, validated with context `{"run": run}`. None where that left faults."""
        path = ("plugins", instance)
        self.models[path] = model
        node = self._table(path)
        own = Table({key: child for key, child in node.entries.items() if key not in RESERVED}, node.place)
        binding = self._binding(own, model, context={"run": run}, also=RESERVED)
        if binding.result is not None:
            self.bindings[path] = binding
        return binding.result

    def bind_route(self, instance: str, route: str, author: object | None, model: type[M], *, run: object) -> M | None:
        """What `instance` does with `route`: the author's value under the operator's keys, globs in file order.

        Either may be a single value for the model's first field. None where that left faults.
        """
        table = Table({}, Place(Layer(f"the settings that the author of {route} gives")))
        if author is not None:
            table = merged(table, _route_table(Value(author, table.place.below(instance)), model))
        for glob, node in self._tables("routes"):
            key = node.entries.get(instance)
            if key is not None and fnmatchcase(route, glob):
                table = merged(table, _route_table(key, model))
        return self._binding(table, model, context={"run": run}).result

    def check_route_keys(self, instance: str, model: type[BaseModel], *, run: object) -> None:
        """What is written for `instance` under [routes], each glob by itself, before it is known which routes there are
        and what their authors give. So what is missing is no fault yet, nor what a rule over several keys says of some.
        """
        for _, node in self._tables("routes"):
            key = node.entries.get(instance)
            if key is not None:
                self._binding(_route_table(key, model), model, context={"run": run}, partial=True)

    def check_unique(self, plugins: Mapping[str, str]) -> None:
        """What is marked `Unique` differs between instances of one plugin. `plugins` has that by instance."""
        taken: dict[tuple[str, str, object], str] = {}
        for name in sorted(plugins, key=lambda name: name != plugins[name]):  # it is for the others to step aside
            model: BaseModel = self.bindings["plugins", name].salvaged()
            for key, attribute in field_names(type(model)).items():
                if not any(isinstance(mark, Unique) for mark in type(model).model_fields[attribute].metadata):
                    continue
                value = getattr(model, attribute)
                other = taken.setdefault((plugins[name], key, value), name)
                if other != name:
                    message = f"is that of [plugins.{toml_key(other)}] too, and each instance needs one of its own"
                    self.fault_in(name, (key,), message, write=name if name != value else f"{name}-2")

    def check_routes(self, names: Iterable[str], *, tolerated_prefixes: Iterable[str] = ()) -> None:
        """Every [routes."glob"] has to match one of `names`. It need not where it begins with a tolerated one, or where
        a plugin is off whose route it may mean."""
        known = list(names)
        tolerated = tuple(tolerated_prefixes)
        families = dict.fromkeys([f"{name.rpartition('.')[0]}.*" for name in known if "." in name])
        for glob, _ in self._tables("routes"):
            if any(fnmatchcase(name, glob) for name in known):
                continue
            path = ("routes", glob)
            if any(glob == prefix or glob.startswith(f"{prefix}.") for prefix in tolerated):
                self.warn(path, "there is no such route, so nothing comes of it")
                continue
            guess = nearest(glob, [*known, *families])
            off = [instance.name for instance in self.instances if not instance.enabled]
            if guess is None and off:
                self.warn(path, f"no route has a name like this; perhaps one of a plugin that is off: {listed(off)}")
                continue
            hint = f'; did you mean "{guess}"?' if guess else "; `pegboard routes` lists them"
            fix = f"[{dotted(self._place(path).beside(guess or '*').path)}]"
            self.fault(path, f"no route has a name like this{hint}", fix=fix)

    def effective(self) -> tuple[Effective, ...]:
        """Every effective value with its origin; of plugins that were bound, defaults too. Secrets are masked."""
        return effective(self)

    # --- faults

    def fault(self, path: tuple[str, ...], message: str, *, fix: str) -> None:
        """Add a mistake at `path`; the line is found from it. `fix` is the line to write."""
        self._report.add(Fault(self._place(path), message, fix))

    def fault_in(
        self, instance: str, path: Path_, message: str, *, write: object = None, rename: str | None = None
    ) -> None:
        """Add a mistake that the plugin itself has found in [plugins.INSTANCE], which is bound: see `Run.fault`.

        Raises RuntimeError once the start is over.
        """
        if self._is_closed:
            raise RuntimeError("the start is over, so a fault in the settings stops nothing; log it")
        self._report.add(self.bindings["plugins", instance].told(path, message, write=write, rename=rename))

    def warn(self, path: tuple[str, ...], message: str, *, fix: str = "") -> None:
        """As `fault`, for what need not stop the start."""
        self._report.warn(Fault(self._place(path), message, fix))

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self._report.faults

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should hear of, each with its place."""
        return tuple([str(warning) for warning in self._report.warnings])

    def raise_faults(self) -> None:
        """Raises SettingsError with the whole report, if there are faults."""
        self._report.raise_faults()

    def close_report(self) -> None:
        """Raise the faults for the last time: nobody would read of those that plugins find later."""
        self.raise_faults()
        self._is_closed = True

    def unbind(self) -> None:
        """Show tables of plugins as they are written from now on, whether or not that is right."""
        self.bindings = {("service",): self.bindings["service",]}

    # --- the parts of the tree

    def _tables(self, section: str) -> list[tuple[str, Table]]:
        node = at(self.tree, (section,))
        entries = node.entries if isinstance(node, Table) else {}
        return [(name, table) for name, table in entries.items() if isinstance(table, Table)]

    def _table(self, path: tuple[str, ...]) -> Table:
        node = at(self.tree, path)
        return node if isinstance(node, Table) else Table({}, Place(self._file, path))

    def _place(self, path: tuple[str, ...]) -> Place:
        """Where the last word on `path` is, or would be, written."""
        for length in range(len(path), 0, -1):
            node = at(self.tree, path[:length])
            if node is not None:
                return node.place.below(*path[length:])
        return Place(self._file, path)

    def _binding(
        self,
        node: Table,
        model: type[M],
        *,
        context: Mapping[str, object],
        also: Sequence[str] = (),
        partial: bool = False,
    ) -> Binding[M]:
        resolver = Resolver(environ=self._environ, folder=self.config_path.parent, report=self._report)
        return Binding(node, model, resolver, self._report, context=context, also=also, partial=partial)

    def _bound_service(self) -> ServiceSettings:
        binding = self._binding(self._table(("service",)), ServiceSettings, context={})
        self.bindings["service",] = binding
        return binding.salvaged()

    def _instance(self, name: str, node: Table) -> Instance:
        own = Table({key: child for key, child in node.entries.items() if key in RESERVED}, node.place)
        binding = self._binding(own, Reserved, context={})
        reserved = binding.salvaged()
        for key in node.entries:
            if "enabled" not in own.entries and key not in RESERVED and nearest(key, ["enabled"], cutoff=ALIKE):
                self.fault(("plugins", name, key), 'did you mean "enabled"? The plugin is off', fix="enabled = true")
        return Instance(
            name=name,
            use=reserved.use or name,
            enabled=reserved.enabled or "enabled" in binding.faulty,  # so that the rest of its table is checked too
            before=reserved.before,
            after=reserved.after,
            ports=reserved.ports,
            _place=node.place,
        )

    def _check_route_keys(self) -> None:
        known = [instance.name for instance in self.instances]
        for glob, table in self._tables("routes"):
            for key in table.entries:
                if key in known:
                    continue
                guess = nearest(key, known)
                message = "there is no such plugin instance"
                message += f'; did you mean "{guess}"?' if guess else f", no [plugins.{toml_key(key)}]"
                value = toml(safe(plain(table.entries[key]), (glob, key), None))
                fix = f"{toml_key(guess)} = {value}" if guess else f"[plugins.{toml_key(key)}]\nenabled = true"
                self.fault(("routes", glob, key), message, fix=fix)


def read(
    config: Path,
    *,
    text: str | None = None,
    environment: str | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str],
) -> Settings:
    """Read `config` for `environment` (else PEGBOARD_ENV, else `default_env`), under `environ` and `--set` overrides.
    `text` is what the file says, where that has been read before.

    Raises SettingsError at once where nothing is left to check: a file that is missing, unreadable or no TOML, and an
    environment that is not there, since which values count is unknown then. All else is collected: see
    `Settings.raise_faults`.
    """
    document, data = read_document(config, text)
    report = Report()
    environments = Environments(data, document, report)
    default = _default_environment(environments.base(), environ, overrides, config.parent)
    name = environments.choose(environment, environ.get("PEGBOARD_ENV") or None, default)
    if name is None:
        report.raise_faults()
        raise AssertionError("an unknown environment is a fault")
    tree = reduce(merged, environments.layers(name), environments.base())
    tree = with_overrides(with_environ(tree, environ, report), overrides, report)
    return Settings(document=document, environment=name, tree=tree, environ=environ, report=report)


def _default_environment(base: Table, environ: Mapping[str, str], overrides: Sequence[str], folder: Path) -> str:
    """`[service] default_env`, which has to be known before the rest can be: its faults are found again later."""
    report = Report()
    tree = with_overrides(with_environ(base, environ, report), overrides, report)
    node = at(tree, ("service", "default_env"))
    found = Resolver(environ=environ, folder=folder, report=report).data(node, str) if node else None
    return found if isinstance(found, str) and found else str(ServiceSettings.model_fields["default_env"].default)


def _route_table(node: Node, model: type[BaseModel]) -> Table:
    """A plugin's key of one [routes."glob"] as a table: a single value is the model's first field."""
    if isinstance(node, Table):
        return node
    value: object = node.value
    if isinstance(value, Text):
        value = parsed_table(value.text) or value
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in value.model_fields_set}
    if isinstance(value, Mapping):
        kind = "env" if "env" in value else "file"
        if not is_reference(value) or field_at(model, kind):
            return grown(value, node.place, depth=len(node.place.path))
    first = next(iter(field_names(model)), "value")
    return Table({first: Value(value, node.place)}, node.place)

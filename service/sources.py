"""Where the code of plugins is: built in, a file or folder of the operator's, an installed package.

Finding imports nothing; a `Source` loads its module when it is asked to.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Final

from service.errors import PluginError
from service.settings import Settings

ENTRY_POINTS: Final = "pegboard.plugins"
BUILT_IN: Final = "plugins"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the code of a plugin is."""

    name: str
    """What `use`, or the name of the table, calls it."""
    place: str
    """For people: `built in`, `file plugins/hello.py`, `package pegboard-hello 1.2`."""
    load: Callable[[], ModuleType]


def find_sources(settings: Settings) -> dict[str, Source]:
    """Every plugin that could be used, by name. One name in two places is a fault."""
    found: dict[str, Source] = {}
    for source in (*_built_in(), *_files(settings), *_installed()):
        other = found.setdefault(source.name, source)
        if other is not source:
            settings.fault(
                ("plugins", source.name),
                f"there are two plugins called {source.name}: {other.place} and {source.place}",
                fix=f'use = "{source.name}2"  # after renaming one of them to {source.name}2',
            )
    return found


def own_package() -> ModuleType:
    """The package of the built-in plugins: the folder beside this one, whatever else is called `plugins`."""
    folder = Path(__file__).resolve().parent.parent / BUILT_IN
    package = sys.modules.get(BUILT_IN)
    if package is None:
        package = _module_at(BUILT_IN, folder / "__init__.py")
    found = [Path(entry).resolve() for entry in getattr(package, "__path__", ())]
    if folder not in found:
        where = getattr(package, "__file__", None) or ", ".join(str(entry) for entry in found)
        raise PluginError(
            f"another package called {BUILT_IN} was imported before Pegboard's own, from {where}; "
            "start the service with the command pegboard, which imports nothing of yours first."
        )
    return package


def _built_in() -> Iterator[Source]:
    for module in pkgutil.iter_modules(own_package().__path__):
        name = f"{BUILT_IN}.{module.name}"
        yield Source(module.name, "built in", partial(importlib.import_module, name))


def _files(settings: Settings) -> Iterator[Source]:
    seen = {Path(entry).resolve() for entry in own_package().__path__}
    for folder in plugin_folders(settings):
        if not folder.is_dir() or folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        for path in sorted(folder.iterdir()):
            code = path / "__init__.py" if path.is_dir() else path
            if code.suffix != ".py" or not code.is_file() or path.name.startswith(("_", ".")):
                continue
            home = settings.config_path.parent
            shown = path.relative_to(home) if path.is_relative_to(home) else path
            yield Source(path.name.removesuffix(".py"), f"file {shown}", partial(_load_file, code))


def plugin_folders(settings: Settings) -> list[Path]:
    """`[service] plugin_dirs`, relative to config.toml."""
    return [settings.config_path.parent / folder for folder in settings.service.plugin_dirs]


def _load_file(code: Path) -> ModuleType:
    """Import a file, once, under a private name, so that it meets no other module of its name."""
    stem = code.parent.name if code.name == "__init__.py" else code.stem
    digest = sha256(str(code.resolve()).encode()).hexdigest()[:12]
    name = f"_pegboard_plugin_{digest}_{stem}"
    return sys.modules.get(name) or _module_at(name, code)


def _module_at(name: str, code: Path) -> ModuleType:
    folder = [str(code.parent)] if code.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, code, submodule_search_locations=folder)
    if spec is None or spec.loader is None:
        raise PluginError(f"{code} is not Python source; give the file the ending .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        for half_made in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
            del sys.modules[half_made]
        raise
    return module


def _installed() -> Iterator[Source]:
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        package = f"package {entry.dist.name} {entry.dist.version}" if entry.dist else "an installed package"
        yield Source(entry.name, package, entry.load)

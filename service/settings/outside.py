"""Settings from outside the file: `PEGBOARD__PLUGINS__CACHE__TTL=30s` and `--set plugins.cache.ttl=30s`.

Each becomes a layer of its own above the file. Names of variables are matched to the keys that are there whatever
their case, `_` standing for `-` too; a key that is not there yet is taken in lower case.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence

from service.settings.merging import STRUCTURE_DEPTH, Node, Table, Text, Value, at, grown, merged
from service.settings.positions import Layer, Place
from service.settings.reporting import Fault, Report
from service.settings.spelling import dotted, listed, nearest, toml

PREFIX = "PEGBOARD__"
SECTIONS = ("service", "plugins", "routes")

_OPTION = re.compile(r"""((?:[^"'=]|"(?:\\.|[^"\\])*"|'[^']*')+)=(.*)""", re.DOTALL)


def with_environ(tree: Table, environ: Mapping[str, str], report: Report) -> Table:
    """`tree` under what the variables say; the shorter name first, so that a table comes before what is in it."""
    names = sorted([name for name in environ if name.startswith(PREFIX)], key=lambda name: (name.count("__"), name))
    for name in names:
        layer = Layer(name)
        words = name.removeprefix(PREFIX).split("__")
        if not all(words):
            message = "a variable names a setting by its keys, with two underscores between them"
            report.add(Fault(Place(layer), message, f"export {PREFIX}SERVICE__PORT=3000"))
            continue
        path = _matched(tree, words)
        if path[0] not in SECTIONS:
            guess = nearest(path[0], SECTIONS)
            fixed = "__".join([(guess or "plugins").upper(), *(words[1:] or ["NAME", "KEY"])])
            message = f"settings are below {listed(SECTIONS)}" + (f'; did you mean "{guess}"?' if guess else "")
            report.add(Fault(Place(layer), message, f"export {PREFIX}{fixed}=..."))
            continue
        tree = _with_text(tree, Place(layer, path), environ[name], report)
    return tree


def with_overrides(tree: Table, overrides: Sequence[str], report: Report) -> Table:
    """`tree` under the `--set` options, in their order."""
    for override in overrides:
        found = _OPTION.fullmatch(override)
        path = _parsed_path(found[1]) if found else None
        if found is None or path is None:
            key = override.partition("=")[0].strip()
            begin = key if _parsed_path(key) else "plugins.NAME.KEY"
            message = "an option is a dotted path, = and a value; a key with dots or spaces in it stands in quotes"
            report.add(Fault(Place(Layer(f"--set {key}")), message, f"--set {begin}=VALUE"))
            continue
        layer = Layer(f"--set {dotted(path)}")
        if path[0] == "env":
            message = "the environment is chosen with --env; set the setting itself"
            rest = dotted(path[2:]) or "plugins.NAME.KEY"
            report.add(Fault(Place(layer), message, f"--set {rest}=VALUE"))
        elif path[0] not in SECTIONS:
            guess = nearest(path[0], SECTIONS)
            message = f"settings are below {listed(SECTIONS)}" + (f'; did you mean "{guess}"?' if guess else "")
            fixed = dotted((guess, *path[1:]) if guess else ("plugins", *path))
            report.add(Fault(Place(layer), message, f"--set {fixed}=VALUE"))
        else:
            tree = _with_text(tree, Place(layer, path), found[2], report)
    return tree


def _parsed_path(text: str) -> tuple[str, ...] | None:
    if "\n" in text or "\r" in text:
        return None
    try:
        node: object = tomllib.loads(f"{text.strip()} = 0")
    except tomllib.TOMLDecodeError:
        return None
    path: list[str] = []
    while isinstance(node, dict) and len(node) == 1:
        key, node = next(iter(node.items()))
        path.append(key)
    return tuple(path) if node == 0 and path else None


def _matched(tree: Table, words: Sequence[str]) -> tuple[str, ...]:
    path: list[str] = []
    node: Node | None = tree
    for word in words:
        wanted = word.casefold()
        keys = node.entries if isinstance(node, Table) else ()
        path.append(next((key for key in keys if key.casefold().replace("-", "_") == wanted), wanted))
        node = at(tree, path)
    return tuple(path)


def _with_text(tree: Table, place: Place, text: str, report: Report) -> Table:
    path = [str(key) for key in place.path]
    node: Node = Value(Text(text), place)
    is_structure = len(path) <= STRUCTURE_DEPTH.get(path[0], 0)
    if is_structure or isinstance(at(tree, path), Table):
        table = parsed_table(text)
        if table is None and is_structure:
            message, name = "this is a table; name the setting in it", place.layer.name
            option = f"--set {dotted((*path, 'KEY'))}=VALUE"
            fix = f"export {name}__KEY=VALUE" if name.startswith(PREFIX) else option
            report.add(Fault(Place(place.layer), message, fix))
            return tree
        if table is not None:
            node = grown(table, place, depth=len(path))
    for length in range(len(path) - 1, -1, -1):
        node = Table({path[length]: node}, Place(place.layer, place.path[:length]))
    return merged(tree, node) if isinstance(node, Table) else tree


def parsed_table(text: str) -> dict[str, object] | None:
    """The inline table that `text` is, or None."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    value = parsed["value"]
    return value if isinstance(value, dict) and len(parsed) == 1 else None


def environment_option(name: str) -> str:
    """How an environment is named on the command line."""
    return f"--env {name if re.fullmatch('[A-Za-z0-9_.-]+', name) else toml(name)}"

"""Write what is generated from the code: docs/reference/*.md and docs/map.md.

    .venv/bin/python docs/generate.py

`make test` makes that .venv, and a test in it compares the files with what this gives. The words come from
docstrings: to change a page, change the code.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import plugins
from service.cli.group import COMMANDS, pegboard
from service.errors import ServiceError
from service.hooks import Hooks
from service.settings import PluginSettings, ServiceSettings
from service.settings.annotations import as_data, choices, every_field, kinds, options
from service.settings.models import Reserved
from service.settings.spelling import toml
from service.settings.units import Duration, Rate, Secret, Size

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
HEAD = "<!-- Made by `python docs/generate.py` from the code: change the code, then run it. -->"
UNIT_NAMES = {Duration: "duration", Size: "size", Rate: "rate", Secret: "secret"}


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    return {
        DOCS / "reference" / "settings.md": settings_page(),
        DOCS / "reference" / "hooks.md": hooks_page(),
        DOCS / "reference" / "errors.md": errors_page(),
        DOCS / "reference" / "commands.md": commands_page(),
        DOCS / "map.md": map_page(),
    }


def page(title: str, introduction: str, sections: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", HEAD, introduction, *sections]) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; line breaks in cells become spaces."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join([f"| {' | '.join([as_cell(text) for text in row])} |" for row in lines])


def as_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def built_in() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(plugins.__path__)]


# --- settings


def settings_page() -> str:
    sections = [
        settings_section("[service]", ServiceSettings, "The core."),
        settings_section("[plugins.NAME], every one", Reserved, "Keys that every plugin's table has."),
    ]
    for name in built_in():
        module = importlib.import_module(f"plugins.{name}")
        model = getattr(module, "Settings", PluginSettings)
        sections.append(settings_section(f"[plugins.{name}]", model, first_line(module.__doc__)))
        if (route_model := getattr(module, "RouteSettings", None)) is not None:
            sections.append(settings_section(f'[routes."GLOB"] {name}', route_model, "For single routes."))
    units = (
        'Durations are text with a unit, `"500ms"`, `"30s"`, `"15m"`, `"1h"`, `"7d"`; sizes too: `"512B"`, `"64KiB"`, '
        '`"1MiB"`, `"2GiB"`. A secret is text that prints as `***`. Any value may be a reference: '
        '`{ env = "NAME", default = ... }` or `{ file = "PATH" }`. Keys are written with dots here; '
        "`pool.min = 2` and `pool = { min = 2 }` are the same."
    )
    return page("Settings", units, sections)


def settings_section(title: str, model: type[BaseModel], introduction: str) -> str:
    rows = [setting_row(key, field) for key, field in every_field(model)]
    told = table(("key", "type", "default", "meaning"), rows) if rows else "It has no settings of its own."
    return f"## {title}\n\n{introduction}\n\n{told}"


def setting_row(key: str, field: FieldInfo) -> tuple[str, str, str, str]:
    default = field.get_default(call_default_factory=True)
    shown = "required" if default is PydanticUndefined else "" if default is None else f"`{toml(as_data(default))}`"
    return f"`{key}`", type_name(field.annotation), shown, field.description or ""


def type_name(annotation: object) -> str:
    """`duration`, `list of text`, `"camel" or "as-is"`."""
    if allowed := choices(annotation):
        return " or ".join(f"`{toml(choice)}`" for choice in allowed)
    names = []
    for option in options(annotation):
        origin = get_origin(option) or option
        if isinstance(origin, type) and origin in UNIT_NAMES:
            names.append(UNIT_NAMES[origin])
        elif "list" in kinds(option) and get_args(option):
            names.append(f"list of {type_name(get_args(option)[0])}")
        else:
            names += kinds(option)
    return " or ".join(dict.fromkeys(names))


# --- hooks


def hooks_page() -> str:
    sections = []
    for name, spec in vars(Hooks).items():
        if inspect.isfunction(spec):
            signature = str(inspect.signature(spec)).replace("'", "").replace("(self, ", "(").replace("(self)", "()")
            told = f"```python\ndef {name}{signature}\n```\n\n{inspect.getdoc(spec)}"
            sections.append(f"## {name}\n\n{told}\n\n{example(name)}")
    return page("Hooks", inspect.getdoc(importlib.import_module("service.hooks")) or "", sections)


def example(hook: str) -> str:
    """The plugin in examples/hooks that shows the hook."""
    code = (ROOT / "examples" / "hooks" / f"{hook}.py").read_text()
    return f"For example, [a plugin](../../examples/hooks/{hook}.py):\n\n```python\n{code}```"


# --- errors


def errors_page() -> str:
    rows = [
        (f"`{kind.code}`", str(kind.status), f"`{kind.__name__}`", inspect.getdoc(kind) or "")
        for kind in sorted(every_error(), key=lambda kind: (kind.status, kind.code, kind.__name__))
    ]
    introduction = (
        "What may stand under `code` in an error. Codes are stable; one code may come with several statuses. "
        "A plugin of your own may add to them. Plugin authors raise the class, imported from `service.api`."
    )
    return page("Error codes", introduction, [table(("code", "status", "class", "when"), rows)])


def every_error() -> set[type[ServiceError]]:
    """Every error of ours that can become an answer."""
    for name in built_in():
        importlib.import_module(f"plugins.{name}")
    found: set[type[ServiceError]] = set()
    waiting: list[type[ServiceError]] = [ServiceError]
    while waiting:
        below = waiting.pop().__subclasses__()
        found.update(kind for kind in below if is_ours(kind))
        waiting += below
    return found


def is_ours(kind: type) -> bool:
    """Whether it stands in a module of ours, and was not made for a status that we have no word for."""
    ours = kind.__module__.startswith(("service.", "plugins."))
    return ours and vars(importlib.import_module(kind.__module__)).get(kind.__name__) is kind


# --- commands


def commands_page() -> str:
    introduction = (
        "`pegboard COMMAND`, or the same as `python -m service COMMAND`. `--help` prints what is here. "
        "Plugins may add commands."
    )
    context = click.Context(pegboard, info_name="pegboard")
    sections = [section for name in COMMANDS for section in command_sections(pegboard, name, context)]
    return page("Commands", introduction, [*sections, exit_codes()])


def command_sections(group: click.Group, name: str, above: click.Context) -> Iterator[str]:
    command = group.get_command(above, name)
    if command is None:
        return
    context = click.Context(command, info_name=name, parent=above)
    text, _, example = inspect.cleandoc(command.help or "").partition("\b\nExample:\n")
    parts = [f"## {context.command_path}", " ".join(command.collect_usage_pieces(context)), text.strip()]
    parts[1] = f"`{context.command_path} {parts[1]}`"
    records = [record for option in command.params if (record := option.get_help_record(context)) and record[1]]
    if records:
        parts.append(table(("option", "meaning"), [(f"`{option}`", meaning) for option, meaning in records]))
    parts.append(f"```console\n{inspect.cleandoc(example)}\n```".replace("\npegboard", "\n$ pegboard"))
    yield "\n\n".join(parts)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from command_sections(command, inner, context)


def exit_codes() -> str:
    told = inspect.getdoc(importlib.import_module("service.cli.exits")) or ""
    rows = [line.split(None, 1) for line in told.splitlines() if line.startswith("    ")]
    return f"## Exit codes\n\n{table(('code', 'meaning'), rows)}"


# --- the map of service/


def map_page() -> str:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    layers = parser["importlinter:contract:one-way"]["layers"].strip().splitlines()
    level_of = {name.strip(): level for level, layer in enumerate(layers, start=1) for name in layer.split("|")}
    rows = []
    for path in (ROOT / "service").rglob("*.py"):
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        level = level_of.get(".".join(name.split(".")[:2]))
        rows.append((level or len(layers) + 1, path.relative_to(ROOT / "service").as_posix(), first_paragraph(path)))
    told = [(str(level) if level <= len(layers) else "", f"`{file}`", text) for level, file, text in sorted(rows)]
    introduction = (
        "Where things are in `service/`. A file imports from layers below its own, that is with a higher number, "
        "never from those above or beside it; import-linter (`make lint`) holds that, by the contracts in setup.cfg. "
        "What has no number is outside the order: `api.py` is what plugins import and the core does not, `testing/` is "
        "the kit for plugin authors. The core imports no plugin and no driver. A plugin imports `service.api`, its own "
        "third-party library and its own package."
    )
    return page("Map of the core", introduction, [table(("layer", "file", "what lives there"), told)])


def first_paragraph(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]


def first_line(text: str | None) -> str:
    return (text or "").split("\n", 1)[0]


def main() -> None:
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()

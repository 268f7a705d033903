"""The README claims nothing that is not there, and leaves nothing out."""

from __future__ import annotations

import importlib
import pkgutil
import re
import types
from pathlib import Path

import plugins
from service.errors import ServiceError
from service.hooks import Hooks
from service.slots import Slot
from service.testing.service import MakeService

README = (Path(__file__).parents[2] / "README.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, cells as text."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def named(cell: str) -> str:
    return cell.strip("`")


def marked(name: str) -> str:
    """The block marked `<!-- tested: name -->`."""
    block = re.search(rf"<!-- tested: {re.escape(name)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert block is not None
    return block[1]


def test_hooks_table_is_the_hookspecs() -> None:
    specs = [name for name, value in vars(Hooks).items() if isinstance(value, types.FunctionType)]
    assert [named(row[0]) for row in table("Hooks")] == specs


def test_slots_table_is_the_slots_in_their_order() -> None:
    assert [named(row[0]) for row in table("Slots")] == [slot.name for slot in Slot]


def test_plugins_table_is_the_built_in_plugins_and_what_they_require() -> None:
    told = {named(row[0]): set(re.findall(r"`(\w+)`", row[2])) for row in table("Plugins")}
    there = {}
    for module in pkgutil.iter_modules(plugins.__path__):
        plugin = importlib.import_module(f"plugins.{module.name}").Plugin
        there[module.name] = {key.name for key in getattr(plugin, "requires", ())}
    assert told == there


def test_errors_table_is_the_codes_and_their_statuses(generate: types.ModuleType) -> None:
    told = {named(code): {int(each) for each in statuses.split(",")} for code, statuses, _ in table("Errors")}
    there: dict[str, set[int]] = {}
    for kind in {ServiceError, *generate.every_error()}:
        there.setdefault(kind.code, set()).add(kind.status)
    assert told == there


async def test_ten_line_plugin_answers(make_service: MakeService, tmp_path: Path) -> None:
    source = marked("hello.py")
    assert len(source.splitlines()) <= 10
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "hello.py").write_text(source)
    assert marked("config.toml") == "[plugins.hello]\nenabled = true\n"
    service = await make_service(["hello"])
    response = await service.client.get("/api/v1/hello")
    assert response.status == 200
    assert await response.json() == {"message": "Hello"}

"""docs/plugin-authors.md: the plugin that it builds does at every stage what is said of it, its tables are complete."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from service.slots import Door, Slot
from service.testing import MakeService, PluginContract, pytest_plugins

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plugin-authors.md"
FILE = re.compile(r"<!-- tested: (\S+\.\w+) -->\n```\w+\n(.*?)```", re.DOTALL)
STAGE = re.compile(r"<!-- hello\.py: ([^\n]+) -->\n```python\n(.*?)```", re.DOTALL)

GREETINGS = """
CREATE TABLE greetings (language text PRIMARY KEY, text text NOT NULL);
INSERT INTO greetings VALUES ('it', 'Ciao');
"""

FOUR = {"hello.*": {"hello": ["en", "de", "it", "da"]}}

Parts = dict[str, Any]
"""What a file is made of: imports by name, definitions by name, a class as its own parts."""


# --- the file as a reader has it after each section: classes grow, a method that is there already is replaced


def parts(body: Iterable[ast.stmt]) -> Parts:
    found: Parts = {}
    last = ""
    for node in body:
        match node:
            case ast.ImportFrom(module=module, names=names):
                found |= {f"from {module} import {alias.name}": None for alias in names}
                continue
            case ast.Import(names=names):
                found |= {f"import {alias.name}": None for alias in names}
                continue
            case ast.ClassDef():
                last, part = f"class {node.name}({', '.join(map(ast.unparse, node.bases))})", parts(node.body)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                last, part = f"def {node.name}", ast.unparse(node)
            case ast.AnnAssign(target=target) | ast.Assign(targets=[target]):
                last, part = ast.unparse(target), ast.unparse(node)
            case ast.Expr(value=ast.Constant()):
                last, part = f"{last} docstring", ast.unparse(node)
            case _:
                raise AssertionError(ast.unparse(node))
        found[last] = part
    return found


def grown(file: Parts, addition: Parts) -> Parts:
    result = dict(file)
    for name, part in addition.items():
        known = result.get(name)
        result[name] = grown(known, part) if isinstance(known, dict) else part
    return result


def written(file: Parts, indent: str = "") -> str:
    """As Python: the docstring, the imports, the rest as it came, the class Plugin in the end."""

    def rank(item: tuple[str, Any]) -> int:
        name, part = item
        return 0 if name == " docstring" else 1 if part is None else 3 if name.startswith("class Plugin(") else 2

    told = []
    for name, part in sorted(file.items(), key=rank):
        if part is None:
            told.append(name)
        elif isinstance(part, dict):
            told.append(f"{name.replace('()', '')}:\n{written(part, '    ')}")
        else:
            told.append("\n".join(f"{indent}{line}" for line in part.splitlines()))
    return "\n".join(told) + "\n"


def stages() -> dict[str, Parts]:
    """The file after each section, by what the section adds."""
    file: Parts = {}
    result = {}
    for name, code in STAGE.findall(PAGE.read_text()):
        file = result[name] = grown(file, parts(ast.parse(code).body))
    return result


@pytest.fixture
def stage(tmp_path: Path) -> Callable[[str], None]:
    """`stage("a route")` writes plugins/hello.py as it is after that section, and danish.py beside it."""

    def write(name: str) -> None:
        folder = tmp_path / "plugins"
        folder.mkdir()
        (folder / "hello.py").write_text(written(stages()[name]))
        (folder / "danish.py").write_text(dict(FILE.findall(PAGE.read_text()))["plugins/danish.py"])

    return write


async def greeting(service: Any, language: str | None = None) -> tuple[int, Any, str | None]:
    headers = {"Accept-Language": language} if language else {}
    response = await service.client.get("/api/v1/hello/Ada", headers=headers)
    return response.status, (await response.json()).get("message"), response.headers.get("Content-Language")


async def test_stage_of_a_route_greets(make_service: MakeService, stage: Callable[[str], None]) -> None:
    stage("a route")
    service = await make_service(["hello"], {"plugins": {"hello": {"greeting": "Ahoy"}}})
    assert await greeting(service) == (200, "Ahoy, Ada", None)


async def test_stage_of_steps_chooses_the_language(make_service: MakeService, stage: Callable[[str], None]) -> None:
    stage("steps")
    settings = {"plugins": {"hello": {"greetings": {"de": "Hallo"}}}, "routes": FOUR}
    service = await make_service(["hello"], settings)
    assert await greeting(service, "de-AT, en") == (200, "Hallo, Ada", "de")
    assert await greeting(service) == (200, "Hello, Ada", "en")
    assert await greeting(service, "xx") == (406, None, None)
    plain = await make_service(["hello"], {"plugins": {"hello": {"greetings": {"de": "Hallo"}}}})
    assert await greeting(plain, "de") == (200, "Hello, Ada", None)


async def test_stage_of_a_port_reads_the_database(
    make_service: MakeService, stage: Callable[[str], None], make_database: Callable[[str], str]
) -> None:
    stage("a port")
    plugins = {"database": {"url": make_database(GREETINGS)}, "hello": {"fallback": "it"}}
    service = await make_service(["database", "hello"], {"plugins": plugins, "routes": FOUR})
    assert await greeting(service, "it") == (200, "Ciao, Ada", "it")
    assert await greeting(service, "da") == (200, "Ciao, Ada", "da")


async def test_stage_of_a_probe_is_shown_in_the_health(
    make_service: MakeService, stage: Callable[[str], None], make_database: Callable[[str], str]
) -> None:
    stage("a probe")
    settings = {"plugins": {"database": {"url": make_database(GREETINGS)}}}
    service = await make_service(["database", "hello", "health"], settings)
    health = await (await service.client.get("/health")).json()
    assert set(health["services"]) == {"database", "hello"}


async def test_stage_of_a_hook_learns_from_another_plugin_and_serves_it(
    make_service: MakeService, stage: Callable[[str], None], make_database: Callable[[str], str]
) -> None:
    stage("a hook of its own")
    settings = {"plugins": {"database": {"url": make_database(GREETINGS)}}, "routes": FOUR}
    service = await make_service(["danish", "database", "hello"], settings)
    assert await greeting(service, "da") == (200, "Hej, Ada", "da")
    assert await greeting(service, "it") == (200, "Ciao, Ada", "it")
    assert await (await service.client.get("/api/v1/hej")).json() == {"message": "Hej, alle"}


def test_stage_of_a_command_opens_the_database_and_asks_who_runs(
    tmp_path: Path, stage: Callable[[str], None], make_database: Callable[[str], str]
) -> None:
    stage("a command")
    url = make_database(GREETINGS)
    (tmp_path / "config.toml").write_text(
        f"[plugins.database]\nenabled = true\nurl = '{url}'\n[plugins.hello]\nenabled = true\n"
    )
    ran = run(tmp_path, "-m", "service", "hello")
    assert (ran.returncode, ran.stdout) == (0, "it: Ciao\n")
    assert ran.stderr.endswith("\nNo service runs with this config.toml and its state_dir.\n")


async def test_stage_of_a_command_answers_its_question(
    make_service: MakeService, stage: Callable[[str], None], make_database: Callable[[str], str]
) -> None:
    stage("a command")
    plugins = {"database": {"url": make_database(GREETINGS)}, "hello": {"greetings": {"de": "Hallo"}}}
    service = await make_service(["database", "hello"], {"plugins": plugins})
    assert service.application.state.answering["hello.greetings"]() == {"de": "Hallo", "it": "Ciao"}


def test_last_stage_is_the_example() -> None:
    example = parts(ast.parse((ROOT / "examples" / "hello.py").read_text()).body)
    last = list(stages().values())[-1]
    of_no_stage = {" docstring", "from __future__ import annotations"}
    assert {name: part for name, part in example.items() if name not in of_no_stage} == {
        name: part for name, part in last.items() if name not in of_no_stage
    }


# --- the rest of the page


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST", "PEGBOARD"))}
    environ["PYTHONPATH"] = str(ROOT)
    command = (sys.executable, "-P", *command)
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def test_tests_of_the_guide_pass_over_its_plugins(tmp_path: Path, stage: Callable[[str], None]) -> None:
    stage("a command")
    for name, content in FILE.findall(PAGE.read_text()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "config.toml").touch()
    ran = run(tmp_path, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "22 passed" in ran.stdout


def test_configuration_of_the_guide_is_accepted(tmp_path: Path, stage: Callable[[str], None]) -> None:
    stage("steps")
    (tmp_path / "config.toml").write_text("\n".join(re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)))
    ran = run(tmp_path, "-m", "service", "check")
    assert ran.stdout.endswith("1 plugin on: hello\n"), ran.stdout + ran.stderr


def test_slots_and_doors_of_the_guide_are_those_of_the_core(rows: Callable[[str, str], list[list[str]]]) -> None:
    assert [row[0] for row in rows(PAGE.name, "tested: slots")] == [slot.name for slot in Slot]
    assert [row[0] for row in rows(PAGE.name, "tested: doors")] == [door.name for door in Door]


def test_fixtures_of_the_guide_are_those_of_the_kit(rows: Callable[[str, str], list[list[str]]]) -> None:
    told = [name.strip("` ") for row in rows(PAGE.name, "tested: fixtures") for name in row[0].split(",")]
    there = [
        node.name
        for name in pytest_plugins
        for node in ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]
    assert sorted(told) == sorted(there)


def test_contract_of_the_guide_is_that_of_the_kit(rows: Callable[[str, str], list[list[str]]]) -> None:
    clauses = [name for name in vars(PluginContract) if name.startswith("test_")]
    assert [row[0] for row in rows(PAGE.name, "tested: contract")] == clauses

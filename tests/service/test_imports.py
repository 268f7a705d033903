"""Every module stands on its own, the front desk shows what it says and no more, and importing it is cheap."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from textwrap import dedent

import pytest

import service.api

REPOSITORY = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for package in ("service", "plugins")
    for path in (REPOSITORY / package).rglob("*.py")
)


def python(code: str, *options: str) -> str:
    """What `code` prints in a fresh interpreter."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", dedent(code)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize("package", sorted({name.rpartition(".")[0] or name for name in MODULES}))
def test_module_imports_alone_with_warnings_as_errors(package: str) -> None:
    """Each module of the package in a process that has imported nothing of ours before, for plugins nothing but the
    front desk, which all of them begin with: forked from one that has the third parties, so that it takes no minute."""
    before = ["aiohttp.web", "asyncpg", "click", "orjson", "pluggy", "pydantic", "rich", "uvloop"]
    if package.startswith("plugins"):
        before += ["argon2", "jwt.algorithms", "redis.asyncio", "service.api"]
    inside = [name for name in MODULES if (name.rpartition(".")[0] or name) == package]
    failures = python(
        f"""
        import os, sys, traceback
        import {", ".join(before)}
        for name in {inside!r}:
            sys.stdout.flush()
            if (child := os.fork()) == 0:
                try:
                    __import__(name)
                except BaseException:
                    print(name, traceback.format_exc(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
        """
    )
    assert failures == ""


def test_front_desk_is_sorted_and_complete() -> None:
    names = service.api.__all__
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    public = {
        name
        for name, value in vars(service.api).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert public == set(names)


def test_front_desk_only_hands_out() -> None:
    tree = ast.parse((REPOSITORY / "service" / "api.py").read_text())
    kinds = {type(node).__name__ for node in tree.body}
    assert kinds == {"Expr", "ImportFrom", "Assign"}


def test_front_desk_is_not_imported_by_the_core() -> None:
    for path in (REPOSITORY / "service").rglob("*.py"):
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            imported = {
                ast.Import: lambda each: [alias.name for alias in each.names],
                ast.ImportFrom: lambda each: [each.module],
            }.get(type(node), lambda each: [])(node)
            assert "service.api" not in imported, path


def test_front_desk_imports_no_driver_no_parser_and_nothing_of_the_command_line() -> None:
    loaded = json.loads(python("import json, sys, service.api; print(json.dumps(sorted(sys.modules)))"))
    heavy = {"asyncpg", "tree_sitter", "tree_sitter_toml", "rich", "uvloop", "pluggy", "click", "pytest", "hypothesis"}
    assert heavy & set(loaded) <= {"pluggy"}
    assert not [name for name in loaded if name.startswith(("plugins", "service.cli", "service.server", "service.app"))]


def test_front_desk_costs_little_more_than_what_it_is_made_of() -> None:
    """Measured against its own third parties in the same process, so that a slow machine is slow for both."""
    spent = json.loads(
        python(
            """
            import json, time
            began = time.process_time()
            import aiohttp.web, orjson, pluggy, pydantic
            theirs = time.process_time()
            import service.api
            ours = time.process_time()
            print(json.dumps([theirs - began, ours - theirs]))
            """
        )
    )
    assert spent[1] < spent[0]


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "plugins").rglob("*.py")), ids=str)
def test_plugin_imports_of_the_core_its_front_desk_only(path: Path) -> None:
    """Also what import-linter's list of forbidden modules has not heard of yet."""
    imported = [
        name
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    ]
    assert {name for name in imported if name.split(".")[0] == "service"} <= {"service.api"}

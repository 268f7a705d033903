"""examples/hooks: a plugin for each hook, shown in docs/reference/hooks.md, does what its docstring says."""

from __future__ import annotations

import ast
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.web import Request

from service.api import CHANGES, Answer, Change, Door, Ports, Route, hookimpl
from service.cli import main
from service.cli.group import pegboard
from service.specs import SPECS
from service.testing import FakeClock, MakeService

FOLDER = Path(__file__).parents[2] / "examples" / "hooks"
CONFIG: dict[str, Any] = {"service": {"plugin_dirs": [str(FOLDER)]}}


def test_every_hook_has_an_example_and_every_example_is_of_a_hook() -> None:
    assert {path.stem for path in FOLDER.iterdir() if path.is_file()} == set(SPECS)


@pytest.mark.parametrize("hook", SPECS)
def test_example_implements_its_hook_and_a_test_here_is_about_it(hook: str) -> None:
    tree = ast.parse((FOLDER / f"{hook}.py").read_text())
    hooks = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(ast.unparse(decorator) == "hookimpl" for decorator in node.decorator_list)
    ]
    assert hook in hooks
    assert [name for name in globals() if name.startswith(f"test_example_of_{hook}_")]


async def test_example_of_household_shares_a_folder_and_removes_it(make_service: MakeService) -> None:
    service = await make_service(["household"], CONFIG)
    folder = (await (await service.client.get("/api/v1/folder")).json())["folder"]
    assert os.listdir(folder) == []
    await service.stop()
    with pytest.raises(FileNotFoundError):
        os.listdir(folder)


async def test_example_of_lifespan_asks_over_connections_that_it_closes(make_service: MakeService) -> None:
    elsewhere = await make_service(["routes"], CONFIG)
    url = f"http://127.0.0.1:{elsewhere.port}/api/v1/hello/Ada"
    service = await make_service(["lifespan"], {**CONFIG, "plugins": {"lifespan": {"url": url}}})
    response = await service.client.get("/api/v1/elsewhere")
    assert (response.status, await response.json()) == (200, {"message": "Hello, Ada"})
    await elsewhere.stop()
    assert (await service.client.get("/api/v1/elsewhere")).status == 503


async def test_example_of_routes_greets(make_service: MakeService) -> None:
    service = await make_service(["routes"], CONFIG)
    assert await (await service.client.get("/api/v1/hello/Ada")).json() == {"message": "Hello, Ada"}


async def test_example_of_steps_protects_answers_of_the_api(make_service: MakeService) -> None:
    service = await make_service(["steps", "routes", "health"], CONFIG)
    headers = [(await service.client.get(path)).headers for path in ("/api/v1/hello/Ada", "/health/live")]
    assert [each.get("X-Content-Type-Options") for each in headers] == ["nosniff", None]
    assert service.application.state.routes[-1].door is Door.PROBE


@pytest.mark.parametrize(("least", "passes"), [("1B", True), ("1000000TiB", False)])
async def test_example_of_probes_fails_where_too_little_is_free(
    make_service: MakeService, least: str, passes: bool
) -> None:
    service = await make_service(["probes"], {**CONFIG, "plugins": {"probes": {"least": least}}})
    (probe,) = service.application.state.probes
    if passes:
        await probe.check()
    else:
        with pytest.raises(RuntimeError, match="less than 1000000TiB is free"):
            await probe.check()


async def test_example_of_observers_counts_requests(make_service: MakeService) -> None:
    service = await make_service(["observers", "routes"], CONFIG)
    for path in ("/api/v1/hello/Ada", "/api/v1/hello/Bob", "/nowhere"):
        await (await service.client.get(path)).read()
    counts = await (await service.client.get("/api/v1/counts")).json()
    assert counts == {"hello.greet 200": 2, "unmatched 404": 1}


async def test_example_of_changes_tells_when_a_resource_was_written(
    make_service: MakeService, clock: FakeClock
) -> None:
    class Writer:
        class Plugin:
            @hookimpl
            @asynccontextmanager
            async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
                self._changes = ports.need(CHANGES)
                yield

            @hookimpl
            def routes(self) -> Iterable[Route]:
                yield Route("POST", "write", self._write, name="write")

            def _write(self, request: Request) -> Answer:
                self._changes.announce(Change("users", ("1",)))
                return Answer(204)

    service = await make_service(["changes", Writer], CONFIG, clock=clock)
    assert await (await service.client.get("/api/v1/written")).json() == {}
    await service.client.post("/api/v1/write")
    assert await (await service.client.get("/api/v1/written")).json() == {"users": "2026-01-01T00:00:00.000Z"}


def test_example_of_commands_adds_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(
        f"[service]\nplugin_dirs = ['{FOLDER}']\n[plugins.commands]\nenabled = true\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pegboard, "commands", {})  # it stays with the process, as a command line does
    assert main(["greet", "Ada"]) == 0
    assert capsys.readouterr().out == "Hello, Ada\n"

"""The kit's services: where their plugins are found, what `client` asks, and that it asks for as little as it can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import pytest_asyncio

import service as package
from service.api import Answer, PluginError, Route, hookimpl
from service.testing import FakeClock, MakeService, Service

ROOT = Path(package.__file__).parents[1]

SCOPE = "asyncio_default_fixture_loop_scope=function"

GREETER = """
from service.api import Answer, Route, hookimpl

class Plugin:
    @hookimpl
    def routes(self):
        return [Route("GET", "hello", lambda request: Answer.json("hello"), name="hello")]
"""


class Hello:
    class Plugin:
        @hookimpl
        def routes(self) -> Iterable[Route]:
            yield Route("GET", "hello", lambda request: Answer.json("hello"), name="hello")


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest as an author has it: nothing configured but what pytest-asyncio asks for, and every warning an error."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST", "PEGBOARD"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", "-o", SCOPE, *options],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


@pytest_asyncio.fixture
async def service(make_service: MakeService) -> Service:
    return await make_service([Hello])


async def test_client_asks_the_service_of_the_fixture_service(client: Any) -> None:
    response = await client.get("/api/v1/hello")
    assert await response.json() == "hello"


async def test_plugins_of_the_nearest_config_are_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        mine__hello=GREETER,
        tests__deep__conftest="",
        tests__conftest="pytest_plugins = ['service.testing']",
        tests__deep__test_hello="""
            import pytest

            @pytest.mark.asyncio
            async def test_hello(make_service):
                service = await make_service(["hello"])
                assert (await service.client.get("/api/v1/hello")).status == 200
            """,
    )
    (tmp_path / "config.toml").write_text('[service]\nplugin_dirs = ["mine"]\n')
    for arguments in ((), ("tests/deep/test_hello.py",)):
        ran = run_pytest(tmp_path, *arguments)
        assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


async def test_every_fixture_works_in_strict_mode_and_in_every_worker(tmp_path: Path) -> None:
    """Each of two workers has its own servers, and nothing of them is left."""
    write(
        tmp_path,
        conftest="""
            from service.testing import FakeClock, PluginContract  # before pytest is told of the kit
            pytest_plugins = ["service.testing"]
            """,
        **{
            f"test_{number}": f"""
            import json, os, pytest
            from pathlib import Path

            @pytest.mark.asyncio
            async def test_everything(make_service, make_database, postgres, redis_server, redis_url, clock, request):
                service = await make_service(["health"], clock=clock)
                assert (await service.client.get("/health/live")).status == 200
                held = [postgres.pid, redis_server.pid]
                Path("held-{number}.json").write_text(json.dumps(held + [make_database(""), redis_url]))
            """
            for number in (1, 2)
        },
    )
    ran = run_pytest(tmp_path, "-n", "2", "--dist", "loadfile")
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
    one, other = [json.loads((tmp_path / f"held-{number}.json").read_text()) for number in (1, 2)]
    assert not set(one) & set(other)
    for pid in (*one[:2], *other[:2]):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_failed_assertions_of_the_contract_show_what_they_compared(tmp_path: Path) -> None:
    write(
        tmp_path,
        conftest="pytest_plugins = ['service.testing']",
        plugins__broken='"Break it."\nfrom service.api import PluginSettings\n\n'
        "class Settings(PluginSettings):\n    size: int = 1\n\nclass Plugin: ...\n",
        test_broken="""
            from service.testing import PluginContract

            class TestBroken(PluginContract):
                plugin = "broken"
            """,
    )
    (tmp_path / "config.toml").touch()
    ran = run_pytest(tmp_path)
    assert "9 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "AssertionError: without a docstring below the field" in ran.stdout
    assert "assert ['size'] == []" in ran.stdout


def test_client_without_a_service_says_what_to_write(tmp_path: Path) -> None:
    write(
        tmp_path,
        conftest="pytest_plugins = ['service.testing']",
        test_client="def test_client(client): ...",
    )
    ran = run_pytest(tmp_path)
    assert "client needs to know the service: define a fixture" in ran.stdout
    assert "1 error" in ran.stdout


def test_kit_is_loaded_by_those_only_who_ask_for_it(tmp_path: Path) -> None:
    assert not [entry for entry in entry_points(group="pytest11") if entry.value.startswith(("service", "plugins"))]
    write(tmp_path, test_nothing="import sys\ndef test_nothing():\n    assert 'service' not in sys.modules")
    assert "1 passed" in run_pytest(tmp_path).stdout


async def test_failed_start_is_raised_and_the_next_one_works(make_service: MakeService) -> None:
    class Failing:
        class Plugin:
            @hookimpl
            def routes(self) -> Iterable[Route]:
                raise RuntimeError("no")

    with pytest.raises(PluginError, match="plugin failing: its hook routes failed"):
        await make_service([Failing])
    service = await make_service([Hello])
    assert (await service.client.get("/api/v1/hello")).status == 200


async def test_stopped_service_may_be_stopped_again(make_service: MakeService) -> None:
    service = await make_service([Hello])
    await service.stop()
    await service.stop()
    assert service.client.session.closed


def test_clock_stands_still_until_it_is_moved(clock: FakeClock) -> None:
    assert (clock.now(), clock.monotonic()) == (1_767_225_600.0, 0.0)
    clock.advance(90)
    assert (clock.now(), clock.monotonic()) == (1_767_225_690.0, 90.0)

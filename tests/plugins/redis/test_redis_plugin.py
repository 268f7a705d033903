"""The plugin in a whole service: its settings, its health, and that it is not there where it is off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from plugins.redis import Settings
from service.api import REDIS, Answer, Route, Unavailable, hookimpl
from service.errors import SettingsError
from service.testing.redis import RedisServer

ROOT = Path(__file__).parents[3]
CANARY = "c4n4ry"


class Counter:
    """A plugin that uses Redis where it is, and goes on without it."""

    class Plugin:
        uses = (REDIS,)

        @hookimpl
        def routes(self):
            yield Route("GET", "count", self._count, name="count")

        @hookimpl
        def lifespan(self, ports):
            from contextlib import asynccontextmanager

            @asynccontextmanager
            async def live():
                self._redis = ports.find(REDIS)
                yield

            return live()

        async def _count(self, request):
            if self._redis is None:
                return Answer.json("none")
            try:
                return Answer.json((await self._redis.get("count") or b"0").decode())
            except Unavailable:
                if "strictly" in request.query:
                    raise
                return Answer.json("alone")


async def asked(service, path="/api/v1/count"):
    response = await service.client.get(path)
    return response.status, await response.json()


async def test_plugins_find_it_where_it_is_on(make_service, redis_url):
    service = await make_service(["redis", Counter], {"plugins": {"redis": {"url": redis_url}}})
    assert await asked(service) == (200, "0")


async def test_plugins_that_only_use_it_do_without_it(make_service):
    service = await make_service([Counter])
    assert await asked(service) == (200, "none")


async def test_plugins_decide_what_they_do_while_it_is_away(make_service):
    service = await make_service(["redis", Counter], {"plugins": {"redis": {"url": "redis://127.0.0.1:1"}}})
    assert await asked(service) == (200, "alone")
    response = await service.client.get("/api/v1/count?strictly")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    error = (await response.json())["error"]
    assert error["code"] == "SERVICE_UNAVAILABLE"
    assert error["message"] == "The store that servers share cannot be reached just now."


@pytest.mark.parametrize(("critical", "status", "health"), [(False, 200, "degraded"), (True, 503, "unhealthy")])
async def test_health_tells_the_truth_from_the_start_to_the_end(
    make_service, private_server, eventually, critical, status, health
):
    settings = {"redis": {"url": private_server.url, "critical": critical}, "health": {"interval": "1s"}}
    settings["redis"]["timeouts"] = {"command": "5s", "connect": "5s"}
    service = await make_service(["redis", "health", Counter], {"plugins": settings})

    async def is_told(told):
        code, body = await asked(service, "/health")
        return (code, body["status"], body["services"]["redis"]["status"]) == told

    await eventually(lambda: is_told((200, "healthy", "healthy")))
    private_server.stop()
    assert await asked(service) == (200, "alone")
    await eventually(lambda: is_told((status, health, "unhealthy")))
    private_server.start()
    await eventually(lambda: is_told((200, "healthy", "healthy")))
    assert await asked(service) == (200, "0")


async def test_two_instances_are_two_servers(make_service, redis_url):
    with RedisServer() as other:
        tables = {
            "redis": {"url": redis_url},
            "sessions": {"enabled": True, "use": "redis", "url": other.url},
            "counter": {"ports": {"redis": "sessions"}},
        }
        service = await make_service(["redis", Counter], {"plugins": tables})
        assert await asked(service) == (200, "0")
        assert {probe.name for probe in service.application.state.probes} == {"redis", "sessions"}
        assert [said.rpartition(" at ")[2] for said in service.said] == [
            f"{server}, database 0" for server in (redis_url[7:].partition("?")[0], other.socket)
        ]


def test_driver_is_not_imported_where_the_plugin_is_off(tmp_path):
    (tmp_path / "config.toml").write_text(
        '[plugins.redis]\nenabled = false\nurl = "redis://h"\n[plugins.health]\nenabled = true\n'
    )
    code = """
import asyncio, json, sys
from pathlib import Path
from service.app import build, process_run
from service.loader import load
from service.run import Tasks
from service.settings import read

async def main():
    settings = read(Path("config.toml"), environ={})
    tasks = Tasks()
    async with build(load(settings, process_run(settings, tasks=tasks, say=print)), tasks=tasks):
        print(json.dumps([name for name in sys.modules if "redis" in name]))

asyncio.run(main())
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == []


# --- settings


def test_settings_have_the_defaults_that_the_documentation_names():
    settings = Settings(url="redis://host")
    assert (settings.prefix, settings.connections, settings.critical) == ("pegboard:", 10, False)
    assert (str(settings.timeouts.command), str(settings.timeouts.connect)) == ("50ms", "250ms")


def test_settings_keep_the_url_to_themselves():
    settings = Settings(url=f"redis://api:{CANARY}@host")
    assert CANARY not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize("key", ["command", "connect"])
def test_settings_refuse_a_timeout_of_nothing(key):
    with pytest.raises(ValidationError, match="leaves Redis no time at all"):
        Settings(url="redis://host", timeouts={key: "0s"})


async def told(make_service, settings, environ=None):
    """Each fault of the one report, and its line to write."""
    with pytest.raises(SettingsError) as stopped:
        await make_service(["redis"], {"plugins": {"redis": settings}}, environ=environ)
    return str(stopped.value)


@pytest.mark.parametrize(
    ("settings", "environ", "words", "write"),
    [
        ({}, {}, "url: is required", 'write: url = { env = "REDIS_URL" }'),
        ({"url": {"env": "REDIS_URL"}}, {}, "is not set", "write: export REDIS_URL=..."),
        (
            {"url": f"http://api:{CANARY}@h"},
            {},
            "is not understood: a URL of Redis",
            'write: url = { env = "REDIS_URL" }',
        ),
        (
            {"url": {"env": "REDIS_URL"}},
            {"REDIS_URL": CANARY},
            "is not understood",
            "write: export REDIS_URL=...",
        ),
        ({"url": "redis://h", "connections": 0}, {}, "connections", "write: connections = 1"),
        ({"url": "redis://h", "timeouts": {"command": 50}}, {}, "timeouts.command", 'command = "50s"'),
        ({"url": "redis://h", "ulr": "x"}, {}, 'did you mean "url"', ""),
    ],
)
async def test_wrong_setting_is_told_with_the_line_to_write(make_service, settings, environ, words, write):
    text = await told(make_service, settings, environ)
    assert words in text
    assert write in text
    assert CANARY not in text


async def test_all_that_is_wrong_comes_in_one_report(make_service):
    text = await told(make_service, {"url": "nonsense", "connections": 0, "timeouts": {"command": 50}})
    assert [key for key in ("url:", "connections:", "timeouts.command:") if f"plugins.redis.{key}" in text] == [
        "url:",
        "connections:",
        "timeouts.command:",
    ]


def test_url_is_masked_wherever_settings_are_shown(tmp_path):
    (tmp_path / "config.toml").write_text('[plugins.redis]\nenabled = true\nurl = { env = "REDIS_URL" }\n')
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": f"redis://api:{CANARY}@host/0"}
    for command in (["config", "show", "--origins"], ["config", "show", "--json"], ["check"], ["plugins"]):
        ran = subprocess.run(
            [sys.executable, "-m", "service", *command],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert CANARY not in ran.stdout + ran.stderr
        assert "redis" in ran.stdout + ran.stderr


async def test_no_secret_of_the_url_is_in_anything_that_is_logged_or_said(
    make_service, caplog, private_server, eventually
):
    """While it is away, comes, refuses, and goes."""
    caplog.set_level(0)
    url = private_server.url.replace("unix://", f"unix://api:{CANARY}@")
    private_server.stop()
    service = await make_service(
        ["redis", "health", Counter], {"plugins": {"redis": {"url": url}, "health": {"interval": "1s"}}}
    )
    await asked(service, "/health")
    private_server.start()
    await eventually(lambda: "wrong user or password" in caplog.text)
    response = await service.client.get("/api/v1/count?strictly")
    private_server.stop()
    assert response.status == 503
    told = (
        "\n".join(service.said) + caplog.text + await response.text() + json.dumps((await asked(service, "/health"))[1])
    )
    assert CANARY not in told

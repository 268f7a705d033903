"""Whole requests over a real socket, and the lines that they leave on standard output."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from aiohttp import ClientSession, ClientTimeout

import service
from service.api import Answer, NotFound, PluginSettings, Route, hookimpl
from service.errors import SettingsError

CANARY = "c4n4ry-77-value"
WAIT_S = 20.0


class Shop:
    """Routes that answer, refuse, crash and wait."""

    class Settings(PluginSettings):
        pass

    class Plugin:
        def __init__(self, settings):
            self.entered = asyncio.Event()

        @hookimpl
        def routes(self):
            yield Route("GET", "greet/{name}", lambda request: Answer.json({"hello": "you"}), name="shop.greet")
            yield Route("GET", "absent", self._refuse, name="shop.absent")
            yield Route("GET", "crash", self._crash, name="shop.crash")
            yield Route("GET", "wait", self._wait, name="shop.wait")

        def _refuse(self, request):
            raise NotFound("There is no such thing.")

        def _crash(self, request):
            raise RuntimeError(f"the key {request.headers.get('X-Secret')} is bad\nnext line")

        async def _wait(self, request):
            self.entered.set()
            await asyncio.Event().wait()
            raise AssertionError


@pytest.fixture
def start(make_service, capfd):
    """Start a service that logs; its entries can be had once it has ended."""

    async def started(**settings):
        service = await make_service(["logs", Shop], {"plugins": {"logs": settings}})

        async def lines():
            await service.stop()
            return capfd.readouterr().out.splitlines()

        async def entries():
            return [json.loads(line) for line in await lines()]

        service.lines, service.entries = lines, entries
        return service

    return started


async def test_journey_leaves_one_line_with_the_request_s_facts(start):
    service = await start()
    response = await service.client.get("/api/v1/greet/ann?x=1", headers={"User-Agent": "shopper/1"})
    body = await response.read()
    (entry,) = [entry for entry in await service.entries() if entry["kind"] == "request"]
    assert entry.pop("time").endswith("Z")
    assert 0 < entry.pop("durationMs") < 10_000
    assert entry == {
        "level": "info",
        "kind": "request",
        "method": "GET",
        "url": "/api/v1/greet/ann?x=1",
        "status": 200,
        "bytes": len(body),
        "remote": "127.0.0.1",
        "route": "shop.greet",
        "version": "v1",
        "requestId": response.headers["X-Request-Id"],
        "userId": None,
        "userAgent": "shopper/1",
        "error": None,
    }


async def test_journey_leaves_one_line_for_each_request_whatever_became_of_it(start):
    service = await start()
    for path in ("/api/v1/greet/ann", "/api/v1/absent", "/api/v1/crash", "/nowhere"):
        await service.client.get(path)
    await service.client.post("/api/v1/greet/ann")
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GARBAGE\x1b[2J\r\n\r\n")
    await reader.read()
    writer.close()
    requests = [entry for entry in await service.entries() if entry["kind"] == "request"]
    assert [(entry["route"], entry["status"], entry["error"]) for entry in requests] == [
        ("shop.greet", 200, None),
        ("shop.absent", 404, "NOT_FOUND"),
        ("shop.crash", 500, "INTERNAL_ERROR"),
        ("unmatched", 404, "NOT_FOUND"),
        ("unmatched", 405, "METHOD_NOT_ALLOWED"),
        ("unmatched", 400, "VALIDATION_ERROR"),
    ]


async def test_journey_of_a_client_that_left_leaves_one_line(start):
    service = await start()
    plugin = service.application.loaded["shop"].plugin
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /api/v1/wait HTTP/1.1\r\nHost: x\r\n\r\n")
    await plugin.entered.wait()
    writer.transport.abort()
    requests = [entry for entry in await service.entries() if entry["kind"] == "request"]
    assert [(entry["route"], entry["status"]) for entry in requests] == [("shop.wait", 499)]


async def test_journey_that_crashed_leaves_its_traceback_once_without_the_secret_it_carried(start):
    service = await start(redact=["x-secret"])
    response = await service.client.get("/api/v1/crash", headers={"X-Secret": CANARY})
    assert response.status == 500
    (entry,) = await service.entries()
    assert CANARY not in json.dumps(entry)
    assert entry["requestId"] == response.headers["X-Request-Id"]
    assert entry["traceback"].endswith("RuntimeError: the key *** is bad\nnext line")


@pytest.mark.parametrize(
    "spelling",
    ["json", ":remote-addr :method :url :req[authorization] :req[cookie] :req[x-api-key] :referrer :user-id"],
)
async def test_journey_never_leaves_a_secret(start, capfd, spelling):
    service = await start(format=spelling)
    headers = {
        "Authorization": f"Bearer {CANARY}",
        "Cookie": f"sid={CANARY}; =; a b={CANARY}",
        "X-Api-Key": CANARY,
        "Proxy-Authorization": f"Basic {CANARY}",
        "Referer": f"http://ann:{CANARY}@here/?token={CANARY}",
    }
    for path in ("greet/ann", "absent", "crash", "nowhere"):
        await service.client.get(
            f"/api/v1/{path}?token={CANARY}&api%5Fkey={CANARY}&password[eq]={CANARY}", headers=headers
        )
    lines = await service.lines()
    assert len(lines) >= 4
    assert CANARY not in "\n".join(lines)


async def test_journey_with_hostile_text_leaves_one_line(start):
    service = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(
        b"GET /api/v1/greet/%0d%0a%1b?a=%E2%80%AE&b=\xff HTTP/1.1\r\n"
        b"Host: x\r\nConnection: close\r\n"
        b'User-Agent: \xff\xfe \xe2\x80\xa8 \xe2\x80\xae \xc2\x9b31m {"kind":"forged"} %s\r\n\r\n'
    )
    await reader.read()
    writer.close()
    (line,) = await service.lines()
    assert line.isprintable()
    assert json.loads(line)["kind"] == "request"


async def test_journey_in_the_format_of_the_manual_reads_like_morgan(start):
    service = await start(format=":method :url :status :route :user-id")
    await service.client.get("/api/v1/greet/ann")
    assert await service.lines() == ["GET /api/v1/greet/ann 200 shop.greet -"]


async def test_settings_with_an_unknown_token_stop_the_start_and_list_what_there_is(start):
    with pytest.raises(SettingsError) as refused:
        await start(format=":mehtod :url")
    assert 'did you mean ":method"?' in str(refused.value)
    assert ":remote-addr" in str(refused.value)


@pytest.fixture
def process(tmp_path):
    """`pegboard run` with logs and health; ended whatever happens."""
    config = tmp_path / "config.toml"
    plugins = {"logs": {"enabled": True}, "health": {"enabled": True}}
    config.write_text(tomli_w.dumps({"service": {"port": 0, "timeouts": {"drain": "0s"}}, "plugins": plugins}))
    with subprocess.Popen(
        [sys.executable, "-m", "service", "run", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(service.__file__).parents[1])},
        cwd=tmp_path,
    ) as process:
        yield process
        process.kill()


async def test_service_that_is_ended_by_a_signal_has_written_every_line(process):
    url = next(found[0] for line in process.stderr if (found := re.search(rb"http://[0-9.:]+", line))).decode()
    async with ClientSession(url) as client:
        for _ in range(100):
            assert (await client.get("/health/live")).status == 200
    process.send_signal(signal.SIGTERM)
    entries = [json.loads(line) for line in process.stdout]
    assert process.wait(WAIT_S) == 0
    assert [entry["status"] for entry in entries if entry["kind"] == "request"] == [200] * 100


async def test_service_whose_output_nobody_reads_answers_and_ends(process):
    """The pipe holds some 64 KiB: less than these requests leave."""
    url = next(found[0] for line in process.stderr if (found := re.search(rb"http://[0-9.:]+", line))).decode()
    async with ClientSession(url, timeout=ClientTimeout(total=WAIT_S)) as client:
        for _ in range(300):
            assert (await client.get("/health/live", params={"filler": "x" * 1_000})).status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 0

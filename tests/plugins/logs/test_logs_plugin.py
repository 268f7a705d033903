"""The plugin through its hooks: what reaches standard output, and that no secret does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

import pluggy
import pytest

from plugins.logs import Plugin, Settings
from service.api import Run
from service.hooks import PROJECT, Hooks
from service.run import SystemClock

CANARY = "c4n4ry-77-value"


def unused(*args, **kwargs):
    raise AssertionError


RUN = Run(
    strict=True,
    workers=1,
    state_dir=Path("unused"),
    clock=SystemClock(),
    household=None,
    say=unused,
    request_reload=unused,
    spawn=unused,
)


class Logs:
    """The plugin as the core holds it: registered, opened, its observers taken."""

    def __init__(self, capfd, **settings):
        self._capfd = capfd
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        manager.register(Plugin(Settings(**settings), RUN))
        manager.check_pending()
        self._lifespan = manager.hook.lifespan(ports=None)[0]
        self.observers = [observe for found in manager.hook.observers() for observe in found]

    async def __aenter__(self):
        await self._lifespan.__aenter__()
        return self

    async def __aexit__(self, *failure):
        await self._lifespan.__aexit__(None, None, None)
        self.text = self._capfd.readouterr().out

    def observe(self, exchange):
        for observer in self.observers:
            observer(exchange)

    @property
    def entries(self):
        return [json.loads(line) for line in self.text.splitlines()]


async def test_logs_write_one_line_for_each_exchange(exchange, capfd):
    async with Logs(capfd) as logs:
        for status in (200, 404, 499, 500):
            logs.observe(exchange(status=status))
    assert [(entry["status"], entry["level"]) for entry in logs.entries] == [
        (200, "info"),
        (404, "info"),
        (499, "info"),
        (500, "error"),
    ]


async def test_logs_json_line_has_every_fact_under_its_documented_name(exchange, capfd):
    async with Logs(capfd) as logs:
        logs.observe(exchange(headers={"User-Agent": "curl/8"}, target="/api/v1/users/7?token=abc", error_code="NO"))
    assert logs.entries == [
        {
            "time": "2026-01-01T00:00:00.250Z",
            "level": "info",
            "kind": "request",
            "method": "GET",
            "url": "/api/v1/users/7?token=***",
            "status": 200,
            "durationMs": 1.234,
            "bytes": 312,
            "remote": "127.0.0.1",
            "route": "users.read",
            "version": "v1",
            "requestId": "req_0123456789ab",
            "userId": "ann",
            "userAgent": "curl/8",
            "error": "NO",
        }
    ]


async def test_logs_write_the_traceback_of_a_crash_once_beside_its_request_id(exchange, capfd):
    async with Logs(capfd) as logs:
        try:
            raise RuntimeError("out of cheese")
        except RuntimeError as error:
            logs.observe(exchange(status=500, failure=error, error_code="INTERNAL_ERROR"))
    (entry,) = logs.entries
    assert entry["requestId"] == "req_0123456789ab"
    assert entry["traceback"].startswith("Traceback (most recent call last):\n")
    assert entry["traceback"].endswith("RuntimeError: out of cheese")


@pytest.mark.parametrize(
    "spelling", ["json", ":url :req[authorization] :req[cookie] :req[x-secret] :referrer :user-agent"]
)
async def test_logs_never_contain_a_secret(exchange, capfd, spelling):
    async with Logs(capfd, format=spelling, redact=["x-secret"]) as logs:
        try:
            raise ValueError(f"bad key {CANARY}")
        except ValueError as error:
            logs.observe(
                exchange(
                    target=f"/users?token={CANARY}&x_secret={CANARY}",
                    headers={
                        "Authorization": f"Bearer {CANARY}",
                        "Proxy-Authorization": f"Basic {CANARY}",
                        "Cookie": f"sid={CANARY}",
                        "X-Api-Key": CANARY,
                        "X-Secret": CANARY,
                        "Referer": f"http://here/?password={CANARY}",
                    },
                    failure=error,
                )
            )
        logging.getLogger("some.library").error("Authorization: Bearer %s", CANARY)
        logging.getLogger("some.library").error("postgres://ann:%s@db/app", CANARY)
        try:
            raise ValueError(f"token={CANARY}")
        except ValueError:
            logging.getLogger("some.library").exception("It failed.")
    assert logs.text.count("***") >= 4
    assert CANARY not in logs.text


async def test_logs_skip_routes_by_glob_unless_they_fail(exchange, capfd):
    async with Logs(capfd, skip=["health.*"]) as logs:
        logs.observe(exchange(route="health.ready"))
        logs.observe(exchange(route="health.ready"))
        logs.observe(exchange(route="health.ready", status=503))
        logs.observe(exchange(route="users.read"))
    assert [(entry["route"], entry["status"]) for entry in logs.entries] == [("health.ready", 503), ("users.read", 200)]


async def test_logs_carry_the_service_s_own_messages_in_the_same_form(capfd):
    async with Logs(capfd) as logs:
        logging.getLogger("pegboard").warning("A Release step of route %s failed.", "users.read\nforged")
        logging.getLogger("aiohttp.server").debug("not from this level on")
    (entry,) = logs.entries
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "warning",
        "kind": "log",
        "logger": "pegboard",
        "message": "A Release step of route users.read\nforged failed.",
    }


async def test_logs_carry_the_service_s_own_messages_as_text_on_one_line_each(capfd):
    async with Logs(capfd, format=":status") as logs:
        logging.getLogger("pegboard").error("first\nsecond \x1b[2J")
    (line,) = logs.text.splitlines()
    assert line.endswith(" ERROR pegboard: first\\nsecond \\x1b[2J")


async def test_logs_carry_the_tracebacks_of_the_service_s_own_messages(capfd):
    async with Logs(capfd) as logs:
        try:
            raise RuntimeError("out of cheese")
        except RuntimeError:
            logging.getLogger("pegboard").exception("It failed.", stack_info=True)
    (entry,) = logs.entries
    assert "RuntimeError: out of cheese\nStack (most recent call last):" in entry["traceback"]


async def test_logs_level_decides_which_own_messages_are_written(capfd):
    async with Logs(capfd, level="error") as logs:
        logging.getLogger("pegboard").warning("quiet")
        logging.getLogger("pegboard").error("loud")
    assert [entry["message"] for entry in logs.entries] == ["loud"]


async def test_logs_leave_logging_as_they_found_it(capfd):
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    async with Logs(capfd):
        assert (list(root.handlers), root.level) != before
    assert (list(root.handlers), root.level) == before


async def test_logs_survive_a_message_whose_arguments_do_not_fit(capfd, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    async with Logs(capfd) as logs:
        logging.getLogger("pegboard").warning("%d", "no number")
        logging.getLogger("pegboard").warning("next")
    assert [entry["message"] for entry in logs.entries] == ["next"]


HOSTILE = '\r\n{"kind":"forged"}\x1b[2J\x00\u2028\u202e%s%n'


@pytest.mark.parametrize("spelling", ["json", '":method" ":url" ":remote-addr" ":user-id" ":user-agent" ":req[a]"'])
async def test_logs_keep_hostile_text_on_its_line(exchange, capfd, spelling):
    hostile = HOSTILE + "\udcff"  # a byte of a header that was no UTF-8
    async with Logs(capfd, format=spelling) as logs:
        logs.observe(
            exchange(
                method=hostile,
                target="/?a=" + hostile,
                remote=hostile,
                subject=hostile,
                headers={"User-Agent": hostile, "a": hostile},
            )
        )
        logging.getLogger("pegboard").error("%s", HOSTILE)
    lines = logs.text.split("\n")
    assert len(lines) == 3
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    if spelling == "json":
        assert [json.loads(line)["kind"] for line in lines] == ["request", "log"]


async def test_logs_observing_costs_the_loop_no_wait_while_output_is_stuck(exchange, monkeypatch):
    """Standard output is a pipe that is full: a hundred thousand requests still go by."""
    reading, writing = os.pipe()
    monkeypatch.setattr("plugins.logs.STDOUT", writing)
    monkeypatch.setattr("plugins.logs.sink.CLOSE_WITHIN_S", 0.05)
    plugin = Plugin(Settings(), RUN)
    lifespan = plugin.lifespan(None)
    await lifespan.__aenter__()
    (observe,) = plugin.observers()
    loop = asyncio.get_running_loop()
    longest_s = 0.0
    happened = exchange()
    for _ in range(20):
        began = loop.time()
        for _ in range(1_000):
            observe(happened)
        await asyncio.sleep(0)
        longest_s = max(longest_s, loop.time() - began)
    assert longest_s < 1.0
    await lifespan.__aexit__(None, None, None)
    os.set_blocking(reading, False)
    while plugin._sink._writer.is_alive():
        try:
            os.read(reading, 1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0.005)
    os.close(reading)
    os.close(writing)

"""Health over a real socket: three routes, dependencies that come and go, and a storm that touches none of them."""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from plugins import health
from service.api import Alarm, Door, PluginError, Probe, Run, hookimpl
from service.errors import SettingsError
from service.run import SystemClock

WAIT_S = 10.0
"""A bound for conditions that hold within moments."""


class Thing:
    """Something to depend on: a critical probe that a test turns off, and its alarm."""

    def __init__(self, name="thing", *, critical=True):
        self.up = True
        self.probes = 0
        self.alarm = Alarm()
        thing = self

        async def check():
            thing.probes += 1
            if not thing.up:
                raise OSError("10.1.2.3:5432 refused the password of pegboard")

        class Module:
            class Plugin:
                @hookimpl
                def probes(self):
                    yield Probe(name, check, critical=critical, alarm=thing.alarm)

        Module.__name__ = name
        self.module = Module


async def ask(service, path="/health"):
    response = await service.client.get(path)
    return response.status, await response.json()


async def until(service, path, wanted):
    """Ask until the answer is `wanted(status, body)`; that answer."""
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = await ask(service, path)
            if wanted(*answer):
                return answer
            await asyncio.sleep(0.01)


def settled(status, body):
    return all(service["status"] != "unknown" for service in body["services"].values())


async def test_health_answers_with_every_service_and_its_figures(make_service):
    service = await make_service(["health", Thing().module])
    status, body = await until(service, "/health", settled)
    assert status == 200
    assert list(body) == ["status", "timestamp", "services"]
    assert body["status"] == "healthy"
    assert list(body["services"]) == ["thing"]
    assert list(body["services"]["thing"]) == ["status", "latencyMs", "ageMs"]
    assert body["services"]["thing"]["status"] == "healthy"
    assert 0 <= body["services"]["thing"]["latencyMs"] < 1_000
    assert 0 <= body["services"]["thing"]["ageMs"] < 5_000


async def test_health_shows_facts_of_a_probe_as_they_are_now(make_service):
    facts = {"since": None, "count": 1}

    class Counting:
        class Plugin:
            @hookimpl
            def probes(self):
                yield Probe("counting", self._check, facts=lambda: facts)

            async def _check(self):
                pass

    service = await make_service(["health", Counting, Thing().module])
    _, body = await until(service, "/health", settled)
    assert list(body["services"]["counting"]) == ["status", "latencyMs", "ageMs", "since", "count"]
    assert list(body["services"]["thing"]) == ["status", "latencyMs", "ageMs"]
    facts["count"] = 2
    assert (await ask(service))[1]["services"]["counting"]["count"] == 2


async def test_health_without_probes_is_healthy_and_ready(make_service):
    service = await make_service(["health"])
    status, body = await ask(service)
    assert (status, body["status"], body["services"]) == (200, "healthy", {})
    status, body = await ask(service, "/health/ready")
    assert (status, body["status"]) == (200, "ready")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_health_answers_are_never_stored(make_service, path):
    service = await make_service(["health"])
    response = await service.client.get(path)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "application/json"
    head = await service.client.head(path)
    assert (head.status, await head.read()) == (200, b"")


async def test_health_is_503_while_a_critical_service_fails_and_live_stays_200(make_service):
    thing = Thing()
    thing.up = False
    service = await make_service(["health", thing.module])
    status, body = await until(service, "/health", settled)
    assert (status, body["status"], body["services"]["thing"]["status"]) == (503, "unhealthy", "unhealthy")
    status, body = await ask(service, "/health/ready")
    assert (status, body["status"]) == (503, "unhealthy")
    status, body = await ask(service, "/health/live")
    assert (status, body["status"]) == (200, "alive")


async def test_health_is_degraded_and_ready_while_another_service_fails(make_service):
    thing = Thing(critical=False)
    thing.up = False
    service = await make_service(["health", thing.module])
    status, body = await until(service, "/health", settled)
    assert (status, body["status"]) == (200, "degraded")
    assert (await ask(service, "/health/ready"))[0] == 200


async def test_health_tells_outside_callers_no_cause(make_service, caplog):
    thing = Thing()
    thing.up = False
    service = await make_service(["health", thing.module])
    _, body = await until(service, "/health", settled)
    assert "10.1.2.3" not in json.dumps(body)
    assert "thing is unhealthy: OSError: 10.1.2.3:5432" in caplog.text


async def test_health_shows_a_failure_at_once_when_an_alarm_rings_and_heals_by_itself(make_service, clock):
    thing = Thing()
    service = await make_service(["health", thing.module], {"plugins": {"health": {"interval": "1h"}}}, clock=clock)
    await until(service, "/health", settled)
    thing.alarm.ring()
    status, body = await ask(service)
    assert (status, body["status"]) == (503, "unhealthy")
    assert (await ask(service, "/health/ready"))[0] == 503
    clock.advance(720.0)
    thing.alarm.ring()
    await until(service, "/health", lambda status, body: status == 200)


async def test_health_of_a_result_older_than_three_intervals_is_unhealthy(make_service, clock):
    service = await make_service(["health", Thing().module], clock=clock)
    await until(service, "/health", settled)
    clock.advance(15.0)
    assert (await ask(service))[0] == 200
    clock.advance(0.1)
    status, body = await ask(service)
    assert (status, body["services"]["thing"]) == (503, {"status": "unhealthy", "latencyMs": 0.0, "ageMs": 15_100})


async def test_health_ready_is_503_while_draining_and_work_goes_on(make_service):
    service = await make_service(["health"])
    service.application.state.draining = True
    status, body = await ask(service, "/health/ready")
    assert (status, body["status"]) == (503, "draining")
    assert (await ask(service))[0] == 200
    assert (await ask(service, "/health/live"))[0] == 200


async def test_health_ready_is_starting_until_every_critical_probe_has_ended(make_service):
    gate = asyncio.Event()

    class Slow:
        class Plugin:
            @hookimpl
            def probes(self):
                yield Probe("slow", gate.wait, timeout_s=60.0)

    service = await make_service(["health", Slow])
    assert (await ask(service, "/health/ready"))[1]["status"] == "starting"
    status, body = await ask(service)
    assert (status, body["services"]["slow"]) == (503, {"status": "unknown", "latencyMs": None, "ageMs": None})
    gate.set()
    await until(service, "/health/ready", lambda status, body: (status, body["status"]) == (200, "ready"))


async def test_health_storm_touches_no_probe(make_service, clock):
    thing = Thing()
    service = await make_service(["health", thing.module], clock=clock)
    await until(service, "/health", settled)
    before = thing.probes
    for _ in range(20):
        answers = await asyncio.gather(*[ask(service) for _ in range(50)])
        assert {status for status, _ in answers} == {200}
    assert thing.probes == before == 1


async def test_health_routes_stand_behind_the_probe_door(make_service):
    service = await make_service(["health"])
    doors = {plan.route.path: plan.route.door for plan in service.application.plans if plan.route.path[:7] == "/health"}
    assert doors == dict.fromkeys(["/health", "/health/live", "/health/ready"], Door.PROBE)


async def test_health_ends_its_task_with_its_lifespan(tmp_path):
    spawned = []

    def spawn(coroutine, *, name):
        spawned.append(asyncio.create_task(coroutine, name=name))
        return spawned[0]

    def unused(*args):
        raise AssertionError

    run = Run(
        strict=True,
        workers=1,
        state_dir=tmp_path,
        clock=SystemClock(),
        household=None,
        say=unused,
        request_reload=unused,
        spawn=spawn,
    )

    class Declared:
        draining = False
        probes = (Probe("hangs", asyncio.Event().wait, timeout_s=60.0),)

        async def wait_declared(self):
            pass

    class Offered:
        def need(self, key):
            return Declared()

    async with health.Plugin(health.Settings(), run).lifespan(Offered()):
        await asyncio.sleep(0)
        assert not spawned[0].done()
    assert spawned[0].cancelled()


# --- dependencies by URL


class Dependency:
    """A local server that answers as a test wishes."""

    def __init__(self):
        self.status = 200
        self.headers = {}
        self.body = b"fine"
        self.requests = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, request):
        self.requests.append(request)
        await self.gate.wait()
        return web.Response(status=self.status, headers=self.headers, body=self.body)


@pytest.fixture
async def dependency():
    made = Dependency()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/health"))
        yield made
        made.gate.set()


def by_url(url, **more):
    return {"plugins": {"health": {"http": {"payments": {"url": url, **more}}}}}


async def test_dependency_that_answers_2xx_is_healthy(make_service, dependency):
    dependency.status = 204
    service = await make_service(["health"], by_url(dependency.url))
    status, body = await until(service, "/health", settled)
    assert (status, body["status"], body["services"]["payments"]["status"]) == (200, "healthy", "healthy")
    assert dependency.requests[0].method == "GET"


@pytest.mark.parametrize("status", [301, 302, 404, 500, 503])
async def test_dependency_that_answers_anything_else_degrades(make_service, dependency, status):
    dependency.status = status
    dependency.headers = {"Location": "/elsewhere"}
    service = await make_service(["health"], by_url(dependency.url))
    code, body = await until(service, "/health", settled)
    assert (code, body["status"], body["services"]["payments"]["status"]) == (200, "degraded", "unhealthy")
    assert {request.path for request in dependency.requests} == {"/health"}


async def test_dependency_is_healthy_with_the_statuses_that_are_expected(make_service, dependency):
    dependency.status = 401
    service = await make_service(["health"], by_url(dependency.url, expect=[401, 403]))
    assert (await until(service, "/health", settled))[1]["status"] == "healthy"


async def test_dependency_that_is_critical_makes_the_service_unhealthy(make_service):
    service = await make_service(["health"], by_url(f"http://127.0.0.1:{unused_port()}/", critical=True))
    status, body = await until(service, "/health", settled)
    assert (status, body["status"]) == (503, "unhealthy")


async def test_dependency_that_hangs_is_unhealthy_after_its_timeout(make_service, dependency):
    dependency.gate.clear()
    service = await make_service(["health"], by_url(dependency.url, timeout="50ms"))
    _, body = await until(service, "/health", settled)
    assert body["services"]["payments"]["status"] == "unhealthy"


async def test_dependency_that_accepts_and_says_nothing_is_unhealthy_after_its_timeout(make_service):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        service = await make_service(["health"], by_url(url, timeout="50ms"))
        _, body = await until(service, "/health", settled)
        assert body["services"]["payments"]["status"] == "unhealthy"


async def test_dependency_with_an_endless_body_is_judged_by_its_status(make_service):
    async def pour(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        except ConnectionError:
            closed.set()
        finally:
            writer.close()

    closed = asyncio.Event()
    async with await asyncio.start_server(pour, "127.0.0.1", 0) as endless:
        url = f"http://127.0.0.1:{endless.sockets[0].getsockname()[1]}/"
        service = await make_service(["health"], by_url(url))
        _, body = await until(service, "/health", settled)
        assert body["services"]["payments"]["status"] == "healthy"
        async with asyncio.timeout(WAIT_S):
            await closed.wait()


async def test_dependency_that_comes_back_is_healthy_again(make_service, dependency, caplog):
    caplog.set_level(logging.INFO, logger="pegboard.health")
    dependency.status = 500
    settings = by_url(dependency.url)
    settings["plugins"]["health"]["interval"] = "1s"
    service = await make_service(["health"], settings)
    await until(service, "/health", lambda status, body: body["status"] == "degraded" and settled(status, body))
    dependency.status = 200
    await until(service, "/health", lambda status, body: body["status"] == "healthy")
    assert "payments is unhealthy: ConnectionError: it answered 500" in caplog.text
    assert "payments is healthy again." in caplog.text


async def test_dependency_called_like_a_declared_probe_stops_the_start(make_service):
    with pytest.raises(PluginError, match="payments"):
        await make_service(["health", Thing("payments").module], by_url("http://127.0.0.1:1/"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"interval": "999ms"}, 'at least "1s"'),
        ({"interval": 5}, "5s"),
        ({"http": {"a b": {"url": "http://x/"}}}, "a b"),
        ({"http": {"a": {}}}, "url"),
        ({"http": {"a": {"url": "payments.example.com"}}}, "absolute"),
        ({"http": {"a": {"url": "ftp://x/"}}}, "absolute"),
        ({"http": {"a": {"url": "http://ann:pw@x/"}}}, "no user and no password"),
        ({"http": {"a": {"url": "http://x/", "timeout": "0s"}}}, "above zero"),
        ({"http": {"a": {"url": "http://x/", "expect": [99]}}}, "expect"),
        ({"http": {"a": {"url": "http://x/", "expects": [200]}}}, "expect"),
    ],
)
async def test_settings_refuse_what_cannot_be_probed(make_service, settings, said):
    with pytest.raises(SettingsError) as refused:
        await make_service(["health"], {"plugins": {"health": settings}})
    assert said in str(refused.value)

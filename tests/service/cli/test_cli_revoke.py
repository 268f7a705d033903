"""`pegboard auth revoke`, and a service of two workers that refuses what it names: as one starts it. In the end also
`pegboard key revoke`, as far as it is about time."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import jwt
import pytest
from yarl import URL

from plugins.auth.store.schema import STATEMENTS
from service.testing.redis import RedisServer

SCHEMA = ";".join(STATEMENTS)

CONFIG = """
[service]
port = 0
strict = false
plugin_dirs = ["plugins"]

[plugins.who]
enabled = true

[plugins.auth]
enabled = true
secret = { env = "JWT_SECRET" }
"""

WITH_DATABASE = """
[plugins.database]
enabled = true
url = { env = "DATABASE_URL" }
pool = { min = 0, max = 4 }
"""

WITH_REDIS = """
[plugins.redis]
enabled = true
url = { env = "REDIS_URL" }
timeouts = { command = "10s", connect = "10s" }
"""

WHO = """
import os
from service.api import PRINCIPAL, Answer, Route, hookimpl

class Plugin:
    @hookimpl
    def routes(self):
        yield Route("GET", "who", self._who, name="who")
        yield Route("GET", "pid", self._pid, name="pid", settings={"auth": "none"})

    def _who(self, request):
        return Answer.json({"subject": request[PRINCIPAL].subject})

    def _pid(self, request):
        return Answer.json({"pid": os.getpid()})
"""

PATIENCE_S = 30.0

REFUSED_WITHIN_S = 1.0
GENEROUS = 5
"""Deadlines are held with this factor on a shared machine."""

TURNS = 3

SECRET = "s" * 40


def token_of(subject: str, *, lives_s: int = 3600) -> str:
    now_s = int(time.time())
    claims = {"sub": subject, "iat": now_s, "exp": now_s + lives_s, "jti": uuid.uuid4().hex}
    return jwt.encode(claims, SECRET, algorithm="HS256")


class Worker:
    """One connection, which leads to the same worker always."""

    def __init__(self, url: URL) -> None:
        self._connection = http.client.HTTPConnection(str(url.host), url.port, timeout=PATIENCE_S)
        self.pid = self._get("/api/v1/pid", {})[1]["pid"]

    def status(self, credential: str) -> int:
        """Of a request with that token or API key."""
        is_key = credential.startswith("pgb_")
        headers = {"X-API-Key": credential} if is_key else {"Authorization": f"Bearer {credential}"}
        return self._get("/api/v1/who", headers)[0]

    def close(self) -> None:
        self._connection.close()

    def _get(self, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture
def workers() -> Iterator[Callable[[Any], list[Worker]]]:
    """`workers(started)`: a connection to each of its two."""
    with ExitStack() as stack:

        def connect(started: Any) -> list[Worker]:
            found: dict[int, Worker] = {}
            deadline_s = time.monotonic() + PATIENCE_S
            while len(found) < 2:
                assert time.monotonic() < deadline_s, "one worker answers everything"
                worker = Worker(URL(started.url))
                stack.callback(worker.close)
                found.setdefault(worker.pid, worker)
            return list(found.values())

        yield connect


@pytest.fixture
def configure(cli: Any, make_database: Any, redis_server: RedisServer) -> Callable[[str], Any]:
    """`configure("redis")`, "postgres" or "redis, postgres": the command, where those keep what is revoked."""

    def write(stores: str) -> Any:
        cli.environ["JWT_SECRET"] = SECRET
        config = CONFIG
        if "postgres" in stores:
            cli.environ["DATABASE_URL"] = make_database(SCHEMA)
            config += WITH_DATABASE
        if "redis" in stores:
            redis_server.clear()
            cli.environ["REDIS_URL"] = redis_server.url
            config += WITH_REDIS
        cli.write("config.toml", config)
        cli.write("plugins/who.py", WHO)
        return cli

    return write


@pytest.fixture(params=["redis", "postgres"])
def configured(request: pytest.FixtureRequest, configure: Callable[[str], Any]) -> Any:
    return configure(request.param)


def refused_after_s(workers: list[Worker], credential: str, *, within_s: float) -> float:
    """How long it takes until all of them refuse it."""
    began_s = time.monotonic()
    for worker in workers:
        while worker.status(credential) != 401:
            assert time.monotonic() - began_s < within_s, f"worker {worker.pid} accepts it still"
            time.sleep(0.005)
    return time.monotonic() - began_s


def test_every_worker_refuses_what_is_revoked_also_those_that_are_started_later(
    configured: Any, workers: Callable[[Any], list[Worker]]
) -> None:
    tokens = [token_of(name) for name in ("ada", "ada", "bob")]
    one, another, of_bob = tokens
    running = configured.start("run", "--workers", "2")
    both = workers(running)
    for worker in both:
        assert [worker.status(token) for token in tokens] == [200] * 3

    ended = configured("auth", "revoke", "--token", one)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("Revoked until ")
    assert one not in ended.out + ended.err
    refused_after_s(both, one, within_s=5)
    for worker in both:
        assert [worker.status(token) for token in tokens] == [401, 200, 200]

    assert configured("auth", "revoke", "--subject", "ada").code == 0
    refused_after_s(both, another, within_s=5)
    for worker in both:
        assert [worker.status(token) for token in tokens] == [401, 401, 200]

    listed = configured("auth", "revocations", "--json")
    of_ada, of_one = sorted(listed.json, key=lambda each: each["kind"])  # both may end in the same second
    assert (of_ada["kind"], of_ada["value"]) == ("subject", "ada")
    assert of_one["kind"] == "token"
    assert of_one["issuedBefore"] is None

    assert configured("auth", "revoke", "--everyone", "--keep", "2d").code == 0
    refused_after_s(both, of_bob, within_s=5)
    running.end()
    again = configured.start("run", "--workers", "2")
    for worker in workers(again):
        assert [worker.status(token) for token in tokens] == [401] * 3
    ended = again.end()
    for token in (*tokens, SECRET):
        assert token not in ended.err + ended.out


@pytest.mark.slow
@pytest.mark.parametrize("stores", ["postgres", "redis", "redis, postgres"])
def test_every_worker_refuses_it_within_a_second(
    configure: Callable[[str], Any], workers: Callable[[Any], list[Worker]], stores: str
) -> None:
    """A token, a subject, an API key and everyone; counted from the end of the command, and known to both before."""
    configured = configure(stores)
    running = configured.start("run", "--workers", "2")
    both = workers(running)

    def ends(credential: str, *command: str) -> None:
        for worker in both:
            assert worker.status(credential) == 200, command
        ended = configured(*command)
        assert ended.code == 0, ended.err
        took_s = refused_after_s(both, credential, within_s=PATIENCE_S)
        assert took_s < REFUSED_WITHIN_S * GENEROUS, command

    of_everyone = token_of("everyone")
    for turn in range(TURNS):
        token = token_of(f"of a token {turn}")
        jti = jwt.decode(token, SECRET, algorithms=["HS256"])["jti"]
        ends(token, "auth", "revoke", "--jti", jti)
        ends(token_of(f"subject-{turn}"), "auth", "revoke", "--subject", f"subject-{turn}")
        if "postgres" in stores:  # which keeps the keys
            ends(configured("key", "create", "--name", f"ci-{turn}").out.strip(), "key", "revoke", f"ci-{turn}")
    ends(of_everyone, "auth", "revoke", "--everyone")
    running.end()


# --- what it says


@pytest.fixture
def alone(cli: Any) -> Any:
    """Without a store."""
    cli.environ["JWT_SECRET"] = SECRET
    cli.write("config.toml", CONFIG.replace("[plugins.who]\nenabled = true\n", ""))
    return cli


@pytest.mark.parametrize("arguments", [("revoke", "--everyone"), ("revocations",)])
def test_without_a_store_it_says_what_is_needed(alone: Any, arguments: tuple[str, ...]) -> None:
    ended = alone("auth", *arguments)
    assert (ended.code, ended.out) == (78, "")
    assert "there is nowhere to keep revocations: they need redis or database; write: enabled = true" in ended.err


def test_without_the_schema_it_says_how_to_make_it(alone: Any, make_database: Any) -> None:
    alone.write("config.toml", CONFIG.replace("[plugins.who]\nenabled = true\n", "") + WITH_DATABASE)
    alone.environ["DATABASE_URL"] = make_database("SELECT 1")
    ended = alone("auth", "revoke", "--everyone")
    assert (ended.code, ended.out) == (78, "")
    assert "the schema pegboard is not in the database; run: pegboard auth init." in ended.err
    assert alone("auth", "revocations").out == "Nothing is revoked.\n"


def test_store_that_is_away_is_told(alone: Any, tmp_path: Any) -> None:
    alone.write("config.toml", CONFIG.replace("[plugins.who]\nenabled = true\n", "") + WITH_REDIS)
    alone.environ["REDIS_URL"] = f"unix://{tmp_path}/nobody.sock"
    ended = alone("auth", "revoke", "--everyone")
    assert (ended.code, ended.out) == (69, "")
    assert "The store that servers share cannot be reached just now." in ended.err


def test_token_comes_from_standard_input_and_is_kept_until_it_has_expired(
    alone: Any, redis_server: RedisServer
) -> None:
    redis_server.clear()
    alone.write("config.toml", CONFIG.replace("[plugins.who]\nenabled = true\n", "") + WITH_REDIS)
    alone.environ["REDIS_URL"] = redis_server.url
    token = token_of("1", lives_s=400 * 86_400)
    done = subprocess.run(
        [*alone.command, "auth", "revoke", "--token", "-"],
        cwd=alone.folder,
        env=alone.environ,
        input=f"{token}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert token not in done.stdout + done.stderr
    [row] = alone("auth", "revocations", "--json").json
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert row["value"] == claims["jti"]
    assert row["endsAt"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(claims["exp"])))

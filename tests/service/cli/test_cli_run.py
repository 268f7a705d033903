"""`pegboard run`: what it prints, where it listens, how it ends."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import __version__

HEALTH_AND_LOGS = """
[service]
port = 0
[plugins.health]
enabled = true
[plugins.logs]
enabled = true
[env.development.service]
timeouts = { drain = "0s" }
[env.production.service]
timeouts = { drain = "0s" }
"""

SLOW_TO_OPEN = """
import asyncio, contextlib, sys
from service.api import hookimpl

class Plugin:
    @hookimpl
    @contextlib.asynccontextmanager
    async def lifespan(self, ports):
        print("opening", file=sys.stderr, flush=True)
        await asyncio.sleep(600)
        yield
"""


def test_run_says_what_it_started(cli: Any) -> None:
    cli.write("config.toml", HEALTH_AND_LOGS)
    cli.write("plugins/spare.py", "class Plugin:\n    pass\n")
    started = cli.start("run", "--env", "production")
    url = started.url
    err = started.end().err
    assert __version__ in err
    assert "production" in err
    assert "config.toml" in err
    assert "on: health, logs" in err
    assert "spare" in err.partition("off: ")[2].partition("\n")[0]
    assert f"curl {url}/health\n" in err
    assert "started in" in err


def test_run_names_the_database_and_hands_out_urls_that_answer(cli: Any, make_database: Callable[[str], str]) -> None:
    sql = "CREATE TABLE users (id int PRIMARY KEY, password_hash text, created_at timestamptz DEFAULT now());"
    sql += "INSERT INTO users SELECT generate_series(1, 5);"
    cli.environ["DATABASE_URL"] = make_database(sql)
    cli("init")
    started = cli.start("run", "--port", "0", "--set", 'plugins.resources.tables=["*"]')
    started.wait_for("users/1")
    assert "PostgreSQL 18" in started.err
    tried = [shlex.split(line.partition("curl ")[2])[0] for line in started.err.splitlines() if "curl " in line]
    assert [address.removeprefix(started.url) for address in tried] == [
        "/health",
        "/api/v1",
        "/api/v1/users?limit=3",
        "/api/v1/users/1",
    ]
    started.wait_until_ready()
    assert [started.get(address.removeprefix(started.url))[0] for address in tried] == [200] * 4
    assert started.end().code == 0


def test_run_keeps_standard_output_for_log_lines(cli: Any) -> None:
    cli.write("config.toml", HEALTH_AND_LOGS)
    started = cli.start("run")
    assert started.get("/health/live")[0] == 200
    ended = started.end()
    assert [json.loads(line)["url"] for line in ended.out.splitlines()] == ["/health/live"]


def test_run_prints_plainly_where_nobody_looks(cli: Any) -> None:
    cli.write("config.toml", HEALTH_AND_LOGS)
    started = cli.start("run")
    assert started.url
    assert "\x1b" not in started.end().err


@pytest.mark.parametrize("no_color", [False, True])
def test_run_is_colourful_on_a_terminal_unless_told_not_to_be(cli: Any, no_color: bool) -> None:
    cli.write("config.toml", HEALTH_AND_LOGS)
    cli.environ |= {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {})
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*cli.command, "run"], cwd=cli.folder, env=cli.environ, stderr=theirs, stdout=theirs)
    try:
        os.close(theirs)
        shown = b""
        while b"/health\r\n" not in shown:
            assert select.select([ours], [], [], 60)[0]
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert (b"\x1b[32m" in shown) is not no_color


def test_run_takes_host_and_port_over_everything_else(cli: Any) -> None:
    cli.write("config.toml", HEALTH_AND_LOGS.replace("port = 0", "port = 1"))
    cli.environ["PEGBOARD__SERVICE__PORT"] = "2"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = cli.start("run", "--set", "service.port=3", "--host", "localhost", "--port", str(port))
    assert started.url.endswith(f":{port}")
    assert started.end().code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_with_0_when_it_is_asked_to(cli: Any, number: signal.Signals) -> None:
    cli.write("config.toml", HEALTH_AND_LOGS)
    started = cli.start("run")
    assert started.url
    assert started.end(number).code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_gives_the_start_up_when_it_is_asked_to(cli: Any, number: signal.Signals) -> None:
    cli.write("config.toml", "[service]\nport = 0\n[plugins.slow]\nenabled = true\n")
    cli.write("plugins/slow.py", SLOW_TO_OPEN)
    started = cli.start("run")
    started.wait_for("opening")
    ended = started.end(number)
    assert ended.code == 0
    assert "Traceback" not in ended.err


def test_run_writes_what_the_service_says_to_standard_error_where_no_plugin_logs(cli: Any) -> None:
    cli.write("config.toml", "[service]\nport = 0\n[plugins.broken]\nenabled = true\n")
    cli.write(
        "plugins/broken.py",
        "import logging\n"
        "from service.api import Answer, Route, hookimpl\n"
        "def warn(request):\n"
        "    logging.getLogger('pegboard.broken').warning('mind the gap')\n"
        "    return Answer.json({})\n"
        "class Plugin:\n"
        "    @hookimpl\n"
        "    def routes(self):\n"
        "        return [Route('GET', 'warn', warn, name='warn')]\n",
    )
    started = cli.start("run")
    assert started.get("/api/v1/warn")[0] == 200
    assert "WARNING pegboard.broken: mind the gap" in started.end().err


def test_run_serves_the_readmes_plugin_from_a_file(cli: Any) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    hello = readme.partition("<!-- tested: hello.py -->\n```python\n")[2].partition("```")[0]
    lines = readme.partition("<!-- tested: config.toml -->\n```toml\n")[2].partition("```")[0]
    assert len([line for line in hello.splitlines() if line.strip()]) <= 10
    assert len(lines.splitlines()) == 2
    cli("init")
    cli.write("plugins/hello.py", hello)
    config = cli.folder / "config.toml"
    config.write_text(config.read_text() + "\n" + lines)
    off = [f"--set=plugins.{name}.enabled=false" for name in ("database", "resources")]
    started = cli.start("run", "--port", "0", *off)
    assert started.get("/api/v1/hello") == (200, {"message": "Hello"})
    assert started.end().code == 0

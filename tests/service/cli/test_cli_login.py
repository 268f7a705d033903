"""`pegboard auth hash`, and logging in where an operator starts the service: the demo data, two workers, no schema."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
import pytest
from argon2 import PasswordHasher, extract_parameters

from service.testing import PostgresServer

LOGIN = """
[plugins.auth.login]
table = "users"
identifier = "email"
password = "password_hash"
"""

DEMO = f"""
[service]
port = 0
workers = 2
strict = false

[plugins.database]
enabled = true
embedded = true

[plugins.resources]
enabled = true
tables = ["users"]

[plugins.auth]
enabled = true
default = "optional"
{LOGIN}
"""

PASSWORD = "correct horse battery staple"


def post(url: str, **fields: str) -> tuple[int, Any]:
    request = urllib.request.Request(  # noqa: S310  # our own
        url, data=json.dumps(fields).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]["code"]


def get(url: str, token: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return answer.status, json.load(answer)


def test_demo_users_log_in_through_two_workers(cli: Any) -> None:
    """The start makes the schema on a server of its own. Wrong passwords are counted over both workers."""
    cli.write("config.toml", DEMO)
    running = cli.start("run")
    url = f"{running.url}/api/v1"
    first = get_email(running, 1)
    status, tokens = post(f"{url}/auth/token", email=first, password=PASSWORD)
    assert status == 200, tokens
    assert get(f"{url}/users/1", tokens["accessToken"])[1]["email"] == first
    with ThreadPoolExecutor(10) as threads:
        answers = [
            *threads.map(lambda each: post(f"{url}/auth/refresh", refreshToken=tokens["refreshToken"]), range(10))
        ]
    assert sorted(status for status, _ in answers) == [200] + [401] * 9
    second = get_email(running, 2)
    with ThreadPoolExecutor(10) as threads:
        wrong = [*threads.map(lambda each: post(f"{url}/auth/token", email=second, password=f"{each}"), range(20))]
    assert sorted(wrong) == [(401, "INVALID_CREDENTIALS")] * 5 + [(429, "RATE_LIMIT_EXCEEDED")] * 15
    assert post(f"{url}/auth/token", email=second, password=PASSWORD) == (429, "RATE_LIMIT_EXCEEDED")
    ended = running.end()
    assert ended.code == 0, ended.err
    assert PASSWORD not in ended.err + ended.out


def get_email(running: Any, number: int) -> str:
    status, user = running.get(f"/api/v1/users/{number}?fields=email")
    assert status == 200, user
    return str(user["email"])


def test_init_makes_what_the_start_asks_for(cli: Any, postgres: PostgresServer) -> None:
    cost = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    sql = (
        "CREATE TABLE users (id int PRIMARY KEY, email text, role text, password_hash text);"
        f"INSERT INTO users VALUES (1, 'ada', 'admin', '{cost.hash(PASSWORD)}');"
    )
    with postgres.database(sql) as url:
        cli.environ["DATABASE_URL"] = url
        cli.write("config.toml", DEMO.replace("embedded = true", 'url = { env = "DATABASE_URL" }'))
        refused = cli("run")
        assert refused.code == 78
        assert "schema pegboard, which the database lacks; make it: pegboard auth init" in " ".join(refused.err.split())
        assert cli("auth", "init").code == 0
        running = cli.start("run")
        assert post(f"{running.url}/api/v1/auth/token", email="ada", password=PASSWORD)[0] == 200
        assert running.end().code == 0
        for command in (("routes",), ("doctor",), ("db", "advise")):
            looked = cli(*command)
            assert looked.code == 0, looked.err
        assert "auth.token" in cli("routes").out


# --- hash


def hashed(cli: Any, stdin: bytes) -> tuple[int, str, str]:
    ran = subprocess.run(
        [*cli.command, "auth", "hash"], cwd=cli.folder, env=cli.environ, input=stdin, capture_output=True, check=False
    )
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@pytest.fixture
def configured(cli: Any) -> Any:
    cli.write("config.toml", f"[service]\nstrict = false\n[plugins.auth]\nenabled = true\nsecret = '{'s' * 64}'\n")
    return cli


def test_hash_is_of_the_line_on_standard_input(configured: Any) -> None:
    """With the usual cost, where there is no login; and no two are alike."""
    made = [hashed(configured, f"{PASSWORD}{end}".encode()) for end in ("\n", "\r\n", "")]
    for code, out, err in made:
        assert (code, err) == (0, "")
        assert re.fullmatch(r"\$argon2id\$v=19\$m=65536,t=3,p=4\$[\w+/]{22}\$[\w+/]{43}\n", out)
        assert PasswordHasher().verify(out.strip(), PASSWORD)
    assert len({out for _, out, _ in made}) == 3


def test_hash_costs_what_login_says(configured: Any) -> None:
    configured.write(
        "config.toml",
        "[service]\nstrict = false\n[plugins.database]\nenabled = true\nurl = 'postgres://nobody@127.0.0.1:1/nothing'\n"
        f"[plugins.auth]\nenabled = true\n{LOGIN}memory = '16KiB'\ntime_cost = 2\nparallelism = 1\n",
    )
    code, out, _ = hashed(configured, "pässword\n".encode())
    assert code == 0
    cost = extract_parameters(out.strip())
    assert (cost.memory_cost, cost.time_cost, cost.parallelism) == (16, 2, 1)
    assert PasswordHasher().verify(out.strip(), "pässword")


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "A password has 1 to 1,024 bytes."),
        (b"\n", "A password has 1 to 1,024 bytes."),
        (b"x" * 1025, "A password has 1 to 1,024 bytes."),
        (b"\xff\xfe\n", "The password is not in UTF-8."),
    ],
)
def test_hash_refuses_what_nobody_could_log_in_with(configured: Any, stdin: bytes, said: str) -> None:
    configured.environ["PYTHONUTF8"] = "1"
    code, out, err = hashed(configured, stdin)
    assert (code, out) == (2, "")
    assert said in err


def test_hash_asks_twice_at_a_terminal(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[str] = []

    def type_it(prompt: str) -> str:
        asked.append(prompt)
        return PASSWORD

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(click.termui, "hidden_prompt_func", type_it)
    ended = configured.call("auth", "hash")
    assert ended.code == 0
    assert len(asked) == 2
    assert PasswordHasher().verify(ended.out.strip().splitlines()[-1], PASSWORD)
    assert PASSWORD not in ended.out + ended.err

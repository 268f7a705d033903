"""`pegboard auth init` and `pegboard key`: the whole of them, and two workers that hear of what they do."""

from __future__ import annotations

import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

CONFIG = """
[service]
port = 0
workers = 2
strict = false

[plugins.database]
enabled = true
url = { env = "DATABASE_URL" }

[plugins.auth]
enabled = true

[plugins.who]
enabled = true
"""

WHO = '''"""Says who asks, and in every answer which worker is asked."""

import os

from service.api import PRINCIPAL, Answer, Finish, Route, Slot, hookimpl


class Plugin:
    @hookimpl
    def routes(self):
        yield Route("GET", "who", lambda request: Answer.json({"who": request[PRINCIPAL].subject}), name="who")

    @hookimpl
    def steps(self, route):
        yield Finish(Slot.RECEIVE, lambda request, answer: answer.add("X-Worker", str(os.getpid())))
'''

KEY = r"pgb_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}"
NO_SCHEMA = "pegboard: the database has no schema pegboard yet, and so nothing of this; run: pegboard auth init\n"


@pytest.fixture
def keys(cli: Any, make_database: Callable[[str], str]) -> Any:
    """The command, in a folder whose config.toml has auth and a database that is empty."""
    cli.environ["DATABASE_URL"] = make_database("SELECT 1;")
    cli.write("config.toml", CONFIG)
    cli.write("plugins/who.py", WHO)
    return cli


def said(ended: Any) -> str:
    """What was said on standard error, but for the line of the database."""
    return re.sub(r"PostgreSQL \S+ at .*\n", "", ended.err)


def ask(url: str, key: str) -> tuple[int, str]:
    """Status, and the worker that was asked."""
    request = urllib.request.Request(f"{url}/api/v1/who", headers={"X-API-Key": key, "Connection": "close"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.headers["X-Worker"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-Worker"]


def wait_for_both(url: str, key: str, status: int) -> None:
    """Until both workers have answered that to `key`, and none anything else since."""
    workers: set[str] = set()
    deadline = time.monotonic() + 30
    while len(workers) < 2:
        answered, worker = ask(url, key)
        workers = workers | {worker} if answered == status else set()
        assert time.monotonic() < deadline, f"not both workers answer {status}"


def test_init_makes_the_schema_and_says_where_it_is_there(keys: Any) -> None:
    ended = keys("key", "list")
    assert (ended.code, ended.out, said(ended)) == (78, "", NO_SCHEMA)
    for command in (("revoke", "ci"), ("rotate", "ci")):
        assert said(keys("key", *command)) == NO_SCHEMA
    assert [keys("auth", "init").out for _ in range(2)] == [
        "The schema pegboard was made.\n",
        "The schema pegboard is there already.\n",
    ]
    assert keys("key", "list").out == (
        "There is no key yet: `pegboard key create --name ci --role reader` makes one.\n"
    )


def test_key_is_printed_once_and_alone(keys: Any) -> None:
    made = keys("key", "create", "--name", "ci", "--role", "reader", "--role", "editor", "--scope", "x")
    assert re.fullmatch(rf"{KEY}\n", made.out)
    assert re.fullmatch(
        r"The schema pegboard was made\.\n"
        r"This is the key of ci; it is shown only now\. It expires at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.\n",
        said(made),
    )
    for ended in (keys("key", "list"), keys("key", "list", "--json"), keys("config", "show")):
        assert ended.code == 0
        assert made.out[17:60] not in ended.out + ended.err
    (row,) = keys("key", "list", "--json").json
    assert row.pop("id") == made.out[:16]
    assert time.strptime(row.pop("created"), "%Y-%m-%dT%H:%M:%SZ") < time.strptime(
        row.pop("expires"), "%Y-%m-%dT%H:%M:%SZ"
    )
    assert row == {"name": "ci", "state": "active", "roles": ["reader", "editor"], "scopes": ["x"], "revoked": None}
    head, line = keys("key", "list").out.splitlines()
    assert head.split() == ["ID", "NAME", "STATE", "ROLES", "SCOPES", "CREATED", "ENDS"]
    assert line.startswith(f"{made.out[:16]}  ci    active  reader, editor  x       ")


def test_name_has_one_key_until_that_is_revoked(keys: Any) -> None:
    first = keys("key", "create", "--name", "ci", "--expires", "never").out
    again = keys("key", "create", "--name", "ci")
    assert (again.code, again.out) == (2, "")
    assert "there is a key ci already; `pegboard key rotate ci` puts a new one in its place." in again.err
    unknown = keys("key", "revoke", "ici")
    assert (unknown.code, unknown.out) == (2, "")
    assert "there is no key called ici; did you mean ci? `pegboard key list` shows all." in unknown.err
    for _ in range(2):
        leaked = keys("key", "revoke", f"pgb_000000000000{first[16:].strip()}")
        assert leaked.code == 2
        assert "there is no key of that id; `pegboard key list` shows all." in leaked.err
        assert first[17:60] not in leaked.err
    assert keys("key", "revoke", "ci").out == f"The key {first[:16]} of ci is refused from now on.\n"
    assert keys("key", "revoke", first.strip()).out == f"The key {first[:16]} of ci was revoked already.\n"
    ended = keys("key", "rotate", "ci")
    assert "the key ci was revoked; `pegboard key create --name ci` makes another." in ended.err
    assert keys("key", "create", "--name", "ci").code == 0
    assert [(row["state"], row["name"]) for row in keys("key", "list", "--json").json] == [
        ("revoked", "ci"),
        ("active", "ci"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--name", "c i"), "a name is 100 letters, digits and . _ @ - at most."),
        (("--name", ""), "a name is 100 letters"),
        (("--name", "-x"), "a name is 100 letters"),
        (("--name", "é"), "a name is 100 letters"),
        (("--name", "x" * 101), "a name is 100 letters"),
        (("--name", "pgb_x"), "pgb_ is how keys begin, and no name does."),
        (("--name", "x", "--role", ""), "a role is 100 printable characters at most."),
        (("--name", "x", "--role", "a\x1bb"), "a role is 100 printable characters at most."),
        (("--name", "x", "--scope", "a b"), "a scope is 100 characters of ASCII at most, without spaces."),
        (("--name", "x", "--expires", "90"), "a duration is a number and one of"),
        (("--name", "x", "--expires", "0s"), "a key lives for a second at least."),
        (("--name", "x", "--expires", "36501d"), "36500d is the longest."),
    ],
)
def test_what_is_given_is_looked_at_before_the_database(keys: Any, arguments: Any, message: str) -> None:
    keys.environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nowhere"
    ended = keys.call("key", "create", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in " ".join(ended.err.split())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            "[service]\nstrict = false\n[plugins.auth]\nenabled = true\n",
            "pegboard: plugin auth keeps this in PostgreSQL, and no plugin provides a database; "
            "under [plugins.database] write: enabled = true\n",
        ),
        (
            "[service]\nstrict = false\n[plugins.auth]\nenabled = true\napi_keys = false\n",
            "pegboard: no API key is taken here; under [plugins.auth] remove: api_keys = false\n",
        ),
    ],
)
def test_key_that_would_be_of_no_use_is_not_made(cli: Any, config: str, message: str) -> None:
    cli.write("config.toml", config)
    ended = cli("key", "create", "--name", "ci")
    assert (ended.code, ended.out, ended.err) == (78, "", message)


def test_both_workers_refuse_a_key_once_it_is_revoked_or_rotated(keys: Any) -> None:
    """Within a second; waited for longer, since the machine may be busy."""
    service = keys.start("run")
    url = service.url
    first = keys("key", "create", "--name", "ci", "--role", "reader").out.strip()

    wait_for_both(url, first, 200)
    second = keys("key", "rotate", "ci", "--overlap", "1h").out.strip()
    wait_for_both(url, first, 200)
    wait_for_both(url, second, 200)
    third = keys("key", "rotate", "ci").out.strip()
    wait_for_both(url, second, 401)
    wait_for_both(url, first, 200)
    wait_for_both(url, third, 200)
    ended = keys("key", "revoke", "ci")
    assert sorted(ended.out.splitlines()) == sorted(
        f"The key {key[:16]} of ci is refused from now on." for key in (first, third)
    )
    wait_for_both(url, third, 401)
    wait_for_both(url, first, 401)
    ended = service.end(signal.SIGTERM)
    assert ended.code == 0
    for key in (first, second, third):
        assert key[17:60] not in ended.out + ended.err


def test_embedded_server_needs_no_init(cli: Any) -> None:
    cli.write("config.toml", CONFIG.replace('url = { env = "DATABASE_URL" }', "embedded = true").replace("= 2", "= 1"))
    cli.write("plugins/who.py", WHO)
    service = cli.start("run")
    assert service.get("/api/v1/who")[0] == 401
    assert "schema" not in service.err
    listed = cli("key", "list")
    assert listed.out == "There is no key yet: `pegboard key create --name ci --role reader` makes one.\n"
    key = cli("key", "create", "--name", "ci").out.strip()
    assert ask(service.url, key)[0] == 200
    assert service.end(signal.SIGTERM).code == 0

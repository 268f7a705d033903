"""`pegboard token`, and the service that accepts what it prints: as one starts it, with two workers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import jwt
import pytest

CONFIG = """
[service]
port = 0
strict = false
plugin_dirs = ["plugins"]

[plugins.who]
enabled = true

[plugins.auth]
enabled = true
"""

WHO = """
import os
from service.api import PRINCIPAL, Answer, Door, Route, hookimpl

class Plugin:
    @hookimpl
    def routes(self):
        yield Route("GET", "who", self._who, name="who")
        yield Route("GET", "/console", self._who, name="console", door=Door.OPERATOR)

    def _who(self, request):
        return Answer.json({"pid": os.getpid(), "subject": request[PRINCIPAL].subject})
"""

SECRET = "s" * 32


def ask(url: str, token: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310  # our own
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture
def configured(cli: Any) -> Any:
    cli.write("config.toml", CONFIG)
    cli.write("plugins/who.py", WHO)
    return cli


def claims(token: str, **options: Any) -> dict[str, Any]:
    return jwt.decode(token.strip(), SECRET, algorithms=["HS256"], **options)


def test_token_is_accepted_by_every_worker_with_the_secret_that_was_made(configured: Any) -> None:
    """Made by whoever comes first: here the command, before the service has ever run."""
    printed = configured("token", "--sub", "1", "--role", "admin", "--expires", "1h")
    assert (printed.code, printed.err) == (0, "")
    token = printed.out.strip()
    running = configured.start("run", "--workers", "2")
    url = running.url
    answers = [ask(f"{url}/api/v1/who", token) for _ in range(40)]
    assert {(status, body["subject"]) for status, body in answers} == {(200, "1")}
    assert ask(f"{url}/console", token)[0] == 200
    later = configured("token", "--sub", "2").out.strip()
    assert ask(f"{url}/api/v1/who", later)[1]["subject"] == "2"
    assert ask(f"{url}/console", later)[0] == 403
    ended = running.end()
    assert ended.code == 0
    assert ended.err.count("Tokens are checked with a secret of this machine's own, in .pegboard/auth.secret") == 1
    assert (
        ended.err.count("Operators' routes are on the main address, where auth lets in principals with the role") == 1
    )
    secret = (configured.folder / ".pegboard" / "auth.secret").read_text().strip()
    assert secret not in ended.err + ended.out


def test_token_says_what_the_settings_want(configured: Any) -> None:
    configured.environ["JWT_SECRET"] = SECRET
    more = 'secret = { env = "JWT_SECRET" }\nissuer = "me"\naudience = "api"\nexpires = "2h"\ntyp = "at+jwt"\n'
    configured.write("config.toml", CONFIG + more + 'role_claim = "groups"\n')
    printed = configured(
        "token", "--sub", "ada", "--role", "a", "--role", "b", "--claim", "userId=7", "--claim", "team=x=y"
    )
    said = claims(printed.out, audience="api", issuer="me")
    assert (said["sub"], said["groups"], said["userId"], said["team"]) == ("ada", ["a", "b"], 7, "x=y")
    assert said["exp"] - said["iat"] == 7200
    assert len(said["jti"]) == 32
    assert jwt.get_unverified_header(printed.out.strip()) == {"alg": "HS256", "typ": "at+jwt"}
    one = configured("token", "--sub", "ada", "--role", "a", "--expires", "90s")
    said = claims(one.out, audience="api")
    assert (said["groups"], said["exp"] - said["iat"]) == ("a", 90)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing option '--sub'"),
        (("--sub", ""), "nobody has no name"),
        (("--sub", "1", "--expires", "60"), "a duration is a number and one of"),
        (("--sub", "1", "--expires", "10ms"), "a token lives for a second at least"),
        (("--sub", "1", "--claim", "team"), "is no NAME=VALUE"),
        (("--sub", "1", "--claim", "exp=1"), "exp is set by other means"),
        (("--sub", "1", "--claim", "role=admin"), "role is set by other means"),
    ],
)
def test_token_refuses_what_it_cannot_make(configured: Any, arguments: tuple[str, ...], said: str) -> None:
    ended = configured("token", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_token_with_a_role_that_no_rule_names_says_so_and_is_made(configured: Any) -> None:
    """It may be for another service; and where no rule names any role, there is nothing to compare with."""
    configured.environ["JWT_SECRET"] = SECRET
    config = CONFIG + 'secret = { env = "JWT_SECRET" }\n'
    configured.write("config.toml", config)
    usual = configured("token", "--sub", "ada", "--role", "reder")
    assert (usual.code, "No rule" in usual.err) == (0, False)
    configured.write("config.toml", config + '[plugins.auth.roles.reader.tables."*"]\nactions = ["read"]\n')
    printed = configured("token", "--sub", "ada", "--role", "reder", "--role", "admin", "--role", "x")
    assert claims(printed.out)["role"] == ["reder", "admin", "x"]
    assert printed.err.splitlines()[-2:] == [
        "No rule in the settings names the role reder; did you mean reader?",
        "No rule in the settings names the role x; there are admin, reader.",
    ]
    printed = configured("token", "--sub", "ada", "--role", "anonymous")
    assert printed.err.splitlines()[-1] == (
        "The role anonymous is not one that is given: nobody has it by a token or key."
    )


def test_token_needs_something_that_signs(configured: Any) -> None:
    configured.write("config.toml", CONFIG + 'jwks = "https://issuer.example/jwks"\nalgorithms = ["RS256"]\n')
    ended = configured("token", "--sub", "1")
    assert (ended.code, ended.out) == (78, "")
    assert "only public keys, which sign nothing" in ended.err


def test_secrets_and_keys_are_masked_where_settings_are_shown(configured: Any) -> None:
    configured.environ["JWT_SECRET"] = SECRET
    configured.write("config.toml", CONFIG + f'secret = {{ env = "JWT_SECRET" }}\nold_secrets = ["{"o" * 40}"]\n')
    for arguments in (("show",), ("show", "--origins"), ("show", "--json"), ("schema",)):
        shown = configured.call("config", *arguments)
        assert shown.code == 0, shown.err
        assert SECRET not in shown.out + shown.err
        assert "o" * 40 not in shown.out + shown.err
    rows = {row["path"]: row["value"] for row in configured.call("config", "show", "--json").json}
    assert rows["plugins.auth.secret"] in ("***", '"***"')

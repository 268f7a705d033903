"""No secret shows: canaries are planted wherever one is kept or sent, and looked for in all that the service and its
commands write, answer and keep, while everything goes well and while it does not."""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any
from urllib.parse import quote, quote_plus

import jwt
import pytest
import redis
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from yarl import URL

from service.testing.redis import RedisServer

LEAST_IN_TWO = 24
"""Characters from which on half a secret is looked for as well: half of a shorter one may be anybody's."""


def canary() -> str:
    """Long, random, and spelled differently wherever something is quoted."""
    return f"{secrets.token_hex(10)}/+&%{secrets.token_hex(10)}"


def packed(text: str) -> Iterator[str]:
    """What of base64 is the same wherever `text` stands in what is encoded."""
    for before in range(3):
        whole = b"\0" * before + text.encode()
        for encoded in (base64.b64encode(whole), base64.urlsafe_b64encode(whole)):
            yield encoded.decode()[4 if before else 0 : -4]


def forms(secret: str) -> set[str]:
    """The spellings in which a secret is as good as said."""
    pieces = {secret}
    if secret.count(".") == 2:  # a token: what is behind its header tells it apart
        pieces.update(secret.split(".")[1:])
    pieces |= {part for each in pieces if len(each) >= LEAST_IN_TWO for part in halves(each)}
    found = {spelled for each in pieces for spelled in (each, quote(each, safe=""), quote_plus(each), each.encode().hex())}  # noqa: E501  # fmt: skip
    return found | {json.dumps(each)[1:-1] for each in pieces} | {text for each in pieces for text in packed(each)}


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


class Canaries:
    """Secrets by what they are, and the texts in which none of them may be."""

    def __init__(self) -> None:
        self.planted: dict[str, str] = {}
        self.seen: list[tuple[str, str]] = []

    def plant(self, name: str, secret: str | None = None) -> str:
        self.planted[name] = canary() if secret is None else secret
        return self.planted[name]

    def see(self, where: str, text: str) -> None:
        self.seen.append((where, text))

    def run(self, cli: Any, *arguments: str, code: int = 0, stdin: str = "", is_secret: bool = False) -> str:
        """What a command prints, which is looked at unless it `is_secret`, as is what it says on standard error."""
        ended = cli(*arguments, stdin=stdin)
        assert ended.code == code, ended.out + ended.err
        name = " ".join(arguments[:2])
        self.see(f"{name}, said", ended.err)
        if not is_secret:
            self.see(f"{name}, printed", ended.out)
        return str(ended.out)

    def leaks(self) -> set[tuple[str, str]]:
        """Where what shows."""
        spelled = [(name, form) for name, secret in self.planted.items() for form in forms(secret)]
        return {(where, name) for where, text in self.seen for name, form in spelled if form in text}


@pytest.mark.parametrize(
    "leak",
    [
        lambda secret: f"it is {secret}.",
        lambda secret: f"half of it is {secret[:22]}",
        lambda secret: f"half of it is {secret[-22:]}",
        lambda secret: f"redis://:{quote(secret, safe='')}@host",
        lambda secret: base64.b64encode(f"ada:{secret}".encode()).decode(),
        lambda secret: base64.b64encode(f"adam:{secret}...".encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(f"a:{secret}".encode()).decode(),
        lambda secret: secret.encode().hex(),
    ],
)
def test_canary_is_found_in_every_form(leak: Callable[[str], str]) -> None:
    """So that the tests below do not pass because nothing is ever found."""
    canaries = Canaries()
    secret = canaries.plant("it")
    canaries.plant("another")
    canaries.see("there", leak(secret))
    canaries.see("elsewhere", leak(canary()))
    assert canaries.leaks() == {("there", "it")}


# --- a service at work

CONFIG = """
[service]
port = 0
strict = {strict}
timeouts = {{ drain = "0s" }}

[plugins.logs]
enabled = true
level = "debug"
format = '{format}'

[plugins.health]
enabled = true

[plugins.home]
enabled = true

[plugins.database]
enabled = true
url = {{ env = "DATABASE_URL" }}

[plugins.redis]
enabled = true
url = {{ env = "REDIS_URL" }}
timeouts = {{ command = "10s", connect = "10s" }}

[plugins.resources]
enabled = true
tables = ["users", "notes"]

[plugins.fragile]
enabled = true
password = {{ env = "FRAGILE" }}

[plugins.auth]
enabled = true
{auth}

[plugins.auth.login]
table = "users"
{cost}

[plugins.auth.roles.user.tables]
users = {{ actions = ["read", "list"] }}
notes = {{ actions = ["read", "list", "update"], readable = ["id", "text"], where = {{ owner = "claim:pin" }} }}

[plugins.auth.roles.odd.tables]
notes = {{ actions = ["read", "list"], readable = ["id", "text"], where = {{ number = "claim:pin" }} }}

[env.other]
service.strict = false
"""

OF_THE_OPERATOR = """
secret = { env = "JWT_SECRET" }
old_secrets = [{ env = "OLD_SECRET" }]
keys = [{ file = "issuer.pem" }]
algorithms = ["HS256", "ES256"]
"""

TOKENS = ":method :url :status :user-id :user-agent :referrer :req[authorization] :req[x-api-key] :req[cookie]"

FRAGILE = '''"""Crashes with all that it knows in its hands."""

from service.api import PRINCIPAL, Answer, Check, PluginSettings, Route, Secret, Slot, hookimpl


class Settings(PluginSettings):
    password: Secret


class Plugin:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @hookimpl
    def routes(self):
        yield Route("GET", "crash", self._crash, name="crash")
        yield Route("GET", "quoting", self._quoting, name="quoting")
        yield Route("GET", "early", self._crash, name="early", settings={"auth": "none"})

    def _crash(self, request):
        password, token = self._settings.password.reveal(), request.headers.get("Authorization")
        raise RuntimeError("crashed on purpose")

    def _quoting(self, request):
        try:
            raise ValueError(f"{dict(request.headers)} {request.path_qs}")
        except ValueError as error:
            raise RuntimeError(
                f"crashed with {self._settings!r} {self._settings.model_dump_json()}"
                f" {request.headers.get('Authorization')} {request.headers.get('X-API-Key')}"
                f" {request.headers.get('Cookie')} {request.query_string}"
            ) from error
'''


def schema_of(stored: str, pin: str) -> str:
    return f"""
    CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, role text, password_hash text);
    CREATE TABLE notes (id int PRIMARY KEY, owner text, number int, text text);
    INSERT INTO users VALUES (1, 'ada@example.com', 'user', '{stored}');
    INSERT INTO notes VALUES (1, '{pin}', 1, 'hers'), (2, 'bob', 2, 'his');
    """


class Client:
    """Asks over a connection of its own each time; answers are looked at, but for what a login is to give."""

    def __init__(self, url: str, canaries: Canaries) -> None:
        self._url, self._canaries, self._count = URL(url), canaries, count(1)
        self.asked = 0

    def __call__(
        self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", body: Any = None
    ) -> tuple[int, Any]:
        self.asked += 1
        connection = http.client.HTTPConnection(str(self._url.host), self._url.port, timeout=60)
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, str) else json.dumps(body)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        told = json.loads(text) if text and "json" in str(answer.headers["Content-Type"]) else text
        given = {}
        if path.startswith("/api/v1/auth/") and answer.status == 200:
            given = {name: told.pop(name) for name in ("accessToken", "refreshToken")}
            text = json.dumps(told)
        self._canaries.see(f"{method} {path.partition('?')[0]}, {next(self._count)}", f"{answer.headers}\n{text}")
        return answer.status, {**told, **given} if given else told


@pytest.fixture
def guarded_redis() -> Iterator[Callable[[str], str]]:
    """`guarded_redis(password)`: the URL of a Redis, with a user that has it."""
    with RedisServer(has_port=True) as server:

        def guard(password: str) -> str:
            with redis.Redis(unix_socket_path=server.socket) as connection:
                connection.execute_command("ACL", "SETUSER", "app", "on", f">{password}", "~*", "&*", "+@all")  # type: ignore[no-untyped-call]
            return f"redis://app:{quote(password, safe='')}@127.0.0.1:{server.port}/0"

        yield guard


@pytest.mark.parametrize(
    "is_strict",
    [pytest.param(True, id="strict, JSON"), pytest.param(False, id="tolerant, text", marks=pytest.mark.slow)],
)
def test_no_secret_shows_while_a_service_works_and_crashes(
    cli: Any, make_database: Callable[[str], str], guarded_redis: Callable[[str], str], *, is_strict: bool
) -> None:
    canaries = Canaries()
    plant, run, how = canaries.plant, canaries.run, ["--json"] if is_strict else []
    password, pin = plant("password"), plant("claim of a row filter")
    stored = plant("stored hash", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password))
    own = make_database(schema_of(stored, pin))
    cli.environ |= {
        "DATABASE_URL": own.replace("//postgres@", f"//postgres:{quote(plant('password of DATABASE_URL'), safe='')}@"),
        "REDIS_URL": guarded_redis(plant("password of REDIS_URL")),
        "FRAGILE": plant("setting of a plugin"),
    }
    cli.write("plugins/fragile.py", FRAGILE)
    cli.write(
        "config.toml",
        CONFIG.format(
            strict=str(is_strict).lower(),
            format="json" if is_strict else TOKENS,
            auth=OF_THE_OPERATOR if is_strict else "",
            cost="" if is_strict else 'memory = "8KiB"\ntime_cost = 1\nparallelism = 1',
        ),
    )
    if is_strict:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        cli.write("issuer.pem", pem)
        plant("private key", "".join(pem.splitlines()[1:-1]))
        for number, line in enumerate(pem.splitlines()[1:-1]):
            plant(f"line {number} of the private key", line)
        cli.environ |= {"JWT_SECRET": plant("JWT_SECRET"), "OLD_SECRET": plant("old secret")}

    # commands before
    api_key = run(cli, "key", "create", "--name", "ci", "--role", "user", is_secret=True).strip()
    plant("API key", api_key)
    plant("API key without its name", api_key[17:])
    given = run(cli, "token", "--sub", "7", "--role", "user", "--claim", f"pin={pin}", is_secret=True).strip()
    plant("token of the command", given)
    kept = cli.folder / ".pegboard" / "auth.secret"
    assert kept.exists() is not is_strict
    secret = cli.environ["JWT_SECRET"] if is_strict else plant("secret that was made", kept.read_text().strip())
    now_s = int(time.time())

    def token(name: str, key: str = secret, **claims: Any) -> str:
        known = {"sub": "7", "role": "user", "pin": pin, "iat": now_s, "exp": now_s + 3600, "jti": name, **claims}
        return plant(f"{name} token", jwt.encode(known, key, algorithm="HS256"))

    good, odd = token("good"), token("odd", role="odd")
    bad = {
        "expired": token("expired", iat=now_s - 9, exp=now_s - 5),
        "forged": token("forged", key=plant("secret of a forger")),
        "bent": plant("bent token", good[:-5] + "AAAAA"),
        "malformed": plant("malformed token", f"{canary()}.{canary()}.{canary()}"),
        "of a kid": plant(
            "kid token", jwt.encode({"sub": "7"}, secret, algorithm="HS256", headers={"kid": plant("kid")})
        ),
    }
    wrong_key = plant("wrong API key", api_key[:17] + secrets.token_hex(24) + "0")

    # a service
    running = cli.start("run")
    running.wait_until_ready()
    ask = Client(running.url, canaries)

    def bearer(text: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {text}"}

    for name in ("given", "good"):
        status, notes = ask("/api/v1/notes", bearer({"given": given, "good": good}[name]))
        assert (status, notes["data"]) == (200, [{"id": 1, "text": "hers"}]), name
    assert ask("/api/v1/notes", bearer(odd))[1]["data"] == []
    assert ask("/api/v1/notes/1", bearer(odd))[0] == 404
    assert ask("/api/v1/notes/1", bearer(good), method="PATCH", body={"owner": pin})[0] in (400, 403, 422)
    assert ask(f"/api/v1/notes?owner={quote(canary())}", bearer(good))[0] == 400
    for query in ("fields=password_hash", "sort=password_hash", "password_hash[like]=$argon2", "passwordHash=x"):
        assert ask(f"/api/v1/users?{query}", bearer(good))[0] == 400, query
    assert ask("/api/v1/users/1", bearer(good)) == (200, {"id": 1, "email": "ada@example.com", "role": "user"})
    for name, text in bad.items():
        status, told = ask("/api/v1/notes", bearer(text))
        assert (status, told["error"]["code"]) == (401, "TOKEN_EXPIRED" if name == "expired" else "INVALID_TOKEN")
        assert ask("/api/v1/notes", {"Authorization": text})[0] == 401
    for headers in (
        {"Authorization": f"Basic {base64.b64encode(f'ada:{password}'.encode()).decode()}"},
        {"Authorization": f"Digest {password}"},
        {"Authorization": good, "Cookie": f"session={plant('cookie')}", "Proxy-Authorization": f"Basic {password}"},
        {"X-API-Key": wrong_key},
        {"X-API-Key": f"{api_key}x"},
        {"Authorization": f"ApiKey {wrong_key}"},
        {"X-API-Key": api_key, **bearer(good)},
        {"Authorization": api_key},
    ):
        assert ask("/api/v1/notes", headers)[0] == 401, headers
    for headers in ({"X-API-Key": api_key}, {"Authorization": f"ApiKey {api_key}"}):
        assert ask("/api/v1/notes", headers)[1]["data"] == []  # a key has no claims
    for name in ("access_token", "token", "jwt_token", "id_token", "api_key", "apiKey", "key_secret", "%74oken"):
        assert ask(f"/api/v1/notes?{name}={plant(f'token as {name}', secrets.token_hex(30))}")[0] == 401
    assert ask(f"/api/v1/notes?access_token={good}", bearer(bad["forged"]))[0] == 401
    for path in ("/api/v1/none", "/api/v9/notes", f"/api/v1/notes?password={quote(password, safe='')}"):
        assert ask(path, bearer(good))[0] in (400, 404)
    assert ask("/api/v1/notes", bearer(good), method="PUT")[0] == 405
    assert ask("/api/v1/notes", bearer("x" * 9000 + good))[0] == 431

    # logins
    def log_in(text: Any, **headers: str) -> tuple[int, Any]:
        return ask("/api/v1/auth/token", headers, method="POST", body=text)

    assert log_in({"email": "ada@example.com", "password": plant("wrong password")})[0] == 401
    assert log_in({"email": canaries.planted["wrong password"], "password": password})[0] == 401
    for text, expected in (
        ({"email": "ada@example.com", "password": [password]}, 422),
        ({"email": "ada@example.com", "password": password, "more": password}, 422),
        ([password], 422),
        (f'{{"email": "ada@example.com", "password": "{password}"', 400),
        (f'{{"password": "{password}", "password": "{password}"}}', 400),
    ):
        assert log_in(text)[0] == expected, text
    assert log_in(f"password={quote(password)}", **{"Content-Type": "application/x-www-form-urlencoded"})[0] == 415
    assert ask(f"/api/v1/auth/token?password={quote(password)}", method="POST", body={})[0] == 422
    status, tokens = log_in({"email": "ada@example.com", "password": password})
    assert status == 200, tokens
    plant("access token of a login", tokens["accessToken"])
    first = plant("refresh token", tokens["refreshToken"])

    def refresh(text: Any, name: str = "refresh") -> tuple[int, Any]:
        return ask(f"/api/v1/auth/{name}", method="POST", body=text)

    status, tokens = refresh({"refreshToken": first})
    assert status == 200, tokens
    plant("access token of a refresh", tokens["accessToken"])
    second = plant("second refresh token", tokens["refreshToken"])
    for reused in (first, second):
        assert refresh({"refreshToken": reused})[0] == 401
    assert refresh({"refreshToken": [first]})[0] == 422
    assert refresh(f'{{"refreshToken": "{second}"')[0] == 400
    assert ask("/api/v1/notes", bearer(second))[0] == 401
    assert refresh({"refreshToken": second}, "logout")[0] == 204

    # crashes
    query = f"?access_token={good}&api_key={api_key}"
    for path in ("crash", "quoting"):
        for headers in (bearer(good), {"X-API-Key": api_key}, {**bearer(good), "Cookie": canaries.planted["cookie"]}):
            assert ask(f"/api/v1/{path}{query}", headers)[0] == 500
    assert ask("/api/v1/early", {"X-API-Key": wrong_key})[0] == 500

    # commands beside it
    for path in ("/", "/health", "/health/ready", "/health/live", "/api/v1"):
        for kind in ("application/json", "text/html", "application/problem+json"):
            assert ask(path, {"Accept": kind})[0] in (200, 401), path
    run(cli, "auth", "revoke", "--token", odd)
    run(cli, "auth", "revoke", "--token", "-", stdin=f"{good}\n")
    run(cli, "auth", "revoke", "--token", bad["malformed"], code=2)
    deadline_s = time.monotonic() + 60
    while ask("/api/v1/notes", bearer(good))[0] != 401:
        assert time.monotonic() < deadline_s, "it is never revoked"
    run(cli, "auth", "hash", stdin=f"{password}\n")
    run(cli, "key", "revoke", f"pgb_{'0' * 12}{api_key[16:]}", code=2)
    plant("second API key", run(cli, "key", "rotate", "ci", is_secret=True).strip()[17:])
    run(cli, "key", "revoke", api_key)
    for arguments in (("auth", "revocations"), ("key", "list"), ("doctor",), ("routes",)):
        run(cli, *arguments, *how)
    ended = running.end(signal.SIGTERM)
    assert ended.code == 0, ended.err
    canaries.see("standard output", ended.out)
    canaries.see("standard error", ended.err)

    # commands after
    shows = (("show", *how), ("show", "--origins"), ("schema",), ("diff", "other", "other"))
    for arguments in (("check", *how), ("plugins", *how), *[("config", *show) for show in shows]):
        told = cli.call(*arguments)
        assert told.code == 0, told.err
        canaries.see(" ".join(arguments), told.out + told.err)
    for path in (cli.folder / ".pegboard").rglob("*"):
        if path.is_file() and path != kept:
            canaries.see(f".pegboard/{path.name}", path.read_bytes().decode("latin-1"))

    # what was looked for was there to be seen
    assert len(canaries.planted) > 30
    assert ended.out.count("RuntimeError: crashed on purpose") == 4
    assert ended.out.count("RuntimeError: crashed with Settings(password=***") == 3
    lines = re.findall(r'"kind":"request"' if is_strict else r"^(?:[A-Z]+ /|- - )", ended.out, re.MULTILINE)
    assert len(lines) > ask.asked
    assert "access_token=***&api_key=***" in ended.out
    assert canaries.leaks() == set()


# --- settings that are wrong near a secret

RIGHT = """
[service]
strict = false
[plugins.database]
enabled = true
url = { env = "DATABASE_URL" }
[plugins.redis]
enabled = true
url = { env = "REDIS_URL" }
[plugins.auth]
enabled = true
secret = { env = "JWT_SECRET" }
"""

MISTAKES: Mapping[str, str] = {
    "misspelt key": "[plugins.auth]\nsecert = 'IT'",
    "misspelt key of a list": "[plugins.auth]\nold_secret = ['IT', 'IT']",
    "misspelt key of a table": "[plugins.auth]\nlogni = { table = 'users', pepper = 'IT' }",
    "misspelt table": "[plugins.auht]\nenabled = true\nsecret = 'IT'",
    "misspelt table of the core": "[service]\ndatabase_url = 'postgresql://u:IT@h/d'",
    "misspelt section": "[plugin.auth]\nsecret = 'IT'",
    "misspelt reference": "[plugins.auth]\nsecret = { evn = 'JWT_SECRET', default = 'IT' }",
    "reference and more": "[plugins.auth]\nsecret = { env = 'NOT_SET', defualt = 'IT' }",
    "list for a secret": "[plugins.auth]\nsecret = ['IT']",
    "table for a secret": "[plugins.auth]\nsecret = { value = 'IT' }",
    "secret for a list": "[plugins.auth]\nold_secrets = 'IT'",
    "number in a list of secrets": "[plugins.auth]\nold_secrets = ['IT', 1]",
    "secret of no use": "[plugins.auth]\nsecret = 'IT'\nalgorithms = ['RS256']",
    "key that is none": "[plugins.auth]\nkeys = ['IT']",
    "key that is cut off": "[plugins.auth]\nkeys = ['-----BEGIN PRIVATE KEY-----\\nIT']",
    "key that is a JWK, nearly": '[plugins.auth]\nkeys = [\'{"kty":"oct","k":"IT"}\']',
    "key for a secret": "[plugins.auth]\nsecret = '-----BEGIN PRIVATE KEY-----IT'",
    "key of no file": "[plugins.auth]\nkeys = [{ file = 'no.pem', default = 'IT' }, 'IT']",
    "jwks with a password": "[plugins.auth]\njwks = 'https://u:IT@issuer.example/keys'",
    "jwks that is no URL": "[plugins.auth]\njwks = 'htps://u:IT@issuer.example/keys'",
    "issuer that is a list": "[plugins.auth]\nissuer = ['https://u:IT@issuer.example']",
    "password of login": "[plugins.auth.login]\ntable = 'users'\npasword = 'IT'",
    "URL of another kind": "[plugins.redis]\nurl = 'reddis://u:IT@h'",
    "URL with a port that is none": "[plugins.redis]\nurl = 'redis://u:IT@h:port/0'",
    "URL with a database that is none": "[plugins.redis]\nurl = 'redis://u:IT@h/x'",
    "URL with an option that is none": "[plugins.redis]\nurl = 'redis://u:IT@h/0?passwrod=IT'",
    "URL that is misspelt": "[plugins.redis]\nulr = 'redis://u:IT@h'",
    "URL of a database of another kind": "[plugins.database]\nurl = 'mysql://u:IT@h/d'",
    "URL of a database with a port that is none": "[plugins.database]\nurl = 'postgresql://u:IT@h:port/d'",
    "URL of a database in a list": "[plugins.database]\nurl = ['postgresql://u:IT@h/d']",
    "URL in a setting of another kind": "[plugins.database]\npool = 'postgresql://u:IT@h/d'",
    "route": "[routes.'auth.token']\nauth = { need = 'required', token = 'IT' }",
    "no TOML, text without an end": "[plugins.auth]\nsecret = 'IT",
    "no TOML, no quotes": "[plugins.auth]\nsecret = IT",
    "no TOML, text behind text": "[plugins.auth]\nsecret = 'IT' 'IT'",
    "no TOML, an escape that is none": '[plugins.auth]\nsecret = "IT\\q"',
    "twice": "[plugins.auth]\nsecret = 'IT'\nsecret = 'IT'",
    "inside another value": "[plugins.auth]\nsecret = 'IT'\nsecret.more = 'IT'",
}
"""What is written below `RIGHT`, or in its place where it is of a plugin that is there already; IT is the secret."""


def mistaken(mistake: str) -> str:
    """`RIGHT` with a mistake in it."""
    table, _, lines = mistake.partition("\n")
    if f"{table}\n" not in RIGHT:
        return f"{RIGHT}\n{mistake}\n"
    own = {line.partition(" =")[0] for line in lines.splitlines()}
    before, _, after = RIGHT.partition(f"{table}\n")
    inside, bracket, rest = after.partition("\n[")
    kept = "\n".join([line for line in inside.splitlines() if line.partition(" =")[0] not in own])
    return f"{before}{table}\n{kept}\n{lines}\n{bracket}{rest}"


@pytest.mark.parametrize("name", MISTAKES)
def test_no_secret_shows_where_settings_are_wrong(cli: Any, name: str) -> None:
    canaries = Canaries()
    cli.environ |= {
        "JWT_SECRET": canaries.plant("JWT_SECRET"),
        "DATABASE_URL": f"postgresql://u:{quote(canaries.plant('DATABASE_URL'), safe='')}@127.0.0.1:1/d",
        "REDIS_URL": f"redis://u:{quote(canaries.plant('REDIS_URL'), safe='')}@127.0.0.1:1/0",
    }
    it = canaries.plant("it", secrets.token_hex(24))  # a word, so that a mistake is where it is meant to be
    cli.write("config.toml", mistaken(MISTAKES[name]).replace("IT", it))
    told = {}
    shows = (
        ("check",),
        ("config", "show"),
        ("config", "show", "--json", "--origins"),
        ("doctor",),
        ("token", "--help"),
    )
    for arguments in shows:
        told[arguments] = cli.call(*arguments)
        canaries.see(" ".join(arguments), told[arguments].out + told[arguments].err)
    assert told["check",].code == 78, told["check",].out
    assert canaries.leaks() == set()


@pytest.mark.parametrize(
    "path", ["plugins.auth.secert", "plugins.auth.secret.x", "plugins.auth.old_secrets", "service.tokn"]
)
def test_no_secret_shows_where_an_option_or_a_variable_is_wrong(cli: Any, path: str) -> None:
    canaries = Canaries()
    it = canaries.plant("it", secrets.token_hex(24))
    cli.environ["JWT_SECRET"] = canaries.plant("JWT_SECRET")
    cli.write(
        "config.toml", "[service]\nstrict = false\n[plugins.auth]\nenabled = true\nsecret = { env = 'JWT_SECRET' }\n"
    )
    variable = "PEGBOARD__" + path.replace(".", "__").upper()
    for text in (it, f'"{it}', f'["{it}", 1]', f'{{ evn = "{it}" }}', f"https://u:{it}@host/"):
        for arguments in (("check",), ("check", "--json"), ("config", "show", "--origins")):
            told = cli.call(*arguments, "--set", f"{path}={text}")
            canaries.see(f"{' '.join(arguments)} --set {path}={text[:2]}", told.out + told.err)
            assert told.code in (2, 78), told.out
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(cli.environ, variable, text)
                told = cli.call(*arguments)
            canaries.see(f"{' '.join(arguments)} with {variable}={text[:2]}", told.out + told.err)
            assert told.code == 78, told.out
    assert canaries.leaks() == set()


def test_no_secret_shows_where_an_environment_has_what_the_other_lacks(cli: Any) -> None:
    """Also where neither is right, and both are compared as written."""
    canaries = Canaries()
    secret, misspelt = canaries.plant("secret"), canaries.plant("misspelt")
    cli.write(
        "config.toml",
        f"""[plugins.auth]
enabled = true
[env.one]
plugins.auth.secret = "{secret}"
[env.other]
plugins.auth.secert = "{misspelt}"
""",
    )
    told = cli.call("config", "diff", "one", "other")
    assert told.code == 0, told.err
    assert [line.split() for line in told.out.splitlines()] == [
        ["plugins.auth.secret", '"***"', "(not", "there)"],
        ["plugins.auth.secert", "(not", "there)", '"***"'],
    ]
    canaries.see("config diff", told.out + told.err)
    assert canaries.leaks() == set()

"""Tokens made by hand, so that they can be wrong in any way, and a service that says whom it takes the client for."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from plugins.auth.store.schema import STATEMENTS
from service.api import PRINCIPAL, Answer, Door, Route, hookimpl
from service.run import Run, Tasks
from service.testing import TOKEN_SECRET, FakeClock

NOW_S = 1_767_225_600
"""Where FakeClock begins."""

HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


class Forge:
    """Makes tokens by hand."""

    now_s = NOW_S

    @staticmethod
    def packed(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    @staticmethod
    def as_json(part: Any) -> bytes:
        """Bytes as they are."""
        return part if isinstance(part, bytes) else orjson.dumps(part)

    @staticmethod
    def claims(**changed: Any) -> dict[str, Any]:
        """Those of a valid token, some changed; ... leaves one out."""
        known = {"sub": "ada", "role": "user", "exp": NOW_S + 3600, **changed}
        return {name: value for name, value in known.items() if value is not ...}

    def signed(
        self,
        payload: Any = None,
        header: Any = None,
        *,
        secret: str | bytes = TOKEN_SECRET,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> str:
        """A token of whatever parts, with HS256 unless another way to `sign` is given."""
        header = {"alg": "HS256", "typ": "JWT"} if header is None else header
        payload = self.claims() if payload is None else payload
        text = f"{self.packed(self.as_json(header))}.{self.packed(self.as_json(payload))}"
        if sign is None:
            key = secret.encode() if isinstance(secret, str) else secret
            algorithm = header.get("alg") if isinstance(header, dict) else None
            digest = HASHES.get(algorithm if isinstance(algorithm, str) else "", hashlib.sha256)
            return f"{text}.{self.packed(hmac.new(key, text.encode(), digest).digest())}"
        return f"{text}.{self.packed(sign(text.encode()))}"

    @staticmethod
    def pair(private: Any) -> Pair:
        return Pair(private)

    @staticmethod
    async def asked(
        service: Any, path: str = "/api/v1/who", token: str | None = None, **headers: str
    ) -> tuple[int, str]:
        """Status, and the subject or the error's code."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with service.client.get(path, headers=headers) as response:
            body = await response.json()
            return response.status, body["error"]["code"] if "error" in body else body["subject"]


class Who:
    """Says whom it takes the client for, behind each door."""

    class Plugin:
        @hookimpl
        def routes(self) -> Iterable[Route]:
            yield Route("GET", "who", self._who, name="who.default")
            yield Route("POST", "who", self._who, name="who.post")
            yield Route("GET", "who/open", self._who, name="who.open", settings={"auth": "none"})
            yield Route("GET", "who/maybe", self._who, name="who.maybe", settings={"auth": "optional"})
            yield Route("GET", "who/known", self._who, name="who.known", settings={"auth": {"need": "required"}})
            yield Route("GET", "/console", self._who, name="who.console", door=Door.OPERATOR)
            yield Route("GET", "/alive", self._who, name="who.alive", door=Door.PROBE)

        def _who(self, request: Any) -> Answer:
            principal = request[PRINCIPAL]
            return Answer.json(
                {
                    "subject": principal.subject,
                    "roles": sorted(principal.roles),
                    "scopes": sorted(principal.scopes),
                    "scheme": principal.scheme,
                    "claims": None if principal.claims is None else dict(principal.claims),
                }
            )


@pytest.fixture(scope="session")
def forge() -> Forge:
    return Forge()


@pytest.fixture
def serve(make_service: Any, clock: FakeClock) -> Any:
    """`await serve({"default": "optional"}, others..., routes={...})`: a service with `auth` and `Who`, by `clock`."""

    async def start(
        auth: Mapping[str, Any] | None = None,
        *plugins: Any,
        bare: bool = False,
        service: Mapping[str, Any] | None = None,
        routes: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        tables: Mapping[str, Any] | None = None,
    ) -> Any:
        own = {**({} if bare else {"secret": TOKEN_SECRET}), **(auth or {})}
        settings = {"service": service or {}, "routes": routes or {}, "plugins": {"auth": own, **(tables or {})}}
        return await make_service(["auth", Who, *plugins], settings, clock=clock, environ=environ)

    return start


class Pair:
    """A private key, and what is known of it."""

    def __init__(self, private: Any) -> None:
        self.private = private
        self.public = private.public_key()

    @property
    def pem(self) -> str:
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def private_pem(self) -> str:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def der(self) -> bytes:
        return self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def jwk(self, **more: Any) -> dict[str, Any]:
        from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

        kinds = {rsa.RSAPublicKey: RSAAlgorithm, ec.EllipticCurvePublicKey: ECAlgorithm}
        kind = next((kinds[each] for each in kinds if isinstance(self.public, each)), OKPAlgorithm)
        return {**kind.to_jwk(self.public, as_dict=True), **more}

    def token(self, algorithm: str, payload: Any = None, **header: Any) -> str:
        from jwt.algorithms import get_default_algorithms

        known = {"alg": algorithm, "typ": "JWT", **header}
        return Forge().signed(
            payload, known, sign=lambda text: get_default_algorithms()[algorithm].sign(text, self.private)
        )


@pytest.fixture(scope="session")
def rsa_pair() -> Pair:
    return Pair(rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def other_rsa() -> Pair:
    return Pair(rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def ec_pair() -> Pair:
    return Pair(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="session")
def ed_pair() -> Pair:
    return Pair(ed25519.Ed25519PrivateKey.generate())


@pytest.fixture
def make_run(clock: FakeClock, tmp_path: Path) -> Callable[[], Run]:
    """What a plugin would be given."""
    tasks = Tasks()

    def make() -> Run:
        return Run(
            strict=True,
            workers=1,
            state_dir=tmp_path,
            clock=clock,
            household=None,
            say=lambda sentence: None,
            request_reload=lambda reason: None,
            spawn=tasks.spawn,
            name="auth",
        )

    return make


# --- login

CHEAP: dict[str, Any] = {"memory": "8KiB", "time_cost": 1, "parallelism": 1}
"""What a hash costs in tests: next to nothing."""

PASSWORD = "correct horse battery staple"  # as it says


def cheap_hash(password: str = PASSWORD) -> str:
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


ACCOUNTS = f"""
CREATE TYPE role AS ENUM ('user', 'admin');
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text,
    role role,
    is_active boolean,
    password_hash text
);
INSERT INTO users (email, name, role, is_active, password_hash) VALUES
    ('ada@example.com', 'Ada', 'admin', true, '{cheap_hash()}'),
    ('bob@example.com', 'Bob', 'user', true, '{cheap_hash()}'),
    ('left@example.com', NULL, 'user', false, '{cheap_hash()}'),
    ('bare@example.com', NULL, NULL, true, NULL);
"""


class Desk:
    """Where people log in: a service, a client of it, and the database behind."""

    def __init__(self, service: Any, url: str, connection: Any) -> None:
        self.service = service
        self.url = url
        self.connection = connection

    async def post(self, name: str, body: Any = None, *, address: str | None = None, **fields: Any) -> tuple[int, Any]:
        """Status and body of `POST auth/NAME`, as if it came from that address."""
        headers = {"X-Forwarded-For": address} if address else {}
        path = f"/api/v1/auth/{name}"
        async with self.service.client.post(path, json=fields if body is None else body, headers=headers) as answer:
            self.headers = answer.headers
            text = await answer.read()
            return answer.status, orjson.loads(text) if text else None

    async def log_in(
        self, email: str = "ada@example.com", password: str = PASSWORD, *, address: str | None = None
    ) -> tuple[int, Any]:
        """200 and the tokens, or the status and the code."""
        status, body = await self.post("token", email=email, password=password, address=address)
        return status, body if status == 200 else body["error"]["code"]

    async def refresh(self, token: str) -> tuple[int, Any]:
        status, body = await self.post("refresh", refreshToken=token)
        return status, body if status == 200 else body["error"]["code"]

    async def rows(self, table: str) -> int:
        return int(await self.connection.fetchval(f"SELECT count(*) FROM pegboard.{table}"))


@pytest.fixture
def cheap() -> dict[str, Any]:
    return CHEAP


@pytest.fixture
def accounts_sql() -> str:
    """A table of accounts, and the schema that auth keeps its own things in."""
    return ACCOUNTS + "".join([f"{statement};" for statement in STATEMENTS])


@pytest_asyncio.fixture
async def open_desk(serve: Any, make_database: Any, accounts_sql: str) -> Any:
    """`await open_desk({"active": "is_active"}, others...)`: login with these settings, over a database of its own."""
    connections = []

    async def start(login: Mapping[str, Any] | None = None, *plugins: Any, sql: str = "", **more: Any) -> Desk:
        url = more.pop("url", None) or make_database(accounts_sql + sql)
        own = {"login": {"table": "users", **CHEAP, **(login or {})}, **more.pop("auth", {})}
        tables = {"database": {"url": url}, **more.pop("tables", {})}
        core = {"strict": False, "trusted_proxies": ["127.0.0.1"]}
        service = await serve(own, "database", *plugins, service=core, tables=tables, **more)
        connections.append(await asyncpg.connect(url))
        return Desk(service, url, connections[-1])

    yield start
    for connection in connections:
        await connection.close()

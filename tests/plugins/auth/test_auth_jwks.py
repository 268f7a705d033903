"""The keys of an issuer, from a real server: they rotate, it fails, it lies; tokens are checked with what is known."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa

from plugins.auth.tokens import jwks as jwks_module
from plugins.auth.tokens.jwks import Jwks
from plugins.auth.tokens.keys import Keys
from service.errors import SettingsError
from service.testing import FakeClock, PluginContract

INVALID, AWAY = (401, "INVALID_TOKEN"), (503, "SERVICE_UNAVAILABLE")


class TestAuthOfAnIssuer(PluginContract):
    """With a source that nobody listens at: it opens and closes what it opens all the same."""

    plugin = "auth"
    settings = {"jwks": "http://127.0.0.1:9/jwks", "algorithms": ["RS256"]}

    @pytest.fixture
    def headers(self, rsa_pair: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {rsa_pair.token('RS256', kid='unknown')}"}


class Issuer:
    """Answers with `answer()`, and counts."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.answer: Callable[[], Any] = lambda: web.json_response({"keys": self.keys})
        self.asked = 0
        self.heard = asyncio.Condition()
        self.headers: list[dict[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        async with self.heard:
            self.asked += 1
            self.heard.notify_all()
        self.headers.append(dict(request.headers))
        await self.gate.wait()
        return self.answer()  # type: ignore[no-any-return]

    async def wait_asked(self, times: int) -> None:
        async with asyncio.timeout(10), self.heard:
            await self.heard.wait_for(lambda: self.asked >= times)


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[Any]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/jwks", issuer.handle)
    async with TestServer(app) as server:
        issuer.url = str(server.make_url("/jwks"))  # type: ignore[attr-defined]
        yield issuer


@pytest.fixture
def serve_issuer(serve: Any, issuer: Any) -> Any:
    """A service whose first look at the issuer is over."""

    async def start(**settings: Any) -> Any:
        known = {"jwks": issuer.url, "algorithms": ["RS256", "ES256"], **settings}
        service = await serve(known, "health", bare=True)
        await issuer.wait_asked(1)
        await idle()
        return service

    return start


async def idle() -> None:
    """Until nobody fetches."""
    fetching = [task for task in asyncio.all_tasks() if "keys of the issuer" in task.get_name()]
    if fetching:
        await asyncio.wait(fetching, timeout=10)


async def test_tokens_of_every_key_of_the_issuer_are_accepted(
    serve_issuer: Any, issuer: Any, forge: Any, rsa_pair: Any, ec_pair: Any
) -> None:
    issuer.keys = [rsa_pair.jwk(kid="a", alg="RS256", use="sig"), ec_pair.jwk(kid="b")]
    service = await serve_issuer()
    assert await forge.asked(service, token=rsa_pair.token("RS256", kid="a")) == (200, "ada")
    assert await forge.asked(service, token=ec_pair.token("ES256", kid="b")) == (200, "ada")
    assert await forge.asked(service, token=ec_pair.token("ES256", kid="a")) == INVALID
    assert await forge.asked(service, token=rsa_pair.token("RS256")) == (200, "ada"), "the only one for RS256"
    assert issuer.asked == 1
    assert issuer.headers[0]["Accept"] == "application/jwk-set+json, application/json"
    assert "Authorization" not in issuer.headers[0]


async def test_token_without_kid_is_refused_where_several_keys_fit(
    serve_issuer: Any, issuer: Any, forge: Any, rsa_pair: Any, other_rsa: Any
) -> None:
    issuer.keys = [rsa_pair.jwk(kid="a"), other_rsa.jwk(kid="b")]
    service = await serve_issuer()
    assert await forge.asked(service, token=rsa_pair.token("RS256")) == INVALID
    assert await forge.asked(service, token=rsa_pair.token("RS256", kid="a")) == (200, "ada")


async def test_key_that_is_new_is_learned_at_once_and_one_that_is_gone_is_forgotten(
    serve_issuer: Any, issuer: Any, forge: Any, clock: FakeClock, rsa_pair: Any, other_rsa: Any
) -> None:
    """A remembered token of a key that the issuer has withdrawn is not accepted any more."""
    issuer.keys = [rsa_pair.jwk(kid="old")]
    service = await serve_issuer()
    old, new = rsa_pair.token("RS256", kid="old"), other_rsa.token("RS256", kid="new")
    assert await forge.asked(service, token=old) == (200, "ada")
    issuer.keys = [other_rsa.jwk(kid="new")]
    clock.advance(30)
    assert await forge.asked(service, token=new) == (200, "ada")
    assert issuer.asked == 2
    assert await forge.asked(service, token=old) == INVALID


async def test_key_that_stays_keeps_its_remembered_tokens(
    serve_issuer: Any, issuer: Any, forge: Any, clock: FakeClock, rsa_pair: Any, ec_pair: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    issuer.keys = [rsa_pair.jwk(kid="old")]
    service = await serve_issuer()
    token = rsa_pair.token("RS256", kid="old")
    assert await forge.asked(service, token=token) == (200, "ada")
    issuer.keys = [ec_pair.jwk(kid="new"), rsa_pair.jwk(kid="old")]
    clock.advance(30)
    assert await forge.asked(service, token=ec_pair.token("ES256", kid="new")) == (200, "ada")
    monkeypatch.setattr("plugins.auth.schemes.verify", lambda *arguments: pytest.fail("It was verified again."))
    assert await forge.asked(service, token=token) == (200, "ada")


async def test_unknown_keys_make_one_request_in_30_s_however_many_they_are(
    serve_issuer: Any, issuer: Any, forge: Any, clock: FakeClock, rsa_pair: Any, other_rsa: Any
) -> None:
    issuer.keys = [rsa_pair.jwk(kid="a")]
    service = await serve_issuer()
    for number in range(20):
        assert await forge.asked(service, token=other_rsa.token("RS256", kid=f"x{number}")) == INVALID
    assert issuer.asked == 1, "the one at start, less than 30 s ago"
    clock.advance(29.9)
    assert await forge.asked(service, token=other_rsa.token("RS256", kid="x")) == INVALID
    assert issuer.asked == 1
    clock.advance(0.1)
    issuer.gate.clear()
    flood = [
        asyncio.create_task(forge.asked(service, token=other_rsa.token("RS256", kid=f"y{number}")))
        for number in range(20)
    ]
    await issuer.wait_asked(2)
    assert await forge.asked(service, token=rsa_pair.token("RS256", kid="a")) == (200, "ada"), "who is known waits not"
    issuer.gate.set()
    assert await asyncio.gather(*flood) == [INVALID] * 20
    assert issuer.asked == 2


async def test_token_that_is_no_token_asks_nobody(
    serve_issuer: Any, issuer: Any, forge: Any, clock: FakeClock, rsa_pair: Any
) -> None:
    issuer.keys = [rsa_pair.jwk(kid="a")]
    service = await serve_issuer()
    clock.advance(100)
    for token in ("x.y.z", forge.signed(None, {"alg": "none", "kid": "u"}), forge.signed(None, {"alg": "HS256"})):
        assert await forge.asked(service, token=token) == INVALID
    assert issuer.asked == 1


async def test_client_that_leaves_does_not_end_the_fetch_of_the_others(
    issuer: Any, rsa_pair: Any, make_run: Any
) -> None:
    keys = Keys([])
    issuer.keys = [rsa_pair.jwk(kid="a")]
    issuer.gate.clear()
    jwks = Jwks(issuer.url, keys, ["RS256"], make_run(), changed=lambda: None)
    impatient, patient = asyncio.create_task(jwks.refresh()), asyncio.create_task(jwks.refresh())
    await issuer.wait_asked(1)
    impatient.cancel()
    issuer.gate.set()
    await patient
    assert [key.kid for key in keys.fetched] == ["a"]
    assert issuer.asked == 1


# --- a source that fails


def redirect(issuer: Any) -> Any:
    return lambda: web.Response(status=302, headers={"Location": issuer.url.replace("/jwks", "/other")})


USELESS: list[Any] = [
    None,
    1,
    {},
    {"kty": []},
    {"kty": "oct", "k": "c2VjcmV0"},
    {"kty": "RSA", "n": "AQ", "e": "AQ"},
    {"kty": "RSA", "n": 1},
    {"kty": "EC", "crv": "secp256k1"},
    {"kty": "OKP", "crv": "X25519", "x": "A"},
]

FAILURES: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "it answers 302": redirect,
    "it answers 500": lambda issuer: lambda: web.Response(status=500, text="secret detail"),
    "it answers 404": lambda issuer: lambda: web.Response(status=404),
    "its answer is no JSON": lambda issuer: lambda: web.Response(text="<html>"),
    "its answer has no list of keys": lambda issuer: lambda: web.json_response([1]),
    "its answer has no list of keys ": lambda issuer: lambda: web.json_response({"keys": {"a": 1}}),
    "its answer is no JSON ": lambda issuer: lambda: web.Response(body=b"[" * 100_000),
    "its answer is larger than 256 KiB": lambda issuer: lambda: web.Response(body=b" " * 300_000),
    "its answer is no JSON  ": lambda issuer: (
        lambda: web.Response(body=gzip.compress(b'{"keys":[]}'), headers={"Content-Encoding": "gzip"})
    ),
    "none of its keys is for the algorithms": lambda issuer: lambda: web.json_response({"keys": USELESS}),
}


@pytest.mark.parametrize("reason", list(FAILURES))
async def test_known_keys_stay_when_the_source_fails_and_health_says_so(
    serve_issuer: Any, issuer: Any, forge: Any, clock: FakeClock, rsa_pair: Any, other_rsa: Any, reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    issuer.keys = [rsa_pair.jwk(kid="a")]
    service = await serve_issuer()
    issuer.answer = FAILURES[reason](issuer)
    clock.advance(30)
    with caplog.at_level(logging.WARNING, "pegboard.auth"):
        assert await forge.asked(service, token=other_rsa.token("RS256", kid="b")) == INVALID
    assert issuer.asked == 2
    (told,) = [record.getMessage() for record in caplog.records if "issuer could not be fetched" in record.getMessage()]
    assert told.startswith(f"The keys of the issuer could not be fetched: {reason.strip()}")
    assert told.endswith("; the 1 known ones are kept.")
    assert issuer.url not in told
    assert "secret detail" not in told
    assert await forge.asked(service, token=rsa_pair.token("RS256", forge.claims(sub="b"), kid="a")) == (200, "b")
    (probe,) = [each for each in service.application.state.probes if each.name == "auth.jwks"]
    assert not probe.critical
    with pytest.raises(Exception, match=reason.strip()):
        await probe.check()
    issuer.answer = lambda: web.json_response({"keys": [other_rsa.jwk(kid="b")]})
    clock.advance(30)
    assert await forge.asked(service, token=other_rsa.token("RS256", kid="b")) == (200, "ada")
    await probe.check()


async def test_source_that_is_down_at_start_is_503_until_it_answers(
    serve: Any, forge: Any, clock: FakeClock, rsa_pair: Any, issuer: Any
) -> None:
    issuer.answer = lambda: web.Response(status=503)
    settings = {"jwks": issuer.url, "algorithms": ["RS256", "HS256"]}
    service = await serve(settings)  # with a secret too
    await issuer.wait_asked(1)
    await idle()
    token = rsa_pair.token("RS256", kid="a")
    async with service.client.get("/api/v1/who", headers={"Authorization": f"Bearer {token}"}) as refused:
        body = await refused.json()
        assert (refused.status, body["error"]["code"]) == AWAY
        assert body["error"]["message"] == "The keys that tokens are checked with are not there yet."
        assert refused.headers["Retry-After"] == "30"
    assert await forge.asked(service, token=rsa_pair.token("RS256")) == AWAY
    assert await forge.asked(service, token=forge.signed()) == (200, "ada"), "the secret is there"
    assert await forge.asked(service, token=forge.signed(secret="w" * 40)) == AWAY
    issuer.answer = lambda: web.json_response({"keys": [rsa_pair.jwk(kid="a")]})
    clock.advance(30)
    assert await forge.asked(service, token=token) == (200, "ada")


async def test_source_that_nobody_listens_at_does_not_stop_the_start(
    serve: Any, forge: Any, rsa_pair: Any, unused_tcp_port: int
) -> None:
    service = await serve({"jwks": f"http://127.0.0.1:{unused_tcp_port}/jwks", "algorithms": ["RS256"]}, bare=True)
    assert await forge.asked(service, token=rsa_pair.token("RS256", kid="a")) == AWAY


async def test_source_that_never_ends_its_answer_is_given_up(
    issuer: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_module, "PATIENCE_S", 0.1)
    issuer.gate.clear()
    jwks = Jwks(issuer.url, Keys([]), ["RS256"], make_run(), changed=lambda: None)
    await jwks.refresh()
    with pytest.raises(Exception, match="it takes too long"):
        await jwks.check()
    issuer.gate.set()


async def test_redirect_is_not_followed(
    serve_issuer: Any, issuer: Any, forge: Any, clock: FakeClock, rsa_pair: Any, other_rsa: Any
) -> None:
    """Not even to the same place, which would be asked a second time."""
    issuer.keys = [rsa_pair.jwk(kid="a")]
    service = await serve_issuer()
    issuer.answer = lambda: web.Response(status=307, headers={"Location": issuer.url})
    clock.advance(30)
    assert await forge.asked(service, token=other_rsa.token("RS256", kid="b")) == INVALID
    assert issuer.asked == 2


async def test_keys_are_fetched_anew_in_the_background(
    issuer: Any, make_run: Any, rsa_pair: Any, other_rsa: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_module, "COOLDOWN_S", 0.0)
    keys, changes = Keys([]), []
    issuer.keys = [rsa_pair.jwk(kid="a")]
    jwks = Jwks(issuer.url, keys, ["RS256"], make_run(), changed=lambda: changes.append(1), refresh_s=0.01)
    task = asyncio.create_task(jwks.keep_fresh())
    await issuer.wait_asked(3)
    assert changes == [1], "the same set is no change"
    issuer.keys = [other_rsa.jwk(kid="b")]
    await issuer.wait_asked(issuer.asked + 2)
    assert [key.kid for key in keys.fetched] == ["b"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await idle()


# --- what is taken from a set


async def test_keys_for_other_purposes_or_too_weak_are_left_out(
    serve_issuer: Any, issuer: Any, forge: Any, rsa_pair: Any, other_rsa: Any, caplog: pytest.LogCaptureFixture
) -> None:
    weak = type(forge).pair(rsa.generate_private_key(65537, 1024))  # noqa: S505  # weak on purpose
    issuer.keys = [
        rsa_pair.jwk(kid="good"),
        other_rsa.jwk(kid="enc", use="enc"),
        weak.jwk(kid="weak"),
        other_rsa.jwk(kid="pss", alg="PS256"),
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
    ]
    with caplog.at_level(logging.INFO, "pegboard.auth"):
        service = await serve_issuer()
    left_out = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(left_out) == 4
    assert await forge.asked(service, token=rsa_pair.token("RS256", kid="good")) == (200, "ada")
    assert await forge.asked(service, token=other_rsa.token("RS256", kid="enc")) == INVALID
    assert await forge.asked(service, token=other_rsa.token("RS256", kid="pss")) == INVALID
    assert await forge.asked(service, token=weak.token("RS256", kid="weak")) == INVALID
    assert await forge.asked(service, token=forge.signed(None, {"alg": "HS256", "kid": "secret"}, secret="secret")) == INVALID  # noqa: E501  # fmt: skip


async def test_no_more_than_a_hundred_keys_are_taken(issuer: Any, make_run: Any, ec_pair: Any) -> None:
    issuer.keys = [ec_pair.jwk(kid=str(number)) for number in range(150)]
    keys = Keys([])
    await Jwks(issuer.url, keys, ["ES256"], make_run(), changed=lambda: None).refresh()
    assert len(keys.fetched) == 100


# --- the URL


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://issuer.example/jwks", "must be a URL like"),
        ("issuer.example/jwks", "must be a URL like"),
        ("https://", "must be a URL like"),
        ("https://user:hunter2pass@issuer.example/jwks", "has a user, password or fragment"),
        ("http://issuer.example/jwks", 'write: jwks = "https://issuer.example/jwks"'),
    ],
)
async def test_url_that_is_no_safe_one_stops_the_start(serve: Any, url: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await serve({"jwks": url, "algorithms": ["RS256"]}, bare=True)
    assert said in str(caught.value)
    assert "hunter2pass" not in str(caught.value)


async def test_url_in_the_clear_is_tolerated_when_not_strict(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(self: Jwks) -> bytes:
        return orjson.dumps({"keys": []})

    monkeypatch.setattr(Jwks, "_ask", ask)
    settings = {"jwks": "http://issuer.example/jwks", "algorithms": ["RS256"]}
    assert await serve(settings, bare=True, service={"strict": False})

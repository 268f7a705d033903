"""Tokens that somebody forged, bent or made absurd: each has its exact status and code, and none is accepted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.auth.tokens import keys as keys_module
from plugins.auth.tokens.keys import Keys, secret_key
from plugins.auth.tokens.verifying import Refused, Rules, parse, verify
from service.errors import SettingsError

INVALID, EXPIRED = (401, "INVALID_TOKEN"), (401, "TOKEN_EXPIRED")

Make = Callable[[Any], str]

STRICT = {"issuer": "https://issuer.example", "audience": "api", "leeway": "5s"}
"""What the service of the table wants beside a signature."""


def of(**changed: Any) -> Make:
    return lambda forge: forge.signed(good(forge, **changed))


def good(forge: Any, **changed: Any) -> dict[str, Any]:
    """Claims that the service takes, some changed."""
    return forge.claims(**{"iss": "https://issuer.example", "aud": "api", **changed})  # type: ignore[no-any-return]


def raw(text: str) -> Make:
    """Of claims that no Python value makes: `SO` stands for those that are right."""
    so = '"sub":"ada","iss":"https://issuer.example","aud":"api"'
    return lambda forge: forge.signed(text.replace("SO", so).replace("EXP", f'"exp":{forge.now_s + 60}').encode())


def headed(**header: Any) -> Make:
    return lambda forge: forge.signed(good(forge), {"alg": "HS256", "typ": "JWT", **header})


def unsigned(algorithm: str) -> Make:
    return lambda forge: forge.signed(good(forge), {"alg": algorithm}, sign=lambda text: b"").rstrip(".") + "."


def cut(make: Make) -> Make:
    return lambda forge: make(forge).rstrip(".")


def headed_by_nothing(algorithm: str) -> Make:
    """Signed with an empty key: what `none` is where it is looked up among the hashes."""
    return lambda forge: forge.signed(good(forge), {"alg": algorithm}, secret=b"")


def respelled(change: Callable[[str], str]) -> Make:
    """The text of a valid token, changed."""
    return lambda forge: change(forge.signed(good(forge)))


NONE = [
    *map("".join, product("nN", "oO", "nN", "eE")),
    *(
        " none",
        "none ",
        "none\0",
        "none\n",
        "",
        "nöne",
        "\uff4e\uff4f\uff4e\uff45",
        "non\u0435",
        "null",
        "NULL",
        "undefined",
        "0",
        "false",
    ),
]
"""In every case, beside what somebody might clean, fold or look up until it is none."""


def named_none() -> Iterator[tuple[str, Make, tuple[int, str]]]:
    for spelled in NONE:
        yield f"alg {spelled!r} without a signature", unsigned(spelled), INVALID
        yield f"alg {spelled!r} without a signature and its dot", cut(unsigned(spelled)), INVALID
        yield f"alg {spelled!r} with one", headed(alg=spelled), INVALID
        yield f"alg {spelled!r} with one of no bytes", headed_by_nothing(spelled), INVALID


def absurd() -> Iterator[tuple[str, Make, tuple[int, str]]]:
    now_s = 1_767_225_600
    for name in ("exp", "nbf", "iat"):
        for value in ([], [now_s + 9], {}, None, "", str(now_s + 9), True, False, 1e300, -1e300, 10**18):
            yield f"{name} is {value!r}", of(**{name: value}), INVALID
        for text in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 5000, "[" * 3000, "0x1", "1_0", "+5"):
            yield f"{name} is {text[:12]}", raw(f'{{SO,EXP,"{name}":{text}}}'), INVALID
    for text in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 5000, "[" * 3000, "01", "'x'", '"\\ud800"', "nul"):
        yield f"a claim that nobody reads is {text[:12]}", raw(f'{{SO,EXP,"x":{text}}}'), INVALID
        yield f"a name is {text[:12]}", raw(f"{{SO,EXP,{text}:1}}"), INVALID
    for value in ([], {}, None, "", 1, True, ["ada"]):
        yield f"sub is {value!r}", of(sub=value), INVALID
    for value in (1, True, {}, [1], ["user", None], [["user"]]):
        yield f"role is {value!r}", of(role=value), INVALID
        yield f"scope is {value!r}", of(scope=value), INVALID
        yield f"scp is {value!r}", of(scp=value), INVALID
    for value in (1, [], {}, True):
        yield f"jti is {value!r}", of(jti=value), INVALID
    for value in ([], {}, None, 1, "", "https://issuer.example/", "https://issuer.exampl", "HTTPS://issuer.example",
                  ["https://issuer.example"], "https://issuer.example.evil"):  # fmt: skip
        yield f"iss is {value!r}", of(iss=value), INVALID
    for value in ([], {}, None, 1, "", "ap", "apis", "API", ["ap", "i"], [["api"]], {"api": 1}):
        yield f"aud is {value!r}", of(aud=value), INVALID
    for name in ("exp", "sub", "iss", "aud"):
        yield f"{name} is missing", of(**{name: ...}), INVALID
    for text in ("null", "[]", '"text"', "1", "", "{", "{SO,EXP}x", "\ufeff{SO,EXP}", "{SO,EXP,}", '{"a":' * 900 + "1"):
        yield f"the payload is {text[:12]!r}", raw(text), INVALID
    yield "the payload is nested 6,000 deep", raw('{SO,EXP,"a":' + "[" * 2500 + "]" * 2500 + "}"), INVALID
    yield "the payload is no UTF-8", lambda forge: forge.signed(b'{"sub":"\xff"}'), INVALID
    yield "the payload has half a surrogate", raw('{EXP,"iss":"https://issuer.example","aud":"api","sub":"\\ud800"}'), INVALID  # noqa: E501  # fmt: skip


def out_of_time() -> Iterator[tuple[str, Make, tuple[int, str]]]:
    now_s = 1_767_225_600
    yield "long expired", of(exp=1), EXPIRED
    yield "expired before time began", of(exp=-5), EXPIRED
    yield "expired this second, leeway included", of(exp=now_s - 5), EXPIRED
    yield "not yet", of(nbf=now_s + 6), INVALID
    yield "not yet, by a fraction", of(nbf=now_s + 5.5), INVALID
    yield "made in the future", of(iat=now_s + 6), INVALID
    yield "expired and of another issuer", of(exp=1, iss="x"), INVALID
    yield "expired and forged", lambda forge: forge.signed(good(forge, exp=1), secret="w" * 40), INVALID


def hostile_headers() -> Iterator[tuple[str, Make, tuple[int, str]]]:
    for algorithm in ("HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 ", "HS257", "dir"):
        yield f"alg {algorithm!r}", headed(alg=algorithm), INVALID
    for value in (None, 1, True, [], {}, ["HS256"]):
        yield f"alg {value!r}", headed(alg=value), INVALID
    yield "no alg", lambda forge: forge.signed(good(forge), {"typ": "JWT"}), INVALID
    for value in (["exp"], ["b64"], [], "exp", None, ["unknown"]):
        yield f"crit {value!r}", headed(crit=value), INVALID
    yield "b64 false", headed(b64=False, crit=["b64"]), INVALID
    yield "b64 false, not critical", headed(b64=False), INVALID
    yield "zip", headed(zip="DEF"), INVALID
    yield "enc", headed(enc="A256GCM"), INVALID
    for value in ([], {}, 1, True, "k" * 257):
        yield f"kid {str(value)[:9]!r}", headed(kid=value), INVALID
    for value in ("refresh+jwt", "dpop+jwt", "logout+jwt", "id+jwt", "JOSE", "", 1, [], "application/"):
        yield f"typ {value!r}", headed(typ=value), INVALID
    for text in (b"", b"{}", b"[]", b"null", b'"HS256"', b"\xff", b"[" * 4000, b'{"alg":"HS256"', b'{"alg":"HS256"}x'):
        yield f"the header is {text[:16]!r}", lambda forge, text=text: forge.signed(good(forge), text), INVALID


def other_spellings() -> Iterator[tuple[str, Make, tuple[int, str]]]:
    def part(number: int, change: Callable[[str], str]) -> Callable[[str], str]:
        def changed(token: str) -> str:
            parts = token.split(".")
            parts[number] = change(parts[number])
            return ".".join(parts)

        return changed

    for number in range(3):
        for name, change in (
            ("with one =", lambda text: text + "="),
            ("with two =", lambda text: text + "=="),
            ("empty", lambda text: ""),
            ("with a letter more", lambda text: text + "A"),
            ("with a letter less", lambda text: text[:-1]),
            ("with a space in it", lambda text: f"{text[:3]} {text[3:]}"),
            ("with %3D", lambda text: text + "%3D"),
            ("with a tab in it", lambda text: f"{text[:3]}\t{text[3:]}"),
            ("with a letter beyond ASCII", lambda text: text + "é"),
            ("with a plus", lambda text: "+" + text[1:]),
        ):
            yield f"part {number} {name}", respelled(part(number, change)), INVALID
    yield "other bits at the signature's end", respelled(lambda token: token[:-1] + chr(ord(token[-1]) + 1)), INVALID
    yield "a dot more", respelled(lambda token: token + "."), INVALID
    yield "a dot before", respelled(lambda token: "." + token), INVALID
    yield "a part more", respelled(lambda token: token + ".e30"), INVALID
    yield "a part less", respelled(lambda token: token.rpartition(".")[0]), INVALID
    yield "in quotes", respelled(lambda token: f'"{token}"'), INVALID
    yield "with a comma", respelled(lambda token: token + ","), INVALID
    yield "twice", respelled(lambda token: f"{token}, Bearer {token}"), INVALID
    yield "as JSON", lambda forge: orjson.dumps({"payload": "e30", "signatures": []}).decode(), INVALID
    yield "five parts, as a JWE", lambda forge: "e30.e30.e30.e30.e30", INVALID
    yield "nothing", lambda forge: "", INVALID
    yield "spaces", lambda forge: "   ", INVALID
    yield "dots", lambda forge: "." * 7000, INVALID
    yield "a thousand parts", lambda forge: "e30." * 1000, INVALID


def forged() -> Iterator[tuple[str, Make, tuple[int, str]]]:
    yield "another secret", lambda forge: forge.signed(good(forge), secret="w" * 40), INVALID
    yield "an empty secret", lambda forge: forge.signed(good(forge), secret=""), INVALID
    yield "a zero secret", lambda forge: forge.signed(good(forge), secret=b"\0" * 64), INVALID
    yield "a signature of zeros", lambda forge: forge.signed(good(forge), sign=lambda text: b"\0" * 32), INVALID
    yield "the text as its signature", lambda forge: forge.signed(good(forge), sign=lambda text: text), INVALID

    def swapped(forge: Any) -> str:
        ours, theirs = forge.signed(good(forge)).split("."), forge.signed(good(forge, sub="root")).split(".")
        return ".".join([ours[0], theirs[1], ours[2]])

    yield "claims of one with the signature of another", swapped, INVALID
    for value in ("../../dev/null", "/dev/null", "' OR 1=1 --", "\0", "kid\r\nX: y", "https://evil.example/k", "__class__"):  # noqa: E501  # fmt: skip
        yield (
            f"kid {value!r} and another secret",
            lambda forge, value=value: forge.signed(
                good(forge), {"alg": "HS256", "typ": "JWT", "kid": value}, secret=""
            ),
            INVALID,
        )


TABLE = [*named_none(), *absurd(), *out_of_time(), *hostile_headers(), *other_spellings(), *forged()]


async def test_every_bent_token_has_its_status_and_code(serve: Any, forge: Any) -> None:
    """One service for the whole table, which accepts the token that each of them was before it was bent."""
    service = await serve(STRICT, service={"limits": {"line": "128KiB", "headers": "256KiB"}})
    assert await forge.asked(service, token=forge.signed(good(forge))) == (200, "ada")
    told = {name: await forge.asked(service, token=make(forge)) for name, make, _ in TABLE}
    assert told == {name: outcome for name, _, outcome in TABLE}
    assert len(told) == len(TABLE) > 250


async def test_what_is_odd_and_right_is_accepted(serve: Any, forge: Any) -> None:
    """So that the table above does not pass because everything is refused."""
    service = await serve(STRICT)
    for token in (
        forge.signed(good(forge, aud=["other", "api"])),
        forge.signed(good(forge, exp=forge.now_s + 0.5, nbf=forge.now_s + 5, iat=forge.now_s + 5)),
        forge.signed(good(forge, exp=forge.now_s - 4)),
        forge.signed(good(forge, role=None, scope=None, deep=[[[[[1]]]]])),
        forge.signed(good(forge), {"alg": "HS256"}),
        forge.signed(good(forge), {"alg": "HS256", "typ": "application/AT+JWT", "kid": "any", "cty": "x", "x5t": "y"}),
        " " + forge.signed(good(forge)),
    ):
        assert await forge.asked(service, token=token) == (200, "ada")


async def test_typ_of_the_settings_is_the_only_one(serve: Any, forge: Any) -> None:
    service = await serve({"typ": "AT+JWT"})
    for typ, outcome in (
        ("at+jwt", (200, "ada")), ("application/at+jwt", (200, "ada")), ("JWT", INVALID), (None, INVALID),
    ):  # fmt: skip
        assert await forge.asked(service, token=forge.signed(None, {"alg": "HS256", "typ": typ})) == outcome, typ


async def test_audience_that_nobody_asked_for_is_refused(serve: Any, forge: Any) -> None:
    """RFC 7519, section 4.1.3: such a token is for somebody else."""
    service = await serve()
    assert await forge.asked(service, token=forge.signed(forge.claims(aud="elsewhere"))) == INVALID


# --- size


@pytest.mark.parametrize("token", ["a" * 65_536, "." * 65_000, "e30." * 16_000, "é" * 9_000], ids=lambda text: text[:4])
async def test_large_token_is_refused_before_it_is_decoded(
    serve: Any, forge: Any, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """By the core where its header is over the limit; where that is raised, by length."""
    usual = await serve()
    assert await forge.asked(usual, token=token) == (431, "REQUEST_HEADER_FIELDS_TOO_LARGE")
    roomy = await serve(service={"limits": {"line": "128KiB", "headers": "256KiB"}})

    def decode(*arguments: object) -> None:
        raise AssertionError("It was decoded.")

    monkeypatch.setattr("plugins.auth.schemes.parse", decode)
    monkeypatch.setattr("plugins.auth.tokens.remembering.blake2b", decode)
    assert await forge.asked(roomy, token=token) == INVALID


async def test_token_just_over_8_kib_is_refused_and_one_just_below_is_not(serve: Any, forge: Any) -> None:
    service = await serve(service={"limits": {"line": "128KiB", "headers": "256KiB"}})
    sizes = []
    for pad in (5900, 6200):
        token = forge.signed(forge.claims(pad="x" * pad))
        sizes.append((len(token) > 8192, await forge.asked(service, token=token)))
    assert sizes == [(False, (200, "ada")), (True, INVALID)]


async def test_nesting_100_000_deep_is_refused_before_it_is_decoded(
    serve: Any, forge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the payload and in the header, and signed: it is its length that nobody looks behind."""
    service = await serve(service={"limits": {"line": "1MiB", "headers": "2MiB"}})
    assert await forge.asked(service, token=forge.signed()) == (200, "ada")
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    monkeypatch.setattr("plugins.auth.tokens.verifying.urlsafe_b64decode", None)
    for token in (forge.signed(deep), forge.signed(None, deep), forge.signed(b"[" * 100_000)):
        assert await forge.asked(service, token=token) == INVALID


def test_hostile_text_of_8_kib_is_parsed_within_milliseconds(rules: Rules) -> None:
    texts = ("." * 8192, "a." * 4096, "a" * 8192, f"{'a' * 4000}.{'a' * 4000}", base64.b64encode(b"[" * 6000).decode())
    began = time.process_time()
    for text in texts:
        with pytest.raises(Refused):
            parse(text, rules)
    assert time.process_time() - began < 0.05


# --- where no token is looked for


@pytest.mark.parametrize(
    "name", ["access_token", "token", "jwt", "authorization", "Authorization", "bearer", "id_token"]
)
async def test_token_anywhere_but_in_its_header_is_no_token(serve: Any, forge: Any, name: str) -> None:
    """In the query (RFC 9700, section 4.3.2), a form, a cookie, another header: whoever sends it so is anonymous."""
    service, open_ = await serve(), await serve({"default": "optional"})
    token = forge.signed()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in (f"/api/v1/who?{name}={token}", f"/api/v1/who?{name}=Bearer%20{token}"):
        assert await forge.asked(service, path) == (401, "NO_TOKEN")
        assert await forge.asked(open_, path) == (200, None)
    for headers in ({"Cookie": f"{name}={token}"}, {f"X-{name}": f"Bearer {token}"}, {"Proxy-Authorization": token}):
        assert await forge.asked(service, **headers) == (401, "NO_TOKEN")
        assert await forge.asked(open_, **headers) == (200, None)
    async with service.client.post("/api/v1/who", data=f"{name}={token}", headers=form) as told:
        assert (told.status, (await told.json())["error"]["code"]) == (401, "NO_TOKEN")


# --- keys that a token brings along, and keys that are no secrets


async def test_keys_in_headers_are_refused_and_nobody_is_asked_for_them(
    serve: Any, forge: Any, rsa_pair: Any, other_rsa: Any
) -> None:
    """`jku`, `x5u`, `jwk`, `x5c`: a listener that they point to hears nothing, not even for a token of the true key."""
    connections = 0

    def connected(reader: object, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    service = await serve({"keys": [rsa_pair.pem], "algorithms": ["RS256"]}, bare=True)
    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/keys"
        certificate = base64.b64encode(other_rsa.der).decode()
        for header in (
            {"jku": url}, {"x5u": url}, {"jwk": other_rsa.jwk()}, {"x5c": [certificate]},
            {"jwk": other_rsa.jwk(), "jku": url}, {"kid": url}, {"iss": url},
        ):  # fmt: skip
            assert await forge.asked(service, token=other_rsa.token("RS256", None, **header)) == INVALID, header
        for header in ({"jku": url}, {"x5u": url}, {"jwk": rsa_pair.jwk()}, {"x5c": [certificate]}):
            assert await forge.asked(service, token=rsa_pair.token("RS256", None, **header)) == INVALID, header
        assert await forge.asked(service, token=other_rsa.token("RS256", forge.claims(iss=url))) == INVALID
        assert await forge.asked(service, token=rsa_pair.token("RS256")) == (200, "ada")
    assert connections == 0


async def test_address_in_a_token_is_never_asked_where_an_issuer_is(
    serve: Any, forge: Any, rsa_pair: Any, other_rsa: Any
) -> None:
    """The issuer of the settings is, at the one address that they give, whatever a kid says."""
    asked: list[str] = []
    connections = 0

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.json_response({"keys": [rsa_pair.jwk(kid="theirs", alg="RS256")]})

    def connected(reader: object, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as issuer, await asyncio.start_server(connected, "127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/keys"
        service = await serve({"jwks": str(issuer.make_url("/jwks")), "algorithms": ["RS256"]}, bare=True)
        assert await forge.asked(service, token=rsa_pair.token("RS256", kid="theirs")) == (200, "ada")
        for kid in ("theirs", "unknown", url, "../secret", "/secret", "?kid=1", "#", "http:", "a\r\nHost: evil"):
            for header in ({}, {"jku": url}, {"x5u": url}, {"jwk": other_rsa.jwk()}, {"iss": url}):
                token = other_rsa.token("RS256", forge.claims(iss=url, jku=url), kid=kid, **header)
                assert await forge.asked(service, token=token) == INVALID, (kid, header)
        assert await forge.asked(service, token=rsa_pair.token("RS256", kid="theirs", jku=url)) == INVALID
        assert connections == 0
        assert set(asked) == {"/jwks"}
        assert len(asked) <= 2, "at the start, and once in 30 s for all kids that are unknown"


async def test_none_is_refused_where_all_keys_are_public(serve: Any, forge: Any, rsa_pair: Any, ec_pair: Any) -> None:
    service = await serve({"keys": [rsa_pair.pem, ec_pair.pem], "algorithms": ["RS256", "ES256"]}, bare=True)
    for spelled in NONE:
        for make in (unsigned(spelled), cut(unsigned(spelled)), headed(alg=spelled), headed_by_nothing(spelled)):
            assert await forge.asked(service, token=make(forge)) == INVALID, spelled
    for algorithm in ("HS256", "HS384", "HS512"):
        for make in (unsigned(algorithm), headed(alg=algorithm), headed_by_nothing(algorithm)):
            assert await forge.asked(service, token=make(forge)) == INVALID, algorithm


def encodings(pair: Any) -> dict[str, bytes]:
    """What somebody might take a public key for, who takes it for a secret."""
    pem, der, jwk = pair.pem, pair.der, json.dumps(pair.jwk())
    ssh = pair.public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    required = {name: value for name, value in pair.jwk().items() if name in ("crv", "e", "kty", "n", "x", "y")}
    own = {}
    if "n" in required:
        own["PKCS 1 in PEM"] = pair.public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    return {
        **own,
        "OpenSSH": ssh,
        "OpenSSH with whose it is": ssh + b" ada@host",
        "JWK as a thumbprint has it": json.dumps(required, sort_keys=True, separators=(",", ":")).encode(),
        "PEM, indented": pem.replace("\n", "\n  ").encode(),
        "PEM in one line": pem.replace("\n", "\\n").encode(),
        "PEM in base64url": base64.urlsafe_b64encode(pem.encode()).rstrip(b"="),
        "DER in hex, upper case": der.hex().upper().encode(),
        "PEM": pem.encode(),
        "PEM, no newline at its end": pem.strip().encode(),
        "PEM with CRLF": pem.replace("\n", "\r\n").encode(),
        "PEM after a BOM": f"\ufeff{pem}".encode(),
        "DER": der,
        "DER in base64": base64.b64encode(der),
        "DER in base64url": base64.urlsafe_b64encode(der).rstrip(b"="),
        "DER in hex": der.hex().encode(),
        "PEM in base64": base64.b64encode(pem.encode()),
        "JWK": jwk.encode(),
        "JWK set": json.dumps({"keys": [pair.jwk()]}).encode(),
        "JWK, spaced": json.dumps(pair.jwk(), indent=1).encode(),
        "JWK after a BOM": f"\ufeff{jwk}".encode(),
        "JWK in base64": base64.urlsafe_b64encode(jwk.encode()),
    }


def parts(pair: Any) -> dict[str, bytes]:
    """Of a public key, what could pass for a secret by itself: no text by which anyone would know it."""
    jwk = pair.jwk()
    found = {f"{name} of the JWK": jwk[name].encode() for name in ("n", "e", "x", "y") if name in jwk}
    found |= {f"{name}, decoded": base64.urlsafe_b64decode(text + b"==") for name, text in found.items()}
    found["the body of the PEM"] = "".join(pair.pem.splitlines()[1:-1]).encode()
    found["SHA-256 of the DER"] = hashlib.sha256(pair.der).digest()
    if "crv" in jwk:
        found["raw"] = pair.public.public_bytes(*RAW[jwk["kty"]])
    return found


RAW = {"EC": (Encoding.X962, PublicFormat.UncompressedPoint), "OKP": (Encoding.Raw, PublicFormat.Raw)}


async def test_hmac_signed_with_a_public_key_is_refused_in_every_encoding(
    serve: Any, forge: Any, rsa_pair: Any, ec_pair: Any, ed_pair: Any
) -> None:
    keys = [rsa_pair.pem, json.dumps(ec_pair.jwk(kid="ec")), ed_pair.pem]
    settings = {"keys": keys, "algorithms": ["RS256", "ES256", "EdDSA", "HS256", "HS512"], "secret": "s" * 64}
    service = await serve(settings, bare=True)  # a secret is there as well, so that HS256 is not refused by its name
    assert await forge.asked(service, token=forge.signed(secret="s" * 64)) == (200, "ada")
    for pair in (rsa_pair, ec_pair, ed_pair):
        for name, secret in {**encodings(pair), **parts(pair)}.items():
            for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": "ec"}, {"alg": "HS512"}):
                assert await forge.asked(service, token=forge.signed(None, header, secret=secret)) == INVALID, name


def test_every_encoding_of_a_key_is_refused_as_a_secret(rsa_pair: Any, ec_pair: Any, ed_pair: Any) -> None:
    for pair in (rsa_pair, ec_pair, ed_pair):
        for name, text in encodings(pair).items():
            if name != "DER":  # which is no text, and settings are
                with pytest.raises(keys_module.WrongKey, match="and no secret"):
                    secret_key(text.decode(), ["HS256"])
        with pytest.raises(keys_module.WrongKey, match="text in PEM form, and no secret"):
            secret_key(pair.private_pem, ["HS256"])
    for text in ("ssh-rsa AAAAB3NzaC1yc2E= ada@host", "ecdsa-sha2-nistp256 AAAA ada", "[1]", " {} "):
        with pytest.raises(keys_module.WrongKey):
            secret_key(text, ["HS256"])
    for text in ("{not json at all, but long enough to be used", "deadbeef" * 8, "QUJD" * 16, "MIIB" * 16, "ssh-keys"):
        assert secret_key(text, ["HS256"]).signs == text.encode()


@pytest.mark.parametrize("strict", [True, False])
async def test_key_as_a_secret_stops_the_start_everywhere(serve: Any, rsa_pair: Any, *, strict: bool) -> None:
    for text in (rsa_pair.pem, rsa_pair.private_pem, json.dumps(rsa_pair.jwk())):
        with pytest.raises(SettingsError) as caught:
            await serve({"secret": {"env": "OURS"}}, bare=True, environ={"OURS": text}, service={"strict": strict})
        assert "and no secret" in str(caught.value)
        assert "JWT_SECRET" in str(caught.value) or "OURS" in str(caught.value)
        assert text[30:60] not in str(caught.value)


async def test_algorithms_of_another_family_or_length_are_refused(
    serve: Any, forge: Any, rsa_pair: Any, ec_pair: Any
) -> None:
    """RS512 for a key that says RS256, PS for RS, and what a key could do and the settings do not name."""
    bound = json.dumps(rsa_pair.jwk(alg="RS256", kid="bound"))
    service = await serve({"keys": [bound, ec_pair.pem], "algorithms": ["RS256", "ES256"]}, bare=True)
    assert await forge.asked(service, token=rsa_pair.token("RS256")) == (200, "ada")
    assert await forge.asked(service, token=ec_pair.token("ES256", kid="of no key")) == (200, "ada")
    for algorithm in ("RS384", "RS512", "PS256", "PS384", "PS512"):
        assert await forge.asked(service, token=rsa_pair.token(algorithm)) == INVALID
        mislabelled = rsa_pair.token("RS256", alg=algorithm)
        assert await forge.asked(service, token=mislabelled) == INVALID
    assert await forge.asked(service, token=ec_pair.token("ES256", kid="bound")) == (200, "ada")
    assert await forge.asked(service, token=rsa_pair.token("RS256", kid="other")) == INVALID
    assert await forge.asked(service, token=rsa_pair.token("RS256", alg="ES256")) == INVALID
    both = await serve({"keys": [rsa_pair.pem, bound], "algorithms": ["RS512", "RS256"]}, bare=True)
    assert await forge.asked(both, token=rsa_pair.token("RS512")) == (200, "ada")
    assert await forge.asked(both, token=rsa_pair.token("PS512")) == INVALID


async def test_each_algorithm_is_accepted_with_its_key(serve: Any, forge: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

    secret = "s" * 64
    for algorithm in ("HS256", "HS384", "HS512"):
        service = await serve({"secret": secret, "algorithms": [algorithm]}, bare=True)
        assert await forge.asked(service, token=forge.signed(None, {"alg": algorithm}, secret=secret)) == (200, "ada")
    big = rsa.generate_private_key(65537, 2048)
    pairs = [(name, big) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")]
    pairs += [("ES256", ec.generate_private_key(ec.SECP256R1())), ("ES384", ec.generate_private_key(ec.SECP384R1()))]  # type: ignore[list-item]
    pairs += [("ES512", ec.generate_private_key(ec.SECP521R1())), ("EdDSA", ed25519.Ed25519PrivateKey.generate())]  # type: ignore[list-item]
    pairs += [("EdDSA", ed448.Ed448PrivateKey.generate())]  # type: ignore[list-item]
    for algorithm, private in pairs:
        pair = type(forge).pair(private)
        service = await serve({"keys": [pair.pem], "algorithms": [algorithm]}, bare=True)
        assert await forge.asked(service, token=pair.token(algorithm)) == (200, "ada"), algorithm


# --- anything else


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules(frozenset({"HS256"}), None, None, 0, None, "role", has_issuer_keys=False)


@settings(max_examples=600, deadline=None)
@given(place=st.integers(0, 10_000), change=st.characters(), how=st.sampled_from(["put", "replace", "remove", "cut"]))
def test_no_mutation_of_a_valid_token_is_accepted(forge: Any, rules: Rules, place: int, change: str, how: str) -> None:
    keys = Keys([secret_key("k" * 32, ["HS256"])])
    token = forge.signed(secret="k" * 32)
    assert verify(parse(token, rules), keys, rules, forge.now_s).principal.subject == "ada"
    at = place % len(token)
    mutated = {
        "put": token[:at] + change + token[at:],
        "replace": token[:at] + change + token[at + 1 :],
        "remove": token[:at] + token[at + 1 :],
        "cut": token[:at],
    }[how]
    if mutated != token:
        with pytest.raises(Refused):
            verify(parse(mutated, rules), keys, rules, forge.now_s)


@settings(max_examples=300, deadline=None)
@given(
    payload=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "role", "scope", "scp", "jti", "x"]), inner
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_signed_claims_of_any_kind_are_read_or_refused(forge: Any, rules: Rules, payload: Any) -> None:
    """Whatever an issuer signs, it never is a fault of ours."""
    keys = Keys([secret_key("k" * 32, ["HS256"])])
    token = forge.signed(json.dumps(payload).encode(), secret="k" * 32)
    try:
        verified = verify(parse(token, rules), keys, rules, forge.now_s)
    except Refused:
        return
    assert verified.principal.subject
    assert verified.ends_at > forge.now_s

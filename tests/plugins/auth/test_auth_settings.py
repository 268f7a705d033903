"""Keys as operators give them: what is wrong joins the one report, and no secret is ever repeated."""

from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from plugins.auth.tokens.kept import kept_secret
from service.errors import SettingsError
from service.testing import TOKEN_SECRET

CANARY = "canary-that-nobody-may-see-5f2c9d71"


async def faults(serve: Any, settings: dict[str, Any], *, strict: bool = True, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        await serve(settings, bare=True, environ=environ, service={"strict": strict})
    return " ".join(str(caught.value).split())


@pytest.mark.parametrize(
    ("algorithms", "needs"), [(["HS256"], 32), (["HS384"], 48), (["HS512"], 64), (["HS256", "HS512"], 64)]
)
async def test_weak_secret_stops_a_strict_start_and_is_told_otherwise(
    serve: Any, algorithms: list[str], needs: int
) -> None:
    weak = "w" * (needs - 1)
    told = await faults(serve, {"secret": {"env": "JWT_SECRET"}, "algorithms": algorithms}, JWT_SECRET=weak)
    assert f"is {needs - 1} bytes long, and {', '.join(algorithms)} needs {needs}" in told
    assert weak not in told
    assert told.endswith("write: export JWT_SECRET=...")
    service = await serve({"secret": weak, "algorithms": algorithms}, bare=True, service={"strict": False})
    (said,) = [sentence for sentence in service.said if "bytes long" in sentence]
    assert "openssl rand -base64 48" in said
    assert weak not in said
    assert await serve({"secret": "w" * needs, "algorithms": algorithms}, bare=True)


async def test_secret_of_a_variable_that_is_not_set_is_to_be_exported(serve: Any) -> None:
    told = await faults(serve, {"secret": {"env": "JWT_SECRET"}})
    assert "export JWT_SECRET with 32 random bytes or more (openssl rand -base64 48)" in told
    assert told.endswith("write: export JWT_SECRET=...")


async def test_secret_in_the_file_that_is_weak_is_to_come_from_the_environment(serve: Any) -> None:
    assert 'write: secret = { env = "JWT_SECRET" }' in await faults(serve, {"secret": "short"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"secret": "s" * 40, "algorithms": ["RS256"]}, "names none of them"),
        ({"secret": "s" * 40, "algorithms": ["HS256", "RS256"]}, "names RS256, for which there is no key"),
        ({"jwks": "https://i.example/k"}, 'names HS256, for which there is no key write: algorithms = ["RS256"]'),
        ({"jwks": "https://i.example/k", "algorithms": ["HS256", "ES256"]}, 'write: algorithms = ["ES256"]'),
        ({"jwks": "https://i.example/k", "algorithms": ["RS256"], "old_secrets": ["s" * 40]}, "beside secret"),
        ({"jwks": "https://i.example/k", "secret": "s" * 40}, 'write: algorithms = ["HS256", "RS256"]'),
        ({"algorithms": ["none"], "secret": "s" * 40}, "algorithms"),
        ({"algorithms": [], "secret": "s" * 40}, "algorithms"),
        ({"leeway": "6m", "secret": "s" * 40}, "5m at most"),
        ({"expires": "0s", "secret": "s" * 40}, "leaves a token no time at all"),
        ({"operator_roles": [], "secret": "s" * 40}, "operator_roles"),
        ({"keys": ["nonsense"], "algorithms": ["RS256"]}, "is no key in PEM form without a password, and no JWK"),
        ({"keys": ["{nonsense"], "algorithms": ["RS256"]}, "is no JSON, though it begins as a JWK does"),
        ({"keys": ['{"kty":"oct","k":"c2VjcmV0"}'], "algorithms": ["RS256"]}, "is a JWK whose kty is none of"),
        ({"keys": ['{"kty":"RSA","n":"AQ","e":"AQ"}'], "algorithms": ["RS256"]}, "is a JWK that cannot be read"),
        ({"secret": "s" * 40, "old_secrets": ["short"]}, "is 5 bytes long, and HS256 needs 32"),
    ],
)
async def test_settings_that_do_nothing_or_harm_stop_the_start(serve: Any, settings: Any, said: str) -> None:
    assert said in await faults(serve, settings)


async def test_keys_that_are_weak_or_of_no_use_stop_the_start_everywhere(
    serve: Any, forge: Any, rsa_pair: Any, ec_pair: Any
) -> None:
    weak = type(forge).pair(rsa.generate_private_key(65537, 1024))  # noqa: S505  # weak on purpose
    for strict in (True, False):
        told = await faults(serve, {"keys": [weak.pem], "algorithms": ["RS256"]}, strict=strict)
        assert "is an RSA key of 1024 bits; it needs 2048 to 8192" in told
        told = await faults(serve, {"keys": [ec_pair.pem], "algorithms": ["RS256"]}, strict=strict)
        assert "keys[0] is a key on the curve secp256r1, and algorithms names none that it is for, like ES256" in told
        assert told.endswith('write: algorithms = ["RS256", "ES256"]')
        told = await faults(serve, {"keys": [rsa_pair.pem]}, strict=strict)
        assert told.endswith('write: algorithms = ["RS256"]')
        encrypting = json.dumps(rsa_pair.jwk(use="enc"))
        told = await faults(serve, {"keys": [encrypting], "algorithms": ["RS256"]}, strict=strict)
        assert "is a JWK for something other than signatures" in told


async def test_keys_come_from_files_beside_the_settings(serve: Any, forge: Any, rsa_pair: Any, tmp_path: Path) -> None:
    (tmp_path / "issuer.pem").write_text(rsa_pair.pem)
    service = await serve({"keys": [{"file": "issuer.pem"}], "algorithms": ["RS256"]}, bare=True)
    assert await forge.asked(service, token=rsa_pair.token("RS256")) == (200, "ada")


async def test_old_secrets_are_accepted_beside_the_new_one(serve: Any, forge: Any) -> None:
    service = await serve({"secret": "n" * 40, "old_secrets": ["o" * 40, "p" * 40]}, bare=True)
    for secret in ("n", "o", "p"):
        assert await forge.asked(service, token=forge.signed(secret=secret * 40)) == (200, "ada")
    assert await forge.asked(service, token=forge.signed(secret="x" * 40)) == (401, "INVALID_TOKEN")


def test_kept_secret_is_the_same_for_everyone(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "state", "auth.secret")
    assert kept_secret(tmp_path / "state", "auth.secret") == first
    assert len(first) >= 64


def test_kept_secret_of_who_comes_second_is_that_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two see at the same time that there is none."""
    first = kept_secret(tmp_path, "auth.secret")
    seen = iter([False])
    monkeypatch.setattr(Path, "exists", lambda self: next(seen, True))
    assert kept_secret(tmp_path, "auth.secret") == first
    assert [path.name for path in tmp_path.iterdir()] == ["auth.secret"]


# --- canaries


async def test_no_secret_or_token_shows_anywhere(
    serve: Any, forge: Any, rsa_pair: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Planted as secret, old secret, private key, token (valid, forged, in the query), claim, kid and header."""
    settings = {
        "secret": {"env": "OURS"},
        "old_secrets": [f"{CANARY}-old"],
        "keys": [rsa_pair.private_pem],
        "algorithms": ["HS256", "RS256"],
    }
    key_line = rsa_pair.private_pem.splitlines()[3]
    tokens = {
        "valid": forge.signed(forge.claims(secret_claim=CANARY), secret=f"{CANARY}-new"),
        "of an old secret": forge.signed(secret=f"{CANARY}-old"),
        "forged": forge.signed(secret="w" * 40),
        "with a kid": forge.signed(None, {"alg": "HS256", "kid": CANARY}),
        "with an alg": forge.signed(None, {"alg": CANARY}),
        "with a header": forge.signed(None, {"alg": "HS256", CANARY: 1, "crit": [CANARY]}),
        "with a sub": forge.signed(forge.claims(sub=[CANARY])),
        "as text": f"{CANARY}.{CANARY}.{CANARY}",
    }
    with caplog.at_level(logging.DEBUG):
        service = await serve(settings, "logs", bare=True, environ={"OURS": f"{CANARY}-new"}, tables={"logs": {"level": "debug"}})  # noqa: E501  # fmt: skip
        seen = [str(service.application.loaded.settings.bindings["plugins", "auth"].salvaged())]
        for token in tokens.values():
            for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": token}, {}):
                async with service.client.get(f"/console?access_token={token}&token={token}", headers=headers) as told:
                    seen += [await told.text(), str(told.headers)]

        def crash(*arguments: object) -> None:
            raise RuntimeError("crash")

        monkeypatch.setattr("plugins.auth.schemes.verify", crash)
        async with service.client.get("/api/v1/who", headers={"Authorization": f"Bearer {tokens['forged']}"}) as told:
            assert told.status == 500
            seen.append(await told.text())
        await service.stop()
    printed = capfd.readouterr()
    seen += [printed.out, printed.err, caplog.text, *service.said]
    for text in seen:
        assert CANARY not in text
        assert key_line not in text
        for name, token in tokens.items():
            assert token not in text, name


@pytest.mark.parametrize("strict", [True, False])
async def test_no_secret_shows_in_faults(serve: Any, *, strict: bool) -> None:
    wrong = {
        "secret": f"-----BEGIN {CANARY}",
        "old_secrets": [f'{{"kty":"{CANARY}"}}'],
        "keys": [CANARY, f'{{"kty":"{CANARY}","n":"{CANARY}"}}', f"-----BEGIN PUBLIC KEY-----{CANARY}"],
        "jwks": f"http://u:{CANARY}@i.example/",
    }
    with pytest.raises(SettingsError) as caught:
        await serve(wrong, bare=True, service={"strict": strict})
    shown = "".join(traceback.format_exception(caught.value))
    assert "jwks" in shown
    assert CANARY not in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        await serve({**wrong, "jwks": "https://i.example/"}, bare=True, service={"strict": strict})
    assert "and no secret" in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_kit_s_secret_is_one_that_a_strict_service_takes() -> None:
    assert len(TOKEN_SECRET.encode()) >= 32

"""Keys, and the one family of algorithms that each is bound to: by its type and the settings, never by a token.

HMAC secrets are bytes and nothing else: whatever looks like an asymmetric key, in any encoding, is refused as one,
since it would let anybody sign who knows a public key. All else is PEM or a JWK with an asymmetric key in it.
Source: RFC 7518 (algorithms, lengths), RFC 7517 (JWK), RFC 8725 sections 3.1, 3.2 and 3.5
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import orjson
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt import InvalidKeyError
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

AlgorithmName = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]

ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name in get_args(AlgorithmName)
}

SHORTEST_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""As long as the hash (RFC 7518, section 3.2)."""

RSA_BITS: Final = range(2048, 8192 + 1)
"""RFC 7518, section 3.3; the upper bound is chosen: checking a signature takes longer with every bit."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

UNREADABLE: Final = (ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm, InvalidKeyError)
"""What PyJWT and cryptography raise for text that is no key, or none that they take."""

_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_JWK: Final[Mapping[object, type[Any]]] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_SSH = re.compile(r"(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)\S+ ")


class WrongKey(ValueError):
    """What is wrong with a key, in words for the operator: they begin after its name, and never repeat it.

    `needs` is an algorithm that the settings would have to name for it, where that is all.
    """

    def __init__(self, message: str, *, needs: str | None = None) -> None:
        super().__init__(message)
        self.needs = needs


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and the algorithms that it checks tokens with: all of one family."""

    kid: str | None
    """What tokens call it; a key without one is tried for every token that names an algorithm of its own."""
    algorithms: tuple[str, ...]
    verifies: object
    """A public key, or a secret's bytes."""
    signs: object | None
    """A private key, or a secret's bytes; None for a public key."""
    identity: bytes
    """The same for the same key, however often it is read."""

    def has_signed(self, signed: bytes, signature: bytes, algorithm: str) -> bool:
        """True if `signature` is this key's; `algorithm` is one of its own."""
        return ALGORITHMS[algorithm].verify(signed, self.verifies, signature)

    def sign(self, text: bytes) -> bytes:
        """With the first of its algorithms. It has what `signs`."""
        return ALGORITHMS[self.algorithms[0]].sign(text, self.signs)


class Keys:
    """Those of the settings, which stay, and those of an issuer, which come and go."""

    __slots__ = ("fetched", "fixed")

    def __init__(self, fixed: Sequence[Key]) -> None:
        self.fixed = tuple(fixed)
        self.fetched: tuple[Key, ...] = ()

    def fitting(self, algorithm: str, kid: str | None) -> list[Key]:
        """The keys that may have signed a token. One without `kid` may be from an issuer that has a single key for the
        algorithm (OpenID Connect Core, section 10.1)."""
        fixed = [key for key in self.fixed if algorithm in key.algorithms and (kid is None or key.kid in (None, kid))]
        able = [key for key in self.fetched if algorithm in key.algorithms]
        fetched = [key for key in able if key.kid == kid] if kid is not None else able if len(able) == 1 else []
        return fixed + fetched

    def knows(self, kid: str | None) -> bool:
        """True if the issuer's keys have one of this name; for a token that names none, if there are any."""
        return any(key.kid == kid for key in self.fetched) if kid is not None else bool(self.fetched)


# --- HMAC secrets


def secret_key(text: str, algorithms: Iterable[str]) -> Key:
    """A secret for HMAC. Raises WrongKey for what is no secret, whatever its length; see `is_weak`."""
    found = _foreign(text)
    if found is not None:
        raise WrongKey(f"is {found}, and no secret: whoever knows a public key could sign tokens with it")
    secret = text.encode()
    named = tuple([name for name in algorithms if name in SHORTEST_SECRET_BYTES])
    return Key(None, named, secret, secret, hashlib.sha256(secret).digest())


def shortest_secret(algorithms: Iterable[str]) -> int:
    """Bytes that a secret needs for these; 0 where none of them takes one."""
    return max([SHORTEST_SECRET_BYTES.get(name, 0) for name in algorithms], default=0)


def _foreign(text: str) -> str | None:
    """What `text` is, where that is an asymmetric key or a certificate, or holds one."""
    bare = text.strip("\ufeff \t\r\n")
    if "-----BEGIN " in text:
        return "text in PEM form"
    if _SSH.match(bare):
        return "an SSH key"
    if _is_jwk(bare):
        return "JSON, as a JWK is"
    packed = re.sub(r"\s+", "", bare)
    try:
        if re.fullmatch("[0-9A-Fa-f]+", packed) and _is_der(bytes.fromhex(packed)):
            return "a key in DER form"
    except ValueError:
        pass  # an odd number of digits
    if re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", packed):
        plain = packed.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            unpacked = base64.b64decode(plain + "=" * (-len(plain) % 4))
        except ValueError:
            return None
        if _is_der(unpacked):
            return "a key in DER form"
        if b"-----BEGIN " in unpacked:
            return "text in PEM form"
        if _is_jwk(unpacked):
            return "JSON, as a JWK is"
    return None


def _is_jwk(text: str | bytes) -> bool:
    """True for any JSON object or list: a JWK, a set of them, whatever is around them."""
    try:
        return isinstance(orjson.loads(text), dict | list)
    except ValueError:
        return False


def _is_der(data: bytes) -> bool:
    readers: tuple[Callable[[bytes], object], ...] = (
        load_der_public_key,
        lambda der: load_der_private_key(der, None),
        x509.load_der_x509_certificate,
    )
    for read in readers:
        try:
            read(data)
        except UNREADABLE:
            continue
        return True
    return False


# --- asymmetric keys


def key_of_text(text: str, algorithms: Sequence[str]) -> Key:
    """A key in PEM form, or a JWK. Raises WrongKey."""
    bare = text.strip("\ufeff \t\r\n")
    if not bare.startswith("{"):
        return _bound(*_read_pem(bare.encode()), algorithms)
    try:
        jwk = orjson.loads(bare)
    except ValueError:
        raise WrongKey("is no JSON, though it begins as a JWK does") from None
    return key_of_jwk(jwk, algorithms)


def key_of_jwk(jwk: object, algorithms: Sequence[str]) -> Key:
    """A JWK, bound to its own `alg` where it has one. Raises WrongKey."""
    if not isinstance(jwk, dict):
        raise WrongKey("is no JSON object")
    kind = _JWK.get(jwk.get("kty")) if isinstance(jwk.get("kty"), str) else None
    if kind is None:
        raise WrongKey('is a JWK whose kty is none of "RSA", "EC" and "OKP"')
    if jwk.get("use", "sig") != "sig":
        raise WrongKey('is a JWK for something other than signatures (use is not "sig")')
    kid, algorithm = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
        raise WrongKey("is a JWK whose kid or alg is no text")
    try:
        key: Any = kind.from_jwk(jwk)
    except UNREADABLE:
        raise WrongKey("is a JWK that cannot be read") from None
    private = key if isinstance(key, PrivateKey) else None
    return _bound(key.public_key() if private else key, private, algorithms, kid=kid, algorithm=algorithm)


def _read_pem(pem: bytes) -> tuple[object, object | None]:
    """A public key, and the private one where it is that which is given."""
    try:
        if b"-----BEGIN CERTIFICATE" in pem:
            return x509.load_pem_x509_certificate(pem).public_key(), None
        if b"PRIVATE KEY-----" in pem:
            private = load_pem_private_key(pem, password=None)
            return private.public_key(), private
        return load_pem_public_key(pem), None
    except UNREADABLE:
        raise WrongKey("is no key in PEM form without a password, and no JWK") from None


def _bound(
    public: object,
    private: object | None,
    algorithms: Sequence[str],
    *,
    kid: str | None = None,
    algorithm: str | None = None,
) -> Key:
    """`public` for those `algorithms` of one family that it can do: the first family that is named.

    Where it says its own `algorithm`, for that one alone.
    """
    able, kind = _able(public)
    named = [name for name in algorithms if name in able and algorithm in (None, name)]
    if not named:
        wanted = algorithm if algorithm in able else able[0]
        raise WrongKey(f"is {kind}, and algorithms names none that it is for, like {wanted}", needs=wanted)
    family = tuple([name for name in named if name[:2] == named[0][:2]])
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # `_able` has told
    identity = hashlib.sha256(orjson.dumps([kid, family]) + der).digest()
    return Key(kid, family, public, private, identity)


def _able(public: object) -> tuple[tuple[str, ...], str]:
    """What a key can do, and what it is called. Raises WrongKey for one that is weak, or of no use here."""
    match public:
        case rsa.RSAPublicKey():
            if public.key_size not in RSA_BITS:
                raise WrongKey(f"is an RSA key of {public.key_size} bits; it needs {RSA_BITS[0]} to {RSA_BITS[-1]}")
            return tuple([name for name in ALGORITHMS if name[:2] in ("RS", "PS")]), "an RSA key"
        case ec.EllipticCurvePublicKey() if public.curve.name in _CURVES:
            return (_CURVES[public.curve.name],), f"a key on the curve {public.curve.name}"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return ("EdDSA",), "an Ed25519 or Ed448 key"
        case _:
            raise WrongKey("is a key of a kind that signs no tokens")

"""Is it a token of ours, is it valid now, and who does it say is asking? Pure: text, keys, rules and a time come in.

The text is taken apart and its JSON read here, and PyJWT is given only bytes and a signature to compare: so nothing is
decoded twice, nothing that a token says chooses how it is checked, and orjson bounds depth and numbers by itself (a
nesting of 1,024, no number beyond a double, no NaN). The order is the defence: length, form, header, signature, claims.
Source: RFC 7515, RFC 7519 section 4.1, RFC 8725, RFC 9068
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import orjson

from plugins.auth.tokens.keys import Key, Keys
from service.api import Principal

LONGEST_TOKEN: Final = 8 * 1024
"""Characters; more is refused before anything is decoded."""

LONGEST_KID: Final = 256
"""Characters (chosen)."""

LAST_SECOND: Final = 253_402_300_799
"""9999-12-31T23:59:59Z: what is later is no time that anyone has meant."""

REFUSED_HEADERS: Final = ("crit", "b64", "zip", "enc", "jku", "x5u", "jwk", "x5c")
"""Those that change what a token means, none of which is understood here, and those that bring a key along."""

USUAL_TYPES: Final = (None, "jwt", "at+jwt")
"""What `typ` may be where the settings name none."""

_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class Refused(Exception):
    """The token is not valid. The text says which check failed, for a log: nothing of the token is in it."""


class Expired(Refused):
    """It would be valid, had its time not come."""


class UnknownKey(Refused):
    """The issuer's keys, as far as they are known, have none that it could be signed with."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token has to say."""

    algorithms: frozenset[str]
    issuer: str | None
    audience: str | None
    leeway_s: float
    typ: str | None
    role_claim: str
    has_issuer_keys: bool
    """True where keys are fetched, so that one that is unknown may come."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token of the right form: nothing in it is to be believed."""

    algorithm: str
    kid: str | None
    signed: bytes
    payload: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """Who a valid token says is asking, and by what it can be told apart once it is remembered."""

    principal: Principal
    ends_at: float
    """From this second on it is expired, leeway included."""
    issued_at: float | None
    jti: str | None
    session: str | None
    """The login that it was made for: `sid` (OpenID Connect Back-Channel Logout 1.0, section 2.1)."""
    key: Key


def parse(token: str, rules: Rules) -> Unverified:
    """Take it apart. Raises Refused."""
    if len(token) > LONGEST_TOKEN:
        raise Refused("it is too long")
    found = _FORM.fullmatch(token)
    if found is None:
        raise Refused("it is not three parts of base64url")
    header = _json(found[1], "header")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise Refused("alg is none of the algorithms in the settings")
    for name in REFUSED_HEADERS:
        if name in header:
            raise Refused(f"its header has {name}")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= LONGEST_KID):
        raise Refused("kid is no short text")
    _check_type(header, rules)
    signature = _decoded(found[3], "signature")
    return Unverified(algorithm, kid, token[: found.end(2)].encode(), found[2], signature)


def verify(token: Unverified, keys: Keys, rules: Rules, now_s: float) -> Verified:
    """Raises Refused, of which Expired and UnknownKey are kinds."""
    for key in keys.fitting(token.algorithm, token.kid):
        if key.has_signed(token.signed, token.signature, token.algorithm):
            return _read(_json(token.payload, "payload"), rules, key, now_s)
    if rules.has_issuer_keys and not keys.knows(token.kid):
        raise UnknownKey("no key is known that could have signed it")
    raise Refused("its signature is wrong, or its kid is unknown")


def unverified_claims(token: str) -> Mapping[str, object]:
    """What it says, whoever has signed it: nothing in it is to be believed. Raises Refused."""
    found = _FORM.fullmatch(token) if len(token) <= LONGEST_TOKEN else None
    if found is None:
        raise Refused("it is not three parts of base64url, or too long")
    return _json(found[2], "payload")


def _decoded(text: str, what: str) -> bytes:
    """Bytes of base64url in its one spelling: other spellings of a signature would be other texts of one token."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise Refused(f"its {what} is no base64url") from None
    if urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise Refused(f"its {what} is no base64url")
    return data


def _json(text: str, what: str) -> dict[str, object]:
    try:
        value = orjson.loads(_decoded(text, what))
    except ValueError:
        raise Refused(f"its {what} is no JSON") from None
    if not isinstance(value, dict):
        raise Refused(f"its {what} is no JSON object")
    return value


def _check_type(header: Mapping[str, object], rules: Rules) -> None:
    """RFC 8725, section 3.11: a token of another kind, signed by the same key, is not taken for this one."""
    typ = header.get("typ")
    if not isinstance(typ, str | None):
        raise Refused("typ is no text")
    bare = None if typ is None else typ.lower().removeprefix("application/")
    if bare != rules.typ if rules.typ is not None else bare not in USUAL_TYPES:
        raise Refused("typ is that of another kind of token")


# --- claims


def _read(claims: dict[str, object], rules: Rules, key: Key, now_s: float) -> Verified:
    """What they say, if they are valid now. They are signed: what is absurd in them is a mistake of the issuer's."""
    expires = _instant(claims, "exp")
    issued = _instant(claims, "iat")
    begins = _instant(claims, "nbf")
    subject, jti, session = claims.get("sub"), claims.get("jti"), claims.get("sid")
    if expires is None:
        raise Refused("exp is missing")
    if not isinstance(subject, str) or not subject:
        raise Refused("sub is missing, or no text")
    if not isinstance(jti, str | None):
        raise Refused("jti is no text")
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        raise Refused("iss is another issuer")
    _check_audience(claims, rules)
    roles = _texts(claims, rules.role_claim)
    scopes = _texts(claims, "scope" if "scope" in claims else "scp", split=True)
    for name, instant in (("nbf", begins), ("iat", issued)):
        if instant is not None and instant > now_s + rules.leeway_s:
            raise Refused(f"{name} is in the future")
    ends_at = expires + rules.leeway_s
    if now_s >= ends_at:
        raise Expired("exp is past")
    principal = Principal(subject, roles, scopes, MappingProxyType(claims), "bearer")
    return Verified(principal, ends_at, issued, jti, session if isinstance(session, str) else None, key)


def _instant(claims: Mapping[str, object], name: str) -> float | None:
    """Seconds since the epoch. A boolean is an int in Python, and no time."""
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Refused(f"{name} is no time")
    if abs(value) > LAST_SECOND:
        raise Refused(f"{name} is no time")
    return float(value)


def _check_audience(claims: Mapping[str, object], rules: Rules) -> None:
    """RFC 7519, section 4.1.3: one that names an audience is for nobody else, also where the settings name none."""
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if named is None and "aud" not in claims:
        if rules.audience is not None:
            raise Refused("aud is missing")
    elif rules.audience is None:
        raise Refused("aud names an audience, and the settings none")
    elif not isinstance(named, list) or rules.audience not in named:
        raise Refused("aud is another audience")


def _texts(claims: Mapping[str, object], name: str, *, split: bool = False) -> frozenset[str]:
    """A text or a list of texts; `split` takes the text for several, with spaces between them (RFC 8693, 4.2)."""
    value = claims.get(name)
    if value is None:
        return frozenset()
    if isinstance(value, str):
        return frozenset(value.split(" ") if split else [value]) - {""}
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return frozenset(value) - {""}
    raise Refused(f"{name} is neither text nor a list of texts")

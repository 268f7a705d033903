"""A new token, as the settings want one: for `pegboard token`, and for whoever has logged in."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from plugins.auth.tokens.keys import Key

REGISTERED: Final = ("sub", "iss", "aud", "iat", "exp", "jti", "sid")
"""Claims that a token has of its own."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes tokens that the same settings accept."""

    key: Key
    """One that signs."""
    issuer: str | None
    audience: str | None
    typ: str | None
    role_claim: str

    def make(
        self,
        subject: str,
        *,
        roles: Sequence[str] = (),
        claims: Mapping[str, object],
        now_s: float,
        lives_s: float,
        session: str | None = None,
    ) -> str:
        """A token for `subject`, from now on for `lives_s` seconds, with further `claims` as they are.

        Each has a `jti` of its own; those of one login have the same `sid`. One role is text, several are a list.
        """
        header = {"alg": self.key.algorithms[0], "typ": self.typ or "JWT", "kid": self.key.kid}
        payload = {
            **claims,
            "sub": subject,
            "iss": self.issuer,
            "aud": self.audience,
            "iat": int(now_s),
            "exp": int(now_s + lives_s),
            "jti": uuid.uuid4().hex,
            "sid": session,
            self.role_claim: (roles[0] if len(roles) == 1 else list(roles)) if roles else None,
        }
        signed = f"{_json(header)}.{_json(payload)}"
        return f"{signed}.{_packed(self.key.sign(signed.encode()))}"


def _json(part: Mapping[str, object]) -> str:
    """Without what is absent."""
    return _packed(orjson.dumps({name: value for name, value in part.items() if value is not None}))


def _packed(data: bytes) -> str:
    """In base64url."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()

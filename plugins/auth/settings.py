"""[plugins.auth] and `auth = ...` for routes: what an operator can say about who may ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from plugins.auth.login.settings import LoginSettings
from plugins.auth.permissions.settings import EVERY_ROLE, NOT_OF_TOKENS, RoleRules
from plugins.auth.revocation.settings import RevocationSettings
from plugins.auth.tokens.keys import AlgorithmName
from service.api import Duration, PluginSettings, Secret, toml

Need = Literal["required", "optional", "none"]

LONGEST_LEEWAY = Duration("5m")
"""More would let tokens live on that have long expired (chosen; RFC 7519 speaks of a few minutes)."""

Text = Annotated[str, Field(min_length=1)]


def _short(leeway: Duration) -> Duration:
    if leeway > LONGEST_LEEWAY:
        raise ValueError(f"is for clocks that differ, and {LONGEST_LEEWAY} at most")
    return leeway


def _positive(expires: Duration) -> Duration:
    if expires.seconds < 1:
        raise ValueError("leaves a token no time at all")
    return expires


def _of_tokens(roles: tuple[str, ...]) -> tuple[str, ...]:
    for role in roles:
        if role in NOT_OF_TOKENS:
            right = [each for each in roles if each not in NOT_OF_TOKENS] or ["admin"]
            raise ValueError(f"has {toml(role)}, which is no role of a token; write: operator_roles = {toml(right)}")
    return roles


def _url(text: str) -> str:
    try:
        url = URL(text)
        is_url = url.scheme in ("https", "http") and bool(url.host)
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError('must be a URL like "https://issuer.example/.well-known/jwks.json"')
    if url.user is not None or url.password is not None or url.fragment:
        raise ValueError("has a user, password or fragment, which is not sent")
    return text


class RouteSettings(PluginSettings):
    need: Need | None = None
    """Who may ask this route: "required" is whoever says who they are, "optional" anyone, "none" anyone, without a
    token being looked at. `default` unless set; for operators' routes see `operator_roles`."""

    roles: tuple[Text, ...] = ()
    """Of whom one is needed: `auth = { roles = ["admin"] }`. With roles or scopes, `need` is "required" unless set."""

    scopes: tuple[Text, ...] = ()
    """All of which are needed."""

    @model_validator(mode="after")
    def _roles_are_of_somebody(self) -> Self:
        if EVERY_ROLE in self.roles:
            right = toml({"scopes": [*self.scopes]} if self.scopes else "required")
            raise ValueError(f'has the role "*", which everyone has; write: auth = {right} in place of it')
        return self

    @model_validator(mode="after")
    def _somebody_is_asked_for(self) -> Self:
        if self.need == "none" and (self.roles or self.scopes):
            raise ValueError('"none" looks at no token, so that nobody has roles or scopes; write: need = "required"')
        return self


class Settings(PluginSettings):
    default: Need = "required"
    """Who may ask routes that say nothing of it: "required" is whoever says who they are, "optional" anyone, but no
    token that is wrong, "none" anyone, without a token being looked at."""

    secret: Secret | None = None
    """For HS256, HS384 and HS512: whoever has it makes tokens. At least 32, 48 or 64 bytes. Where neither it nor `keys`
    nor `jwks` is set and `strict` is off, one is made and kept in `state_dir`."""

    old_secrets: tuple[Secret, ...] = ()
    """Secrets whose tokens are still accepted, while `secret` makes the new ones."""

    keys: tuple[Secret, ...] = ()
    """Keys of whoever makes tokens, for the other algorithms: each in PEM form or a JWK, as `{ file = "issuer.pem" }`.
    Public ones are enough; with a private one `pegboard token` can sign."""

    jwks: Annotated[
        str | None, AfterValidator(_url), Field(examples=["https://issuer.example/.well-known/jwks.json"])
    ] = None
    """Where an issuer publishes its public keys. Fetched at start and every 10 minutes, and when a token names one that
    is unknown, at most every 30 s; https, unless it is on this machine or `strict` is off."""

    algorithms: Annotated[tuple[AlgorithmName, ...], Field(min_length=1)] = ("HS256",)
    """What tokens may be signed with. Each key is bound to one family: by its own `alg`, else to the first of these
    that it can do; the first is what `pegboard token` signs with."""

    issuer: Annotated[Text | None, Field(examples=["https://issuer.example"])] = None
    """What `iss` of a token must be, letter by letter; anything unless set."""

    audience: Annotated[Text | None, Field(examples=["api"])] = None
    """What `aud` of a token must be, or have in its list. Unless set, only tokens without `aud` are accepted."""

    typ: Annotated[Text | None, Field(examples=["at+jwt"])] = None
    """What `typ` in the header of a token must be, without regard to case; nothing, JWT or at+jwt unless set."""

    leeway: Annotated[Duration, AfterValidator(_short)] = Duration("0s")
    """How far the clocks of issuer and service may differ, at most 5m: for `exp`, `nbf` and `iat`."""

    expires: Annotated[Duration, AfterValidator(_positive)] = Duration("24h")
    """How long tokens live that are made here."""

    role_claim: Text = "role"
    """The claim that has the roles: text, or a list of it. Scopes are in `scope` or `scp`."""

    operator_roles: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_of_tokens)] = ("admin",)
    """The roles that open operators' routes where these have no listener of their own (`[service] operator`). Where
    they have one, that guards them, and tokens are looked at only for those with `auth = "required"`."""

    roles: Annotated[Mapping[Text, RoleRules], Field(default_factory=dict)]
    """What principals with a role may do to tables: `[plugins.auth.roles.user.tables.users]`. `anonymous` is the role
    of whoever has not said who they are, `"*"` that of everyone."""

    remember: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """How many tokens a worker remembers, so that it checks the signature of each only once; and how many API keys."""

    api_keys: Annotated[bool | None, Field(examples=[False])] = None
    """Whether API keys are taken, which `pegboard key create` makes: where there is a database, unless set; true makes
    one required."""

    login: LoginSettings | None = None
    """Log in with a name and a password. Needs a database."""

    revocation: RevocationSettings = RevocationSettings()

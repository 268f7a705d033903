"""[plugins.auth.login]: the table that people log in against, and how hard guessing is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from plugins.auth.tokens.making import REGISTERED
from service.api import Duration, PluginSettings, Size

Text = Annotated[str, Field(min_length=1)]

KIBIBYTE: Final = 1024

MAX_CLAIMS: Final = 40
"""One function of PostgreSQL makes all of them of 100 arguments at most."""


def _a_while(duration: Duration) -> Duration:
    if duration.seconds < 1:
        raise ValueError("is less than a second")
    return duration


def _claims(claims: Mapping[str, str]) -> Mapping[str, str]:
    for name in claims:
        if name in REGISTERED:
            raise ValueError(f"has {name}, which is set by other means; remove it")
    return claims


class Attempts(PluginSettings):
    """[plugins.auth.login.attempts]"""

    account_and_address: Annotated[int, Field(ge=1, le=100)] = 5
    """Wrong passwords for one account from one address in `window`; from then on 429, the right one included."""

    address: Annotated[int, Field(ge=1, le=1000)] = 50
    """The same from one address for all accounts."""

    window: Annotated[Duration, AfterValidator(_a_while)] = Duration("15m")
    """How long a wrong password counts."""


class LoginSettings(PluginSettings):
    """[plugins.auth.login]: tables and columns go by their names in the database."""

    table: Annotated[str, Field(min_length=1, examples=["users"])]
    """The table or view that has the accounts."""

    schema_: Annotated[str, Field(alias="schema", min_length=1)] = "public"
    """The schema that it is in."""

    identifier: Text = "email"
    """The column with what people log in as: text, and different for each account. Clients send it in camelCase."""

    password: Text = "password_hash"  # noqa: S105  # a column
    """The column with the hash of their password, argon2id or argon2i. It is hidden from clients everywhere."""

    subject: Text | None = None
    """The column that becomes `sub`: different for each account, and never another's; the primary key unless set."""

    active: Annotated[Text | None, Field(examples=["is_active"])] = None
    """A boolean column: whoever has not true there does not log in, and cannot go on by a refresh token."""

    claims: Annotated[Mapping[str, Text], AfterValidator(_claims), Field(max_length=MAX_CLAIMS)] = {
        "userId": "id",
        "email": "email",
        "role": "role",
    }
    """What else a token says of its account: claim = "column". That of `role_claim` has the roles."""

    refresh_expires: Annotated[Duration, AfterValidator(_a_while)] = Duration("30d")
    """How long a refresh token is good for, once; each gives a new one, so this is how long somebody may be away."""

    memory: Size = Size("64MiB")
    """What one hash takes (argon2): the more, the less others can try in parallel."""

    time_cost: Annotated[int, Field(ge=1, le=100)] = 3
    """How often it goes over that memory."""

    parallelism: Annotated[int, Field(ge=1, le=64)] = 4
    """How many lanes it has. All three are RFC 9106's for a service; an account's hash is renewed at its next login."""

    hashing: Annotated[int, Field(ge=1, le=64)] = 2
    """How many passwords a worker hashes at once, beside the loop that serves; more wait, and too many get 503."""

    attempts: Attempts = Attempts()

    @model_validator(mode="after")
    def _is_enough(self) -> Self:
        least_kib = 8 * self.parallelism
        if self.memory.bytes < least_kib * KIBIBYTE:
            raise ValueError(f'parallelism = {self.parallelism} needs memory; write: memory = "{least_kib}KiB"')
        return self

    @property
    def memory_kib(self) -> int:
        return self.memory.bytes // KIBIBYTE

"""What login answers: `POST auth/token`, `auth/refresh`, `auth/logout`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp.hdrs import CACHE_CONTROL, WWW_AUTHENTICATE
from aiohttp.web import Request

from plugins.auth.login.accounts import Account, Accounts
from plugins.auth.login.bodies import read_texts
from plugins.auth.login.passwords import LONGEST_BYTES, Passwords
from plugins.auth.login.throttle import Throttle
from plugins.auth.schemes import Bearer
from plugins.auth.store.sessions import Refresh, Sessions
from plugins.auth.tokens.making import Maker
from plugins.auth.tokens.verifying import LONGEST_TOKEN
from service.api import (
    CLIENT,
    Answer,
    Clock,
    Database,
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    Route,
    ServiceError,
    Unavailable,
)

LONGEST_IDENTIFIER_BYTES: Final = 1024
LONGEST_TOKEN_BYTES: Final = 1024
"""Of a refresh token; ours have 43."""

PASSWORD: Final = "password"  # noqa: S105  # a field
TOKEN: Final = "refreshToken"  # noqa: S105

NOT_STORED: Final = ((CACHE_CONTROL, "no-store"),)
"""RFC 6749, section 5.1."""

CHALLENGE: Final[dict[str, str]] = {WWW_AUTHENTICATE: Bearer.challenge}

log = logging.getLogger("pegboard.auth")


class Login:
    """The handlers, with all that they need."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        passwords: Passwords,
        throttle: Throttle,
        sessions: Sessions,
        maker: Maker,
        clock: Clock,
        *,
        identifier: str,
        lives_s: float,
        refresh_lives_s: float,
    ) -> None:
        """`identifier` is the field that names an account."""
        self._database = database
        self._accounts = accounts
        self._passwords = passwords
        self._throttle = throttle
        self._sessions = sessions
        self._maker = maker
        self._now = clock.now
        self._identifier = identifier
        self._lives_s = lives_s
        self._refresh_lives_s = refresh_lives_s
        self._has_told: set[str] = set()

    def routes(self, instance: str) -> Iterable[Route]:
        """Nobody has a token to show here."""
        open_to_all = {instance: "none"}
        for name, handler, summary in (
            ("token", self._log_in, "Log in: a token for a name and a password"),
            ("refresh", self._refresh, "The next token for a refresh token"),
            ("logout", self._log_out, "End what a refresh token could go on with"),
        ):
            yield Route(
                "POST", f"auth/{name}", handler, name=f"{instance}.{name}", tags=("auth",), summary=summary,
                settings=open_to_all,
            )  # fmt: skip

    async def _log_in(self, request: Request) -> Answer:
        """Raises InvalidCredentials, the same for whatever is wrong, RateLimited, and what a body can be told."""
        said = await read_texts(request, {self._identifier: LONGEST_IDENTIFIER_BYTES, PASSWORD: LONGEST_BYTES})
        identifier, password = said[self._identifier], said[PASSWORD]
        attempt = await self._throttle.admit(identifier, request[CLIENT].address)
        account, stored = await self._accounts.named(self._database, identifier)
        try:
            verdict = await self._passwords.look(stored, password)
        except Unavailable:
            await self._throttle.was_none(attempt)
            raise
        if verdict == "unreadable":
            self._tell_once(
                f"An account of {self._accounts.table} has a password that is no hash of argon2id or argon2i, so "
                "nobody logs in with it; pegboard auth hash makes one."
            )
        if account is None or not account.is_active or verdict not in ("right", "outdated"):
            raise InvalidCredentials(f"The {self._identifier} or the password is wrong.", headers=CHALLENGE)
        await self._throttle.was_right(attempt)
        if verdict == "outdated":
            await self._renew_hash(account, stored, password)
        now_s = self._now()
        return self._tokens(account, await self._sessions.begin(account.subject, now_s), now_s)

    async def _refresh(self, request: Request) -> Answer:
        """Raises InvalidToken, the same for whatever is wrong."""
        said = await read_texts(request, {TOKEN: LONGEST_TOKEN_BYTES})
        now_s = self._now()
        try:
            renewed = await self._sessions.renew(said[TOKEN], now_s, self._accounts.active)
        except InvalidRequest:  # its subject is of a column that the settings named before, and of another type
            renewed = None
        if renewed is None:
            raise InvalidToken("The refresh token is not valid.", headers=CHALLENGE)
        refresh, account = renewed
        return self._tokens(account, refresh, now_s)

    async def _log_out(self, request: Request) -> Answer:
        """Whoever has the token, good or not, is rid of it, and of the access tokens that came with it."""
        said = await read_texts(request, {TOKEN: LONGEST_TOKEN_BYTES})
        await self._sessions.end(said[TOKEN])
        return Answer(204, headers=NOT_STORED)

    def _tokens(self, account: Account, refresh: Refresh, now_s: float) -> Answer:
        token = self._maker.make(
            account.subject,
            roles=account.roles,
            claims=account.claims,
            now_s=now_s,
            lives_s=self._lives_s,
            session=refresh.family,
        )
        if len(token) > LONGEST_TOKEN:
            self._tell_once(
                f"A token for an account of {self._accounts.table} is over {LONGEST_TOKEN:,} bytes long, so it is "
                "refused; name shorter columns in claims."
            )
        told: Mapping[str, object] = {
            "accessToken": token,
            "tokenType": "Bearer",
            "expiresIn": int(self._lives_s),
            "refreshToken": refresh.token,
            "refreshExpiresIn": int(self._refresh_lives_s),
        }
        return Answer.json(told, headers=NOT_STORED)

    async def _renew_hash(self, account: Account, stored: str, password: str) -> None:
        """What the settings ask of a hash has changed since; who logs in is not held up by what goes wrong."""
        if self._accounts.renewal is None:
            return
        try:
            made = await self._passwords.hash(password)
            await self._database.write(self._accounts.renewal, made, account.subject, stored)
        except ServiceError as error:
            self._tell_once(f"A password's hash could not be renewed: {error.message}")

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._has_told:
            self._has_told.add(sentence)
            log.warning("%s", sentence)

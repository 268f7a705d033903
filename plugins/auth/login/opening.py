"""Login put together, for as long as the service runs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from plugins.auth.login.accounts import open_accounts
from plugins.auth.login.handlers import PASSWORD, Login
from plugins.auth.login.passwords import Cost, Passwords
from plugins.auth.login.settings import LoginSettings
from plugins.auth.login.throttle import Throttle
from plugins.auth.store.failures import Failures
from plugins.auth.store.schema import need_schema
from plugins.auth.store.sessions import Sessions
from plugins.auth.tokens.making import Maker
from service.api import Database, Duration, Hidden, Run, Size

LEAST_MEMORY: Final = Size("7MiB")
"""Of a hash, for a strict service (OWASP Password Storage Cheat Sheet)."""


def cost_of(settings: LoginSettings | None) -> Cost:
    """What a hash costs; the usual where there is no login."""
    if settings is None:
        settings = LoginSettings(table="users")  # whichever: only the defaults are read
    return Cost(settings.time_cost, settings.memory_kib, settings.parallelism)


def hidden_by(settings: LoginSettings) -> Hidden:
    """What no client may see."""
    return Hidden(settings.schema_, settings.table, frozenset({settings.password}))


def check(settings: LoginSettings, run: Run) -> None:
    """Tells what needs no database to be seen."""
    if run.strict and settings.memory.bytes < LEAST_MEMORY.bytes:
        run.fault(
            ("login", "memory"), f"is {settings.memory}, less than {LEAST_MEMORY}, so hashes are guessed fast",
            write=str(LoginSettings.model_fields["memory"].default),
        )  # fmt: skip
    if field_of(settings.identifier) == PASSWORD:
        run.fault(("login", "identifier"), "is sent as password, which is another field", write="email")


@asynccontextmanager
async def open_login(
    settings: LoginSettings,
    run: Run,
    database: Database,
    maker: Maker,
    *,
    expires: Duration,
    revoke: Callable[[str], Awaitable[object]],
) -> AsyncIterator[Login | None]:
    """The handlers; None where the settings do not fit the database, which is told as faults. `revoke` has the access
    tokens of one login refused. Raises PluginError."""
    await need_schema(database, run)
    accounts = await open_accounts(database, settings, run, role_claim=maker.role_claim)
    if accounts is None:
        yield None
        return
    passwords = Passwords(cost_of(settings), threads=settings.hashing, name=f"pegboard passwords of {run.name}")
    failures = Failures(database, window_s=settings.attempts.window.seconds)
    try:
        yield Login(
            database,
            accounts,
            passwords,
            Throttle(failures, settings.attempts, run.clock),
            Sessions(database, lives_s=settings.refresh_expires.seconds, revoke=revoke),
            maker,
            run.clock,
            identifier=field_of(settings.identifier),
            lives_s=expires.seconds,
            refresh_lives_s=settings.refresh_expires.seconds,
        )
    finally:
        passwords.close()


def field_of(column: str) -> str:
    """What the column is called in JSON: `login_name` is `loginName`."""
    head, *tail = [word for word in re.split(r"[\W_]+", column) if word] or [column]
    return head[:1].lower() + head[1:] + "".join([word[:1].upper() + word[1:] for word in tail])

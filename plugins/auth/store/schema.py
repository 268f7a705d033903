"""The schema `pegboard` in PostgreSQL, made by `pegboard auth init` and by nothing else, the embedded server excepted.

Secrets are in it as digests only. Each of the tables is read and written in one module, which is named beside it.
"""

from __future__ import annotations

from typing import Final

from service.api import Database, Forbidden, PluginError, Run

SCHEMA: Final = "pegboard"

LOCK: Final = 7_360_105_011
"""Of the advisory lock, so that two who make the schema at once do not get in each other's way (chosen)."""

STATEMENTS: Final = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    # keys.py
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.api_keys (
        id text PRIMARY KEY,
        name text NOT NULL,
        digest bytea NOT NULL,
        roles text[] NOT NULL DEFAULT '{{}}',
        scopes text[] NOT NULL DEFAULT '{{}}',
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        revoked_at timestamptz
    )""",
    f"CREATE UNIQUE INDEX IF NOT EXISTS api_keys_name ON {SCHEMA}.api_keys (name) WHERE revoked_at IS NULL",
    # sessions.py: a family is one login, of which the newest token is the only one that is good
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.refresh_tokens (
        digest bytea PRIMARY KEY,
        family uuid NOT NULL,
        subject text NOT NULL,
        issued_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        used_at timestamptz
    )""",
    f"CREATE INDEX IF NOT EXISTS refresh_tokens_family ON {SCHEMA}.refresh_tokens (family)",
    f"CREATE INDEX IF NOT EXISTS refresh_tokens_subject ON {SCHEMA}.refresh_tokens (subject)",
    f"CREATE INDEX IF NOT EXISTS refresh_tokens_expires_at ON {SCHEMA}.refresh_tokens (expires_at)",
    # failures.py: what is lost with a crash of the server is a count of 15 minutes
    f"""CREATE UNLOGGED TABLE IF NOT EXISTS {SCHEMA}.login_failures (
        who bytea PRIMARY KEY,
        failed_at timestamptz[] NOT NULL,
        ends_at timestamptz NOT NULL
    )""",
    f"CREATE INDEX IF NOT EXISTS login_failures_ends_at ON {SCHEMA}.login_failures (ends_at)",
    # revocations.py
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.revocations (
        kind text NOT NULL CHECK (kind IN ('token', 'session', 'subject', 'everyone')),
        value text NOT NULL,
        issued_before timestamptz NOT NULL,
        ends_at timestamptz NOT NULL,
        PRIMARY KEY (kind, value)
    )""",
    f"CREATE INDEX IF NOT EXISTS revocations_ends_at ON {SCHEMA}.revocations (ends_at)",
)

_HAS: Final = """
    SELECT to_json(EXISTS (
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2
    ))
"""
"""Not to_regclass, which fails where the role may not use the schema."""

_LAST: Final = "revocations"
"""What is made last, in the same transaction as all else."""


async def has_schema(database: Database) -> bool:
    """True where it was made."""
    return await database.fetch_json(_HAS, SCHEMA, _LAST) == b"true"


async def make_schema(database: Database) -> None:
    """Make what is not there yet, all of it or nothing. Raises PluginError where the role may not."""
    try:
        async with database.transaction() as transaction:
            await transaction.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            for statement in STATEMENTS:
                await transaction.execute(statement)
    except Forbidden:
        raise PluginError(
            f"the role that connects to the database may not make the schema {SCHEMA}; as its owner, run: "
            f"CREATE SCHEMA {SCHEMA} AUTHORIZATION name_of_the_role;"
        ) from None


async def need_schema(database: Database, run: Run) -> None:
    """It has to be there, unless the server is this service's own, where the start makes it. Raises PluginError."""
    if not database.is_own and not await has_schema(database):
        raise PluginError(
            f"plugin {run.name} keeps what it must not forget in the schema {SCHEMA}, which the database lacks; "
            "make it: pegboard auth init"
        )

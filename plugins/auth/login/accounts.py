"""The operator's table of accounts: what its columns are, and the statements that read one account.

The table and its columns are looked up once, when the service starts; what the settings name and the database lacks is
a fault of the settings. Values of a client go into statements as parameters only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import orjson

from plugins.auth.login.settings import LoginSettings
from service.api import Database, Run, listed, nearest, toml

RELATIONS: Final = "('r', 'p', 'v', 'm', 'f')"
"""What can be selected from: tables, views, foreign tables (`pg_class.relkind`)."""

LOOK: Final = f"""SELECT json_build_object(
    'schemas', ARRAY(SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
    'tables', ARRAY(SELECT relname FROM pg_class WHERE relnamespace = schema.oid AND relkind IN {RELATIONS}),
    'columns', coalesce((
        SELECT json_object_agg(attname, json_build_object(
            'type', format_type(coalesce(nullif(type.typbasetype, 0), type.oid), -1),
            'category', type.typcategory,
            'is_readable', has_column_privilege(attrelid, attnum, 'SELECT'),
            'is_writable', has_column_privilege(attrelid, attnum, 'UPDATE')
        ) ORDER BY attnum)
        FROM pg_attribute JOIN pg_type AS type ON type.oid = atttypid
        WHERE attrelid = accounts.oid AND attnum > 0 AND NOT attisdropped
    ), '{{}}'),
    'key', ARRAY(
        SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
        WHERE indrelid = accounts.oid AND indisprimary
    )
)
FROM (SELECT 1) AS one
LEFT JOIN pg_namespace AS schema ON schema.nspname = $1
LEFT JOIN pg_class AS accounts ON accounts.relnamespace = schema.oid AND accounts.relname = $2
    AND accounts.relkind IN {RELATIONS}"""  # noqa: S608  # our own
"""The schemas, the tables of the schema $1, and the columns of its table $2 with the primary key."""

TEXT: Final = "S"
BOOLEAN: Final = "B"
ARRAY: Final = "A"
KINDS: Final = {TEXT: "text", BOOLEAN: "boolean"}
"""Categories of types (`pg_type.typcategory`)."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table."""

    type: str
    """As SQL, a domain's own type, without limits."""
    category: str
    is_readable: bool
    is_writable: bool


@dataclass(frozen=True, slots=True)
class Account:
    """One row of it, without the hash."""

    subject: str
    claims: Mapping[str, object]
    """Those that are not NULL, the roles excepted."""
    roles: tuple[str, ...]
    is_active: bool


class Reads(Protocol):
    """A database, or a transaction."""

    async def fetch_json(self, sql: str, *args: object) -> bytes | None: ...


class Accounts:
    """Reads accounts. Made by `open_accounts`."""

    def __init__(
        self, settings: LoginSettings, columns: Mapping[str, Column], subject: str, *, role_claim: str
    ) -> None:
        self.table = settings.table
        relation = f"{_quoted(settings.schema_)}.{_quoted(settings.table)}"
        name, key, secret = columns[settings.identifier], columns[subject], columns[settings.password]
        claims = ", ".join(
            f"{_literal(claim)}, {_shown(column, columns[column], as_text=claim == role_claim)}"
            for claim, column in settings.claims.items()
        )
        active = f"coalesce(account.{_quoted(settings.active)}, false)" if settings.active else "true"
        account = f"""SELECT account.{_quoted(subject)}::text AS subject, {active} AS active,
            coalesce(account.{_quoted(settings.password)}::text, '') AS hash, json_build_object({claims}) AS claims
            FROM (SELECT 1) AS one LEFT JOIN {relation} AS account ON account."""  # noqa: S608  # quoted names
        # One row comes back whether there is an account or not: the same work. Two would be two accounts.
        self._by_name = f"SELECT json_agg(found) FROM ({account}{_is(settings.identifier, name)} LIMIT 2) AS found"  # noqa: S608
        self._by_subject = f"SELECT json_agg(found) FROM ({account}{_is(subject, key)} LIMIT 2) AS found"  # noqa: S608
        password = _quoted(settings.password)
        self.renewal = (
            f"UPDATE {relation} SET {password} = $1 WHERE {_is(subject, key, '$2')} AND {password} = $3"  # noqa: S608
            if secret.is_writable
            else None
        )
        """What sets another hash ($1) for a subject ($2) whose hash is still $3; None where the role may not."""
        self._role_claim = role_claim

    async def named(self, database: Reads, identifier: str) -> tuple[Account | None, str]:
        """The account of who logs in as that, if there is exactly one, and its hash, or an empty text."""
        return self._only(await database.fetch_json(self._by_name, identifier))

    async def active(self, database: Reads, subject: str) -> Account | None:
        """The account that a token was made for, as it is now; None where it is no longer there, or not active."""
        account, _ = self._only(await database.fetch_json(self._by_subject, subject))
        return account if account is not None and account.is_active else None

    def _only(self, body: bytes | None) -> tuple[Account | None, str]:
        found = orjson.loads(body or b"[]")
        if len(found) != 1 or found[0]["subject"] is None:
            return None, ""
        row = found[0]
        claims = {name: value for name, value in row["claims"].items() if value is not None}
        said = claims.pop(self._role_claim, None)
        roles = [said] if isinstance(said, str) else said or []
        account = Account(row["subject"], claims, tuple([role for role in roles if role]), row["active"])
        return account, row["hash"]


async def open_accounts(database: Database, settings: LoginSettings, run: Run, *, role_claim: str) -> Accounts | None:
    """The table as the database has it; None where the settings do not fit it, which is told as faults of them."""
    told = orjson.loads(await database.fetch_json(LOOK, settings.schema_, settings.table) or b"{}")
    finding = _Finding(settings, run, {name: Column(**facts) for name, facts in told["columns"].items()})
    if not told["columns"]:
        finding.no_table(told["schemas"], told["tables"])
        return None
    finding.check("identifier", settings.identifier, category=TEXT)
    finding.check("password", settings.password, category=TEXT)
    if settings.active is not None:
        finding.check("active", settings.active, category=BOOLEAN)
    finding.check_claims()
    subject = settings.subject
    if subject is not None:
        finding.check("subject", subject)
    elif len(told["key"]) == 1:
        subject = told["key"][0]
    else:
        finding.blame(
            "subject",
            f"is missing, and {settings.table} has no primary key of one column to take in its place",
            write=settings.identifier,
        )
    if finding.has_faults or subject is None:
        return None
    return Accounts(settings, finding.columns, subject, role_claim=role_claim)


class _Finding:
    """Compares the settings with the table."""

    def __init__(self, settings: LoginSettings, run: Run, columns: Mapping[str, Column]) -> None:
        self.columns = columns
        self.has_faults = False
        self._settings = settings
        self._run = run

    def blame(self, setting: str, message: str, *, write: object) -> None:
        self.has_faults = True
        self._run.fault(("login", setting), message, write=write)

    def no_table(self, schemas: Collection[str], tables: Collection[str]) -> None:
        schema, table = self._settings.schema_, self._settings.table
        if schema not in schemas:
            meant = nearest(schema, schemas)
            self.blame("schema", f"the database has no schema {toml(schema)}; {_hint(meant, schemas)}", write=meant)
        else:
            meant = nearest(table, tables)
            message = f"names {toml(table)}, which schema {schema} lacks; {_hint(meant, tables)}"
            self.blame("table", message, write=meant)

    def check(self, setting: str, name: str, *, category: str | None = None) -> None:
        """The column is there, may be read, and is of the category."""
        reason = self._reason(name, category)
        if reason:
            self.blame(setting, f"names {toml(name)}, {reason}", write=self._meant(name, category))

    def check_claims(self) -> None:
        messages, right = [], {}
        for claim, name in self._settings.claims.items():
            reason = self._reason(name)
            if reason is None and name == self._settings.password:
                reason = "which is secret"
            meant = name if reason is None else self._meant(name)
            if meant and meant != self._settings.password:
                right[claim] = meant
            if reason:
                messages.append(f"names {toml(name)}, {reason}")
        for message in messages:
            self.blame("claims", message, write=right)

    def _reason(self, name: str, category: str | None = None) -> str | None:
        column = self.columns.get(name)
        if column is None:
            meant = nearest(name, self.columns)
            return f"which {self._settings.table} lacks; {_hint(meant, self.columns)}"
        if not column.is_readable:
            return "which the database role may not read; grant SELECT to it"
        if category is not None and column.category != category:
            return f"of type {column.type}, which is no {KINDS[category]}"
        return None

    def _meant(self, name: str, category: str | None = None) -> str | None:
        """What is most likely meant, and can be."""
        return nearest(name, [each for each in self.columns if self._reason(each, category) is None])


def _hint(meant: str | None, there: Collection[str]) -> str:
    return f"did you mean {toml(meant)}?" if meant else f"it has {listed(sorted(there))}"


def _is(name: str, column: Column, parameter: str = "$1") -> str:
    """Compares as the column does: citext without regard to case."""
    return f"{_quoted(name)} = CAST({parameter}::text AS {column.type})"


def _shown(name: str, column: Column, *, as_text: bool) -> str:
    """The value of a claim; roles are texts whatever their column is."""
    cast = f"::text{'[]' if column.category == ARRAY else ''}" if as_text else ""
    return f"account.{_quoted(name)}{cast}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """As PostgreSQL reads it whatever standard_conforming_strings says."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"

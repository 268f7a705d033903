"""What PostgreSQL refuses and what its driver cannot do, as answers: the one table from SQLSTATE to ServiceError.

Clients get a sentence of ours and, where a constraint tells, the columns; never SQL, names of constraints, or
PostgreSQL's own words, which hold values of rows. Columns go by their names in the database.
Source: PostgreSQL, Appendix A "PostgreSQL Error Codes"; the statuses are compared with PostgREST's in the issue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
from asyncpg.exceptions._base import DataError as BindError  # not exported: the public name is taken by class 22

from service.api import (
    Conflict,
    Detail,
    Forbidden,
    InternalError,
    InvalidBody,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    SchemaChanged,
    ServiceError,
    Timeout,
    Unavailable,
)

RETRY_AFTER = {"Retry-After": "1"}
"""One second: a lost database is back within a few, a full pool sooner (chosen)."""

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.PostgresWarning,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""All that a call of the driver may raise, besides being cancelled. `OSError` has refused and broken connections, and
`TimeoutError`: no answer at all. `PostgresWarning` is an error that a function raised with the code of a warning; it
takes no notes."""

FOREIGN_KEY_VIOLATION = "23503"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one SQLSTATE, or a whole class of them, becomes."""

    error: type[ServiceError]
    message: str
    detail: str = ""
    """What is said of each column of the constraint; nothing is said where this is empty."""
    way_out: str = ""
    """For the log: what the operator can do."""


LOST = Rule(Unavailable, "The database cannot be reached just now.")
BUSY = Rule(Unavailable, "The database is busy.")
TOO_SLOW = Rule(Timeout, "The database took too long to answer.")
COLLISION = Rule(Conflict, "Another change got in the way; try again.")
BAD_VALUE = Rule(InvalidRequest, "A value does not fit the type or size of its field.")
STILL_USED = Rule(Conflict, "Other rows still refer to this one.")
NO_PARENT = Rule(
    InvalidBody, "A value refers to something that does not exist.", "refers to something that does not exist"
)
UNSURE = Rule(
    OutcomeUnknown, "The database was lost while the change was made: it may have been made. Look before trying again."
)
REFUSED = Rule(InvalidBody, "A rule of the database refused this.")
FORBIDDEN = Rule(Forbidden, "The database does not allow this.")
ELSEWHERE = Rule(Unavailable, "Something that the database asks elsewhere cannot be reached just now.")
CHANGED = Rule(Unavailable, "The database was changed just now; try again.")
UNKNOWN = Rule(InternalError, "The database refused this request for a reason that is not the caller's.")

OTHERWISE = Rule(SchemaChanged, UNKNOWN.message)

TABLE: Mapping[str, Rule] = {
    # a class (two characters) stands for every SQLSTATE in it that has no line of its own
    "08": LOST,  # connection exceptions; raised while the connection stands, ELSEWHERE: see `rule_for`
    "22": BAD_VALUE,  # data exceptions; 22P02 is text that is not of its type
    "23001": STILL_USED,  # ON DELETE RESTRICT, from PostgreSQL 18
    "23502": Rule(InvalidBody, "A required value is missing.", "is required"),
    FOREIGN_KEY_VIOLATION: NO_PARENT,  # or STILL_USED: see `rule_for`
    "23505": Rule(Conflict, "A row with this value exists already.", "is taken already"),
    "23514": Rule(InvalidBody, "A value is not allowed.", "is not allowed"),
    "23P01": Rule(Conflict, "A row that excludes this one exists already.", "collides with another row"),
    "25006": Rule(
        Unavailable, "The database takes no changes just now."
    ),  # read-only: a standby, or an operator's choice
    "28": LOST,  # the role that we connect as was changed while serving: ours; raised by a function, FORBIDDEN
    "3D000": LOST,  # the database is gone
    "40001": COLLISION,  # serialization failure
    "40P01": COLLISION,  # deadlock
    "42703": OTHERWISE,  # no such column
    "42804": OTHERWISE,  # a value of another type
    "42883": OTHERWISE,  # no such operator: the types are others
    "42P01": OTHERWISE,  # no such table
    "42501": FORBIDDEN,
    "44000": Rule(InvalidBody, "A row with these values would not be seen here."),  # WITH CHECK OPTION of a view
    "53": BUSY,  # out of connections, memory or disk
    "54": Rule(InvalidBody, "A value is too large to be stored.", "is too large to be stored"),  # in an index, say
    "55000": Rule(
        Unavailable,
        "This cannot be read yet; try again later.",
        way_out="a materialised view that has never been filled needs REFRESH MATERIALIZED VIEW",
    ),
    "55P03": COLLISION,  # a lock was not to be had
    "57014": TOO_SLOW,  # statement_timeout, or cancelled by an operator
    "57P": LOST,  # shutting down, starting up, terminated by an operator
    "P0": REFUSED,  # RAISE in a trigger or function; SELECT INTO STRICT that finds no row, or several
    "P0000": UNKNOWN,  # PL/pgSQL's own
    "P0004": UNKNOWN,  # ASSERT, which is there for mistakes
    "PT": REFUSED,  # PostgREST's convention for RAISE: PT and the status, as far as a rule can mean it
    "PT403": FORBIDDEN,
    "PT404": Rule(NotFound, "A rule of the database says that this is not there."),
    "PT409": Rule(Conflict, "A rule of the database says that this cannot be done now."),
    "PT5": UNKNOWN,
    "PT503": Rule(Unavailable, "The database cannot do this just now."),
}
"""SQLSTATE, or how it begins, to what it becomes. Anything else is `UNKNOWN`: 500; but see `rule_for`."""

OF_POSTGRESQL = re.compile("0[012389ABFLPZ]|10|2[0-8BDF]|3[489BDF]|4[024]|5[34578]|72|F0|HV|P0|XX")
"""The classes that PostgreSQL has a use for. All others are somebody's own, raised on purpose."""

COLLISIONS = frozenset({"40001", "40P01"})
"""What passes when the same statement runs again."""


def sqlstate(error: BaseException | None) -> str:
    """The five characters, or nothing for errors that did not come from PostgreSQL."""
    code = getattr(error, "sqlstate", None)
    return code if isinstance(code, str) else ""


def rule_for(error: BaseException, sql: str) -> Rule:
    """The line of the table for an error of `DRIVER_ERRORS` that `sql` met."""
    if is_outdated(error):
        return CHANGED
    code = sqlstate(error)
    if code == FOREIGN_KEY_VIOLATION:
        # Both directions have one code and the child's table. The verb decides; for an UPDATE, which can fail either
        # way, and for WITH, PostgreSQL's words do, where they are English.
        removes = sql.lstrip()[:6].upper() == "DELETE" or str(error).startswith("update or delete")
        return STILL_USED if removes else NO_PARENT
    for length in (5, 3, 2):
        rule = TABLE.get(code[:length]) if code else None
        if rule is not None:
            break
    else:
        if isinstance(error, BindError):
            return BAD_VALUE
        if code and (not OF_POSTGRESQL.match(code) or place(error).endswith(" RAISE")):
            return REFUSED
        rule = LOST if isinstance(error, OSError) else UNKNOWN  # TimeoutError is one too
    if rule is LOST and getattr(error, "severity_en", None) == "ERROR":  # of a lost connection it would be FATAL
        return FORBIDDEN if code[:2] == "28" else ELSEWHERE
    return rule


def place(error: BaseException) -> str:
    """The function of the operator's in which PostgreSQL met the error: `PL/pgSQL function judge() line 2 at RAISE`.

    Nothing where it was in none. Other lines of this context hold statements and values.
    """
    context = getattr(error, "context", None)
    lines = context.splitlines() if isinstance(context, str) else []
    return next((line for line in lines if line.startswith(("PL/pgSQL", "SQL function"))), "")


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that the same statement may succeed on another one."""
    return rule_for(error, "") is LOST


def is_outdated(error: BaseException) -> bool:
    """Whether a prepared statement or a type has changed under us; asyncpg has forgotten it by now."""
    return isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError)


def answer_for(error: BaseException, sql: str, columns: tuple[str, ...]) -> ServiceError:
    """The error to raise in place of `error`; `columns` are those of the constraint that refused."""
    rule = rule_for(error, sql)
    details = [Detail(column, rule.detail) for column in columns] if rule.detail else []
    message = rule.message
    if rule.detail and not details:
        message = f"{message.removesuffix('.')}; the database does not say which value it is."
    return rule.error(message, details=details, headers=RETRY_AFTER if rule.error is Unavailable else None)

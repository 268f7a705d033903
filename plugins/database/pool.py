"""The Database port over lent connections: reads, writes, transactions, and what happens when the database is lost.

What goes wrong with a connection, and what the caller gets:

    lost before it answered   a read is repeated once on another connection, then 503 with Retry-After; a write may have
                              been made, so it is not repeated: 503, which says so
    no answer at all          given up after the statement's own timeout and a second of grace, connection dropped
    no connection to be had   503 with Retry-After after `acquire`
    caller cancelled          the statement is cancelled in PostgreSQL, the connection goes back or is dropped
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TypeVar

import asyncpg

from plugins.database.constraints import Constraints
from plugins.database.lending import AllLent, Lender, Lent, drop, is_closed
from plugins.database.listening import Subscriptions
from plugins.database.opening import GRACE_S, TOO_MANY_CONNECTIONS, Connector, WrongSetting, reason
from plugins.database.sqlstate import (
    BUSY,
    COLLISIONS,
    DRIVER_ERRORS,
    LOST,
    RETRY_AFTER,
    UNSURE,
    answer_for,
    is_lost,
    is_outdated,
    place,
    rule_for,
    sqlstate,
)
from service.api import Alarm, Conflict, PluginError, ServiceError, Transaction, Unavailable

ATTEMPTS = 3
"""How often a read is tried that another transaction, or a change of the schema, got in the way of (chosen)."""

CLOSE_S = 2.0
"""How long closing may take: nothing is running any more (chosen)."""

T = TypeVar("T")

log = logging.getLogger("pegboard.database")


class Postgres:
    """`service.api.Database`. Made by `open_database`."""

    def __init__(
        self,
        lender: Lender,
        connector: Connector,
        constraints: Constraints,
        *,
        write_s: float,
        count_s: float,
        alarm: Alarm,
        say: Callable[[str], None],
        is_own: bool,
    ) -> None:
        self.is_own = is_own
        self._lender = lender
        self._connector = connector
        self._subscriptions = Subscriptions(connector)
        self._constraints = constraints
        self._write_s = write_s
        self._count_s = count_s
        self._begin_count = f"BEGIN READ ONLY; SET LOCAL statement_timeout = {round(count_s * 1000)}"
        self._begin = f"BEGIN; SET LOCAL statement_timeout = {round(write_s * 1000)}"
        self._alarm = alarm
        self._say = say
        self._is_lost = False

    # --- the port

    async def fetch_json(self, sql: str, *args: object) -> bytes | None:
        rows = await self._read(sql, args)
        return rows[0][0] if rows else None

    async def fetch(self, sql: str, *args: object) -> Sequence[Mapping[str, object]]:
        return [dict(row) for row in await self._read(sql, args)]

    async def count(self, sql: str, *args: object) -> int | None:
        async def counted(lent: Lent) -> int | None:
            """The transaction, and with it the timeout, ends before the connection goes back."""
            await lent.execute(self._begin_count)
            try:
                number: int | None = await lent.fetchval(sql, *args, timeout=self._count_s + GRACE_S)
            except asyncpg.QueryCanceledError:
                number = None
            await lent.execute("ROLLBACK")
            return number

        connection, number = await self._on_live_connection(sql, counted)
        self._lender.give_back(connection)
        return number

    async def write(self, sql: str, *args: object) -> bytes | None:
        """One round trip, in which PostgreSQL commits by itself.

        Connections have the read timeout. A write that this one ends has changed nothing, and runs again in a
        transaction, which has its own: two more round trips, for the few that take so long.
        """
        is_brief = self._connector.read_s <= self._write_s
        attempt = 1
        while True:
            try:
                if is_brief:
                    return await self._write_briefly(sql, args)
                async with self.transaction() as transaction:
                    return await transaction.fetch_json(sql, *args)
            except asyncpg.QueryCanceledError:
                is_brief = False
            except ServiceError as error:
                if attempt == ATTEMPTS or sqlstate(error.__cause__) not in COLLISIONS:
                    raise
                attempt += 1

    async def _write_briefly(self, sql: str, args: Sequence[object]) -> bytes | None:
        """Raises QueryCanceledError where the read timeout was too short, ServiceErrors for all else."""
        connection = await self._borrow()
        try:
            rows = await connection.fetch(sql, *args)
        except BaseException as error:
            lost = _drop_if_mute(connection, error)
            await self._lender.clean_up(connection)
            is_too_brief = isinstance(error, asyncpg.QueryCanceledError) and self._connector.read_s < self._write_s
            if is_too_brief or not isinstance(error, DRIVER_ERRORS):
                raise
            raise await self.answer(error, sql, lost=lost, is_unsure=True) from error
        self._lender.give_back(connection)
        if self._is_lost:
            self._found()
        return rows[0][0] if rows else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        connection, _ = await self._on_live_connection(self._begin, lambda lent: lent.execute(self._begin))
        work = Work(self, connection, timeout_s=self._write_s + GRACE_S)
        try:
            yield work
            await work.commit()
        except BaseException:
            await self._lender.clean_up(connection)
            raise
        self._lender.give_back(connection)

    def listen(
        self,
        channel: str,
        receive: Callable[[str], None],
        *,
        begun: Callable[[], None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
    ) -> AbstractAsyncContextManager[None]:
        return self._subscriptions.listening(channel, receive, begun=begun, lost=lost)

    # --- running

    async def _borrow(self) -> Lent:
        """A live connection. Raises Unavailable after `acquire_s`, or at once where connecting fails at once."""
        try:
            return await self._lender.borrow()
        except DRIVER_ERRORS as error:
            if isinstance(error, AllLent) or rule_for(error, "") is BUSY:
                raise Unavailable(BUSY.message, headers=RETRY_AFTER) from None
            raise self._lost(error) from error

    async def _read(self, sql: str, args: Sequence[object]) -> Sequence[asyncpg.Record]:
        connection, rows = await self._on_live_connection(sql, lambda lent: lent.fetch(sql, *args))
        self._lender.give_back(connection)
        return rows

    async def _on_live_connection(self, sql: str, run: Callable[[Lent], Awaitable[T]]) -> tuple[Lent, T]:
        """Borrow a connection and run `sql`, which changes nothing, in it; it stays lent.

        Repeated once where the connection turns out to be dead, and where something got in the way. Raises
        ServiceErrors.
        """
        attempt = 1
        while True:
            connection = await self._borrow()
            try:
                result = await run(connection)
            except BaseException as error:
                lost = _drop_if_mute(connection, error)
                await self._lender.clean_up(connection)
                if not isinstance(error, DRIVER_ERRORS):
                    raise
                again = attempt == 1 if lost else attempt < ATTEMPTS and _got_in_the_way(error)
                if isinstance(error, TimeoutError) or not again:
                    raise await self.answer(error, sql, lost=lost) from error
                attempt += 1
            else:
                if self._is_lost:
                    self._found()
                return connection, result

    # --- errors

    async def answer(self, error: BaseException, sql: str, *, lost: bool, is_unsure: bool = False) -> ServiceError:
        """The error for the client in place of the driver's. The log gets the SQLSTATE, without values of rows.

        `is_unsure` says that PostgreSQL may have committed by now.
        """
        if isinstance(error, TimeoutError):
            answer = self._lost(error)
            return UNSURE.error(UNSURE.message, headers=RETRY_AFTER) if is_unsure else answer
        if lost:  # this connection alone, perhaps: whether the database is, the next borrower finds out
            log.warning("A connection to the database broke (%s).", sqlstate(error) or type(error).__name__)
            return (
                UNSURE.error(UNSURE.message, headers=RETRY_AFTER)
                if is_unsure
                else LOST.error(LOST.message, headers=RETRY_AFTER)
            )
        if not self._constraints.knows(error):
            await self._reload_constraints(error)
        answer = answer_for(error, sql, self._constraints.columns(error))
        code = sqlstate(error)
        if isinstance(error, asyncpg.PostgresError):
            error.add_note(f"SQLSTATE {code}")
            if where := place(error):
                error.add_note(where)
            error.detail = None  # "Failing row contains (...)"
        if answer.status > 500:
            way_out = f"; {way_out}" if (way_out := rule_for(error, sql).way_out) else ""
            log.warning("SQLSTATE %s: answered with %d%s", code or type(error).__name__, answer.status, way_out)
        return answer

    async def _reload_constraints(self, error: BaseException) -> None:
        """With a connection of its own: the caller may hold the last one of the pool, in a transaction that failed."""
        with suppress(*DRIVER_ERRORS):
            connection = await self._connector.connect()
            try:
                await self._constraints.load(connection)
            finally:
                connection.terminate()
        self._constraints.forget_unknown(error)

    def _lost(self, error: BaseException) -> ServiceError:
        self._alarm.ring()
        if not self._is_lost:
            self._is_lost = True
            place = self._connector.place
            self._say(f"database {place} is lost ({reason(error, place)}): answering 503 until it is back")
        return LOST.error(LOST.message, headers=RETRY_AFTER)

    def _found(self) -> None:
        self._is_lost = False
        self._say(f"database {self._connector.place} is back")


class Work:
    """`service.api.Transaction`: one connection between BEGIN and COMMIT."""

    def __init__(self, database: Postgres, connection: Lent, *, timeout_s: float) -> None:
        self._database = database
        self._connection = connection
        self._timeout_s = timeout_s

    async def fetch(self, sql: str, *args: object) -> Sequence[Mapping[str, object]]:
        return [dict(row) for row in await self._run(sql, args)]

    async def fetch_json(self, sql: str, *args: object) -> bytes | None:
        rows = await self._run(sql, args)
        return rows[0][0] if rows else None

    async def execute(self, sql: str, *args: object) -> None:
        await self._run(sql, args)

    async def commit(self) -> None:
        """Raises Conflict where a statement failed and the caller went on: PostgreSQL then rolls back, silently."""
        try:
            done = await self._connection.execute("COMMIT", timeout=self._timeout_s)
        except DRIVER_ERRORS as error:
            raise await self._failure(error, "COMMIT", is_unsure=True) from error
        if done != "COMMIT":
            raise Conflict("The change was not made, since a part of it was refused.")

    async def _run(self, sql: str, args: Sequence[object]) -> Sequence[asyncpg.Record]:
        try:
            rows: Sequence[asyncpg.Record] = await self._connection.fetch(sql, *args, timeout=self._timeout_s)
        except DRIVER_ERRORS as error:
            raise await self._failure(error, sql) from error
        return rows

    async def _failure(self, error: BaseException, sql: str, *, is_unsure: bool = False) -> ServiceError:
        lost = _drop_if_mute(self._connection, error)
        return await self._database.answer(error, sql, lost=lost, is_unsure=is_unsure)


def _drop_if_mute(connection: Lent, error: BaseException) -> bool:
    """Whether the connection is lost. One that gave no answer in time cannot be used again, so it is dropped."""
    if isinstance(error, TimeoutError):
        drop(connection)
    return is_lost(error) or is_closed(connection)


def _got_in_the_way(error: BaseException) -> bool:
    """Whether the same read may succeed at once: another transaction collided with it, or the schema has changed."""
    return sqlstate(error) in COLLISIONS or is_outdated(error)


def _said_already(record: logging.LogRecord) -> bool:
    """Drops the tracebacks with which asyncpg tells, every second, that the database is lost: we say it once."""
    return not record.getMessage().startswith("Failed to restore")


async def _as_it_is(connection: asyncpg.Connection) -> None:
    """In place of asyncpg's reset on release, a round trip that costs more than most queries."""


@asynccontextmanager
async def open_database(
    connector: Connector,
    *,
    min_size: int,
    max_size: int,
    idle_s: float,
    acquire_s: float,
    write_s: float,
    count_s: float,
    first: asyncpg.Connection,
    alarm: Alarm,
    say: Callable[[str], None],
    is_own: bool = False,
) -> AsyncIterator[Postgres]:
    """The port over a pool, closed with the block. `first` is a connection to read the catalogue with.

    Raises PluginError with one sentence, WrongSetting where PostgreSQL has too few connections.
    """
    constraints = Constraints()
    pool = asyncpg.create_pool(
        connect=connector.for_pool,
        min_size=min_size,
        max_size=max_size,
        max_queries=sys.maxsize,  # a reconnect would only throw away prepared statements
        max_inactive_connection_lifetime=idle_s,
        reset=_as_it_is,
    )
    try:
        await constraints.load(first)
        await pool
    except DRIVER_ERRORS as error:
        message = f"cannot open pool.min = {min_size} connections to {connector.place}: "
        message += reason(error, connector.place)
        way_out = "lower pool.min, or allow more connections there"
        if sqlstate(error) == TOO_MANY_CONNECTIONS:
            raise WrongSetting("pool", "min", message=message, write=min_size // 2, otherwise=way_out) from None
        raise PluginError(f"{message}; {way_out}.") from None
    lender = Lender(pool, max_size=max_size, acquire_s=acquire_s)
    logging.getLogger("asyncpg.pool").addFilter(_said_already)
    try:
        yield Postgres(
            lender,
            connector,
            constraints,
            write_s=write_s,
            count_s=count_s,
            alarm=alarm,
            say=say,
            is_own=is_own,
        )
    finally:
        logging.getLogger("asyncpg.pool").removeFilter(_said_already)
        try:
            async with asyncio.timeout(CLOSE_S):
                await lender.close()
                await pool.close()
        except TimeoutError:
            pool.terminate()

"""Ways to Redis: connections that are all alike, greeted before use; and, in plain words, why there is none.

They are redis-py's connections without its client and its pool: those cost 1.5 to 3 times as much for each command, and
bound the time of each part of it rather than of the whole.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from redis import exceptions
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection

from plugins.redis.urls import EXAMPLE, Address, Kind, Login, Target, Tls
from service.api import Reply

FLOOR = (6, 2)
"""The oldest version that is taken: what plugins send is tried with it."""

DRIVER_ERRORS = (exceptions.RedisError, OSError)
"""All that a call of the driver may raise, besides being cancelled. `OSError` has `TimeoutError` too."""

T = TypeVar("T")

Connect = Callable[[], Coroutine[object, object, AbstractConnection]]
"""Gives a new connection, greeted. Raises `DRIVER_ERRORS` and Unusable."""


class Unusable(Exception):
    """It answers, and is not what the URL says, or not fit to be used."""

    def __init__(self, words: str, *, write: str | None = None) -> None:
        """`write` is a URL that may be right, where someone has to correct it; None where waiting may help."""
        super().__init__(words)
        self.words = words
        self.write = write


class TlsConnection(Connection):
    """One TLS context for all connections: to make one reads every certificate that the machine believes."""

    def __init__(self, *, context: ssl.SSLContext, **options: object) -> None:
        self._context = context
        super().__init__(**options)  # type: ignore[arg-type]

    def _connection_arguments(self) -> dict[str, object]:
        return {**super()._connection_arguments(), "ssl": self._context}


class Dialer:
    """Makes connections to the servers of one target."""

    def __init__(self, target: Target, *, connect_s: float) -> None:
        """Raises Unusable where a certificate or key that the URL names cannot be read."""
        self.target = target
        self.connect_s = connect_s
        """How long making one may take, greeting included."""
        self.version = ""
        """Of the server greeted last; empty before the first, and where it may not be asked."""
        self._context = _context(target.tls) if target.tls else None

    async def dial(self, address: Address, *, takes_changes: bool = True) -> AbstractConnection:
        """A connection to a server that holds data and, unless that does not matter, takes changes.

        Raises `DRIVER_ERRORS`, Unusable.
        """
        connection = self._make(address, self.target.login, db=self.target.db, client_name="pegboard")
        async with self._opening(connection):
            await connection.connect()  # type: ignore[no-untyped-call]
            await self.greet(connection, takes_changes=takes_changes)
        return connection

    async def dial_sentinel(self, address: Address) -> AbstractConnection:
        """Raises `DRIVER_ERRORS`, Unusable."""
        connection = self._make(address, self.target.sentinel_login)
        async with self._opening(connection):
            await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    @asynccontextmanager
    async def _opening(self, connection: AbstractConnection) -> AsyncIterator[None]:
        """Drops it where it cannot be opened in time, and says why as plainly as can be known here."""
        try:
            async with asyncio.timeout(self.connect_s):
                yield
        except BaseException as error:
            is_open = connection.is_connected
            await drop(connection)
            if isinstance(error, exceptions.ConnectionError) and isinstance(error.__cause__, exceptions.RedisError):
                raise error.__cause__ from None  # as redis-py has it from a socket of this machine
            if isinstance(error, TimeoutError) and self._context and not is_open:
                raise Unusable("no answer in TLS") from None
            if reason(error) == CLOSED and isinstance(connection, Connection) and not self._context:
                raise Unusable(f"{CLOSED}; where it speaks TLS, the url begins with rediss") from None
            raise

    async def greet(self, connection: AbstractConnection, *, takes_changes: bool = True) -> None:
        """Whether it answers, does not load its data, and is what the URL says. Raises `DRIVER_ERRORS`, Unusable."""
        await ask(connection, "PING")
        try:
            told = await ask(connection, "HELLO")
        except exceptions.NoPermissionError:
            return  # it may not be asked, so it is believed
        except exceptions.ResponseError as error:
            if "unknown command" not in str(error):
                raise
            told = [b"version", b"0"]
        assert isinstance(told, list)  # noqa: S101  # so HELLO answers
        facts = {_text(name): _text(value) for name, value in zip(told[::2], told[1::2], strict=True)}
        self.version = facts.get("version", "0")
        if tuple(int(part) for part in self.version.split(".")[:2] if part.isdigit()) < FLOOR:
            told_version = f"version {self.version}" if self.version != "0" else "older than version 6"
            raise Unusable(f"it is {told_version}, and 6.2 is the oldest that is taken", write=EXAMPLE)
        if (mode := facts.get("mode", self.target.kind)) != _served_by(self.target.kind):
            raise Unusable(WRONG_MODES.get(mode, f"it runs in mode {mode}"), write=WRITE.get(mode, EXAMPLE))
        if takes_changes and facts.get("role", "master") != "master":
            raise Unusable("it is a replica, which takes no changes")

    def _make(self, address: Address, login: Login, **more: object) -> AbstractConnection:
        options: dict[str, object] = {
            **more,
            "username": login.username,
            "password": login.password,
            "driver_info": None,
            "protocol": 2,
            "socket_timeout": None,  # the time that things take is ours to bound
            "socket_connect_timeout": None,
        }
        if isinstance(address, str):
            return UnixDomainSocketConnection(path=address, **options)
        options |= {"host": address[0], "port": address[1]}
        return TlsConnection(context=self._context, **options) if self._context else Connection(**options)  # type: ignore[arg-type]


WRONG_MODES = {
    "standalone": "it is no part of a cluster",
    "cluster": "it is a part of a cluster",
    "sentinel": "it is a Sentinel, which holds no data",
}
WRITE = {
    "standalone": EXAMPLE,
    "cluster": "redis+cluster://user:password@host:6379,host:6379",
    "sentinel": "redis+sentinel://user:password@host:26379,host:26379/mymaster/0",
}


def _served_by(kind: Kind) -> str:
    return "cluster" if kind is Kind.CLUSTER else "standalone"


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError:
        raise Unusable("a certificate or key that the url names cannot be read", write=EXAMPLE) from None
    if not tls.verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def ask(connection: AbstractConnection, *command: str | bytes | int) -> Reply:
    """One command on a connection that nobody else uses."""
    await connection.send_command(*command)
    reply: Reply = await connection.read_response()
    return reply


async def first_of(attempts: Iterable[Coroutine[object, object, T]]) -> T:
    """What the first gives that succeeds; the others are cancelled. Raises what the last of them raised."""
    trying = [asyncio.ensure_future(attempt) for attempt in attempts]
    last: BaseException = Unusable("there is nobody to ask")
    try:
        for each in asyncio.as_completed(trying):
            try:
                return await each
            except (*DRIVER_ERRORS, Unusable) as error:
                last = error
        raise last
    finally:
        for task in trying:
            task.cancel()
        await asyncio.gather(*trying, return_exceptions=True)


async def drop(connection: AbstractConnection) -> None:
    """Close it at once; this does not wait.

    Closing as redis-py does it waits until what was written has left, which it never does where nobody reads.
    """
    if (transport := transport_of(connection)) is not None:
        transport.abort()
    await connection.disconnect(nowait=True)


def transport_of(connection: AbstractConnection) -> asyncio.WriteTransport | None:
    """What it writes to, as long as it is open."""
    return connection._writer.transport if connection._writer is not None else None


# --- what went wrong

CLOSED = "it closed the connection"


def is_mistake(error: BaseException) -> bool:
    """Whether trying again cannot help: someone has to correct something."""
    if isinstance(error, Unusable):
        return error.write is not None
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError) or _has_no_such_db(error):
        return True
    return any(isinstance(each, ssl.SSLError | PermissionError) for each in _chain(error))


def _has_no_such_db(error: BaseException) -> bool:
    return isinstance(error, exceptions.ResponseError) and "DB index" in str(error)


def reason(error: BaseException) -> str:
    """Why it cannot be used, in a few plain words. They never hold what was sent."""
    text = str(error)
    match error:
        case Unusable():
            return error.words
        case exceptions.AuthenticationError() if "without any password" in text:
            return "the url has a password, and it wants none"
        case exceptions.AuthenticationError() if "required" in text or "already authenticated" in text:
            return "it wants a password"
        case exceptions.AuthenticationError():
            return "wrong user or password"
        case exceptions.NoPermissionError():
            return "the user may not use it"
        case exceptions.BusyLoadingError():
            return "it is loading its data"
        case exceptions.ConnectionError() if "max number of clients" in text:
            return "it has too many connections"
        case exceptions.ResponseError() if _has_no_such_db(error):
            return "there is no database of that number"
        case exceptions.ResponseError():
            return f"it answers {code_of(error)}"
    for each in _chain(error):
        match each:
            case ssl.SSLCertVerificationError():
                return f"TLS: {each.verify_message}"
            case ssl.SSLError():
                return f"TLS: {each.reason or 'the handshake failed'}"
            case socket.gaierror():
                return "there is no such host"
            case ConnectionRefusedError():
                return "connection refused"
            case FileNotFoundError():
                return "there is no socket"
            case TimeoutError() | exceptions.TimeoutError():
                return "no answer"
            case OSError() if each.strerror:
                return each.strerror
    return CLOSED if isinstance(error, exceptions.ConnectionError) else "no answer that makes sense"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """What led to it: redis-py raises errors of its own in place of the system's. Errors may lead to each other."""
    seen: set[BaseException] = set()
    while error is not None and error not in seen:
        yield error
        seen.add(error)
        error = error.__cause__ or error.__context__


def code_of(error: exceptions.RedisError) -> str:
    """The word with which Redis begins an error: `OOM`, `READONLY`. What follows may hold what was sent."""
    code: str = error.status_code or str(error).partition(" ")[0]
    return code if code.isupper() and code.isalpha() else "ERR"

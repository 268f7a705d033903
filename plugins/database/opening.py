"""Ways to a database: what a URL names, connections that are all alike, and patience while it starts.

What goes wrong on the way is told to the operator in plain words; the URL itself, which may hold a password, never is.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from plugins.database.sqlstate import DRIVER_ERRORS, sqlstate
from service.api import DependencyError, PluginError

STATEMENTS_CACHED = 512
"""Prepared statements kept by each connection: list queries differ by their filters (chosen; asyncpg has 100)."""

GRACE_S = 1.0
"""How much longer we wait than PostgreSQL may take: its own timeout comes first unless it does not answer at all."""

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 3.0
"""Between attempts: doubled each time from the first to the longest, and jittered by half (chosen)."""

LOCAL = "the local socket"
"""The address where a URL names none."""

STARTING_UP = "57P03"
TOO_MANY_CONNECTIONS = "53300"

PLAIN_WORDS = {
    "28P01": "wrong password",
    "3D000": "there is no such database",
    "42501": "the user may not connect to this database",
    TOO_MANY_CONNECTIONS: "it has too many connections",
    STARTING_UP: "it is starting up or shutting down",
}


EXAMPLE = "postgresql://user:password@host:5432/name"

UNDERSTOOD = (
    f"a URL of PostgreSQL looks like {EXAMPLE}, with special characters percent-encoded: "
    "# is %23, / is %2F, ? is %3F, @ is %40"
)

_HOST = r"(?:\[[0-9A-Fa-f:.]*\]|[^\[\]:,]*)(?::[0-9]*)?"
_HOSTS = re.compile(rf"{_HOST}(?:,{_HOST})*")


@dataclass(frozen=True, slots=True)
class Place:
    """What may be shown of a URL."""

    address: str
    """`host:port`, several with commas, or the folder of a socket."""
    database: str
    user: str

    @classmethod
    def of(cls, url: str) -> Place:
        """Raises ValueError for what is no URL of PostgreSQL's."""
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError("scheme")
        userinfo, at, hosts = parts.netloc.rpartition("@")
        # Any of these is a password with a bare #, / or ? in it, of which no part may be taken for a host and shown.
        if parts.fragment or "@" in parts.path or (not at and "@" in parts.query) or not _HOSTS.fullmatch(hosts):
            raise ValueError("unescaped")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        default_port = query.get("port", "5432")
        address = ",".join(_with_port(host, default_port) for host in (query.get("host") or unquote(hosts)).split(","))
        return cls(
            address,
            query.get("dbname") or query.get("database") or unquote(parts.path.lstrip("/")),
            query.get("user") or unquote(userinfo.partition(":")[0]),
        )

    @property
    def is_local(self) -> bool:
        """Whether it is a socket on this machine."""
        return self.address.startswith("/") or self.address == LOCAL

    def __str__(self) -> str:
        apart = ", database " if self.is_local else "/"
        return f"{self.address}{apart}{self.database}" + (f" as {self.user}" if self.user else "")


def _with_port(host: str, port: str) -> str:
    if not host:
        return LOCAL
    has_port = host.rpartition("]")[2].count(":") == 1
    return host if host.startswith("/") or has_port else f"{host}:{port}"


class WrongSetting(PluginError):
    """PostgreSQL does not take what a setting says: trying again cannot help."""

    def __init__(self, *path: str, message: str, write: object, otherwise: str) -> None:
        """`otherwise` is the way out where the setting is not what led here."""
        super().__init__(f"{message}; {otherwise}.")
        self.path = path
        """Below [plugins.database]."""
        self.message = message
        self.write = write


class Connector:
    """Makes connections to one database, all alike.

    Session settings are given while connecting and never changed afterwards, so that a connection can be handed from
    one request to the next without a reset. Of type `json`, text passes as bytes, both ways.
    """

    def __init__(self, url: str, *, connect_s: float, read_s: float) -> None:
        """Raises PluginError for a URL that is not understood."""
        try:
            self.place = Place.of(url)
        except ValueError:
            raise PluginError(f"the URL of the database is not understood: {UNDERSTOOD}.") from None
        self._url = url
        self._connect_s = connect_s
        self.read_s = read_s
        """PostgreSQL's statement_timeout on these connections."""

    async def connect(self, name: str = "pegboard") -> asyncpg.Connection:
        """A new connection, called `name` in PostgreSQL. Raises what asyncpg raises, TimeoutError after `connect_s`."""
        connection: asyncpg.Connection = await asyncpg.connect(
            self._url,
            timeout=self._connect_s,
            command_timeout=self.read_s + GRACE_S,
            statement_cache_size=STATEMENTS_CACHED,
            max_cached_statement_lifetime=0,
            server_settings={
                "application_name": name,
                "timezone": "UTC",
                "statement_timeout": str(round(self.read_s * 1000)),
                "jit": "off",
            },
        )
        try:
            await connection.set_type_codec(
                "json", schema="pg_catalog", format="binary", encoder=_unchanged, decoder=_unchanged
            )
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def for_pool(self, *_: object, **__: object) -> asyncpg.Connection:
        """`connect`, as `create_pool(connect=...)` calls it."""
        return await self.connect()


def _unchanged(text: bytes) -> bytes:
    return text


async def connect_patiently(
    connector: Connector, *, patience_s: float, say: Callable[[str], None]
) -> asyncpg.Connection:
    """The first connection: retried for `patience_s` where that may help. Raises WrongSetting, DependencyError."""
    delay_s = FIRST_DELAY_S
    last: BaseException = TimeoutError()
    try:
        async with asyncio.timeout(patience_s):
            while True:
                try:
                    return await connector.connect()
                except (*DRIVER_ERRORS, ValueError) as error:
                    if is_permanent(error, connector.place):
                        raise WrongSetting(
                            "url",
                            message=f"cannot connect to {connector.place}: {reason(error, connector.place)}",
                            write=EXAMPLE,
                            otherwise="correct the url",
                        ) from None
                    if delay_s == FIRST_DELAY_S:
                        say(f"waiting for PostgreSQL at {connector.place}: {reason(error, connector.place)}")
                    last = error
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                delay_s = min(delay_s * 2, LONGEST_DELAY_S)
    except TimeoutError:
        raise DependencyError(
            f"no connection to {connector.place} within {patience_s:g}s: {reason(last, connector.place)}; "
            "start PostgreSQL there, or correct the url."
        ) from None


def is_permanent(error: BaseException, place: Place) -> bool:
    """Whether trying again cannot help: someone has to correct something."""
    code = sqlstate(error)
    if code:
        return code[:2] in ("28", "3D", "42", "22")
    if isinstance(error, ssl.SSLError | asyncpg.InterfaceError | PermissionError):
        return True
    if isinstance(error, FileNotFoundError):
        return not place.is_local
    return isinstance(error, ValueError) or (isinstance(error, ConnectionError) and "SSL" in str(error))


def reason(error: BaseException, place: Place) -> str:
    """Why there is no connection, in a few plain words."""
    code = sqlstate(error)
    if code:
        return PLAIN_WORDS.get(code) or str(error).splitlines()[0]
    match error:
        case ssl.SSLCertVerificationError():
            return f"TLS: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason or 'the handshake failed'}"
        case ConnectionError() if "SSL" in str(error):
            return "TLS: the server does not offer it, or is no PostgreSQL"
        case socket.gaierror():
            return "there is no such host"
        case ConnectionRefusedError():
            return "connection refused"
        case FileNotFoundError():
            return "there is no socket" if place.is_local else "a certificate or key that the url names is not there"
        case TimeoutError():
            return "no answer"
        case OSError():
            return error.strerror or "the network failed"
        case asyncpg.InterfaceError() | ValueError():
            return "the url is not understood"
    return "no answer that makes sense"

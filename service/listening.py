"""Where the service listens: addresses, the sockets bound to them, and TLS.

The supervisor binds and keeps the sockets; workers get copies, so that all of them and every generation share one
queue of connections (with SO_REUSEPORT a leaving worker would reset what waits in its own).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import ssl
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from service.errors import StartError
from service.settings import ServiceSettings

BACKLOG: Final = 1_024
"""Connections that may wait to be accepted (chosen; the kernel caps it at net.core.somaxconn)."""

MAIN: Final = "main"
OPERATOR: Final = "operator"
"""The listeners that there may be."""

UNIX: Final = "unix:"

SO_ATTACH_FILTER: Final = 26
"""asm-generic/socket.h; Python's socket module does not have it."""

NO_SYN: Final = ctypes.create_string_buffer(
    b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (0x30, 0, 0, 13),  # load the byte of the TCP header that holds the flags
            (0x45, 0, 1, 0x02),  # SYN?
            (0x06, 0, 0, 0),  # then drop it
            (0x06, 0, 0, 0xFFFF_FFFF),  # everything else is kept
        )
    )
)
"""A classic BPF program for a listening socket (Linux, Documentation/networking/filter.rst)."""

EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 (looked for, not listened on)


class ListenError(StartError):
    """The address cannot be listened on."""

    exit_code = os.EX_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port, or the path of a unix socket."""

    setting: str
    """What sets it, for messages: `service.host`."""
    host: str = ""
    port: int = 0
    path: Path | None = None
    mode: int = field(default=0o600, compare=False)
    """Who may connect to a unix socket, as of a file: it takes the right to write."""

    def __str__(self) -> str:
        return str(self.path.absolute()) if self.path is not None else f"port {self.port} on {self.host}"


def addresses(service: ServiceSettings, folder: Path) -> Mapping[str, Address]:
    """The address of each listener; a relative path is below `folder`."""
    if service.listen is not None:
        path = folder / service.listen.removeprefix(UNIX)
        main = Address("service.listen", path=path, mode=int(service.socket_mode, 8))
    else:
        main = Address("service.host", service.host, service.port)
    if service.operator is None:
        return {MAIN: main}
    return {MAIN: main, OPERATOR: Address("service.operator.host", service.operator.host, service.operator.port)}


def is_local(address: Address) -> bool:
    """Whether nobody but this machine can connect; a name other than `localhost` may mean anything."""
    if address.path is not None or address.host == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False


def bind(address: Address) -> socket.socket:
    """A socket bound to the address, not yet listening. Raises ListenError with the way out."""
    if address.path is not None:
        return _bind_path(address, address.path)
    host, port = address.host, address.port
    try:
        family, kind, proto, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        raise ListenError(
            f'{address.setting}: {host!r} is no address of this machine ({reason}); write: host = "127.0.0.1"'
        ) from error
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(where)
    except OSError as error:
        sock.close()
        raise ListenError(_why_not(error, address)) from error
    sock.setblocking(False)
    return sock


def listen(sock: socket.socket, address: Address) -> None:
    """Begin to listen: before, nobody can connect to a unix socket, whatever its mode. Raises ListenError where another
    process, which had bound it as well, listens already."""
    try:
        if address.path is not None:
            address.path.chmod(address.mode)
        sock.listen(BACKLOG)
    except OSError as error:
        raise ListenError(_why_not(error, address)) from error


def turn_away(sock: socket.socket) -> None:
    """Let nobody else begin to connect; who has begun still may, and can be accepted.

    Closing alone resets whoever connects between the last look at the queue and the close. A client that begins now is
    refused once the socket is closed, or taken by whoever listens there by then: its system asks again after a second.
    For all copies of the socket. Elsewhere than on Linux TCP has no such thing, and the moment before the close stays.
    """
    if sock.family == socket.AF_UNIX:
        with suppress(OSError):  # another worker has done it
            sock.shutdown(socket.SHUT_RD)
    elif sys.platform == "linux":
        program = struct.pack("HP", len(NO_SYN) // struct.calcsize("HBBI"), ctypes.addressof(NO_SYN))
        with suppress(OSError):  # a kernel or a sandbox without it
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def _why_not(error: OSError, address: Address) -> str:
    if address.path is not None:
        reason = os.strerror(error.errno) if error.errno else "the path is too long for a unix socket"
        return (
            f"service.listen: cannot listen on {address.path}: {reason}; name a short path in a folder that is yours, "
            'as in listen = "unix:/run/pegboard/pegboard.sock"'
        )
    host, port = address.host, address.port
    option = "--port {}" if address.setting == "service.host" else "service.operator.port, as in port = {}"
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65_535 else 3000
        return f"port {port} on {host} is taken by another process; stop it, or choose another: {option.format(other)}"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges that this user lacks; choose one above 1023: {option.format(3000)}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f'{address.setting}: {host!r} is no address of this machine; write: host = "127.0.0.1"'
    reason = os.strerror(error.errno or 0)
    return f"cannot listen on {host} port {port}: {reason}; choose another with --host and --port"


def _bind_path(address: Address, path: Path) -> socket.socket:
    """A unix socket at the path of the address; one that a service left behind is taken over."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        if _is_left_behind(path):
            path.unlink(missing_ok=True)
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            taken = "is a file that is there already" if not path.is_socket() else "is taken by another process"
            raise ListenError(f'{path} {taken}; choose another, as in listen = "unix:{path}-2"') from error
        raise ListenError(_why_not(error, address)) from error
    sock.setblocking(False)
    return sock


def _is_left_behind(path: Path) -> bool:
    """True for a socket that nobody listens on."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


@dataclass(frozen=True, slots=True)
class _Open:
    """A socket that is bound, and maybe listens."""

    address: Address
    sock: socket.socket
    file: tuple[int, int] | None
    """Which file a unix socket is: another service may have put its own in that place since."""
    lineage: object
    """The same for all copies of one socket."""

    def copy(self, address: Address) -> _Open:
        return _Open(address, self.sock.dup(), self.file, self.lineage)

    @property
    def can_be_found(self) -> bool:
        """False for a unix socket whose file is not there any more: nobody finds the way to it."""
        try:
            return self.address.path is None or _identity(self.address.path) == self.file
        except OSError:
            return False


class Listeners:
    """The listening sockets of the service, by name; kept by the supervisor."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def change(self, wanted: Mapping[str, Address]) -> Listeners:
        """Listeners at these addresses: sockets that are open already are shared, others are bound. Raises ListenError,
        and then nothing has changed."""
        new = Listeners()
        try:
            for name, address in wanted.items():
                known = self._open.get(name)
                if known is not None and known.address == address and known.can_be_found:
                    new._open[name] = known.copy(address)
                else:
                    sock = bind(address)
                    file = None if address.path is None else _identity(address.path)
                    new._open[name] = _Open(address, sock, file, lineage=object())
        except ListenError as error:
            new.remove_paths(but=self)
            new.close()
            ours = [each.address for each in self._open.values()]
            own = [each for each in ours if each.path is None and each.port == address.port]
            if address.path is None and own:
                raise ListenError(
                    f"{address.setting}: port {address.port} on {address.host} overlaps with port {own[0].port} on "
                    f"{own[0].host}, where this service listens now; restart it to move from one to the other."
                ) from error
            raise
        except OSError as error:
            new.remove_paths(but=self)
            new.close()
            raise ListenError(f"no socket can be opened ({error.strerror}); raise ulimit -n.") from error
        return new

    def listen(self) -> None:
        """Begin to listen on all of them. Raises ListenError."""
        # A unix socket that is kept may get another mode, so it comes last: nothing has changed where another fails.
        for each in sorted(self._open.values(), key=lambda each: each.address.path is not None):
            listen(each.sock, each.address)

    @property
    def names(self) -> list[str]:
        return list(self._open)

    @property
    def addresses(self) -> list[Address]:
        """Where they are, with the port that each has been given."""
        return [
            each.address if each.address.path is not None else replace(each.address, port=each.sock.getsockname()[1])
            for each in self._open.values()
        ]

    def kept_by(self, others: Listeners) -> list[str]:
        """Names of those of which `others` have a copy."""
        lineages = {name: each.lineage for name, each in others._open.items()}
        return [name for name, each in self._open.items() if lineages.get(name) is each.lineage]

    @property
    def sockets(self) -> list[socket.socket]:
        return [each.sock for each in self._open.values()]

    def socket(self, name: str) -> socket.socket:
        return self._open[name].sock

    def close(self) -> None:
        """Close our copies; those of workers are theirs."""
        for sock in self.sockets:
            sock.close()

    def remove_paths(self, *, but: Listeners | None = None) -> None:
        """Remove the files of unix sockets, unless they are those of `but` too."""
        kept = {each.file for each in but._open.values()} if but is not None else set()
        for each in self._open.values():
            if each.address.path is not None and each.file not in kept and each.can_be_found:
                with suppress(OSError):
                    each.address.path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode."""
    found = path.lstat()
    return found.st_dev, found.st_ino


def base_url(sock: socket.socket, *, secure: bool = False) -> str:
    """The URL at which a client on this machine finds what listens on `sock`."""
    scheme = "https" if secure else "http"
    if sock.family == socket.AF_UNIX:
        return f"{scheme}://localhost"
    host, port = sock.getsockname()[:2]
    if host in EVERYWHERE:
        host = "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def tls_context(service: ServiceSettings, folder: Path) -> ssl.SSLContext | None:
    """What TLS connections are made with; None where they are not. Raises StartError for files that do not serve."""
    if service.tls is None:
        return None
    cert, key = folder / service.tls.cert, folder / service.tls.key
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("cert", cert), ("key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise StartError(
                f"service.tls.{name}: {path} cannot be read ({error.strerror}); name a file that this user can read: "
                f'{name} = "/etc/ssl/example.{"crt" if name == "cert" else "key"}"'
            ) from error
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise StartError(
            f"service.tls: {cert} and {key} are no certificate and its key ({_plainly(error)}); name a certificate "
            "chain and its unencrypted key, both in PEM form"
        ) from error
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _plainly(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "not in PEM form"
    return str(error)

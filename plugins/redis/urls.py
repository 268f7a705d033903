"""What a URL of Redis names: one server, a master that Sentinels know, or a cluster. Nothing is opened here.

    redis://user:password@host:6379/0          rediss:// speaks TLS, here and below
    unix:///run/redis/redis.sock?db=0
    redis+sentinel://user:password@host:26379,host:26379/NAME/0?sentinel_password=...
    redis+cluster://user:password@host:6379,host:6379

The URL may hold passwords, so no part of one that is not understood is ever shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

EXAMPLE = "redis://user:password@host:6379/0"

UNDERSTOOD = (
    f"a URL of Redis looks like {EXAMPLE}, rediss://host for TLS, unix:///path/redis.sock, "
    "redis+sentinel://host:26379,host:26379/NAME or redis+cluster://host:6379,host:6379, "
    "with special characters percent-encoded: # is %23, / is %2F, ? is %3F, @ is %40"
)

_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:,]+)(?::[0-9]+)?"
_HOSTS = re.compile(rf"{_HOST}(?:,{_HOST})*")

Address = tuple[str, int] | str
"""Host and port, or the path of a socket."""


class Kind(StrEnum):
    SINGLE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


SCHEMES = {
    "redis": (Kind.SINGLE, False),
    "rediss": (Kind.SINGLE, True),
    "unix": (Kind.SINGLE, False),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
}
"""What each stands for, and whether it speaks TLS."""

DEFAULT_PORTS = {Kind.SINGLE: 6379, Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}

OF_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
OF_SENTINEL = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """Who we are to a server, where it asks."""

    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Tls:
    """Files are PEM. They are looked for when the connection is opened."""

    ca: str | None
    """Whom to believe; the machine's own list unless said."""
    cert: str | None
    key: str | None
    verifies: bool


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """What a URL names. Its text is what may be shown of it."""

    kind: Kind
    addresses: tuple[Address, ...]
    db: int
    login: Login
    service: str = ""
    """What Sentinels call the master."""
    sentinel_login: Login = Login()
    tls: Tls | None = None

    def __str__(self) -> str:
        place = ", ".join(map(spelled, self.addresses))
        match self.kind:
            case Kind.SENTINEL:
                return f"{self.service} of the Sentinels {place}, database {self.db}"
            case Kind.CLUSTER:
                return f"the cluster of {place}"
        return f"{place}, database {self.db}"

    __repr__ = __str__


def spelled(address: Address) -> str:
    """`host:port`, or the path."""
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def target_of(url: str) -> Target:
    """Raises ValueError that says what is wrong, and shows nothing of `url`."""
    try:
        parts = urlsplit(url)
        kind, has_tls = SCHEMES[parts.scheme]
        query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    except (KeyError, ValueError):
        raise _not_understood() from None
    userinfo, _, hosts = parts.netloc.rpartition("@")
    is_socket = parts.scheme == "unix"
    # Any of these is a password with a bare #, / or ? in it, of which no part may be taken for a host and shown.
    if parts.fragment or "@" in parts.path + parts.query or bool(hosts) == is_socket:
        raise _not_understood()
    if hosts and not _HOSTS.fullmatch(hosts):
        raise _not_understood()
    allowed = ("db", *(OF_TLS if has_tls else ()), *(OF_SENTINEL if kind is Kind.SENTINEL else ()))
    if not query.keys() <= {*allowed}:
        raise ValueError(f"has a query that is not understood: after ? there may be {', '.join(allowed)}")
    addresses: tuple[Address, ...] = (unquote(parts.path),) if is_socket else _addresses(hosts, kind)
    if (is_socket and len(parts.path) < 2) or (kind is Kind.SINGLE and len(addresses) > 1):
        raise _not_understood()
    service, db = _path(parts, kind, query.get("db"))
    username, _, password = userinfo.partition(":")
    return Target(
        kind,
        addresses,
        db,
        Login(unquote(username) or None, unquote(password) or None),
        service,
        Login(query.get("sentinel_username"), query.get("sentinel_password")),
        _tls(query) if has_tls else None,
    )


def _not_understood() -> ValueError:
    return ValueError(f"is not understood: {UNDERSTOOD}")


def _addresses(hosts: str, kind: Kind) -> tuple[Address, ...]:
    found: list[Address] = []
    for each in hosts.split(","):
        host, _, port = each.rpartition(":") if re.search(r":[0-9]+$", each) else (each, "", DEFAULT_PORTS[kind])
        if not 0 < int(port) < 65_536:
            raise _not_understood()
        found.append((unquote(host).strip("[]"), int(port)))
    return tuple(found)


def _path(parts: SplitResult, kind: Kind, db: str | None) -> tuple[str, int]:
    """What Sentinels call the master, and the number of the database."""
    segments = [] if parts.scheme == "unix" else [unquote(part) for part in parts.path.split("/") if part]
    service = segments.pop(0) if kind is Kind.SENTINEL and segments else ""
    if kind is Kind.SENTINEL and not service:
        raise ValueError(
            "does not say what the Sentinels call their master: write it after the hosts, "
            "redis+sentinel://host:26379,host:26379/mymaster"
        )
    chosen = segments.pop(0) if segments else db or "0"
    if segments or not re.fullmatch("[0-9]{1,5}", chosen):
        raise _not_understood()
    if kind is Kind.CLUSTER and int(chosen):
        raise ValueError("names a database, and a cluster has only number 0: leave it out")
    return service, int(chosen)


def _tls(query: dict[str, str]) -> Tls:
    verifies = query.get("ssl_cert_reqs", "required")
    if verifies not in ("required", "none"):
        raise ValueError("has an ssl_cert_reqs that is not understood: it may be required or none")
    return Tls(query.get("ssl_ca_certs"), query.get("ssl_certfile"), query.get("ssl_keyfile"), verifies == "required")

"""What settings are made of: `PluginSettings`, the base of every plugin's models, and `ServiceSettings`, [service].

A setting has its TOML key's name, a type that carries the unit, and a docstring that is its documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from service.settings.units import Duration, Size, unit_error


class PluginSettings(BaseModel):
    """Base of a plugin's `Settings` and `RouteSettings`: frozen, and no key that it does not name.

    Where a route's settings are a single value instead of a table, that is the first field of `RouteSettings`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # an input may be a secret
        use_attribute_docstrings=True,
        validate_default=False,
    )


@dataclass(frozen=True, slots=True)
class Unique:
    """Marks a text of which each instance of a plugin needs one of its own: `path: Annotated[str, Unique()] = ""`."""


def _not_zero(duration: Duration) -> Duration:
    if not duration.seconds:
        raise ValueError("leaves a request no time at all")
    return duration


def _not_empty(size: Size) -> Size:
    if not size.bytes:
        raise ValueError("leaves a request no room at all")
    return size


def _mode(value: object) -> object:
    """The mode of a file in octal digits. TOML's own 0o660 arrives as 432, which as digits would let everyone in."""
    if isinstance(value, str) and re.fullmatch("0?[0-7]{3}", value):
        return value
    number = value if isinstance(value, int) else 0
    likely = f"{number:o}" if 0o600 <= number <= 0o777 else str(value)
    example = likely if re.fullmatch("[67][0-7]{2}", likely) else "660"
    raise unit_error('must be three octal digits in quotes, for owner, group and others, like "660"', example)


def _proxy(text: str) -> str:
    """A network, an address or `unix`."""
    if text == "unix":
        return text
    address, has_zone, _ = text.partition("/")[0].partition("%")
    try:
        network = ip_network(text.partition("%")[0], strict=False)
    except ValueError:
        raise unit_error('must be a network like "10.0.0.0/8", an address, or "unix"', "10.0.0.0/8") from None
    if has_zone:
        raise unit_error("has a zone, which clients are known without", str(network))
    if ip_address(address) != network.network_address:
        raise unit_error("is an address and the length of a network, but not a network", str(network))
    return text


class Timeouts(PluginSettings):
    """[service.timeouts]"""

    header: Annotated[Duration, AfterValidator(_not_zero)] = Duration("10s")
    """How long the head of a request may take from its first byte on; a slower one gets 408 TIMEOUT. A new connection
    on which nothing is sent for so long is closed."""

    body: Annotated[Duration, AfterValidator(_not_zero)] = Duration("30s")
    """How long a body may take to arrive once its head has; a handler that still waits for it then gives its client 408
    TIMEOUT, and so it does where `handler` ends first."""

    handler: Annotated[Duration, AfterValidator(_not_zero)] = Duration("30s")
    """How long a handler may take before its client gets 504 TIMEOUT."""

    keep_alive: Annotated[Duration, AfterValidator(_not_zero)] = Duration("75s")
    """How long a connection stays open without a request; more than that of the proxy in front, so that only one side
    ends it."""

    drain: Duration = Duration("5s")
    """How long readiness answers 503 before listening stops, so that load balancers look away first."""

    shutdown: Duration = Duration("10s")
    """How long running requests may take to finish once listening has stopped."""

    reload: Annotated[Duration, AfterValidator(_not_zero)] = Duration("60s")
    """How long new workers may take to be ready, in a reload or for one that died; else they are given up."""


class Limits(PluginSettings):
    """[service.limits]"""

    line: Annotated[Size, AfterValidator(_not_empty)] = Size("8KiB")
    """The longest request target, and the longest header: more is answered with 414 URI_TOO_LONG or 431
    REQUEST_HEADER_FIELDS_TOO_LARGE. A header's name may come on top."""

    headers: Annotated[Size, AfterValidator(_not_empty)] = Size("32KiB")
    """The largest head of a request, with all of its lines; a larger one is answered with 431
    REQUEST_HEADER_FIELDS_TOO_LARGE."""

    body: Size = Size("1MiB")
    """The largest request body, unpacked and however it is read; more is answered with 413 PAYLOAD_TOO_LARGE."""

    connections: Annotated[int, Field(ge=1)] = 800
    """How many connections one worker keeps open on each address that it listens on, or as many as `ulimit -n` leaves
    room for; on more, probes are answered and all else gets 503 SERVICE_UNAVAILABLE."""


class Tls(PluginSettings):
    """[service.tls]: files in PEM form, relative to config.toml; read anew by a reload."""

    cert: Annotated[str, Field(min_length=1, examples=["/etc/ssl/example.crt"])]
    """The certificate and the chain that leads to it."""

    key: Annotated[str, Field(min_length=1, examples=["/etc/ssl/example.key"])]
    """Its private key, unencrypted."""


class Operator(PluginSettings):
    """[service.operator]: a listener for whoever runs the service."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to listen on."""

    port: Annotated[int, Field(ge=0, le=65_535, examples=[3001])]
    """The TCP port, 0 to 65535; 0 takes any free one."""


class ServiceSettings(PluginSettings):
    """[service]: the core."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to listen on; "0.0.0.0" is every IPv4 address of the machine, "::" every one."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 3000
    """The TCP port to listen on, 0 to 65535; 0 takes any free one."""

    listen: Annotated[str | None, Field(pattern=r"^unix:.+$", examples=["unix:/run/pegboard.sock"])] = None
    """A unix socket to listen on instead of host and port: `"unix:/run/pegboard.sock"`, relative to config.toml."""

    socket_mode: Annotated[str, BeforeValidator(_mode)] = "600"
    """Who may connect to that socket, as the mode of a file: "600" is the service's own user, "660" its group too,
    "666" everyone who may enter the folder."""

    tls: Tls | None = None
    """Certificate and key, where clients speak TLS to the service itself."""

    operator: Operator | None = None
    """Where operators' routes (metrics, administration) are served; without it on the main address where a plugin
    guards them there or `strict` is off, and else not at all."""

    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = 1
    """Processes that serve, 1 to 1024; "auto" is one for each processor that this service may use."""

    default_env: Annotated[str, Field(min_length=1)] = "development"
    """The environment where neither `--env` nor PEGBOARD_ENV names one."""

    api_root: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$|^/$", examples=["/api"])] = "/api"
    """What every API path begins with; routes are at `{api_root}/{version}/...`."""

    plugin_dirs: tuple[str, ...] = ("plugins",)
    """Folders with an operator's own plugins, relative to config.toml; one that is missing is empty."""

    strict: bool = True
    """Refuse what is merely tolerable while developing: weak secrets, an unguarded operator door."""

    state_dir: Annotated[str, Field(min_length=1)] = ".pegboard"
    """Where the service may keep files of its own, relative to config.toml."""

    trusted_proxies: tuple[Annotated[str, AfterValidator(_proxy)], ...] = ()
    """Proxies whose `Forwarded` or `X-Forwarded-For`, `-Proto` and `-Host` say who the client is: networks, addresses,
    and "unix" for whoever is at the other end of a unix socket."""

    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()


class Reserved(PluginSettings):
    """The keys that every [plugins.NAME] has beside the plugin's own."""

    enabled: bool = False
    """Whether the plugin is on. One that is off is not imported, and its secrets are not looked up."""

    use: Annotated[str | None, Field(min_length=1, examples=["database"])] = None
    """The module to use where it is not called like the table: several instances of one plugin."""

    before: tuple[str, ...] = ()
    """Instances whose steps in the same slot this one's stand before."""

    after: tuple[str, ...] = ()
    """Instances whose steps in the same slot this one's stand after."""

    ports: dict[str, str] = {}
    """Which instance provides a port, where several do: `{ database = "reporting" }`."""


RESERVED = tuple(Reserved.model_fields)

"""What settings are made of: `PluginSettings`, the base of every plugin's models, and `ServiceSettings`, [service].

A setting has its TOML key's name, a type that carries the unit, and a docstring that is its documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.settings.units import Duration, Size


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


class Timeouts(PluginSettings):
    """[service.timeouts]"""

    handler: Annotated[Duration, AfterValidator(_not_zero)] = Duration("30s")
    """How long a handler may take before its client gets 504 TIMEOUT."""

    drain: Duration = Duration("5s")
    """How long readiness answers 503 before listening stops, so that load balancers look away first."""

    shutdown: Duration = Duration("10s")
    """How long running requests may take to finish once listening has stopped."""


class Limits(PluginSettings):
    """[service.limits]"""

    body: Size = Size("1MiB")
    """The largest request body, in bytes; more is answered with 413 PAYLOAD_TOO_LARGE. A body without a Content-Length
    is bounded where a handler reads it whole, not where it takes it piece by piece."""


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

    tls: Tls | None = None
    """Certificate and key, where clients speak TLS to the service itself."""

    operator: Operator | None = None
    """Where operators' routes (metrics, administration) are served; without it on the main address while `strict` is
    off, and else not at all."""

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

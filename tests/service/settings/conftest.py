"""Plugins' models made up for the tests of settings, and one way to read a file with all of them bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, ValidationInfo, field_validator, model_validator

from service.settings import Duration, PluginSettings, Rate, Secret, Settings, Size, read


class Pool(PluginSettings):
    min: Annotated[int, Field(ge=0, le=1000)] = 2
    max: Annotated[int, Field(gt=0, le=1000)] = 10
    idle: Duration = Duration("30s")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is above max; write: max = {self.min}")
        return self


class Database(PluginSettings):
    url: str | None = None
    embedded: bool = False
    pool: Pool = Pool()
    timeout: Duration = Duration("2s")
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.5


class Table(PluginSettings):
    sort: str = ""
    hidden: tuple[str, ...] = ()
    names: Literal["camel", "as-is"] = "camel"


class Resources(PluginSettings):
    tables: tuple[str, ...] = ()
    table: dict[str, Table] = Field(default_factory=dict)


class Key(PluginSettings):
    id: str
    secret: Secret


class Auth(PluginSettings):
    secret: Secret
    issuer: str
    keys: tuple[Key, ...] = ()
    previous: tuple[Secret, ...] = ()
    level: Literal["none", "optional", "required"] = "required"

    @field_validator("secret")
    @classmethod
    def _strong(cls, secret: Secret, info: ValidationInfo) -> Secret:
        run = (info.context or {}).get("run")
        if getattr(run, "strict", False) and len(secret.reveal()) < 16:
            raise ValueError(f"is too weak a secret: {secret.reveal()!r}")
        return secret


class Cache(PluginSettings):
    ttl: Duration = Duration("30s")
    limit: Size = Size("1MiB")
    store: Literal["memory", "redis"] = "memory"
    budget: Rate | None = None
    sweep: bool | Duration = True


class CacheRoute(PluginSettings):
    ttl: Duration = Duration("30s")
    shared: bool = False
    vary: tuple[str, ...] = ()


class AuthRoute(PluginSettings):
    level: Literal["none", "optional", "required"] = "required"


MODELS: dict[str, type[PluginSettings]] = {
    "database": Database,
    "resources": Resources,
    "auth": Auth,
    "cache": Cache,
}
ROUTE_MODELS: dict[str, type[PluginSettings]] = {"cache": CacheRoute, "auth": AuthRoute}

ReadAll = Callable[..., Settings]


def read_all(
    config: Path,
    *,
    environment: str | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    routes: Sequence[str] = (),
    strict: bool = False,
) -> Settings:
    """Read `config` and bind every plugin that is on, as the loader does."""
    settings = read(config, environment=environment, overrides=overrides, environ=environ or {})
    run = SimpleNamespace(strict=strict)
    enabled = [instance for instance in settings.instances if instance.enabled]
    for instance in enabled:
        if instance.use in MODELS:
            settings.bind(instance.name, MODELS[instance.use], run=run)
        if routes and instance.use in ROUTE_MODELS:
            settings.check_route_keys(instance.name, ROUTE_MODELS[instance.use], run=run)
    for route in routes:
        for instance in enabled:
            if instance.use in ROUTE_MODELS:
                settings.bind_route(instance.name, route, None, ROUTE_MODELS[instance.use], run=run)
    if routes:
        settings.check_routes(routes)
    return settings


@pytest.fixture
def models() -> dict[str, type[PluginSettings]]:
    return MODELS


@pytest.fixture
def route_models() -> dict[str, type[PluginSettings]]:
    return ROUTE_MODELS


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadAll:
    """`load(toml, ...)`: write config.toml into an empty folder, read it there, bind all that is on."""
    monkeypatch.chdir(tmp_path)

    def write_and_read(toml: str, **options: object) -> Settings:
        Path("config.toml").write_text(toml, encoding="utf-8", newline="")
        return read_all(Path("config.toml"), **options)  # type: ignore[arg-type]  # the options of read_all

    return write_and_read

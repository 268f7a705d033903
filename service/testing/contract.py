"""What every plugin keeps to, as tests that any plugin runs with three lines.

    class TestHello(PluginContract):
        plugin = "hello"
        settings = {"greeting": "Ahoy"}

A plugin that needs others names them in `beside`, and servers in the fixture `environ`, whose variables its settings
may refer to: `beside = {"database": {"url": {"env": "DATABASE_URL"}}}`. Tests of its own, in the same class or beside
it, ask the same service with the fixture `client`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator

from service.api import PluginError, PluginSettings, Ports, Secret, hookimpl
from service.channel import Ask
from service.errors import SettingsError
from service.loader import Loaded
from service.questions import told
from service.settings import json_schema
from service.settings.annotations import as_data, every_field
from service.settings.models import RESERVED
from service.testing.apart import look
from service.testing.documents import shown, unknown_keys
from service.testing.glimpse import Neighbour, ask_every_route
from service.testing.held import leaving
from service.testing.service import MakeService, Service, merged
from service.testing.unhooked import unhooked

WriteConfig = Callable[[Mapping[str, Any]], Path]

SABOTAGED = "the contract fails this start on purpose"


class Saboteur:
    """The last to be opened: whoever was before it is open when it fails."""

    class Plugin:
        @hookimpl
        @asynccontextmanager
        async def lifespan(self, ports: Ports) -> AsyncIterator[None]:
            raise PluginError(SABOTAGED)
            yield


class PluginContract:
    """Derive a class `Test...` from it and say which plugin it is about."""

    plugin: ClassVar[str]
    """Its name, as in [plugins.NAME]."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """Its table, as config.toml would say it: at least what it cannot do without."""
    routes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """[routes]: what else makes it do something, by the names of routes. `neighbour.list`, `neighbour.read` and
    `neighbour.create` are there beside its own."""
    beside: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The tables of other plugins that it needs; each is on."""
    readme: ClassVar[Path | None] = None
    """The document that lists its settings, where there is one besides its docstrings."""

    def __init_subclass__(cls) -> None:
        if cls.__name__.startswith("Test") and not isinstance(getattr(cls, "plugin", None), str):
            raise TypeError(f'{cls.__name__} does not say which plugin it is about; write: plugin = "hello"')

    @pytest.fixture
    def environ(self) -> Mapping[str, str]:
        """The variables that `settings` and `beside` refer to; define it anew to start what they name."""
        return {}

    @pytest.fixture
    def headers(self) -> Mapping[str, str]:
        """What every request of the contract carries; define it anew where routes are for those who say who they are:
        `{"Authorization": f"Bearer {make_token()}"}`."""
        return {}

    @pytest_asyncio.fixture
    async def service(self, make_service: MakeService, environ: Mapping[str, str]) -> Service:
        """The service that `client` asks: the plugin as the contract has it."""
        return await make_service([Neighbour], self._tables(), environ=environ)

    # --- settings

    @pytest.mark.asyncio
    async def test_settings_come_back_as_they_were_written(
        self, write_config: WriteConfig, environ: Mapping[str, str]
    ) -> None:
        """What `pegboard config show` prints of the plugin can be written into config.toml, and means the same."""
        loaded = self._load(write_config(self._tables()), environ)
        table = ("plugins", self.plugin)
        bound = loaded.settings.bindings[table].salvaged()
        again = self._load(write_config(self._tables(_plain(as_data(bound)))), environ)
        assert again.settings.bindings[table].salvaged() == bound
        if (route_model := loaded[self.plugin].route_model) is not None:
            assert route_model.model_validate(_plain(as_data(route_model()))) == route_model()

    @pytest.mark.asyncio
    async def test_settings_have_a_json_schema_that_takes_them(
        self, write_config: WriteConfig, environ: Mapping[str, str]
    ) -> None:
        """An editor that has the schema marks nothing that is right."""
        loaded = self._load(write_config(self._tables()), environ)
        model, route_model = _models(loaded, self.plugin)
        schema = json_schema({self.plugin: model}, routes={self.plugin: route_model} if route_model else {})
        Draft202012Validator.check_schema(schema)
        effective = _plain(as_data(loaded.settings.bindings["plugins", self.plugin].salvaged()))
        for table in (self.settings, effective):
            document = {"plugins": {self.plugin: {"enabled": True, **table}}, "routes": self.routes}
            as_json = orjson.loads(orjson.dumps(document))  # which has no dates
            faults = [fault.message for fault in Draft202012Validator(schema).iter_errors(as_json)]
            assert faults == []

    @pytest.mark.asyncio
    async def test_settings_refuse_a_key_that_they_do_not_have(
        self, write_config: WriteConfig, environ: Mapping[str, str]
    ) -> None:
        """A misspelt key is a fault, never a silent default."""
        config = write_config(self._tables({**self.settings, "no_such_setting": 1}))
        with pytest.raises(SettingsError, match="no_such_setting"):
            self._load(config, environ)

    @pytest.mark.asyncio
    async def test_documentation_names_every_setting_and_no_other(
        self, write_config: WriteConfig, environ: Mapping[str, str]
    ) -> None:
        """Each has a docstring; `readme` names each; what module and readme show as TOML would be taken."""
        loaded = self._load(write_config(self._tables()), environ)
        module = loaded[self.plugin].source.load()
        model, route_model = _models(loaded, self.plugin)
        documented = [model, route_model] if route_model else [model]
        settings = [pair for each in documented for pair in every_field(each)]
        assert [key for key, field in settings if not field.description] == [], "without a docstring below the field"
        assert (module.__doc__ or "").strip(), "the module has no docstring, whose first line says what it does"
        documents = [module.__doc__ or ""]
        if self.readme is not None:
            documents.append(self.readme.read_text())
            missing = [key for key, _ in settings if f"`{key}`" not in documents[1]]
            assert missing == [], f"not named in {self.readme.name}, in backticks"
        for document in documents:
            tables = shown(document)
            own = tables.get("plugins", {}).get(self.plugin, {})
            own = {key: value for key, value in own.items() if key not in RESERVED}
            assert list(unknown_keys(model, own)) == [], f"shown under [plugins.{self.plugin}]"
            for glob, table in tables.get("routes", {}).items():
                if isinstance(value := table.get(self.plugin), Mapping):
                    assert list(unknown_keys(route_model or PluginSettings, value)) == [], f'under [routes."{glob}"]'

    # --- what it leaves alone

    @pytest.mark.asyncio
    async def test_off_leaves_no_route_no_header_no_probe_and_no_import(
        self, write_config: WriteConfig, environ: Mapping[str, str], tmp_path: Path
    ) -> None:
        """A service where it is off is one without it, also where it was on before. Beside it are those that it needs,
        and none that cannot do without it."""
        on = write_config(self._tables())
        loaded = self._load(on, environ)
        needed = [plugged.name for plugged in loaded.needed_by(self.plugin).plugins]
        beside = {name: table for name, table in self._others().items() if name in needed}
        without = {"neighbour": {"enabled": True}, **beside}
        off = {**without, self.plugin: {**self.settings, "enabled": False}}
        seen = await asyncio.to_thread(
            look,
            write_config({"plugins": without}),
            write_config({"plugins": off, "routes": self.routes}),
            on,
            module=loaded[self.plugin].source.load().__name__,
            environ=environ,
            answer=tmp_path / "seen.json",
        )
        assert seen["off"] == seen["without"]
        assert seen["afterwards"] == seen["without"], "after it was on"
        assert seen["imported"] == [], "imported while it was off"

    @pytest.mark.asyncio
    async def test_no_hook_is_called_while_requests_are_served(
        self, write_config: WriteConfig, environ: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        """Hooks declare, once, at start: every route is asked, and pluggy never is."""
        async with self._serving(write_config(self._tables()), environ) as service:
            with unhooked(service) as called:
                await ask_every_route(service, headers)
            assert called == []

    @pytest.mark.asyncio
    async def test_questions_are_answered_with_plain_data(
        self, write_config: WriteConfig, environ: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        """What it answers while it serves (`SERVING.answer`) can be told to a command: JSON of a bounded size."""
        async with self._serving(write_config(self._tables()), environ) as service:
            await ask_every_route(service, headers)  # so that there is something to tell of
            answering = service.application.state.answering
            answers = [told(answering, Ask(0, question)) for question in answering]
            assert [each.problem for each in answers if each.answer is None] == []

    # --- what it opens

    @pytest.mark.asyncio
    async def test_making_it_opens_nothing(self, write_config: WriteConfig, environ: Mapping[str, str]) -> None:
        """`pegboard check` makes it too: what it needs is opened in its lifespan."""
        config = write_config(self._tables())
        self._load(config, environ)  # the first time imports it
        async with leaving() as left:
            made = self._load(config, environ)
        assert left == []
        assert made[self.plugin]

    @pytest.mark.asyncio
    async def test_what_it_opens_is_closed(
        self, write_config: WriteConfig, environ: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        """Files, sockets, tasks, threads, processes; and handlers of logs and signals are as they were."""
        config = write_config(self._tables())

        async def live() -> None:
            async with self._serving(config, environ) as service:
                await ask_every_route(service, headers)

        await live()  # what is kept for everyone, once, is no leak: the second time shows those
        async with leaving() as left:
            await live()
        assert left == []

    @pytest.mark.asyncio
    async def test_what_it_opened_is_closed_after_a_failed_start(
        self, write_config: WriteConfig, environ: Mapping[str, str]
    ) -> None:
        """Another plugin fails when this one is open already."""
        config = write_config(merged(self._tables(), {"plugins": {"saboteur": {"enabled": True}}}))

        async def fail() -> None:
            with pytest.raises(PluginError, match=SABOTAGED):
                async with self._serving(config, environ, saboteur=Saboteur):
                    raise AssertionError("The start did not fail.")

        await fail()
        async with leaving() as left:
            await fail()
        assert left == []

    # --- how it is started

    def _tables(self, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """config.toml with the plugin on, with its own settings or these."""
        own = {"enabled": True, **(self.settings if settings is None else settings)}
        return {"plugins": {**self._others(), self.plugin: own}, "routes": self.routes}

    def _others(self) -> dict[str, Any]:
        beside = {name: {"enabled": True, **table} for name, table in self.beside.items()}
        return {"neighbour": {"enabled": True}, **beside}

    def _load(self, config: Path, environ: Mapping[str, str]) -> Loaded:
        return Service(config, {"neighbour": Neighbour}, environ=environ).load()

    @asynccontextmanager
    async def _serving(self, config: Path, environ: Mapping[str, str], **modules: Any) -> AsyncIterator[Service]:
        """A service that nothing refers to any more once the block is over, so that nothing hides what it left."""
        service = Service(config, {"neighbour": Neighbour, **modules}, environ=environ)
        try:
            await service.start()
            yield service
        finally:
            await service.stop()


def _models(loaded: Loaded, plugin: str) -> tuple[type[PluginSettings], type[PluginSettings] | None]:
    module = loaded[plugin].source.load()
    return getattr(module, "Settings", PluginSettings), loaded[plugin].route_model


def _plain(value: Any) -> Any:
    """As config.toml would say it: without what is absent, secrets as they are."""
    match value:
        case Mapping():
            return {key: _plain(item) for key, item in value.items() if item is not None}
        case list():
            return [_plain(item) for item in value]
        case Secret():
            return value.reveal()
        case _:
            return value

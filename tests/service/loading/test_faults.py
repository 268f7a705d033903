"""Mistakes in its settings that a plugin finds while it opens: told with file, line and the line to write, all at once.

The plugin of these tests is told by each which faults to tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from service.api import PluginError, PluginSettings, Ports, Run, Secret, hookimpl
from service.app import build, household
from service.errors import EX_CONFIG, SettingsError
from service.settings import read

Tell = Callable[[Run], None]

CANARY = "hunter2-the-canary"


class Table(PluginSettings):
    sort: str | tuple[str, ...] = ""
    hidden: tuple[str, ...] = ()


class Settings(PluginSettings):
    tables: tuple[str, ...] = ()
    table: Mapping[str, Table] = {}
    url: Secret | None = None
    most: int = 10


def teller(tell: Tell, log: list[str], *, at: str = "lifespan") -> Any:
    """A module with a plugin that calls `tell(run)` in its hook `at`, and writes down when it opens and closes."""

    def made(self: Any, settings: Settings, run: Run) -> None:
        self.run = run

    @asynccontextmanager
    async def context(self: Any) -> AsyncIterator[None]:
        log.append("open")
        try:
            tell(self.run)
            yield
        finally:
            log.append("close")

    def lifespan(self: Any, ports: Ports) -> Any:
        return context(self)

    def home(self: Any, run: Run) -> Any:
        return context(self)

    def declare(self: Any) -> list[Any]:
        tell(self.run)
        return []

    hooks: dict[str, Any] = {"lifespan": lifespan, "household": home, "routes": declare, "probes": declare}
    return SimpleNamespace(Settings=Settings, Plugin=type("Plugin", (), {"__init__": made, at: hookimpl(hooks[at])}))


class Opens:
    """Opens the plugin `shop` of a folder; what stops that, and what the plugin did meanwhile."""

    def __init__(self, house: Any) -> None:
        self._house = house
        self.log: list[str] = []

    async def __call__(
        self,
        toml: str,
        tell: Tell,
        *,
        environment: str | None = None,
        overrides: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        at: str = "lifespan",
        others: Mapping[str, Any] | None = None,
    ) -> str:
        config = self._house.write("config.toml", f"[plugins.shop]\nenabled = true\n{toml}\n")
        settings = read(config, environment=environment, overrides=overrides, environ=environ or {})
        loaded = self._house.loaded(settings, {"shop": teller(tell, self.log, at=at), **(others or {})})
        with pytest.raises(SettingsError) as caught:
            async with household(loaded), build(loaded, tasks=self._house.tasks):
                raise AssertionError("it opened")
        assert caught.value.exit_code == EX_CONFIG
        return str(caught.value).replace(f"{self._house.folder}/", "")


@pytest.fixture
def opens(house: Any) -> Opens:
    return Opens(house)


def hidden(run: Run) -> None:
    run.fault(("table", "users", "hidden"), 'names "pasword", which is no column of it', write=["id", "password"])


HIDDEN = 'plugins.shop.table.users.hidden: names "pasword", which is no column of it'

USERS = '[plugins.shop.table.users]\nhidden = ["id", "pasword"]'


async def test_fault_has_the_line_of_the_setting_and_the_line_to_write(opens: Opens) -> None:
    assert await opens(USERS, hidden) == (f'config.toml:4  {HIDDEN}\n    write: hidden = ["id", "password"]')
    assert opens.log == ["open", "close"]


@pytest.mark.parametrize("at", ["household", "routes", "probes"])
async def test_fault_may_be_told_in_any_hook_of_the_start(opens: Opens, at: str) -> None:
    assert (await opens(USERS, hidden, at=at)).startswith(f"config.toml:4  {HIDDEN}\n")


async def test_faults_come_all_at_once_in_the_order_of_the_file(opens: Opens) -> None:
    def tell(run: Run) -> None:
        hidden(run)
        run.fault(("most",), "is more than the shop has", write=3)
        run.fault(("table", "users", "hidden"), "is empty-handed")

    report = await opens(f"most = 5\n{USERS}", tell)
    assert report == (
        "config.toml:3  plugins.shop.most: is more than the shop has\n    write: most = 3\n\n"
        f'config.toml:5  {HIDDEN}\n    write: hidden = ["id", "password"]\n\n'
        "config.toml:5  plugins.shop.table.users.hidden: is empty-handed\n    remove: hidden\n\n3 faults."
    )


async def test_faults_win_over_what_the_plugin_raises_after_them(opens: Opens) -> None:
    def tell(run: Run) -> None:
        hidden(run)
        raise PluginError("there is no going on.")

    assert await opens(USERS, tell) == f'config.toml:4  {HIDDEN}\n    write: hidden = ["id", "password"]'
    assert opens.log == ["open", "close"]


async def test_fault_stops_the_start_before_the_next_plugin_opens(opens: Opens) -> None:
    other: list[str] = []
    later = teller(lambda run: None, other)
    report = await opens(f"{USERS}\n[plugins.later]\nenabled = true", hidden, others={"later": later})
    assert HIDDEN in report
    assert other == []


ABSENT = "plugins.shop.most: is too much\n    write: "


@pytest.mark.parametrize(
    ("toml", "options", "report"),
    [
        ('table.users.hidden = ["id", "pasword"]', {}, f"config.toml:3  {HIDDEN}\n    write: table.users.hidden = ["),
        ('table = { users = { hidden = ["pasword"] } }', {}, f"config.toml:3  {HIDDEN}\n    write: hidden = ["),
        ("table = { users = {} }", {}, f"config.toml:3  {HIDDEN}\n    write: hidden = ["),
        ("table = {}", {}, f"config.toml:3  {HIDDEN}\n    write: users = {{ hidden = ["),
        ("table.orders.sort = 'id'", {}, f"config.toml:3  {HIDDEN}\n    write: table.users.hidden = ["),
        (
            "[plugins.shop.table.orders]",
            {},
            f"config.toml:3  {HIDDEN}\n    write: [plugins.shop.table.users]\n           hidden = [",
        ),
        ("", {}, f"config.toml:1  {HIDDEN}\n    write: [plugins.shop.table.users]\n           hidden = ["),
        (
            f'{USERS}\n[env.test.plugins.shop.table.users]\nhidden = ["pasword"]',
            {"environment": "test"},
            f"config.toml:6  env.test.{HIDDEN}\n    write: hidden = [",
        ),
        (
            "",
            {"overrides": ['plugins.shop.table.users.hidden=["pasword"]']},
            '--set plugins.shop.table.users.hidden: names "pasword", which is no column of it\n'
            '    write: --set \'plugins.shop.table.users.hidden=["id", "password"]\'',
        ),
        (
            "",
            {"environ": {"PEGBOARD__PLUGINS__SHOP__TABLE__USERS__HIDDEN": '["pasword"]'}},
            f"PEGBOARD__PLUGINS__SHOP__TABLE__USERS__HIDDEN  {HIDDEN}\n"
            '    write: export PEGBOARD__PLUGINS__SHOP__TABLE__USERS__HIDDEN=\'["id", "password"]\'',
        ),
        (
            '[plugins.shop.table.users]\nhidden = { env = "HIDDEN" }',
            {"environ": {"HIDDEN": '["pasword"]'}},
            'config.toml:4  plugins.shop.table.users.hidden: the variable HIDDEN: names "pasword", which is no column '
            'of it\n    write: export HIDDEN=\'["id", "password"]\'',
        ),
        (
            '[plugins.shop.table.users]\nhidden = { env = "HIDDEN", default = ["pasword"] }',
            {},
            'config.toml:4  plugins.shop.table.users.hidden: the default: names "pasword", which is no column of it\n'
            '    write: hidden = { env = "HIDDEN", default = ["id", "password"] }',
        ),
        (
            "",
            {"environ": {"PEGBOARD__PLUGINS__SHOP__TABLE": '{ users = { hidden = ["pasword"] } }'}},
            f"PEGBOARD__PLUGINS__SHOP__TABLE  {HIDDEN}\n"
            '    write: export PEGBOARD__PLUGINS__SHOP__TABLE__USERS__HIDDEN=\'["id", "password"]\'',
        ),
        (
            'table = { env = "TABLE" }',
            {"environ": {"TABLE": '{ users = { hidden = ["pasword"] } }'}},
            'config.toml:3  plugins.shop.table.users.hidden: the variable TABLE: names "pasword", which is no column '
            "of it\n    write: export TABLE=...",
        ),
    ],
)
async def test_line_to_write_has_the_form_of_the_place_that_set_it(
    opens: Opens, toml: str, options: dict[str, Any], report: str
) -> None:
    assert (await opens(toml, hidden, **options)).startswith(report)


async def test_fault_in_an_item_of_a_list_has_its_line_and_the_whole_list_to_write(opens: Opens) -> None:
    def tell(run: Run) -> None:
        run.fault(("tables", 1), "is no table", write=["users", "orders"])

    assert await opens('tables = [\n  "users",\n  "ordrs",\n]', tell) == (
        'config.toml:5  plugins.shop.tables[1]: is no table\n    write: tables = ["users", "orders"]'
    )


async def test_fault_in_an_item_of_a_variable_s_list_has_the_whole_list_to_export(opens: Opens) -> None:
    def tell(run: Run) -> None:
        run.fault(("tables", 1), "is no table", write=["users", "orders"])

    assert await opens('tables = { env = "TABLES" }', tell, environ={"TABLES": '["users", "ordrs"]'}) == (
        "config.toml:3  plugins.shop.tables[1]: the variable TABLES is no table\n"
        """    write: export TABLES='["users", "orders"]'"""
    )


@pytest.mark.parametrize(
    ("toml", "options", "line"),
    [
        ("[plugins.shop.table.user]\nsort = 'id'", {}, "[plugins.shop.table.users]"),
        ("[env.test.plugins.shop.table.user]", {"environment": "test"}, "[env.test.plugins.shop.table.users]"),
        ("table.user.sort = 'id'", {}, 'table.users.sort = "id"'),
        ("table = { user = { sort = 'id' } }", {}, 'users = { sort = "id" }'),
        ('table = { env = "TABLE" }', {"environ": {"TABLE": "{ user = { sort = 'id' } }"}}, "export TABLE=..."),
        (
            "",
            {"overrides": ["plugins.shop.table.user.sort=id"]},
            "--set 'plugins.shop.table.users={ sort = \"id\" }'",
        ),
        (
            "",
            {"overrides": ['plugins.shop.table.user.hidden=["id"]']},
            "--set 'plugins.shop.table.users={ hidden = [\"id\"] }'",
        ),
    ],
)
async def test_misspelt_name_is_written_again_in_the_form_it_had(
    opens: Opens, toml: str, options: dict[str, Any], line: str
) -> None:
    def tell(run: Run) -> None:
        run.fault(("table", "user"), "there is no such table", rename="users")

    report = await opens(toml, tell, **options)
    assert report.endswith(f"there is no such table\n    write: {line}")


@pytest.mark.parametrize(
    ("toml", "options", "line"),
    [
        ("[plugins.shop.table.users]\nsort = 'id'", {}, "[plugins.shop.table.users]"),
        ("table.users.sort = 'id'", {}, "users"),
        ("", {"overrides": ["plugins.shop.table.users.sort=id"]}, "--set plugins.shop.table.users.sort"),
    ],
)
async def test_fault_without_a_line_to_write_is_to_be_removed(
    opens: Opens, toml: str, options: dict[str, Any], line: str
) -> None:
    report = await opens(toml, lambda run: run.fault(("table", "users"), "is not served"), **options)
    assert report.endswith(f"is not served\n    remove: {line}")


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ('url = { env = "SHOP_URL" }', "write: export SHOP_URL=postgresql://user:***@host/name"),
        (f'url = "postgresql://ann:{CANARY}@db/shop"', 'write: url = { env = "SHOP_URL" }'),
        ('url = { file = "url" }', 'write: url = { env = "SHOP_URL" }'),
    ],
)
async def test_secret_is_never_to_be_written_into_the_file(house: Any, opens: Opens, toml: str, line: str) -> None:
    def tell(run: Run) -> None:
        run.fault(("url",), "leads nowhere", write="postgresql://user:password@host/name")

    house.write("url", CANARY)
    report = await opens(toml, tell, environ={"SHOP_URL": CANARY})
    assert report.endswith(f"leads nowhere\n    {line}")
    assert CANARY not in report


async def test_fault_after_the_start_is_its_tellers_error(house: Any) -> None:
    """Nobody would read of it, so it is not taken in silence."""
    runs: list[Run] = []
    loaded = house.load("[plugins.shop]\nenabled = true", {"shop": teller(runs.append, [])})
    async with build(loaded, tasks=house.tasks):
        with pytest.raises(RuntimeError, match="the start is over"):
            hidden(runs[0])


async def test_kit_shows_faults_as_an_operator_sees_them(make_service: Any) -> None:
    shop = teller(hidden, [])
    shop.__name__ = "shop"
    with pytest.raises(SettingsError, match=r'config-0.toml:\d+  plugins\.shop\.table\.users\.hidden: names "pasword"'):
        await make_service([shop], {"plugins": {"shop": {"table": {"users": {"hidden": ["pasword"]}}}}})

"""Two instances beside each other, each with a database and a path of its own, over a real socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from service.api import Answer, Check, PluginSettings, Slot, hookimpl
from service.cli.options import Chosen
from service.errors import SettingsError
from service.testing.service import Service

SHOP = """
CREATE TABLE users (id int PRIMARY KEY, name text, password text);
CREATE TABLE orders (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, total numeric);
INSERT INTO users VALUES (1, 'Ada', 'hush');
INSERT INTO orders VALUES (1, 1, 9.5);
"""

REPORTING = """
CREATE TABLE orders (id int PRIMARY KEY, year int, parent_id int REFERENCES orders, other_id int REFERENCES orders);
INSERT INTO orders VALUES (7, 2025, NULL, NULL), (8, 2026, 7, NULL);
"""

Start = Callable[..., Awaitable[Service]]


class Marked:
    """Stands for a module with a plugin that answers for a route where its settings say so."""

    class RouteSettings(PluginSettings):
        answer: str = ""

    class Plugin:
        @hookimpl
        def steps(self, route: Any) -> list[Check]:
            answer = route.settings(Marked.RouteSettings).answer
            return [Check(Slot.ADMIT, lambda request: Answer.json({"marked": answer}))] if answer else []


@pytest_asyncio.fixture
async def start(make_service: Any, make_database: Callable[[str], str]) -> Start:
    """Starts a service of two instances, `reporting` below a path; `settings` are those of either."""

    async def two(
        *plugins: Any,
        resources: Any = None,
        reporting: Any = None,
        routes: Any = None,
        path: str = "reporting",
        sql: str = REPORTING,
    ) -> Service:
        tables: dict[str, Any] = {
            "database": {"enabled": True, "url": make_database(SHOP)},
            "resources": {"enabled": True, "tables": ["*"], **(resources or {})},
            "reporting_db": {"enabled": True, "use": "database", "url": make_database(sql)},
            "reporting": {
                "enabled": True,
                "use": "resources",
                "ports": {"database": "reporting_db"},
                "path": path,
                "tables": ["*"],
                **(reporting or {}),
            },
        }
        service: Service = await make_service(["health", *plugins], {"plugins": tables, "routes": routes or {}})
        return service

    return two


async def get(service: Service, path: str) -> tuple[int, Any]:
    response = await service.client.get(path)
    return response.status, await response.json()


async def test_each_instance_serves_its_own_database(start: Start) -> None:
    service = await start()
    assert await get(service, "/api/v1/orders/1") == (200, {"id": 1, "userId": 1, "total": 9.5})
    assert (await get(service, "/api/v1/orders/7"))[0] == 404
    assert await get(service, "/api/v1/reporting/orders/7") == (
        200,
        {"id": 7, "year": 2025, "parentId": None, "otherId": None},
    )
    assert (await get(service, "/api/v1/reporting/orders/1"))[0] == 404
    assert (await get(service, "/api/v1/reporting/users"))[0] == 404
    _, body = await get(service, "/api/v1/reporting/orders?year=2026&fields=id")
    assert body["data"] == [{"id": 8}]
    _, body = await get(service, "/api/v1/reporting/orders/7/orders.by-parentId?fields=id")
    assert body["data"] == [{"id": 8}]


async def test_each_index_lists_its_own_resources_where_they_are(start: Start) -> None:
    service = await start()

    async def listed(path: str) -> list[tuple[str, str, str, list[str]]]:
        _, body = await get(service, path)
        return [(row["name"], row["path"], row["itemPath"], row["children"]) for row in body["data"]]

    assert await listed("/api/v1") == [
        ("orders", "/api/v1/orders", "/api/v1/orders/{id}", []),
        ("users", "/api/v1/users", "/api/v1/users/{id}", ["/api/v1/users/{id}/orders"]),
    ]
    orders = "/api/v1/reporting/orders"
    children = [f"{orders}/{{id}}/orders.by-{field}" for field in ("otherId", "parentId")]
    assert await listed("/api/v1/reporting") == [("orders", orders, f"{orders}/{{id}}", children)]
    assert any(all(child.removeprefix("/api/v1") in sentence for child in children) for sentence in service.said)


async def test_names_of_an_instance_with_a_path_begin_with_its_own(start: Start) -> None:
    routes = (await start()).application.state.routes
    named = {route.name: (route.path, route.reads, route.tags) for route in routes if route.plugin != "health"}
    orders, below = "/api/v1/reporting/orders", "reporting.orders"
    assert named == {
        "resources.index": ("/api/v1", (), ()),
        "orders.list": ("/api/v1/orders", ("orders",), ("orders",)),
        "orders.read": ("/api/v1/orders/{id}", ("orders",), ("orders",)),
        "users.list": ("/api/v1/users", ("users",), ("users",)),
        "users.read": ("/api/v1/users/{id}", ("users",), ("users",)),
        "users.orders.list": ("/api/v1/users/{id}/orders", ("orders", "users"), ("users",)),
        "reporting.index": ("/api/v1/reporting", (), ()),
        f"{below}.list": (orders, (below,), (below,)),
        f"{below}.read": (f"{orders}/{{id}}", (below,), (below,)),
        f"{below}.orders.by-parent_id.list": (f"{orders}/{{id}}/orders.by-parentId", (below, below), (below,)),
        f"{below}.orders.by-other_id.list": (f"{orders}/{{id}}/orders.by-otherId", (below, below), (below,)),
    }


async def test_index_is_named_by_its_instance_whichever_of_them_has_the_path(start: Start) -> None:
    """Also where the one that is called resources is the one below a path."""
    routes = (await start(resources={"path": "shop"}, path="")).application.state.routes
    named = {route.path: route.name for route in routes if route.plugin != "health"}
    assert (named["/api/v1/shop"], named["/api/v1"]) == ("resources.index", "reporting.index")
    assert (named["/api/v1/shop/orders"], named["/api/v1/orders"]) == ("resources.orders.list", "orders.list")


async def test_cursor_of_one_instance_is_not_taken_by_the_other(start: Start) -> None:
    """Though the tables have one name, one order and one key; nor is that of a list by another list of its table."""
    service = await start(
        sql=REPORTING.replace("7, 2025, NULL, NULL", "7, 2025, 7, 7").replace("8, 2026, 7, NULL", "8, 2026, 7, 7"),
        resources={"ports": {"database": "reporting_db"}},
    )
    lists = [
        "/api/v1/orders",
        "/api/v1/reporting/orders",
        *[f"/api/v1/{top}orders/7/orders.by-{by}" for top in ("", "reporting/") for by in ("parentId", "otherId")],
    ]
    cursors = []
    for path in lists:
        status, body = await get(service, f"{path}?limit=1")
        assert (status, [row["id"] for row in body["data"]]) == (200, [7])
        cursors.append(body["pagination"]["nextCursor"])
    for path in lists:
        for origin, cursor in zip(lists, cursors, strict=True):
            status, body = await get(service, f"{path}?limit=1&cursor={cursor}")
            if origin == path:
                assert (status, [row["id"] for row in body["data"]]) == (200, [8])
                continue
            (detail,) = body["error"]["details"]
            assert (status, detail["field"]) == (400, "cursor")
            assert detail["message"] == "is of a list with another path, sort or filter; begin again without it."


async def test_settings_for_routes_of_one_instance_leave_the_other_alone(start: Start) -> None:
    service = await start(Marked, routes={"reporting.orders.*": {"marked": "yes"}, "users.*": {"marked": "also"}})
    assert await get(service, "/api/v1/reporting/orders") == (200, {"marked": "yes"})
    assert await get(service, "/api/v1/reporting/orders/7") == (200, {"marked": "yes"})
    assert (await get(service, "/api/v1/orders/1"))[1]["id"] == 1
    assert await get(service, "/api/v1/users/1") == (200, {"marked": "also"})


async def test_settings_for_a_table_that_only_the_other_instance_has_are_excused_by_its_name(start: Start) -> None:
    with_table = {"table": {"invoices": {"limit": 5}}}
    service = await start(Marked, reporting=with_table, routes={"reporting.invoices.*": {"marked": "x"}})
    (warning,) = service.application.loaded.settings.warnings
    assert 'routes."reporting.invoices.*": there is no such route' in warning
    with pytest.raises(SettingsError, match=r'routes\."invoices\.\*": no route has a name like this'):
        await start(Marked, reporting=with_table, routes={"invoices.*": {"marked": "x"}})


async def test_path_of_several_segments_is_encoded_and_holds_the_index(start: Start) -> None:
    service = await start(path="bür o/v2")
    _, body = await get(service, "/api/v1/b%C3%BCr%20o/v2")
    assert [row["path"] for row in body["data"]] == ["/api/v1/b%C3%BCr%20o/v2/orders"]
    assert (await service.client.get("/api/v1/bür o/v2/orders/7")).status == 200


async def test_mistake_in_the_settings_of_one_instance_is_told_by_its_name(start: Start) -> None:
    with pytest.raises(SettingsError) as stopped:
        await start(reporting={"table": {"orders": {"sort": "yaer"}}})
    assert "  plugins.reporting.table.orders.sort: names " in str(stopped.value)


async def test_each_instance_is_told_by_health(start: Start) -> None:
    _, body = await get(await start(), "/health")
    assert set(body["services"]) == {"database", "reporting_db"}


TWINS = "is that of [plugins.{}] too, and each instance needs one of its own\n    write: path = {}"


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        ("", "", "plugins.reporting.path: " + TWINS.format("resources", '"reporting"')),
        ("shop", "shop", "plugins.reporting.path: " + TWINS.format("resources", '"reporting"')),
        ("reporting", "reporting", "plugins.reporting.path: " + TWINS.format("resources", '"reporting-2"')),
    ],
)
def test_two_instances_at_one_path_are_told_which_line_to_write(
    check: Callable[[str], str], first: str, second: str, fault: str
) -> None:
    """Without opening anything, whichever of them stands first in the file."""
    one = f'[plugins.resources]\nenabled = true\npath = "{first}"\n'
    other = f'[plugins.reporting]\nenabled = true\nuse = "resources"\npath = "{second}"\n'
    for toml, line in ((one + other, 10), (other + one, 7)):
        assert check(toml) == f"config.toml:{line}  {fault}"


def test_instance_without_a_path_is_told_where_its_table_begins(check: Callable[[str], str]) -> None:
    fault = check('[plugins.resources]\nenabled = true\n[plugins.reporting]\nenabled = true\nuse = "resources"\n')
    assert fault == "config.toml:6  plugins.reporting.path: " + TWINS.format("resources", '"reporting"')


@pytest.mark.parametrize(
    ("path", "right"),
    [("/reporting/", "reporting"), ("a//b", "a/b"), ("a/{b}", "a/b"), ("..", ""), ("a/./b c", "a/b-c"), ("/", "")],
)
def test_path_that_is_none_is_told_with_one_that_is(check: Callable[[str], str], path: str, right: str) -> None:
    assert check(f'[plugins.resources]\nenabled = true\npath = "{path}"\n') == (
        "config.toml:6  plugins.resources.path: must be segments of a URL, without { and }, and / between them\n"
        f'    write: path = "{right}"'
    )


@pytest.fixture
def check(tmp_path: Any) -> Callable[[str], str]:
    """`check(toml)`: the report of faults that come without opening anything, of that below a [plugins.database]."""

    def load_it(toml: str) -> str:
        config = tmp_path / "config.toml"
        config.write_text(f'[plugins.database]\nenabled = true\nurl = "postgresql://db"\n{toml}')
        with pytest.raises(SettingsError) as caught:
            Chosen(config).load()
        return str(caught.value).replace(f"{tmp_path}/", "")

    return load_it

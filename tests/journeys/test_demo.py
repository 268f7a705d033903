"""What the README tells a new user to try, on the settings as shipped."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from plugins.database.demo import make_demo
from service.testing.service import MakeService, Service

PAGINATION = {
    "page",
    "limit",
    "total",
    "totalPages",
    "hasNext",
    "hasPrev",
    "nextCursor",
    "prevCursor",
    "totalIsEstimate",
}


async def test_list_answers_page_and_all_nine_facts_of_pagination(demo: Service) -> None:
    response = await demo.client.get("/api/v1/users?page=2&limit=20")
    body = await response.json()
    assert response.status == 200
    assert len(body["data"]) == 20
    assert set(body["pagination"]) == PAGINATION
    assert all(isinstance(body["pagination"].pop(name), str) for name in ("nextCursor", "prevCursor"))
    assert body["pagination"] == {
        "page": 2,
        "limit": 20,
        "total": 1000,
        "totalPages": 50,
        "hasNext": True,
        "hasPrev": True,
        "totalIsEstimate": False,
    }


async def test_list_stands_in_the_order_that_the_settings_give(demo: Service) -> None:
    body = await (await demo.client.get("/api/v1/users?limit=100")).json()
    created = [datetime.fromisoformat(row["createdAt"]) for row in body["data"]]
    assert created == sorted(created, reverse=True)


async def test_item_is_the_object_itself_without_what_is_hidden(demo: Service) -> None:
    response = await demo.client.get("/api/v1/users/1")
    body = await response.json()
    assert response.status == 200
    assert set(body) == {"id", "email", "name", "role", "bio", "createdAt", "updatedAt"}
    assert body["id"] == 1


async def test_children_are_those_of_their_parent(demo: Service) -> None:
    body = await (await demo.client.get("/api/v1/users/1/orders?limit=100")).json()
    assert body["pagination"]["total"] == len(body["data"]) > 0
    assert {row["userId"] for row in body["data"]} == {1}


async def test_children_of_an_absent_parent_are_404(demo: Service) -> None:
    response = await demo.client.get("/api/v1/users/100000/orders")
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "NOT_FOUND"


async def test_root_lists_the_resources(demo: Service) -> None:
    body = await (await demo.client.get("/api/v1")).json()
    assert {entry["name"]: entry["path"] for entry in body["data"]} == {
        "users": "/api/v1/users",
        "orders": "/api/v1/orders",
    }


async def test_filters_and_sort_of_the_readme_select_what_they_say(demo: Service) -> None:
    query = "role=admin&createdAt[gte]=2025-01-01&sort=-createdAt&fields=id,email,role,createdAt&limit=100"
    body = await (await demo.client.get(f"/api/v1/users?{query}")).json()
    assert body["data"]
    assert {row["role"] for row in body["data"]} == {"admin"}
    assert all(set(row) == {"id", "email", "role", "createdAt"} for row in body["data"])
    created = [row["createdAt"] for row in body["data"]]
    assert min(created) >= "2025-01-01"
    assert created == sorted(created, reverse=True)


async def test_page_past_the_end_is_empty_and_still_knows_the_total(demo: Service) -> None:
    response = await demo.client.get("/api/v1/users?page=1000")
    body = await response.json()
    assert response.status == 200
    assert body["data"] == []
    assert body["pagination"]["total"] == 1000
    assert body["pagination"]["hasNext"] is False


async def test_limit_above_the_most_is_clamped_and_echoed(demo: Service) -> None:
    body = await (await demo.client.get("/api/v1/users?limit=5000")).json()
    assert body["pagination"]["limit"] == 100
    assert len(body["data"]) == 100


async def test_every_fault_of_a_query_is_told_at_once(demo: Service) -> None:
    response = await demo.client.get("/api/v1/users?limit=0&nope=1&role[gt]=x&id=abc&sort=nope&passwordHash=x")
    body = await response.json()
    assert response.status == 400
    assert body["error"]["code"] == "VALIDATION_ERROR"
    fields = [detail["field"] for detail in body["error"]["details"]]
    assert sorted(fields) == sorted({"limit", "nope", "role[gt]", "id", "sort", "passwordHash"})


async def test_error_has_the_one_form(demo: Service) -> None:
    response = await demo.client.get("/api/v1/users/100000")
    error = (await response.json())["error"]
    assert set(error) == {"code", "message", "details", "timestamp", "requestId"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", error["timestamp"])
    assert error["requestId"] == response.headers["X-Request-Id"]


async def test_client_that_prefers_problem_json_gets_it(demo: Service) -> None:
    response = await demo.client.get("/nowhere", headers={"Accept": "application/problem+json"})
    assert response.status == 404
    assert response.content_type == "application/problem+json"
    assert json.loads(await response.text())["status"] == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_writing_to_a_list_as_a_whole_is_not_offered(demo: Service, method: str) -> None:
    response = await demo.client.request(method, "/api/v1/users", json={})
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert (await response.json())["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_head_has_the_headers_of_get_and_no_body(demo: Service) -> None:
    get = await demo.client.get("/api/v1/users/1")
    head = await demo.client.head("/api/v1/users/1")
    assert head.status == 200
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert await head.read() == b""


async def test_options_says_what_is_allowed(demo: Service) -> None:
    response = await demo.client.options("/api/v1/users/1")
    assert response.status == 204
    assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
    assert response.headers["Accept-Patch"] == "application/json"


async def test_health_knows_the_database(demo: Service) -> None:
    async with asyncio.timeout(30):
        while (await demo.client.get("/health/ready")).status != 200:
            pass  # the first probe is on its way
    body = await (await demo.client.get("/health")).json()
    assert body["status"] == "healthy"
    assert set(body["services"]["database"]) == {"status", "latencyMs", "ageMs"}


async def test_time_of_the_last_change_is_set_once_the_lines_that_are_commented_out_are_live(
    make_service: MakeService, shipped: dict[str, Any], make_database: Callable[[str], str]
) -> None:
    url = make_database("")
    connection = await asyncpg.connect(url)
    await make_demo(connection)
    await connection.close()
    live = copy.deepcopy(shipped)
    for table in ("users", "orders"):
        live["plugins"]["resources"]["table"].setdefault(table, {})["modified"] = "updated_at"
    for settings, is_set in ((shipped, False), (live, True)):
        service = await make_service(settings=settings, environ={"DATABASE_URL": url})
        for path, change in (("users/1", {"bio": "new"}), ("orders/1", {"total": 5})):
            before = await (await service.client.get(f"/api/v1/{path}")).json()
            response = await service.client.patch(f"/api/v1/{path}", json=change)
            after = await response.json()
            assert response.status == 200
            assert (after["updatedAt"] > before["updatedAt"]) is is_set, path


async def test_start_says_who_can_write_once_others_reach_what_is_for_developing(
    make_service: MakeService, shipped: dict[str, Any], demo_url: str
) -> None:
    shipped["service"]["host"] = "0.0.0.0"
    service = await make_service(settings=shipped, environ={"DATABASE_URL": demo_url})
    assert [each for each in service.said if each.startswith("Whoever")] == [
        "Whoever this service answers can create, update and delete rows of orders and users: rules let everyone; "
        "change these rules, write writes = false under [plugins.resources.table.orders], and so for each, or "
        'host = "127.0.0.1" under [service].'
    ]

"""Every file in examples/ does what its head says, as an operator would use it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from service.api import Answer, Route, hookimpl
from service.errors import SettingsError
from service.testing.service import MakeService
from service.testing.tokens import TOKEN_SECRET, make_token

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG: dict[str, Any] = {"service": {"plugin_dirs": [str(EXAMPLES)]}}


class Hello:
    """Stands for a module with a plugin that has a route."""

    class Plugin:
        @hookimpl
        def routes(self) -> Iterable[Route]:
            yield Route("GET", "hello", lambda request: Answer.json({"message": "Hello"}), name="hello")


async def test_maintenance_closes_the_routes_that_are_named_and_no_other(make_service: MakeService) -> None:
    settings = CONFIG | {"plugins": {"maintenance": {"retry_after": "90s"}}, "routes": {"hello": {"maintenance": True}}}
    service = await make_service(["maintenance", "health", Hello], settings)
    closed = await service.client.get("/api/v1/hello")
    assert closed.status == 503
    assert closed.headers["Retry-After"] == "90"
    assert (await closed.json())["error"]["code"] == "MAINTENANCE"
    assert (await service.client.get("/health/live")).status == 200


async def test_maintenance_costs_an_open_route_nothing(make_service: MakeService) -> None:
    service = await make_service(["maintenance", Hello], CONFIG)
    plan = service.application.tables["main"].plan("hello")
    assert plan is not None
    assert plan.steps == ()
    assert (await service.client.get("/api/v1/hello")).status == 200


async def test_maintenance_takes_true_or_a_table_and_nothing_else(make_service: MakeService) -> None:
    for right in (True, {"closed": True}):
        service = await make_service(["maintenance", Hello], CONFIG | {"routes": {"hello": {"maintenance": right}}})
        assert (await service.client.get("/api/v1/hello")).status == 503
    with pytest.raises(SettingsError, match="true or false"):
        await make_service(["maintenance", Hello], CONFIG | {"routes": {"hello": {"maintenance": "yes"}}})


async def test_zones_are_a_resource_in_the_form_of_tables(make_service: MakeService) -> None:
    service = await make_service(["zones"], CONFIG | {"plugins": {"zones": {"max_limit": 50}}})
    page = await (await service.client.get("/api/v1/zones?page=2&limit=60")).json()
    total = page["pagination"]["total"]
    assert page["pagination"] == {
        "page": 2,
        "limit": 50,
        "total": total,
        "totalPages": -(-total // 50),
        "hasNext": True,
        "hasPrev": True,
        "nextCursor": None,
        "prevCursor": None,
        "totalIsEstimate": False,
    }
    assert len(page["data"]) == 50
    tokyo = await service.client.get("/api/v1/zones/Asia%2FTokyo")
    assert await tokyo.json() == {"id": "Asia/Tokyo", "offsetSeconds": 32_400}
    assert (await service.client.get("/api/v1/zones/Asia%2FAtlantis")).status == 404
    wrong = await service.client.get("/api/v1/zones?page=0&colour=red")
    assert wrong.status == 400
    assert [detail["field"] for detail in (await wrong.json())["error"]["details"]] == ["page", "colour"]


async def test_basic_lets_people_in_by_password_beside_tokens(make_service: MakeService) -> None:
    people = {"grace": {"password": "pässword", "roles": ["reader"]}}
    settings = CONFIG | {"plugins": {"auth": {"secret": TOKEN_SECRET}, "basic": {"people": people}}}
    service = await make_service(["auth", "basic", Hello], settings)

    async def asked(credentials: str | None) -> tuple[int, str | None]:
        headers = {} if credentials is None else {"Authorization": credentials}
        response = await service.client.get("/api/v1/hello", headers=headers)
        return response.status, response.headers.get("WWW-Authenticate")

    def basic(name: str, password: str) -> str:
        return f"bAsic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"

    basic_only = 'Basic realm="api", charset="UTF-8"'
    assert await asked(basic("grace", "pässword")) == (200, None)
    assert await asked(f"Bearer {make_token()}") == (200, None)
    for wrong in (basic("grace", ""), basic("grace", "x"), basic("nobody", ""), "Basic é", "Basic /w=="):
        assert await asked(wrong) == (401, basic_only), wrong
    assert await asked(None) == (401, f'Bearer realm="api", {basic_only}')

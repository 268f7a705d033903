"""The flags keep the contract of all plugins, and stand as their plugins and the operator say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.api import PluginError, StartError, hookimpl
from service.testing import MakeService, PluginContract

pytestmark = pytest.mark.asyncio


class TestFlags(PluginContract):
    plugin = "flags"
    settings = {"on": ["new-checkout"]}
    beside = {"checkout": {}}
    readme = Path(__file__).parents[1] / "README.md"

    async def test_list_tells_how_they_stand(self, client: Any) -> None:
        response = await client.get("/api/v1/flags")
        assert await response.json() == {
            "data": [{"name": "new-checkout", "summary": "One page instead of three.", "isOn": True}]
        }


@pytest.mark.parametrize(("settings", "pages"), [({}, 3), ({"on": ["new-checkout"]}, 1), ({"enabled": False}, 3)])
async def test_checkout_does_as_its_flag_says(make_service: MakeService, settings: dict[str, Any], pages: int) -> None:
    service = await make_service(["flags", "checkout"], {"plugins": {"flags": settings}})
    response = await service.client.get("/api/v1/checkout")
    assert await response.json() == {"pages": pages}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"on": ["new-chekout"]},
            r'flags.on: names new-chekout, which is no flag of any plugin\n    write: on = \["new-checkout"\]',
        ),
        ({"on": ["new-checkout"], "off": ["new-checkout"]}, "new-checkout is listed under on and under off"),
    ],
)
async def test_mistakes_of_the_operator_are_told(make_service: MakeService, settings: Any, told: str) -> None:
    with pytest.raises(StartError, match=told):
        await make_service(["flags", "checkout"], {"plugins": {"flags": settings}})


async def test_two_plugins_with_one_flag_are_both_named(make_service: MakeService) -> None:
    from pegboard_flags import Flag

    class Other:
        class Plugin:
            @hookimpl
            def flags(self) -> list[Flag]:
                return [Flag("new-checkout", "Something else.")]

    with pytest.raises(PluginError, match="plugins checkout and other both have a flag new-checkout; rename one"):
        await make_service(["flags", "checkout", Other])

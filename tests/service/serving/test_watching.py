"""`run --watch`: what is watched, from the first generation to the latest, and what a reload that fails adds to it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 60.0

AGAIN_S = 0.5
"""After which a change is made once more: what is not watched yet is not seen. More than an author's pauses."""

COUNTING = """
    from service.api import Answer, Route, hookimpl

    class Plugin:
        @hookimpl
        def routes(self):
            yield Route("GET", "/count", lambda request: Answer.json({"count": COUNT}), name="count")
    """


def write(file: Path, count: int | str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(line[4:] for line in COUNTING.replace("COUNT", str(count)).splitlines()))


async def change_until(service: Any, change: Callable[[int], object], wanted: str) -> None:
    """Change it, again and again, until `/count` answers so."""
    count = 100
    async with asyncio.timeout(PATIENCE_S):
        while wanted not in await service.get("/count"):
            change(count := count + 1)
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    while wanted not in await service.get("/count"):
                        pass


@pytest.mark.parametrize("place", ["plugins/counting.py", "config.toml"])
async def test_watch_reloads_when_a_file_changes(start: Any, tmp_path: Path, place: str) -> None:
    service = await (await start("--watch", counting=COUNTING.replace("COUNT", "1"), logs="")).served()
    off = (tmp_path / "config.toml").read_text().replace("[plugins.counting]\nenabled = true\n", "")
    if place == "config.toml":
        await change_until(service, lambda _: (tmp_path / place).write_text(off), "404 Not Found")
    else:
        await change_until(service, lambda count: write(tmp_path / place, count), '"count":10')
    service.send(signal.SIGINT)
    assert (await service.ended())[0] == 0
    assert '"message":"Reloaded in ' in service.out


async def test_watch_follows_the_folders_of_the_latest_generation(start: Any, tmp_path: Path) -> None:
    service = await (await start("--watch")).served()
    config, added = tmp_path / "config.toml", tmp_path / "added" / "counting.py"
    write(added, 1)
    text = config.read_text().replace("[service]", '[service]\nplugin_dirs = ["plugins", "added"]')
    config.write_text(f"{text}[plugins.counting]\nenabled = true\n")
    assert (await service.command("reload"))[0] == 0
    await change_until(service, lambda count: write(added, count), '"count":10')
    config.write_text(f"{text}[plugins.counting]\nenabled = false\n")  # which is watched since before
    async with asyncio.timeout(PATIENCE_S):
        while "404" not in await service.get("/count"):
            pass


async def test_watch_follows_the_new_folder_of_a_reload_that_fails(start: Any, tmp_path: Path) -> None:
    service = await (await start("--watch")).served()
    config, added = tmp_path / "config.toml", tmp_path / "added" / "counting.py"
    write(added, "(")
    text = config.read_text().replace("[service]", '[service]\nplugin_dirs = ["plugins", "added"]')
    config.write_text(f"{text}[plugins.counting]\nenabled = true\n")
    assert (await service.command("reload"))[0] == 1
    await change_until(service, lambda count: write(added, count), '"count":10')


async def test_watch_sees_a_folder_of_plugins_come(start: Any, tmp_path: Path) -> None:
    service = await (await start("--watch", config='plugin_dirs = ["plugins", "later"]')).served()
    config, later = tmp_path / "config.toml", tmp_path / "later"
    config.write_text(f"{config.read_text()}[plugins.counting]\nenabled = true\n")
    assert (await service.command("reload"))[0] == 1  # there is no such plugin

    def come(count: int) -> None:
        """The whole folder at once, made elsewhere."""
        write(tmp_path / "made" / "counting.py", count)
        if later.exists():
            os.rename(later, tmp_path / f"before-{count}")
        os.rename(tmp_path / "made", later)

    await change_until(service, come, '"count":10')
    await change_until(service, lambda count: write(later / "counting.py", f"{count}0"), "0}")

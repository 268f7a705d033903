"""An operator's own folders called `plugins` and `service` in the working directory break nothing."""

from __future__ import annotations

import importlib.metadata
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

EXPLODES = "raise SystemExit('the wrong code was imported')\n"

CONFIG = """
[service]
port = 0
plugin_dirs = []
[plugins.health]
enabled = true
[plugins.logs]
enabled = true
"""


@pytest.fixture(params=["pegboard", "python -m service"])
def command(request: pytest.FixtureRequest, cli: Any, tmp_path: Path) -> str:
    """The command as an operator calls it: as installed where it is, else as an installation would make it."""
    try:
        importlib.metadata.distribution("pegboard")
    except importlib.metadata.PackageNotFoundError:
        script = tmp_path / "bin" / "pegboard"
        script.parent.mkdir()
        script.write_text("import sys\nfrom service.cli import main\nsys.exit(main())\n")
    else:
        del cli.environ["PYTHONPATH"]
        script = Path(sysconfig.get_path("scripts")) / "pegboard"
    name: str = request.param
    cli.command = [sys.executable, script] if name == "pegboard" else [sys.executable, "-m", "service"]
    return name


def lay(cli: Any, names: tuple[str, ...], *, packages: bool) -> None:
    for name in names:
        for module in ("health", "cli", "click", "errors", "plugins"):
            cli.write(f"{name}/{module}.py", EXPLODES)
        if packages:
            cli.write(f"{name}/__init__.py", EXPLODES)


@pytest.mark.parametrize("packages", [False, True], ids=["plain", "packages"])
@pytest.mark.parametrize("names", [("plugins",), ("service",), ("plugins", "service")], ids="+".join)
def test_folders_of_the_operators_hide_nothing(
    cli: Any, command: str, names: tuple[str, ...], *, packages: bool
) -> None:
    cli.write("config.toml", CONFIG)
    lay(cli, names, packages=packages)
    if command != "pegboard" and packages and "service" in names:
        assert "wrong code" in cli("check").err  # Python runs it in our place: nothing of ours could prevent that
        cli.command = [sys.executable, "-P", "-m", "service"]  # the way out that service/__main__.py names
    started = cli.start("run")
    assert started.get("/health/live")[0] == 200
    assert started.end().code == 0


@pytest.mark.parametrize("packages", [False, True], ids=["plain", "packages"])
def test_plugins_are_found_in_a_folder_called_plugins(cli: Any, command: str, *, packages: bool) -> None:
    cli.write("config.toml", CONFIG.replace("plugin_dirs = []", "") + "[plugins.mine]\nenabled = true\n")
    cli.write("plugins/mine.py", "class Plugin:\n    pass\n")
    if packages:
        cli.write("plugins/__init__.py", EXPLODES)
    rows = {row["name"]: row["source"] for row in cli("plugins", "--json").json}
    assert rows["mine"] == "file plugins/mine.py"
    assert rows["health"] == "built in"


def test_file_called_like_a_library_hides_nothing(cli: Any, command: str) -> None:
    cli.write("config.toml", CONFIG)
    for name in ("click", "aiohttp", "orjson", "asyncio"):
        cli.write(f"{name}.py", EXPLODES)
    assert cli("check").code == 0

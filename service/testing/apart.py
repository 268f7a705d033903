"""A plugin in a process of its own, in which nobody has imported it yet: off, without, on, off again."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict

from service.testing.glimpse import Neighbour, glimpse
from service.testing.service import Service

CHILD: Final = "from service.testing.apart import main; main()"


class Seen(TypedDict):
    """What was seen of each service."""

    without: object
    """Without a table of the plugin."""
    off: object
    """With a table that turns it off."""
    afterwards: object
    """The same, after it was on."""
    imported: list[str]
    """Modules of the plugin that were there while it was off."""


def look(without: Path, off: Path, on: Path, *, module: str, environ: Mapping[str, str], answer: Path) -> Seen:
    """Start the process and wait for what it has seen, which it writes to `answer`. Raises RuntimeError with its last
    words. `module` is the name of the plugin's."""
    ran = subprocess.run(  # noqa: S603  # ourselves
        [sys.executable, "-P", "-c", CHILD, str(without), str(off), str(on), module, str(answer)],
        input=json.dumps(dict(environ)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise RuntimeError(ran.stderr)
    seen: Seen = json.loads(answer.read_bytes())
    return seen


async def _look(without: Path, off: Path, on: Path, module: str, environ: Mapping[str, str]) -> Seen:
    async def of(config: Path) -> object:
        service = Service(config, {"neighbour": Neighbour}, environ=environ)
        try:
            await service.start()
            return await glimpse(service)
        finally:
            await service.stop()

    while_off = await of(off)
    imported = [name for name in sys.modules if name == module or name.startswith(f"{module}.")]
    seen = Seen(without=await of(without), off=while_off, afterwards=None, imported=imported)
    await of(on)
    seen["afterwards"] = await of(off)
    return seen


def main() -> None:
    """What the process does."""
    without, off, on, module, answer = sys.argv[1:]
    environ: Mapping[str, str] = json.load(sys.stdin)
    seen = asyncio.run(_look(Path(without), Path(off), Path(on), module, environ))
    Path(answer).write_text(json.dumps(seen))

"""Whose fault it is: what a plugin raises becomes one sentence that names the plugin, the hook and the place."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import Final

from service.errors import PluginError, StartError

_LIBRARIES: Final = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
"""Folders of Python's own code and of installed packages."""


class blame:  # noqa: N801 (reads as a statement: with blame(name, "hook routes"))
    """Turns what the plugin instance `name` raises inside the block into a PluginError."""

    def __init__(self, name: str, what: str) -> None:
        self._name = name
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not isinstance(error, Exception | SystemExit):
            return
        name = self._name
        if isinstance(error, StartError):
            text = str(error)
            named = PluginError(text if text.startswith("plugin ") else f"plugin {name}: {text}")
            named.exit_code = error.exit_code
            raise named from error
        raise PluginError(
            f"plugin {name}: its {self._what} failed with {explain(error)}; correct it, or turn it off with "
            f"enabled = false under [plugins.{name}]"
        ) from error


def explain(error: BaseException) -> str:
    """`TypeError: ... (hello.py, line 12)`: an error in one line, with its innermost place in code that is no library's
    (else its innermost place)."""
    text = " ".join(str(error).split()).rstrip(".;")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and Path(frame.filename).parent != Path(__file__).parent
    ]
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)] or frames
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"

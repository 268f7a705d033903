"""What the operator chose to run: the file, the environment and the overrides; settings and plugins come of it.

Light on purpose: `pegboard run` starts its first worker before it imports what settings and plugins need.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.loader import Loaded
    from service.run import Tasks
    from service.settings import Settings

DEFAULT_CONFIG = "config.toml"
"""What `pegboard init` writes, and what every other command reads unless told."""


def _ignore(text: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The file, the environment and the overrides that the operator chose."""

    config: Path
    environment: str | None = None
    overrides: tuple[str, ...] = ()
    """Each `PATH=VALUE`."""
    text: str | None = field(default=None, repr=False)
    """What the file says, where that is settled: for the workers of a generation. None: it is read."""

    @classmethod
    def usual(cls) -> Chosen:
        """What is chosen where nothing is said."""
        return cls(Path(os.environ.get("PEGBOARD_CONFIG") or DEFAULT_CONFIG))

    def settled(self, settings: Settings) -> Chosen:
        """The same with the file as it was when these settings were read, whatever becomes of it."""
        return replace(self, text=settings.config_text)

    def to_json(self) -> str:
        return json.dumps([str(self.config), self.environment, self.overrides, self.text])

    @classmethod
    def from_json(cls, text: str) -> Chosen:
        config, environment, overrides, content = json.loads(text)
        return cls(Path(config), environment, tuple(overrides), content)

    def settings(self) -> Settings:
        """Raises SettingsError for a file that cannot be read at all; other faults wait for `load`."""
        from service.settings import read

        return read(
            self.config, text=self.text, environment=self.environment, overrides=self.overrides, environ=os.environ
        )

    def load(
        self,
        settings: Settings | None = None,
        *,
        tasks: Tasks | None = None,
        say: Callable[[str], None] = _ignore,
        request_reload: Callable[[str], None] | None = None,
        household: Mapping[str, object] | None = None,
        with_off: bool = False,
        serves: bool = False,
    ) -> Loaded:
        """The plugins, made and not opened. Raises SettingsError with every fault."""
        from service.app import process_run
        from service.loader import load
        from service.run import Tasks

        settings = settings or self.settings()
        run = process_run(settings, tasks=tasks or Tasks(), say=say, request_reload=request_reload, serves=serves)
        return load(settings, run, household=household, with_off=with_off)

"""An operator's folder for the loader to look at: a config.toml and files of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from service.app import process_run
from service.errors import SettingsError
from service.loader import Loaded, load
from service.run import Tasks
from service.settings import Settings, read


class House:
    """An operator's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.tasks = Tasks()

    def write(self, path: str, text: str = "class Plugin: ...\n") -> Path:
        """A file below the folder, by default a plugin that does nothing."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def settings(self, config: str = "", *, environ: Mapping[str, str] | None = None) -> Settings:
        return read(self.write("config.toml", config), environ=environ or {})

    def load(self, config: str = "", modules: Mapping[str, Any] | None = None, **options: Any) -> Loaded:
        """What `config` comes to, with the plugins in `modules` at hand and those in files. Opens nothing."""
        return self.loaded(self.settings(config), modules, **options)

    def loaded(self, settings: Settings, modules: Mapping[str, Any] | None = None, **options: Any) -> Loaded:
        run = process_run(settings, tasks=self.tasks, say=self.said.append)
        return load(settings, run, modules=modules, **options)

    def report(self, config: str = "", modules: Mapping[str, Any] | None = None) -> str:
        """The report of faults that loading it gives, without the folder's own path."""
        with pytest.raises(SettingsError) as caught:
            self.load(config, modules)
        return str(caught.value).replace(f"{self.folder}/", "")

    def fault(self, config: str = "", modules: Mapping[str, Any] | None = None) -> str:
        """The only fault there is: one sentence with its place, and the line to write below it."""
        report = self.report(config, modules)
        sentence, _, fix = report.partition("\n")
        assert fix.strip().startswith(("write:", "remove:")), report
        assert "faults." not in report, report
        return sentence


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)

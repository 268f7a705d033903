"""Tell when the disk is nearly full."""

import shutil
from collections.abc import Iterable

from service.api import PluginSettings, Probe, Run, Size, hookimpl


class Settings(PluginSettings):
    least: Size = Size("100MiB")
    """What has to be free where the service keeps its files."""


class Plugin:
    def __init__(self, settings: Settings, run: Run) -> None:
        self._least = settings.least
        self._folder = run.state_dir.parent

    @hookimpl
    def probes(self) -> Iterable[Probe]:
        yield Probe("disk", self._check, critical=False)

    async def _check(self) -> None:
        if shutil.disk_usage(self._folder).free < self._least.bytes:
            raise RuntimeError(f"less than {self._least} is free")

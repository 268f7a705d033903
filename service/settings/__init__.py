"""Settings: TOML, then the environment, then typed models; all faults in one report.

- `units.py` Duration, Size, Rate, Secret · `models.py` PluginSettings, ServiceSettings
- `reading.py` the file · `positions.py` its lines · `environments.py` [env.NAME] · `outside.py` variables, `--set`
- `merging.py` layers on top of each other · `references.py` `{ env = }`, `{ file = }`
- `annotations.py`, `checking.py`, `binding.py` tables to models
- `subject.py`, `wording.py`, `remedies.py`, `fixing.py`, `telling.py`, `reporting.py` faults: where, what, the line to
  write
- `settings.py` all of it together · `showing.py` effective values, differences, JSON Schema
"""

from service.settings.models import PluginSettings, ServiceSettings, Unique
from service.settings.settings import Instance, Settings, read
from service.settings.showing import Difference, Effective, diff, json_schema
from service.settings.spelling import nearest
from service.settings.units import Duration, Rate, Secret, Size

__all__ = [
    "Difference",
    "Duration",
    "Effective",
    "Instance",
    "PluginSettings",
    "Rate",
    "Secret",
    "ServiceSettings",
    "Settings",
    "Size",
    "Unique",
    "diff",
    "json_schema",
    "nearest",
    "read",
]

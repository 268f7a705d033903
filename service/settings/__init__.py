"""Settings: TOML, then the environment, then typed models; all faults in one report.

- `units.py` Duration, Size, Rate, Secret · `models.py` PluginSettings, ServiceSettings
- `reading.py` the file · `environments.py` [env.NAME] · `outside.py` variables, `--set` · `positions.py` places in each
- `merging.py` layers on top of each other · `references.py` `{ env = }`, `{ file = }`
- `annotations.py`, `checking.py`, `binding.py` tables to models
- `wording.py`, `remedies.py`, `fixing.py`, `reporting.py` faults: where, what, the line to write
- `settings.py` all of it together · `showing.py` effective values, differences, JSON Schema
"""

from service.settings.models import PluginSettings, ServiceSettings, Unique
from service.settings.settings import Instance, Settings, read
from service.settings.showing import Difference, Effective, diff, json_schema
from service.settings.spelling import listed, nearest, toml, toml_key
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
    "listed",
    "nearest",
    "read",
    "toml",
    "toml_key",
]

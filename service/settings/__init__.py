"""Settings: TOML, then environment, then typed models; all faults in one report.

- `units.py`: Duration, Size, Rate, Secret
- `models.py`: PluginSettings, ServiceSettings
"""

from service.settings.models import PluginSettings, ServiceSettings
from service.settings.units import Duration, Rate, Secret, Size

__all__ = ["Duration", "PluginSettings", "Rate", "Secret", "ServiceSettings", "Size"]

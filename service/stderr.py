"""Standard error: where the core's log goes as long as no plugin handles logging."""

from __future__ import annotations

import logging


def log_to_stderr() -> None:
    """Python's last resort, with the level and the name: it steps back once a plugin handles logging."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

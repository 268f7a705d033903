"""The core of Pegboard: routes, configures, shuts down; names no plugin.

Where to go next: `app.py` reads as a table of contents, `api.py` is all that a plugin imports.
"""

__version__ = "0.1.0"

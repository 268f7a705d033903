"""The secret that is made once where none is set, so that a first run needs none: a file that only its owner reads."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from service.api import PluginError

SECRET_BYTES = 64
"""Enough for the longest hash."""


def kept_secret(folder: Path, name: str) -> str:
    """What the file `name` in `folder` has; made first where it is not there. Raises PluginError.

    Whoever comes second takes what the first has made: the file appears whole or not at all, also for other workers.
    """
    path = folder / name
    try:
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path)
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise _useless(folder, name, reason or "it cannot be used") from None
    if len(secret) < SECRET_BYTES:
        raise _useless(folder, name, "it is too short")
    return secret


def _make(path: Path) -> None:
    descriptor, made = tempfile.mkstemp(dir=path.parent)  # which nobody else may read
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{secrets.token_urlsafe(SECRET_BYTES)}\n")
        with suppress(FileExistsError):
            os.link(made, path)
    finally:
        os.unlink(made)


def _useless(folder: Path, name: str, reason: str) -> PluginError:
    return PluginError(
        f"the secret for tokens cannot be kept in {folder.name}/{name} ({reason}); "
        'set one instead: secret = { env = "JWT_SECRET" } under [plugins.auth].'
    )

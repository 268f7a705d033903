"""No hook is called while requests are served: every way to one is barred, and who tries is noted.

with unhooked(service) as called:
    ...
assert called == []
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pluggy
import pytest

from service.hooks import PROJECT
from service.loader import Loaded
from service.testing.service import Service


@contextmanager
def unhooked(service: Service) -> Iterator[list[str]]:
    """Bars hooks for as long as the block runs; yields what was called all the same."""
    called: list[str] = []

    def barred(what: str) -> Callable[..., None]:
        def refuse(*arguments: object, **named: object) -> None:
            called.append(what)
            raise AssertionError(f"{what} while requests are served")

        return refuse

    loaded = service.application.loaded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pluggy.HookCaller, "__call__", barred("a hook call of pluggy's"))
        patch.setattr(pluggy.HookCaller, "get_hookimpls", barred("a look-up of hooks"))
        patch.setattr(loaded.manager, "_hookexec", barred("pluggy's loop"))
        patch.setattr(Loaded, "hook", barred("a call of Pegboard's own"))
        for plugged in loaded.plugins:  # whatever way there may be: no implementation runs
            for name in dir(plugged.plugin):
                if hasattr(getattr(plugged.plugin, name), f"{PROJECT}_impl"):
                    with suppress(AttributeError):  # a plugin with __slots__: the ways above stay barred
                        patch.setattr(plugged.plugin, name, barred(f"the hook {name} of {plugged.name}"))
        yield called

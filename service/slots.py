"""Where a step stands (`Slot`) and who a route is for (`Door`).

The order of the slots is the order of the request; each stands where it does for one reason.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class Slot(IntEnum):
    """Eight places around a handler, from the outermost to the innermost.

    A step may rely on what the slots before its own have left on the request.
    """

    RECEIVE = 1
    """Ids, client address, preflight and size limits come before any work."""
    NEGOTIATE = 2
    """An unknown version should cost nothing more."""
    ADMIT = 3
    """Floods must not reach token checks: limits by address, load shedding."""
    IDENTIFY = 4
    """Everything below may ask who: authentication."""
    AUTHORIZE = 5
    """A budget is not spent on what is forbidden: roles, scopes."""
    RATION = 6
    """A cache hit spends too: limits by principal."""
    CONDITION = 7
    """Outside the cache, so that a stored answer can become a 304: conditional requests."""
    RECALL = 8
    """A hit can never skip a permission or a budget: the cache."""


class Door(Enum):
    """Who a route is for."""

    API = "api"
    """Clients, below `{api_root}/{version}` or at an absolute path."""
    OPERATOR = "operator"
    """Whoever runs the service: metrics, administration. Never mounted unguarded when strict."""
    PROBE = "probe"
    """Health checks. The core keeps only the RECEIVE steps: no token and no budget, by construction."""

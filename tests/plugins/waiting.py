"""Waiting for what another program does in its own time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

Eventually = Callable[..., Coroutine[Any, Any, None]]


async def eventually(condition: Callable[[], Any], *, within_s: float = 10.0) -> None:
    """Until `condition()`, which may be a coroutine, holds; TimeoutError if it does not."""
    async with asyncio.timeout(within_s):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(0.01)

"""Which value it is, where PostgreSQL refuses one and does not tell: each is cast alone, in as few statements as do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from plugins.resources.parse.faults import Fault
from plugins.resources.plan.writes import trial
from plugins.resources.schema.resource import Field
from service.api import InternalError, InvalidBody, InvalidRequest

MAX_TRIALS: Final = 16
"""Statements for one refused request (chosen: finds one value of 60 in 13 of them, one of 10 in 9)."""

Ask = Callable[..., Awaitable[bytes | None]]


async def untaken(fetch_json: Ask, fields: Sequence[Field], values: Sequence[str | None]) -> list[Fault]:
    """The fields whose value PostgreSQL does not take, the first ones where they are many. Mostly there are none, which
    takes one statement; else a half that fails is halved again."""
    waiting = [[(field, value) for field, value in zip(fields, values, strict=True) if value is not None]]
    faults: list[Fault] = []
    for _ in range(MAX_TRIALS):
        if not waiting:
            break
        part = waiting.pop()
        message = await _refusal(fetch_json, part) if part else ""
        if message and len(part) == 1:
            faults.append(Fault(part[0][0].name, message))
        elif message:
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
    return faults


async def _refusal(fetch_json: Ask, part: Sequence[tuple[Field, str]]) -> str:
    """What is said of the last of these values if one is not taken, else nothing."""
    try:
        await fetch_json(trial([field.column for field, _ in part]), *[value for _, value in part])
    except InvalidBody:
        return "is not allowed."
    except (InvalidRequest, InternalError):
        return f"must be a value of the type {part[-1][0].column.declared}."
    return ""

"""Durations and moments on the command line: read, and shown."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from service.api import Duration


def duration_of(text: str, *, too_short: str, least_s: float = 1.0) -> Duration:
    """`15m`, which is a `least_s` at least; else click.BadParameter, in the one case with `too_short`."""
    try:
        duration = Duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    if duration.seconds < least_s:
        raise click.BadParameter(too_short)
    return duration


def shown(instant: datetime) -> str:
    """To the second: `2026-01-01T00:00:00Z`."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

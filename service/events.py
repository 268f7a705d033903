"""What happened: `Exchange`, the one record of a finished request, and `Change`, a write that was committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

CLIENT_CLOSED_REQUEST = 499
"""Status of an exchange whose client left before the answer (nginx's number; never sent)."""


class Exchange(NamedTuple):
    """One finished request, whatever became of it: answered, refused, malformed, cancelled.

    Emitted exactly once per request, after the last byte was handed over. A named tuple, because it is made on every
    request and a frozen dataclass of this size costs three times as much.
    """

    request_id: str
    method: str
    """As the client sent it, so unbounded; `-` when the request could not be parsed."""
    target: str
    """Path and query as the client sent them; `-` when the request could not be parsed."""
    route: str
    """Name of the route, `unmatched` where there is none: bounded, so fit for a label."""
    template: str
    """The route's path with its placeholders: `/api/v1/users/{id}`."""
    version: str
    """API version, empty where there is none."""
    status: int
    """Status sent, or `CLIENT_CLOSED_REQUEST`."""
    started_at: float
    """Seconds since the epoch."""
    duration_s: float
    bytes_sent: int
    """Length of the body sent."""
    remote: str
    """The client's address."""
    subject: str | None
    """Who asked, as the principal's subject; None for an anonymous caller."""
    headers: Mapping[str, str]
    """The request's headers."""
    error_code: str | None = None
    failure: BaseException | None = None
    """What crashed, for the log: only for faults of ours, never for refusals."""


@dataclass(frozen=True, slots=True)
class Change:
    """A write that was committed. Announced after COMMIT and before the writer's answer leaves."""

    resource: str
    keys: tuple[str, ...] = ()
    """Keys of the rows written; empty means any of them."""

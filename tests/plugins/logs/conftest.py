"""An exchange to log, of which a test changes what it is about."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from multidict import CIMultiDict

from service.api import Exchange

USUAL = Exchange(
    request_id="req_0123456789ab",
    method="GET",
    target="/api/v1/users/7",
    route="users.read",
    template="/api/v1/users/{id}",
    version="v1",
    status=200,
    started_at=1_767_225_600.25,
    duration_s=0.0012345,
    bytes_sent=312,
    remote="127.0.0.1",
    subject="ann",
    headers={},
)


@pytest.fixture
def exchange() -> Callable[..., Exchange]:
    """`exchange(status=404, headers={...})`: the usual one, changed."""

    def changed(*, headers: dict[str, str] | None = None, **facts: object) -> Exchange:
        return USUAL._replace(headers=CIMultiDict(headers or {}), **facts)

    return changed

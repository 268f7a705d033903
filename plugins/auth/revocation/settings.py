"""[plugins.auth.revocation]: how long a revocation is kept, and what happens where nobody knows what is revoked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from service.api import Duration, PluginSettings

Verdict = Literal["allow", "refuse"]


def _some_time(kept: Duration) -> Duration:
    if kept.seconds < 1:
        raise ValueError("would end a revocation as it begins")
    return kept


class OnStoreFailure(PluginSettings):
    """What happens to tokens while it cannot be found out whether they have been revoked."""

    api: Verdict = "allow"
    """For routes of the API. "refuse" is 503 SERVICE_UNAVAILABLE until the store is back."""

    operator: Verdict = "refuse"
    """For operators' routes where tokens are looked at."""


class RevocationSettings(PluginSettings):
    kept: Annotated[Duration, AfterValidator(_some_time)] = Duration("30d")
    """How long a revocation lasts whose tokens may have any lifetime, and `expires` where that is longer: at least as
    long as the issuer of the longest tokens lets them live."""

    on_store_failure: OnStoreFailure = OnStoreFailure()

"""All of revocation for one worker: made with the plugin, opened in its lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from plugins.auth.revocation.doubt import Doubt, Guard
from plugins.auth.revocation.following import PATIENCE_S, Following, Forget
from plugins.auth.revocation.held import Held
from plugins.auth.revocation.revoking import Revocations, Take
from plugins.auth.revocation.settings import RevocationSettings
from plugins.auth.revocation.stores import Store, store_of
from service.api import DATABASE, REDIS, Alarm, PluginError, Ports, Probe, Run


class Revocation:
    """What the rest of the plugin needs of it."""

    def __init__(self, settings: RevocationSettings, run: Run, *, expires_s: float, leeway_s: float) -> None:
        """`expires_s` is how long tokens live that are made here."""
        self._run = run
        self._kept_s = max(settings.kept.seconds, expires_s) + leeway_s
        self._expires_s = expires_s
        self._leeway_s = leeway_s
        self._doubt = Doubt()
        self._alarm = Alarm()
        self._following: Following | None = None
        choice = settings.on_store_failure
        self.held = Held()
        """What verifying asks."""
        self.api = Guard(self._doubt, refuses=choice.api == "refuse")
        self.operator = Guard(self._doubt, refuses=choice.operator == "refuse")
        self.revocations: Revocations | None = None
        """Once it is open; None where there is no store."""

    @asynccontextmanager
    async def opened(self, ports: Ports, forget: Forget) -> AsyncIterator[None]:
        """`forget` forgets those of the remembered tokens that are meant."""
        store = _store(ports)
        if store is None:
            yield
            return
        following = self._following = Following(store, self.held, self._doubt, forget, self._run, self._alarm)
        self.revocations = self._revocations(store, following.take)
        if not self._run.serves:
            yield
            return
        async with following.follow():
            yield

    def probes(self) -> Iterable[Probe]:
        if self._following is not None:
            yield Probe(
                f"{self._run.name}.revocations",
                self._following.check,
                timeout_s=PATIENCE_S + 1,
                critical=False,
                alarm=self._alarm,
                facts=self._doubt.facts,
            )

    # --- for commands, where the plugin itself is not open

    def of_command(self, ports: Ports) -> Revocations:
        """Raises PluginError where there is no store."""
        return self._revocations(self.store(ports), lambda revoked: None)

    def store(self, ports: Ports) -> Store:
        """Raises PluginError where there is none."""
        store = _store(ports)
        if store is None:
            raise PluginError(
                "there is nowhere to keep revocations: they need redis or database; write: enabled = true under "
                "[plugins.redis] or [plugins.database]."
            )
        return store

    def _revocations(self, store: Store, take: Take) -> Revocations:
        return Revocations(
            store,
            self._run.clock,
            kept_s=self._kept_s,
            expires_s=self._expires_s,
            leeway_s=self._leeway_s,
            take=take,
        )


def _store(ports: Ports) -> Store | None:
    return store_of(ports.find(DATABASE), ports.find(REDIS))

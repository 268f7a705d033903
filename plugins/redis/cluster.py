"""A cluster: which server holds which key, learned from the cluster itself and corrected as it says.

It is one thing to the breaker: away where a slot has no server that answers, as Redis itself sees it by default
(`cluster-require-full-coverage`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

from redis import exceptions
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot

from plugins.redis.lending import Command, Lender
from plugins.redis.opening import DRIVER_ERRORS, Connect, Dialer, Unusable, ask, drop, first_of
from plugins.redis.single import Pulse
from plugins.redis.urls import Address
from service.api import Reply

SLOTS = 16_384

REDIRECTIONS = 3
"""How often one command follows a slot that moves (chosen)."""


ASKED = 3
"""How many servers are asked where everything is, beside those of the URL; the first to answer is believed (chosen)."""


class Range(NamedTuple):
    """Slots that one server holds."""

    first: int
    last: int
    address: Address


class Node:
    """One server that holds slots."""

    def __init__(self, dialer: Dialer, address: Address, *, size: int, command_s: float) -> None:
        async def connect() -> AbstractConnection:
            return await dialer.dial(address)

        self.address = address
        self.connect: Connect = connect
        self.lender = Lender(connect, size=size, command_s=command_s)
        self.pulse = Pulse(dialer, connect, command_s=command_s)

    async def close(self) -> None:
        await self.pulse.close()
        await self.lender.close()


class Cluster:
    """What commands are sent to, where keys are spread over servers."""

    def __init__(self, dialer: Dialer, *, size: int, command_s: float) -> None:
        """`size` is for each server."""
        self._dialer = dialer
        self._size = size
        self._command_s = command_s
        self._nodes: dict[Address, Node] = {}
        self._slots: list[Node | None] = [None] * SLOTS

    async def ask(self, key: str, command: Command) -> Reply:
        slot = _slot(key)
        node = self._slots[slot]
        before: Command | None = None
        for _ in range(REDIRECTIONS):
            if node is None:
                break
            try:
                return await node.lender.ask(command, before=before)
            except exceptions.MovedError as moved:
                node = self._slots[slot] = self._node(_place(moved, node))
                before = None
            except exceptions.AskError as elsewhere:
                node = self._node(_place(elsewhere, node))
                before = ("ASKING",)
        raise exceptions.ClusterDownError("CLUSTERDOWN a slot is on its way", status_code="CLUSTERDOWN")

    def grouped(self, keys: Sequence[str]) -> list[list[int]]:
        """Which of `keys` one command may have together: those of one slot."""
        groups: dict[int, list[int]] = {}
        for index, key in enumerate(keys):
            groups.setdefault(_slot(key), []).append(index)
        return list(groups.values())

    async def connect(self) -> AbstractConnection:
        """To any of them: what is published on one is heard on all."""
        last: BaseException = Unusable("the cluster is not known yet")
        for node in random.sample([*self._nodes.values()], len(self._nodes)):
            try:
                return await node.connect()
            except (*DRIVER_ERRORS, Unusable) as error:
                last = error
        raise last

    async def check(self) -> None:
        """Learn where everything is, and look at each server that holds any of it. Raises `DRIVER_ERRORS`, Unusable."""
        known = random.sample([*self._nodes], min(ASKED, len(self._nodes)))
        ranges = await first_of([self._learn(address) for address in {*known, *self._dialer.target.addresses}])
        await self._follow(ranges)
        looks = [node.pulse.check() for node in self._nodes.values()]
        for failure in await asyncio.gather(*looks, return_exceptions=True):
            if failure is not None:
                raise failure

    async def drop_idle(self) -> None:
        for node in self._nodes.values():
            await node.lender.drop_free()

    async def close(self) -> None:
        for node in self._nodes.values():
            await node.close()

    # --- where everything is

    async def _learn(self, address: Address) -> list[Range]:
        """What one server says of all. A replica may be asked too."""
        connection = await self._dialer.dial(address, takes_changes=False)
        try:
            async with asyncio.timeout(self._dialer.connect_s):
                state = await ask(connection, "CLUSTER", "INFO")
                told = await ask(connection, "CLUSTER", "SLOTS")
        finally:
            await drop(connection)
        if not isinstance(state, bytes) or b"cluster_state:ok" not in state:
            raise Unusable("the cluster is down")
        assert isinstance(told, list)  # noqa: S101  # so CLUSTER SLOTS answers
        return [
            Range(first, last, (host.decode() if host else address[0], port))
            for first, last, (host, port, *_), *_ in told
        ]

    async def _follow(self, ranges: list[Range]) -> None:
        slots: list[Node | None] = [None] * SLOTS
        for each in ranges:
            slots[each.first : each.last + 1] = [self._node(each.address)] * (each.last + 1 - each.first)
        self._slots = slots
        gone = self._nodes.keys() - {each.address for each in ranges}
        for address in gone:
            await self._nodes.pop(address).close()

    def _node(self, address: Address) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node(self._dialer, address, size=self._size, command_s=self._command_s)
        return self._nodes[address]


def _slot(key: str) -> int:
    return key_slot(key.encode())


def _place(told: exceptions.AskError, by: Node) -> Address:
    """Where it sends us; without a host, to another port of the one that says so."""
    return told.host or by.address[0], told.port

"""The channel between supervisor and worker: messages, sockets beside them, and the end of the other side."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from service.channel import Ask, Channel, End, Failed, Message, Ready, Record, Reload, Retire, Serve, Start, Told

PATIENCE_S = 10.0

MESSAGES: list[Message] = [
    Start({"house": {"url": "x", "size": 3}}),
    Retire(1.5, ["main"]),
    End(drain=True),
    Record(logging.ERROR, "Zeile\nmit ümlaut"),
    Ready(["a"], [], ["note"], 3, ["/health"], ["/plugins"]),
    Failed("no", 78, is_report=True),
    Reload("somebody asked"),
    Ask(3, "plugin.question"),
    Told(3, "[1]"),
]


class Heard:
    """What one end gets to hear."""

    def __init__(self, sock: socket.socket) -> None:
        self.messages: list[Message] = []
        self.sockets: list[socket.socket] = []
        self.lost = asyncio.Event()
        self.channel = Channel(sock, receive=self._receive, lost=self.lost.set)

    def _receive(self, message: Message, sockets: Sequence[socket.socket]) -> None:
        assert not self.lost.is_set()
        self.messages.append(message)
        self.sockets += sockets


def test_messages_arrive_whole_and_in_order(on_loop: Any) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        heard, other = Heard(ours), Heard(theirs)
        for _ in range(50):
            for message in MESSAGES:
                assert other.channel.send(message)
        other.channel.close()
        async with asyncio.timeout(PATIENCE_S):
            await heard.lost.wait()
        assert heard.messages == MESSAGES * 50
        assert not heard.channel.send(End(drain=False))
        heard.channel.close()

    on_loop(scenario)


def test_sockets_come_with_the_message_that_names_them(on_loop: Any) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        heard, other = Heard(ours), Heard(theirs)
        with socket.create_server(("127.0.0.1", 0)) as main, socket.create_server(("127.0.0.1", 0)) as operator:
            other.channel.send(Record(logging.INFO, "before"))
            other.channel.send(Serve(["main", "operator"]), [main, operator])
            other.channel.send(Record(logging.INFO, "after"))
            names = [main.getsockname(), operator.getsockname()]
        other.channel.close()
        async with asyncio.timeout(PATIENCE_S):
            await heard.lost.wait()
        assert [type(message) for message in heard.messages] == [Record, Serve, Record]
        assert [sock.getsockname() for sock in heard.sockets] == names
        for sock in heard.sockets:
            sock.close()

    on_loop(scenario)


@pytest.mark.parametrize("turn", range(20))
def test_end_of_a_side_that_has_left_messages_unread_is_heard(on_loop: Any, turn: int) -> None:
    """The kernel reports an error then, and uvloop's `add_reader` nothing at all."""

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        heard = Heard(ours)
        heard.channel.send(End(drain=False))
        line = {"kind": "Failed", "text": "no", "exit_code": 78, "is_report": False}
        theirs.sendall(json.dumps(line).encode() + b"\n")
        theirs.close()
        async with asyncio.timeout(PATIENCE_S):
            await heard.lost.wait()
        assert heard.messages == [Failed("no", 78, is_report=False)]

    on_loop(scenario)


def test_nothing_is_heard_after_close(on_loop: Any) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        heard, other = Heard(ours), Heard(theirs)
        other.channel.send(Reload("too late"))
        heard.channel.close()
        async with asyncio.timeout(PATIENCE_S):
            await other.lost.wait()
        assert heard.messages == []
        assert not heard.lost.is_set()
        assert not heard.channel.send(End(drain=False))

    on_loop(scenario)

"""The one place that knows aiohttp's protocol: connections of ours, made by a front of ours.

`Front` is what a listening socket calls for each connection; it hands every parsed request to the table and what
cannot be parsed to the plan for malformed requests, so that both get the one error form and an Exchange. A contract
test holds this file against each version of aiohttp that setup.cfg admits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from service.errors import InvalidRequest
from service.table import Table

KEEP_ALIVE_S: Final = 75.0
"""How long an idle connection is kept: above the 60 s of the usual proxies in front (chosen)."""

LINGER_S: Final = 2.0
"""How long what is left of a refused body is read, so that the client sees the answer and no reset (chosen)."""

MESSAGE_LENGTH: Final = 120
"""What is told of a parser's complaint, in characters (chosen)."""


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = ("_table",)

    def __init__(self, front: Front, table: Table, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            front,
            loop=loop,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            access_log=None,  # type: ignore[arg-type] # the pipeline emits the Exchange
        )
        self._table = table

    def _make_error_handler(self, err_info: _ErrInfo) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        """What answers a request that the parser gave up on; the connection ends with it."""
        fault = InvalidRequest(f"This is not a valid HTTP request: {_plainly(err_info.message)}.")

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            outcome = await self._table.serve_malformed(cast(web.Request, request), fault)
            return cast(web.StreamResponse, outcome)  # an Answer quacks like one

        return answer


class Front(web.Server):
    """Makes the connections of one application."""

    def __init__(self, table: Table, *, body_limit: int) -> None:
        """`body_limit` in bytes: the most that `request.read()` takes."""
        super().__init__(table.serve, request_factory=self._make, handler_cancellation=True)  # type: ignore[arg-type]
        self._table = table
        self._body_limit = body_limit
        self._running_loop = asyncio.get_running_loop()

    def __call__(self) -> Connection:
        return Connection(self, self._table, self._running_loop)

    def _make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.Request:
        return web.Request(
            message, payload, protocol, writer, task, self._running_loop, client_max_size=self._body_limit
        )


def _plainly(message: str) -> str:
    """The parser's complaint without what the client sent: its first line, printable, short."""
    first = message.strip().split("\n", 1)[0].rstrip(":. ")
    return "".join(char for char in first if char.isprintable())[:MESSAGE_LENGTH] or HTTPStatus.BAD_REQUEST.phrase

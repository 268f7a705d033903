"""The one place that knows aiohttp's protocol: connections of ours, made by a front of ours.

`Front` is what a listening socket calls for each connection; it hands every parsed request to the table and what
cannot be parsed to the plan for malformed requests, so that both get the one error form and an Exchange. A contract
test holds this file against each version of aiohttp that setup.cfg admits.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo
from multidict import CIMultiDict, CIMultiDictProxy

from service.errors import InvalidRequest
from service.table import Table

log = logging.getLogger("pegboard")

KEEP_ALIVE_S: Final = 75.0
"""How long an idle connection is kept: above the 60 s of the usual proxies in front (chosen)."""

LINGER_S: Final = 2.0
"""How long what is left of a refused body is read, so that the client sees the answer and no reset (chosen)."""

_QUOTED: Final = re.compile(r"[: ]*(?:bytearray\()?b['\"].*")
"""Where a parser's message goes on with the bytes that it read."""

MESSAGE_LENGTH: Final = 120
"""What is told of a parser's complaint, in characters (chosen)."""

MALFORMED: Final = ERROR._replace(method="-", path="-", headers=CIMultiDictProxy(CIMultiDict()), raw_headers=())
"""What stands for a request that could not be parsed; aiohttp's own has a dict for headers and calls itself UNKNOWN."""


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = ("_gone", "_serving", "_table")

    def __init__(self, front: Front, table: Table, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            front,
            loop=loop,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            access_log=None,  # type: ignore[arg-type] # the pipeline emits the Exchange
        )
        self._table = table
        self._gone = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._serving = self._task_handler
        if self._serving is not None:
            self._serving.add_done_callback(self._served)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if (current := self._current_request) is not None and self._messages:
            fault, _ = self._messages[-1]
            if isinstance(fault, _ErrInfo):  # its own body is what could not be parsed, and aiohttp does not say so
                current.content.set_exception(web.RequestPayloadError(fault.message))

    def log_exception(self, *args: object, **kwargs: object) -> None:
        """Log what aiohttp met outside of a handler, but for a broken body that it read on after the answer."""
        if not isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kwargs)

    def _served(self, _: asyncio.Task[None]) -> None:
        self._serving = None  # how it ended holds the frame that holds this: a cycle, and the last request in it

    async def end(self) -> None:
        """Answer the request that is being handled, if there is one, and close; returns when all of it is sent."""
        await asyncio.sleep(0)  # one just made begins to wait for a request, so that closing can end that
        self.close()
        if self._serving is not None:
            await asyncio.wait({self._serving})
        self.force_close()  # which sends what is buffered first
        await self._gone.wait()

    def _make_error_handler(self, err_info: _ErrInfo) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        """What answers a request that the parser gave up on; the connection ends with it."""
        if isinstance(err_info.exc, LineTooLong):
            complaint = "its target or one of its headers is too long"
        else:
            complaint = _plainly(err_info.message)
        fault = InvalidRequest(f"This is not a valid HTTP request: {complaint}.")

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

    async def finish(self) -> None:
        """Answer what is being handled and close every connection; returns when the last one is closed."""
        await asyncio.gather(*[connection.end() for connection in self._made()])

    async def cut(self, *, within_s: float) -> None:
        """Cancel every handler, which tells its client, and close. Those that ignore it are left behind."""
        serving = {each._serving for each in self._made() if each._serving is not None and not each._serving.done()}
        for task in serving:
            task.cancel()
        if serving:
            _, stubborn = await asyncio.wait(serving, timeout=within_s)
            if stubborn:
                log.error("Requests that ignore their cancellation are left behind: %d.", len(stubborn))
        for connection in self._made():
            connection.force_close()

    def _made(self) -> list[Connection]:
        return cast("list[Connection]", self.connections)

    def _make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.Request:
        if message is ERROR:
            message = MALFORMED
        return web.Request(
            message, payload, protocol, writer, task, self._running_loop, client_max_size=self._body_limit
        )


def _plainly(message: str) -> str:
    """The parser's complaint without what the client sent: its first line, printable, short."""
    first = _QUOTED.sub("", message.strip().split("\n", 1)[0]).rstrip(":. ")
    return "".join(char for char in first if char.isprintable())[:MESSAGE_LENGTH] or HTTPStatus.BAD_REQUEST.phrase

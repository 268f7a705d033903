"""Receiving: the body of a write becomes a `Row`; a long one beside the loop, which others need meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

from aiohttp.web import Request

from plugins.resources.parse.body import BodyReader, Row, read_object
from plugins.resources.parse.documents import Malformed
from plugins.resources.parse.faults import Fault
from plugins.resources.render import refusal, rejection
from plugins.resources.schema.kinds import Unfit
from service.api import UnsupportedMediaType

JSON: Final = "application/json"

MAX_INLINE_BYTES: Final = 16 * 1024
"""Of a body that is read in the loop. Measured: 1 MiB takes up to 420 ms (lists in lists), 16 KiB of the worst 5 ms,
which is when threads change places anyway, 16 KiB of a usual row 1.2 ms; going to the thread and back takes 0.1 ms.
The loop still waits once where json decodes, which gives no turns: 20 to 260 ms for 1 MiB (lists in lists)."""


class Receiver:
    """Reads the bodies of all resources; long ones in `thread`, one at a time, so that the loop keeps its turns."""

    def __init__(self, thread: Executor) -> None:
        self._thread = thread

    async def row(self, request: Request, reader: BodyReader, key: Sequence[str]) -> Row:
        """What the body says of the row with this key. Raises UnsupportedMediaType, InvalidRequest, InvalidBody."""
        if request.content_type != JSON or "Content-Type" not in request.headers or not _is_utf8(request.charset):
            name = "Accept-Patch" if request.method == "PATCH" else "Accept"
            raise UnsupportedMediaType(f"The body must be {JSON}, in UTF-8.", headers={name: JSON})
        body = await request.read()
        if len(body) <= MAX_INLINE_BYTES:
            return _row(body, reader, key)
        return await asyncio.get_running_loop().run_in_executor(self._thread, _row, body, reader, key)


def _row(body: bytes, reader: BodyReader, key: Sequence[str]) -> Row:
    faults: list[Fault] = []
    try:
        row = reader.read(read_object(body), key, faults)
    except Malformed as malformed:
        raise refusal([Fault("body", f"{malformed}.")]) from None
    except Unfit as unfit:
        raise rejection([Fault("body", f"{unfit}.")]) from None
    if faults:
        raise rejection(faults)
    return row


def _is_utf8(charset: str | None) -> bool:
    return charset is None or charset.lower() in ("utf-8", "utf8")

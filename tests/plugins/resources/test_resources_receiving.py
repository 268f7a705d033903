"""Long bodies are read beside the loop, short ones where they are."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from plugins.resources.handlers.receiving import MAX_INLINE_BYTES, Receiver
from plugins.resources.parse.body import BodyReader, Row
from service.errors import InvalidBody, InvalidRequest


class Request:
    """As much of a request as a receiver looks at."""

    method, content_type, charset = "POST", "application/json", None
    headers = {"Content-Type": "application/json"}  # nobody changes it

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


class Reader:
    """Remembers the threads in which bodies are read."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def read(self, body, key, faults):
        self.threads.append(threading.current_thread())
        return Row()


def padded(size: int) -> bytes:
    return b"{}" + b" " * (size - 2)


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1, thread_name_prefix="bodies") as executor:
        yield executor


@pytest.mark.parametrize(("size", "is_beside"), [(2, False), (MAX_INLINE_BYTES, False), (MAX_INLINE_BYTES + 1, True)])
async def test_long_body_is_read_in_the_thread_and_a_short_one_in_the_loop(thread, size, is_beside):
    reader = Reader()
    assert await Receiver(thread).row(Request(padded(size)), reader, ()) == Row()
    (used,) = reader.threads
    assert (used is not threading.current_thread(), used.name.startswith("bodies")) == (is_beside, is_beside)


@pytest.mark.parametrize("size", [0, MAX_INLINE_BYTES])
async def test_faults_of_a_body_are_the_same_wherever_it_is_read(thread, items, size):
    async def refused(body):
        with pytest.raises((InvalidRequest, InvalidBody)) as caught:
            await Receiver(thread).row(Request(body + b" " * size), BodyReader(items, "create"), ())
        return caught.value.status, [(each.field, each.message) for each in caught.value.details]

    assert await refused(b'{"id": 1.5, "nme": 1}') == (
        422,
        [("id", "must be an integer."), ("nme", "is no field; did you mean name?")],
    )
    assert await refused(b"[]") == (422, [("body", "must be a JSON object.")])
    status, ((field, message),) = await refused(b'{"id": }')
    assert (status, field) == (400, "body")
    assert message.startswith("is not JSON at line 1, column 8")


async def test_list_of_half_a_million_is_stored_as_it_is_or_refused_with_the_place(serve):
    api = await serve("CREATE TABLE long (id int PRIMARY KEY, ints int[], doc jsonb)", tables=["long"])
    ints = [1] * 500_000
    row = {"id": 1, "ints": ints, "doc": None}
    assert await api.send("POST", "long", raw=compact(row)) == (201, row)
    row = {"id": 2, "ints": None, "doc": [[]] * 300_000}
    assert await api.send("POST", "long", raw=compact(row)) == (201, row)
    status, answer = await api.send("POST", "long", raw=compact({"id": 3, "ints": [*ints, "x"]}))
    assert status == 422
    assert answer["error"]["details"] == [
        {"field": "ints", "message": "is wrong at [500000], which must be an integer."}
    ]
    status, answer = await api.send("POST", "long", raw=compact({"id": 3, "ints": ["x"] * 200_000}))
    assert (status, [each["field"] for each in answer["error"]["details"]]) == (422, ["ints"])
    assert len(await api.rows("long?fields=id")) == 2


def compact(row: object) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode()

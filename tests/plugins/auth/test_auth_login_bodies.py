"""Bodies that nobody should send: each gives its exact status, code and fields, and nothing of it comes back."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

JSON = "application/json"
CANARY = "canary-2f6d"

TOKEN_BODIES: list[tuple[bytes, int, list[tuple[str, str]]]] = [
    (b"", 400, [("body", "is empty.")]),
    (b"  \n", 400, [("body", "is empty.")]),
    (b"{", 400, [("body", "is not JSON in UTF-8.")]),
    (b'{"email": "a", "password": "b"', 400, [("body", "is not JSON in UTF-8.")]),
    (b"{'email': 'a'}", 400, [("body", "is not JSON in UTF-8.")]),
    (b"email=a&password=b", 400, [("body", "is not JSON in UTF-8.")]),
    (b'{"email": "\xff", "password": "b"}', 400, [("body", "is not JSON in UTF-8.")]),
    (b'\xef\xbb\xbf{"email": "a", "password": "b"}', 400, [("body", "is not JSON in UTF-8.")]),
    (b'{"email": NaN, "password": "b"}', 400, [("body", "is not JSON in UTF-8.")]),
    (b'{"email": "a\n", "password": "b"}', 400, [("body", "is not JSON in UTF-8.")]),
    (b"[" * 16_000, 400, [("body", "is not JSON in UTF-8.")]),
    (b'{"a":' * 3_000, 400, [("body", "is not JSON in UTF-8.")]),
    (b'{"email": "a", "email": "b", "password": "b"}', 400, [("body", "has a name twice in one object.")]),
    (b'{"email": {"a": 1, "a": 2}, "password": "b"}', 400, [("body", "has a name twice in one object.")]),
    (b"null", 422, [("body", "must be a JSON object.")]),
    (b"[]", 422, [("body", "must be a JSON object.")]),
    (b'"email"', 422, [("body", "must be a JSON object.")]),
    (b"1", 422, [("body", "must be a JSON object.")]),
    (b"{}", 422, [("email", "is required."), ("password", "is required.")]),
    (b'{"email": "a"}', 422, [("password", "is required.")]),
    (b'{"password": "b"}', 422, [("email", "is required.")]),
    (b'{"email": null, "password": null}', 422, [("email", "must be a text."), ("password", "must be a text.")]),
    (b'{"email": 1, "password": true}', 422, [("email", "must be a text."), ("password", "must be a text.")]),
    (b'{"email": ["a"], "password": {"$ne": ""}}', 422,
     [("email", "must be a text."), ("password", "must be a text.")]),
    (b'{"email": ' + b"9" * 9_000 + b', "password": "b"}', 422, [("email", "must be a text.")]),
    (b'{"email": 1e999999, "password": "b"}', 422, [("email", "must be a text.")]),
    (b'{"email": "", "password": ""}', 422, [("email", "must not be empty."), ("password", "must not be empty.")]),
    (b'{"email": "a\\u0000", "password": "b\\u0000"}', 422,
     [("email", "has a NUL character."), ("password", "has a NUL character.")]),
    (b'{"email": "\\ud800", "password": "b"}', 422, [("email", "has half of a surrogate pair.")]),
    (b'{"email": "a", "password": "\\udc00"}', 422, [("password", "has half of a surrogate pair.")]),
    (b'{"email": "' + b"a" * 1025 + b'", "password": "b"}', 422, [("email", "is longer than 1,024 bytes.")]),
    (b'{"email": "a", "password": "' + b"b" * 1025 + b'"}', 422, [("password", "is longer than 1,024 bytes.")]),
    (b'{"email": "a", "password": "' + "é".encode() * 513 + b'"}', 422, [("password", "is longer than 1,024 bytes.")]),
    (b'{"email": "a", "password": "b", "role": "admin"}', 422, [("role", "is no field.")]),
    (b'{"Email": "a", "password": "b"}', 422, [("email", "is required."), ("Email", "is no field.")]),
    (b'{"email": "a", "password": "b", "\\ud800": 1}', 422, [("?", "is no field.")]),
    (b'{"email": "a", "password": "b", "' + b"x" * 200 + b'": 1}', 422, [("x" * 100 + "...", "is no field.")]),
    (b'{"email": "a", "password": "b" ' + b"".join(b', "x%d": 1' % at for at in range(12)) + b"}", 422,
     [(f"x{at}", "is no field.") for at in range(10)] + [("body", "has 2 more names that are no field.")]),
    (b'{"email": "a", "password": "' + b"b" * 16_384 + b'"}', 413, []),
]  # fmt: skip


@pytest.fixture
async def desk(open_desk: Any) -> Any:
    return await open_desk()


async def send(desk: Any, name: str, body: bytes, content_type: str = JSON, **headers: str) -> tuple[int, Any]:
    path = f"/api/v1/auth/{name}"
    headers["Content-Type"] = content_type
    async with desk.service.client.post(path, data=BytesIO(body), headers=headers) as answer:
        text = await answer.read()
        return answer.status, json.loads(text)["error"] if text else None


Table = list[tuple[bytes, int, list[tuple[str, str]]]]


async def check(desk: Any, name: str, table: Table) -> None:
    """Each body of the table gives its status, code and details."""
    for body, status, details in table:
        answered, error = await send(desk, name, body)
        code = "PAYLOAD_TOO_LARGE" if status == 413 else "VALIDATION_ERROR"
        told = [(detail["field"], detail["message"]) for detail in error["details"]]
        assert (answered, error["code"], told) == (status, code, details), body[:200]


async def test_token_refuses_bodies(desk: Any) -> None:
    await check(desk, "token", TOKEN_BODIES)
    assert await desk.rows("login_failures") == 0


REFRESH_BODIES: Table = [
    (b"", 400, [("body", "is empty.")]),
    (b"{", 400, [("body", "is not JSON in UTF-8.")]),
    (b"[]", 422, [("body", "must be a JSON object.")]),
    (b"{}", 422, [("refreshToken", "is required.")]),
    (b'{"refreshToken": 1}', 422, [("refreshToken", "must be a text.")]),
    (b'{"refreshToken": ""}', 422, [("refreshToken", "must not be empty.")]),
    (b'{"refreshToken": "a\\u0000"}', 422, [("refreshToken", "has a NUL character.")]),
    (b'{"refreshToken": "' + b"a" * 1025 + b'"}', 422, [("refreshToken", "is longer than 1,024 bytes.")]),
    (b'{"refresh_token": "a"}', 422, [("refreshToken", "is required."), ("refresh_token", "is no field.")]),
]


@pytest.mark.parametrize("name", ["refresh", "logout"])
async def test_refresh_and_logout_refuse_bodies(desk: Any, name: str) -> None:
    await check(desk, name, REFRESH_BODIES)


OTHER_TYPES = (
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json+x",
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
)


@pytest.mark.parametrize("name", ["token", "refresh", "logout"])
async def test_other_types_of_body_are_415_and_other_methods_405(desk: Any, name: str) -> None:
    for content_type in OTHER_TYPES:
        status, error = await send(desk, name, b"{}", content_type)
        assert (status, error["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE"), content_type
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        async with desk.service.client.request(method, f"/api/v1/auth/{name}") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "OPTIONS, POST")


async def test_longest_texts_are_taken(desk: Any) -> None:
    """Each letter an escape: the body is as long as one can be."""
    body = b'{"email": "' + b"\\u0061" * 1024 + b'", "password": "' + b"\\u0062" * 1024 + b'"}'
    status, error = await send(desk, "token", body, "application/json; charset=UTF-8")
    assert (status, error["code"]) == (401, "INVALID_CREDENTIALS")


CANARIES = (
    f'{{"email": "{CANARY}", "password": 1}}',
    f'{{"email": 1, "password": "{CANARY}"}}',
    f'{{"email": "a", "password": "{CANARY}\\u0000"}}',
    f'{{"email": "a", "password": "{CANARY}',
    f'{{"email": "a", "password": "b", "other": "{CANARY}"}}',
    f'{{"email": "{CANARY}", "password": "{CANARY}"}}',
)


async def test_no_value_of_a_body_comes_back(desk: Any) -> None:
    for body in CANARIES:
        status, error = await send(desk, "token", body.encode())
        assert status in (400, 401, 422)
        assert CANARY not in json.dumps(error)


async def test_credentials_in_the_query_string_are_not_looked_at(desk: Any) -> None:
    path = "/api/v1/auth/token?email=ada@example.com&password=correct+horse+battery+staple"
    async with desk.service.client.post(path, json={}) as answer:
        assert answer.status == 422

"""The shield: every error has one form, whoever raised it, and the shield itself never fails."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from service.answers import Answer
from service.errors import (
    Detail,
    InternalError,
    InvalidBody,
    NotFound,
    PayloadTooLarge,
    ServiceError,
    Timeout,
    Unavailable,
)
from service.keys import REQUEST_ID
from service.shield import Shield

JSON, PROBLEM = "application/json", "application/problem+json"


class Noon:
    """1 January 2026, 12:00 and a quarter of a second."""

    def now(self) -> float:
        return 1_767_268_800.25

    def monotonic(self) -> float:
        return 0.0


def refuse(error: Exception, *, accept: str = "*/*") -> Answer:
    request = make_mocked_request("GET", "/", headers={"Accept": accept})
    request[REQUEST_ID] = "req_12345678"
    return Shield(Noon()).refuse(request, error)


def test_shield_gives_the_one_error_form() -> None:
    error = InvalidBody("Two fields are wrong.", details=[Detail("email", "No @."), Detail("age", "Not a number.")])
    answer = refuse(error)
    assert (answer.status, answer.error_code, answer.failure) == (422, "VALIDATION_ERROR", None)
    assert answer.header("Content-Type") == JSON
    assert orjson.loads(answer.body) == {
        "error": {
            "code": "VALIDATION_ERROR",
            "message": "Two fields are wrong.",
            "details": [{"field": "email", "message": "No @."}, {"field": "age", "message": "Not a number."}],
            "timestamp": "2026-01-01T12:00:00.250Z",
            "requestId": "req_12345678",
        }
    }


def test_shield_gives_problem_json_to_a_client_that_prefers_it() -> None:
    answer = refuse(Unavailable("Later.", headers={"Retry-After": "3"}), accept=PROBLEM)
    assert answer.header("Content-Type") == PROBLEM
    assert answer.header("Retry-After") == "3"
    problem = orjson.loads(answer.body)
    assert (problem["status"], problem["title"], problem["detail"]) == (503, "Service Unavailable", "Later.")
    assert (problem["code"], problem["requestId"]) == ("SERVICE_UNAVAILABLE", "req_12345678")


class Teapot(web.HTTPException):
    status_code = 418


class Unheard(web.HTTPException):
    status_code = 477


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (web.HTTPNotFound(), 404, "NOT_FOUND", "Not Found"),
        (web.HTTPNotFound(text="No such user."), 404, "NOT_FOUND", "No such user."),
        (web.HTTPNotFound(reason="Gone fishing"), 404, "NOT_FOUND", "Not Found"),
        (web.HTTPBadRequest(), 400, "VALIDATION_ERROR", "Bad Request"),
        (web.HTTPGone(), 410, "GONE", "Gone"),
        (web.HTTPConflict(), 409, "CONFLICT", "Conflict"),
        (web.HTTPTooManyRequests(), 429, "TOO_MANY_REQUESTS", "Too Many Requests"),
        (web.HTTPUnprocessableEntity(), 422, "VALIDATION_ERROR", "Unprocessable"),
        (web.HTTPRequestRangeNotSatisfiable(), 416, "RANGE_NOT_SATISFIABLE", "R"),
        (web.HTTPRequestEntityTooLarge(1_000, 5_000), 413, "PAYLOAD_TOO_LARGE", "The body is larger than this service"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "METHOD_NOT_ALLOWED", "Method Not Allowed"),
        (web.HTTPServiceUnavailable(), 503, "SERVICE_UNAVAILABLE", "Service Unavailable"),
        (web.HTTPGatewayTimeout(), 504, "TIMEOUT", "Gateway Timeout"),
        (web.HTTPBadGateway(), 502, "BAD_GATEWAY", "Bad Gateway"),
        (Teapot(), 418, "IM_A_TEAPOT", "I'm a Teapot"),
        (Unheard(), 477, "STATUS_477", "Status 477"),
        (TimeoutError(), 504, "TIMEOUT", "Something that this request needs took too long."),
        (Timeout("Own."), 504, "TIMEOUT", "Own."),
        (web.RequestPayloadError("cut"), 400, "VALIDATION_ERROR", "The body could not be read"),
        (OSError("disk /dev/sda1"), 500, "INTERNAL_ERROR", "Something went wrong on our side."),
        (ConnectionRefusedError("10.0.0.7"), 500, "INTERNAL_ERROR", "Something went wrong on our side."),
        (KeyError("password"), 500, "INTERNAL_ERROR", "Something went wrong on our side."),
    ],
)
@pytest.mark.parametrize("accept", [JSON, PROBLEM])
def test_every_error_has_status_code_and_words_for_clients(
    error: Exception, status: int, code: str, message: str, accept: str
) -> None:
    answer = refuse(error, accept=accept)
    assert (answer.status, answer.error_code) == (status, code)
    document = orjson.loads(answer.body)
    words = document["detail"] if accept == PROBLEM else document["error"]["message"]
    assert words.startswith(message)


def test_only_faults_of_ours_are_for_the_log() -> None:
    for ours in (KeyError(), TimeoutError(), web.HTTPInternalServerError(), InternalError("x"), OSError()):
        assert refuse(ours).failure is ours
    for refusal in (NotFound("x"), Timeout("x"), web.HTTPNotFound(), PayloadTooLarge("x"), web.HTTPFound("/")):
        assert refuse(refusal).failure is None


def test_headers_and_cookies_of_aiohttps_errors_are_kept_but_not_what_frames_them() -> None:
    error = web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer", "Content-Length": "3", "Connection": "close"})
    error.set_cookie("a", "b")
    answer = refuse(error)
    assert answer.header("WWW-Authenticate") == "Bearer"
    assert answer.header("Set-Cookie") == "a=b; Path=/"
    assert answer.header("Content-Length") is None
    assert answer.header("Connection") is None
    assert refuse(web.HTTPMethodNotAllowed("PUT", ["GET", "POST"])).header("Allow") == "GET,POST"


@pytest.mark.parametrize("kind", [web.HTTPMovedPermanently, web.HTTPFound, web.HTTPSeeOther, web.HTTPTemporaryRedirect])
def test_redirects_go_out_with_their_location_and_no_body(kind: Any) -> None:
    error = kind("/there?x=1")
    error.set_cookie("session", "7")
    answer = refuse(error)
    assert (answer.status, answer.body, answer.error_code) == (kind.status_code, b"", None)
    assert answer.header("Location") == "/there?x=1"
    assert answer.header("Set-Cookie") == "session=7; Path=/"


def test_a_raised_success_keeps_its_body() -> None:
    answer = refuse(web.HTTPCreated(text="made"))
    assert (answer.status, answer.body, answer.header("Content-Type")) == (201, b"made", "text/plain; charset=utf-8")
    assert refuse(web.HTTPNoContent()).status == 204


class OddStatus(ServiceError):
    status, code = 499, "ODD"


class Unsayable(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    "error",
    [
        NotFound("no user \udcff"),
        NotFound("x", headers={"X-A": "b\r\nSet-Cookie: a=b"}),
        NotFound("x", headers={"Content-Length": "3"}),
        NotFound("x", details=[Detail("field", b"bytes")]),  # type: ignore[arg-type]
        Unsayable(),
    ],
    ids=["surrogate", "injection", "framing", "junk", "unsayable"],
)
@pytest.mark.parametrize("accept", [JSON, PROBLEM])
def test_an_error_that_cannot_be_said_is_a_crash_and_never_raises(error: Exception, accept: str) -> None:
    answer = refuse(error, accept=accept)
    assert (answer.status, answer.error_code) == (500, "INTERNAL_ERROR")
    assert answer.failure is not None
    assert answer.failure is error or answer.failure.__context__ is error
    assert not answer.header("Set-Cookie")


def test_a_status_without_a_name_is_sent_in_both_forms() -> None:
    assert refuse(OddStatus("x")).status == 499
    assert refuse(OddStatus("x"), accept=PROBLEM).status == 499


async def test_errors_raised_anywhere_reach_the_client_in_the_form(serving: Any, placed: Any) -> None:
    async def too_large(request: web.Request) -> Answer:
        await request.read()
        return Answer()

    def gone(request: web.Request) -> Answer:
        raise web.HTTPGone

    def returned(request: web.Request) -> Any:
        return web.HTTPGone()

    def redirect(request: web.Request) -> Answer:
        raise web.HTTPSeeOther("/there")

    async with serving(
        placed("/large", too_large, method="POST"),
        placed("/gone", gone),
        placed("/returned", returned),
        placed("/redirect", redirect),
    ) as house:
        chunked = b"".join(b"1f4\r\n%s\r\n" % (b"x" * 500) for _ in range(3)) + b"0\r\n\r\n"
        peer = await house.connect()
        peer.write(b"POST /large HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked)
        assert (await peer.reply()).error["code"] == "PAYLOAD_TOO_LARGE"
        assert (await house.ask("/gone")).error["code"] == "GONE"
        assert (await house.ask("/returned")).error["code"] == "GONE"
        reply = await house.ask("/redirect")
        assert (reply.status, reply.header("Location"), reply.body) == (303, "/there", b"")
        problem = await house.ask("/nowhere", headers=[f"Accept: {PROBLEM}"])
        assert problem.header("Content-Type") == PROBLEM
        statuses = [exchange.status for exchange in await house.told(5)]
    assert statuses == [413, 410, 410, 303, 404]

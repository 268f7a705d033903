"""The shield: any error, from anywhere in a request's way, becomes the one error form here and nowhere else."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Final

from aiohttp.web import HTTPException, Request, RequestPayloadError

from service.accept import prefers
from service.answers import FRAMING, JSON, PROBLEM_JSON, Answer
from service.errors import (
    Conflict,
    ExpectationFailed,
    Forbidden,
    HeadersTooLarge,
    InternalError,
    InvalidBody,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    ServiceError,
    Timeout,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    UriTooLong,
    error_body,
    problem_body,
)
from service.keys import REQUEST_ID
from service.run import Clock

CRASHED: Final = "Something went wrong on our side. The log has it under this request id."


class Shield:
    """Turns errors into answers; `clock` gives their timestamps."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def refuse(self, request: Request, error: Exception | SystemExit) -> Answer:
        """`error` as an answer: the one error form, or problem+json for a client that prefers it. Never raises."""
        try:
            return self._answer(request, error, as_service_error(error))
        except Exception as crash:  # an error whose message or headers cannot be sent
            crash.__context__ = error
            return self._answer(request, crash, InternalError(CRASHED))

    def _answer(self, request: Request, error: Exception | SystemExit, refusal: ServiceError | Answer) -> Answer:
        if isinstance(refusal, Answer):
            return refusal
        request_id, now_s = request[REQUEST_ID], self._clock.now()
        if prefers(request.headers.get("Accept", ""), PROBLEM_JSON, over=JSON):
            body, content_type = problem_body(refusal, request_id=request_id, now_s=now_s), PROBLEM_JSON
        else:
            body, content_type = error_body(refusal, request_id=request_id, now_s=now_s), JSON
        headers = (*refusal.headers.items(), ("Vary", "Accept"))
        answer = Answer(refusal.status, body, content_type=content_type, headers=headers)
        answer.error_code = refusal.code
        if refusal.status == InternalError.status or isinstance(error, TimeoutError):
            answer.failure = error
        return answer


_KNOWN: Final = frozenset(HTTPStatus)
_RENAMED: Final = {416: "RANGE_NOT_SATISFIABLE"}
"""A name that Python 3.13 changed: a code does not depend on the interpreter."""

_BY_STATUS: Final[dict[int, type[ServiceError]]] = {
    error.status: error
    for error in (
        InvalidRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        RequestTimeout,
        Conflict,
        PayloadTooLarge,
        UriTooLong,
        UnsupportedMediaType,
        ExpectationFailed,
        InvalidBody,
        HeadersTooLarge,
        InternalError,
        Unavailable,
        Timeout,
    )
}


def as_service_error(error: Exception | SystemExit) -> ServiceError | Answer:
    """What the client is told of `error`; an Answer for what aiohttp raises and is none (a redirect)."""
    match error:
        case ServiceError():
            return error
        case HTTPException():
            return _from_aiohttp(error)
        case TimeoutError():
            return Timeout("Something that this request needs took too long.")
        case RequestPayloadError():
            return InvalidRequest("The body could not be read: it is cut short or wrongly encoded.")
        case _:
            return InternalError(CRASHED)


def _from_aiohttp(error: HTTPException) -> ServiceError | Answer:
    own_headers = [(name, value) for name, value in error.headers.items() if name.lower() not in FRAMING]
    own_headers += [("Set-Cookie", cookie.OutputString()) for cookie in error.cookies.values()]
    if error.status < 300:
        body = error.body if isinstance(error.body, bytes) else b""
        return Answer(error.status, body, content_type=error.headers.get("Content-Type", JSON), headers=own_headers)
    if error.status < 400:
        return Answer(error.status, headers=own_headers)
    usual = HTTPStatus(error.status).phrase if error.status in _KNOWN else f"Status {error.status}"
    text = error.text or usual
    message = usual if text == f"{error.status}: {error.reason}" else text
    kind = _kind(error.status)
    if kind is PayloadTooLarge:
        return PayloadTooLarge("The body is larger than this service takes.")
    return kind(message, headers=dict(own_headers))


@cache
def _kind(status: int) -> type[ServiceError]:
    """The class for a status; one that we have no word for has its name as code."""
    code = _RENAMED.get(status) or (HTTPStatus(status).name if status in _KNOWN else f"STATUS_{status}")
    words = {"status": status, "code": code, "__module__": HTTPException.__module__}  # aiohttp's, none of ours
    return _BY_STATUS.get(status) or type("Refused", (ServiceError,), words)

"""The shield: any error, from anywhere in a request's way, becomes the one error form here and nowhere else."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp.web import HTTPException, Request, RequestPayloadError

from service.answers import JSON, PROBLEM_JSON, Answer
from service.errors import (
    Conflict,
    ExpectationFailed,
    Forbidden,
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
    error_body,
    problem_body,
)
from service.keys import REQUEST_ID
from service.run import Clock


class Shield:
    """Turns errors into answers; `clock` gives their timestamps."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def refuse(self, request: Request, error: Exception) -> Answer:
        """`error` as an answer: the one error form, or problem+json for a client that prefers it."""
        refusal = as_service_error(error)
        if isinstance(refusal, Answer):
            return refusal
        request_id, now_s = request[REQUEST_ID], self._clock.now()
        if prefers_problem(request.headers.get("Accept", "")):
            body, content_type = problem_body(refusal, request_id=request_id, now_s=now_s), PROBLEM_JSON
        else:
            body, content_type = error_body(refusal, request_id=request_id, now_s=now_s), JSON
        answer = Answer(refusal.status, body, content_type=content_type, headers=refusal.headers.items())
        answer.error_code = refusal.code
        if refusal.status == InternalError.status or isinstance(error, TimeoutError):
            answer.failure = error
        return answer


def prefers_problem(accept: str) -> bool:
    """True if the Accept header ranks `application/problem+json` above `application/json` (RFC 9110, 12.5.1).

    A client that names only problem+json prefers it; one that ranks both alike gets the usual form.
    """
    if PROBLEM_JSON not in accept:
        return False
    ranks = {JSON: 0.0, PROBLEM_JSON: 0.0}
    for item in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in item.split(";"))
        if media_type in ranks:
            weight = 1.0
            for parameter in parameters:
                if parameter.startswith("q="):
                    try:
                        weight = float(parameter[2:])
                    except ValueError:
                        weight = 0.0
            ranks[media_type] = weight
    return ranks[PROBLEM_JSON] > ranks[JSON]


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
        UnsupportedMediaType,
        ExpectationFailed,
        InvalidBody,
        InternalError,
        Unavailable,
        Timeout,
    )
}


def as_service_error(error: Exception) -> ServiceError | Answer:
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
            return InternalError("Something went wrong on our side. The log has it under this request id.")


def _from_aiohttp(error: HTTPException) -> ServiceError | Answer:
    own_headers = [(name, value) for name, value in error.headers.items() if name.lower() != "content-type"]
    if error.status < 400:
        return Answer(error.status, headers=own_headers)
    usual = HTTPStatus(error.status).phrase
    text = error.text or usual
    message = usual if text == f"{error.status}: {error.reason}" else text
    kind = _BY_STATUS.get(error.status)
    if kind is PayloadTooLarge:
        return PayloadTooLarge("The body is larger than this service takes.")
    if kind is None:
        kind = type("Refused", (ServiceError,), {"status": error.status, "code": HTTPStatus(error.status).name})
    return kind(message, headers=dict(own_headers))

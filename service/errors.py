"""What goes wrong: errors that become answers, mistakes that stop a start, and the one error form.

    ServiceError                     an answer to a client: status, code, message, details, headers
    ├── InvalidRequest               400 VALIDATION_ERROR        request line, query string, syntax
    ├── Unauthenticated              401 NO_TOKEN
    │   ├── InvalidCredentials       401 INVALID_CREDENTIALS     name and password
    │   └── InvalidToken             401 INVALID_TOKEN
    │       └── TokenExpired         401 TOKEN_EXPIRED
    ├── Forbidden                    403 FORBIDDEN
    ├── NotFound                     404 NOT_FOUND
    ├── MethodNotAllowed             405 METHOD_NOT_ALLOWED
    ├── RequestTimeout               408 TIMEOUT                 the client was too slow
    ├── Conflict                     409 CONFLICT
    ├── PayloadTooLarge              413 PAYLOAD_TOO_LARGE
    ├── UriTooLong                   414 URI_TOO_LONG
    ├── UnsupportedMediaType         415 UNSUPPORTED_MEDIA_TYPE
    ├── ExpectationFailed            417 EXPECTATION_FAILED
    ├── InvalidBody                  422 VALIDATION_ERROR        well-formed, with wrong values
    ├── RateLimited                  429 RATE_LIMIT_EXCEEDED
    ├── HeadersTooLarge              431 REQUEST_HEADER_FIELDS_TOO_LARGE
    ├── InternalError                500 INTERNAL_ERROR
    │   └── SchemaChanged            500 INTERNAL_ERROR          503 where a reload mends it
    ├── Unavailable                  503 SERVICE_UNAVAILABLE
    │   └── OutcomeUnknown           503 SERVICE_UNAVAILABLE     it may have been done
    └── Timeout                      504 TIMEOUT                 we were too slow
    StartError                       a mistake of the operator or of an author: stops the start, exit code 78
    ├── SettingsError                everything wrong with the settings, in one report
    └── PluginError                  a plugin that cannot be loaded, wired or opened
        └── DependencyError          what it needs does not answer: exit code 69

Codes are UPPER_SNAKE and stable. A plugin adds its own by a subclass that sets `status` and `code`.
Source: RFC 9110 section 15 (statuses), RFC 9457 (`application/problem+json`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import ClassVar

import orjson

EX_CONFIG = 78
"""Exit code for a mistake in the configuration (sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One fault of a request: the field as the client knows it, and what is wrong with it."""

    field: str
    message: str


class ServiceError(Exception):
    """An answer with an error status, raised from anywhere in a request's way.

    `message` is for the client: no SQL, no path of this machine, no driver's words.
    `headers` are sent with the answer (`Retry-After`, `Allow`, `WWW-Authenticate`).
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str,
        *,
        details: Iterable[Detail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.headers: Mapping[str, str] = headers or {}


class InvalidRequest(ServiceError):
    """The request line, a query parameter or the syntax of a body cannot be understood."""

    status, code = 400, "VALIDATION_ERROR"


class Unauthenticated(ServiceError):
    """Nobody said who is asking."""

    status, code = 401, "NO_TOKEN"


class InvalidCredentials(Unauthenticated):
    """Nobody has this name and this password; which of the two is wrong is not told."""

    status, code = 401, "INVALID_CREDENTIALS"


class InvalidToken(Unauthenticated):
    """What was said of who is asking is not valid."""

    status, code = 401, "INVALID_TOKEN"


class TokenExpired(InvalidToken):
    """It was valid once: a new one is needed."""

    status, code = 401, "TOKEN_EXPIRED"


class Forbidden(ServiceError):
    """The principal may not do this."""

    status, code = 403, "FORBIDDEN"


class NotFound(ServiceError):
    """There is nothing here, or nothing that this principal may know of."""

    status, code = 404, "NOT_FOUND"


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not. `Allow` names those that do."""

    status, code = 405, "METHOD_NOT_ALLOWED"


class RequestTimeout(ServiceError):
    """The client did not send its request in time."""

    status, code = 408, "TIMEOUT"


class Conflict(ServiceError):
    """The state of the resource does not allow it: a unique value is taken, a row is still referenced."""

    status, code = 409, "CONFLICT"


class PayloadTooLarge(ServiceError):
    """The body is over `[service.limits] body`."""

    status, code = 413, "PAYLOAD_TOO_LARGE"

    @classmethod
    def over(cls, limit_bytes: int) -> PayloadTooLarge:
        return cls(f"The body is larger than the {limit_bytes:,} bytes that this service takes.")


class UriTooLong(ServiceError):
    """The request target is over `[service.limits] line`."""

    status, code = 414, "URI_TOO_LONG"


class UnsupportedMediaType(ServiceError):
    """The body's type or coding is not one that is read here."""

    status, code = 415, "UNSUPPORTED_MEDIA_TYPE"


class ExpectationFailed(ServiceError):
    """The client expects what this service does not do."""

    status, code = 417, "EXPECTATION_FAILED"


class InvalidBody(ServiceError):
    """A well-formed body with wrong values."""

    status, code = 422, "VALIDATION_ERROR"


class RateLimited(ServiceError):
    """Too many of these for now; `Retry-After` says when to come back."""

    status, code = 429, "RATE_LIMIT_EXCEEDED"


class HeadersTooLarge(ServiceError):
    """The head of the request is over `[service.limits] headers`, or one of its headers over `line`."""

    status, code = 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"


class InternalError(ServiceError):
    """A fault of ours. The log has it, under the request id."""

    status, code = 500, "INTERNAL_ERROR"


class SchemaChanged(InternalError):
    """The database has no such table or column, or not of that type: whoever read its schema should read it anew."""


class Unavailable(ServiceError):
    """Something that this needs is not there just now; `Retry-After` says when to come back."""

    status, code = 503, "SERVICE_UNAVAILABLE"


class OutcomeUnknown(Unavailable):
    """A change was sent and no answer came back: it may have been made. Who comes back has to look first."""


class Timeout(ServiceError):
    """It took longer than a deadline of ours."""

    status, code = 504, "TIMEOUT"


class StartError(Exception):
    """A mistake that stops the start. Its text is one sentence that names the place and ends with the way out."""

    exit_code: int = EX_CONFIG


class SettingsError(StartError):
    """Everything that is wrong with the settings, one fault an entry."""


class PluginError(StartError):
    """A plugin that cannot be found, imported, wired, opened or mounted."""


class DependencyError(PluginError):
    """What a plugin needs does not answer, so the start was given up: trying again later may help."""

    exit_code = os.EX_UNAVAILABLE


def timestamp(now_s: float) -> str:
    """`now_s` (seconds since the epoch) as RFC 3339 in UTC with milliseconds: `2026-01-01T00:00:00.000Z`."""
    return _instant(round(now_s * 1_000_000) // 1000)


@lru_cache(maxsize=1)
def _instant(instant_ms: int) -> str:
    second, millisecond = divmod(instant_ms, 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=1)
def _second(instant_s: int) -> str:
    """Made once a second: it took most of the time in which an error was written."""
    return f"{datetime.fromtimestamp(instant_s, UTC):%Y-%m-%dT%H:%M:%S}"


def error_body(error: ServiceError, *, request_id: str, now_s: float) -> bytes:
    """The one error form, as JSON. An id is of letters that JSON has as they are."""
    faults = tuple([(detail.field, detail.message) for detail in error.details])
    stable = _stable_part(error.code, error.message, faults)
    return f'{stable}"{timestamp(now_s)}","requestId":"{request_id}"}}}}'.encode()


@lru_cache(maxsize=256)
def _stable_part(code: str, message: str, faults: tuple[tuple[str, str], ...]) -> str:
    """Up to the timestamp. The same is refused over and over, by a flood most of all."""
    details = [{"field": field, "message": fault} for field, fault in faults]
    form = {"error": {"code": code, "message": message, "details": details, "timestamp": None}}
    return orjson.dumps(form).decode().removesuffix("null}}")


def problem_body(error: ServiceError, *, request_id: str, now_s: float) -> bytes:
    """The same facts as `application/problem+json` (RFC 9457), for clients that prefer it."""
    return orjson.dumps(
        {
            "type": "about:blank",
            "title": _title(error.status),
            "status": error.status,
            "detail": error.message,
            "code": error.code,
            "errors": [{"field": detail.field, "message": detail.message} for detail in error.details],
            "timestamp": timestamp(now_s),
            "requestId": request_id,
        }
    )


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # a plugin's own
        return f"Status {status}"

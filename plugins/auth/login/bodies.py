"""The bodies of login: one small JSON object of texts, read strictly. Nothing of it is repeated in an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NoReturn

from aiohttp.web import Request

from service.api import Detail, InvalidBody, InvalidRequest, PayloadTooLarge, UnsupportedMediaType

JSON: Final = "application/json"

LONGEST_BODY_BYTES: Final = 16 * 1024
"""Enough for the longest name and password, each letter an escape."""

MOST_UNKNOWN: Final = 10
"""Names that are no field, told one by one (chosen)."""

LONGEST_SHOWN_CHARS: Final = 100
"""Of such a name (chosen)."""

Object = dict[str, object]


async def read_texts(request: Request, longest_bytes: Mapping[str, int]) -> dict[str, str]:
    """The fields of the body: all those of `longest_bytes` and no others, each a text of so many bytes at most.

    Raises UnsupportedMediaType, PayloadTooLarge, InvalidRequest for what is no JSON, InvalidBody for wrong fields.
    """
    charset = request.charset
    if request.content_type != JSON or "Content-Type" not in request.headers or not _is_utf8(charset):
        raise UnsupportedMediaType(f"The body must be {JSON}, in UTF-8.", headers={"Accept": JSON})
    body = await request.read()
    if len(body) > LONGEST_BODY_BYTES:
        raise PayloadTooLarge.over(LONGEST_BODY_BYTES)
    return _fields(_object(body), longest_bytes)


def _is_utf8(charset: str | None) -> bool:
    return charset is None or charset.lower() in ("utf-8", "utf8")


def _object(body: bytes) -> Object:
    if not body.strip():
        raise _malformed("is empty.")
    try:
        document = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:  # whose words may quote it
        reason = str(error) if type(error) is _Twice else "is not JSON in UTF-8."
        raise _malformed(reason) from None
    if not isinstance(document, dict):
        raise _wrong([Detail("body", "must be a JSON object.")])
    return document


def _fields(document: Object, longest_bytes: Mapping[str, int]) -> dict[str, str]:
    details: list[Detail] = []
    fields: dict[str, str] = {}
    for name, longest in longest_bytes.items():
        value = document.get(name)
        if name not in document:
            details.append(Detail(name, "is required."))
        elif not isinstance(value, str):
            details.append(Detail(name, "must be a text."))
        elif reason := _unfit(value, longest):
            details.append(Detail(name, reason))
        else:
            fields[name] = value
    unknown = [name for name in document if name not in longest_bytes]
    details += [Detail(_shown(name), "is no field.") for name in unknown[:MOST_UNKNOWN]]
    if len(unknown) > MOST_UNKNOWN:
        details.append(Detail("body", f"has {len(unknown) - MOST_UNKNOWN} more names that are no field."))
    if details:
        raise _wrong(details)
    return fields


def _unfit(text: str, longest: int) -> str | None:
    """What is wrong with it."""
    if not text:
        return "must not be empty."
    if "\0" in text:
        return "has a NUL character."
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "has half of a surrogate pair."
    return f"is longer than {longest:,} bytes." if size > longest else None


def _shown(name: str) -> str:
    text = name.encode(errors="replace").decode()
    return text if len(text) <= LONGEST_SHOWN_CHARS else f"{text[:LONGEST_SHOWN_CHARS]}..."


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"body {reason}", details=[Detail("body", reason)])


def _wrong(details: list[Detail]) -> InvalidBody:
    first = details[0]
    message = f"{first.field} {first.message}" if len(details) == 1 else f"{len(details)} fields are wrong."
    return InvalidBody(message, details=details)


class _Twice(ValueError):
    """Two readers would not agree on which of the two is meant."""


def _unique(pairs: list[tuple[str, object]]) -> Object:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Twice("has a name twice in one object.")
    return made


def _refuse(word: str) -> NoReturn:
    raise ValueError


def _number(digits: str) -> None:
    """No field is one, so that its digits are not read."""


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_number, parse_float=_number
)

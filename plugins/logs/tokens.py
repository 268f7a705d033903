"""The tokens of a morgan-like format, compiled once into a template for `%` and the readers that fill it.

    :method :url :path :status :response-time (milliseconds) :bytes (of the body sent)
    :remote-addr :user-id :user-agent :referrer :req[NAME] (a header of the request)
    :request-id :route :template :version :error (code) :date (RFC 3339; also :date[iso])

Source: morgan's README; `:user-id`, `:request-id`, `:route`, `:template`, `:version`, `:error` are ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from plugins.logs.escaping import quotable
from plugins.logs.redaction import Redaction
from service.api import MASK, Exchange, nearest

ABSENT = "-"
"""Stands for what an exchange does not have, as in morgan."""

Reader: TypeAlias = Callable[[Exchange], str]

_TOKEN = re.compile(r":([A-Za-z][A-Za-z0-9-]+)(?:\[([^\]]*)\])?")
_ARGUMENTS = {"req": "[NAME]"}


def compile_format(text: str, redaction: Redaction, stamp: Callable[[float], str]) -> tuple[str, tuple[Reader, ...]]:
    """The template and its readers. Raises ValueError for a token that does not exist, or a format without any."""
    readers = _readers(redaction, stamp)
    template, end, chosen = "", 0, []
    for token in _TOKEN.finditer(text):
        name, argument = token.groups()
        if name == "req" and argument:
            chosen.append(_header(argument, redaction))
        elif name in readers and (argument is None or (name, argument) == ("date", "iso")):
            chosen.append(readers[name])
        else:
            raise ValueError(_no_such_token(token[0], name, (*readers, "req")))
        template += text[end : token.start()].replace("%", "%%") + "%s"
        end = token.end()
    if not chosen:
        raise ValueError(f'{text!r} is neither "json" nor a format: it has no token; {_listed((*readers, "req"))}')
    template += text[end:].replace("%", "%%")
    if not template.replace("\t", " ").isprintable():
        raise ValueError("a format is one line of printable characters and tabs")
    return template, tuple(chosen)


def _readers(redaction: Redaction, stamp: Callable[[float], str]) -> dict[str, Reader]:
    return {
        "bytes": lambda exchange: str(exchange.bytes_sent),
        "date": lambda exchange: stamp(exchange.started_at),
        "error": lambda exchange: exchange.error_code or ABSENT,
        "method": lambda exchange: quotable(exchange.method),
        "path": lambda exchange: quotable(redaction.url(exchange.target).partition("?")[0]),
        "referrer": _header("Referer", redaction),
        "remote-addr": lambda exchange: quotable(exchange.remote) or ABSENT,
        "request-id": lambda exchange: quotable(exchange.request_id),
        "response-time": lambda exchange: f"{exchange.duration_s * 1000:.3f}",
        "route": lambda exchange: quotable(exchange.route),
        "status": lambda exchange: str(exchange.status),
        "template": lambda exchange: quotable(exchange.template) or ABSENT,
        "url": lambda exchange: quotable(redaction.url(exchange.target)),
        "user-agent": _header("User-Agent", redaction),
        "user-id": lambda exchange: quotable(exchange.subject or ABSENT),
        "version": lambda exchange: quotable(exchange.version) or ABSENT,
    }


def _header(name: str, redaction: Redaction) -> Reader:
    if redaction.hides(name):
        return lambda exchange: MASK if name in exchange.headers else ABSENT
    return lambda exchange: quotable(redaction.url(exchange.headers.get(name, ""))) or ABSENT


def _no_such_token(spelled: str, name: str, names: tuple[str, ...]) -> str:
    if name == "req":
        return f'{spelled} names no header; write it like ":req[accept]"'
    if name in names:
        return f'{spelled} takes nothing in brackets; write ":{name}"'
    near = nearest(name, names)
    hint = f'; did you mean ":{near}{_ARGUMENTS.get(near, "")}"?' if near else ";"
    return f"{spelled} is not a token{hint} {_listed(names)}"


def _listed(names: tuple[str, ...]) -> str:
    return "the tokens are " + " ".join(f":{name}{_ARGUMENTS.get(name, '')}" for name in sorted(names))

"""The morgan-like format: what each token shows, and what the operator is told about one that does not exist."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import ValidationError

from plugins.logs import Settings
from plugins.logs.lines import TextLines
from plugins.logs.redaction import Redaction


def shown(text, exchange, *, redact=()):
    return TextLines(text, Redaction(redact)).exchange(exchange).decode()


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (":method", "GET"),
        (":url", "/api/v1/users/7?fields=id"),
        (":path", "/api/v1/users/7"),
        (":status", "404"),
        (":response-time", "1.234"),
        (":bytes", "312"),
        (":remote-addr", "127.0.0.1"),
        (":user-id", "ann"),
        (":user-agent", "curl/8"),
        (":referrer", "http://here/?token=***"),
        (":req[accept]", "text/html"),
        (":req[X-Absent]", "-"),
        (":req[authorization]", "***"),
        (":req[cookie]", "-"),
        (":req[x-secret]", "***"),
        (":request-id", "req_0123456789ab"),
        (":route", "users.read"),
        (":template", "/api/v1/users/{id}"),
        (":version", "v1"),
        (":error", "NOT_FOUND"),
        (":date", "2026-01-01T00:00:00.250Z"),
        (":date[iso]", "2026-01-01T00:00:00.250Z"),
    ],
)
def test_token_shows_its_fact(exchange, token, text):
    happened = exchange(
        status=404,
        duration_s=0.001234,
        target="/api/v1/users/7?fields=id",
        error_code="NOT_FOUND",
        headers={
            "User-Agent": "curl/8",
            "Referer": "http://here/?token=hidden",
            "Accept": "text/html",
            "Authorization": "Bearer hidden",
            "X-Secret": "hidden",
        },
    )
    assert shown(f"<{token}>", happened, redact=["x-secret"]) == f"<{text}>\n"


def test_format_of_the_manual_reads_like_morgan(exchange):
    line = shown(":method :url :status :response-time ms - :user-id", exchange(subject=None))
    assert line == "GET /api/v1/users/7 200 1.234 ms - -\n"


def test_percent_signs_and_tabs_of_the_format_are_kept(exchange):
    assert shown("100%\t%s :status %d", exchange()) == "100%\t%s 200 %d\n"


@given(st.text(st.characters()))
def test_hostile_text_in_any_token_gives_one_line(text):
    from service.api import Exchange

    happened = Exchange(
        text, text, text, text, text, text, 200, 0.5, 0.1, 1, text, text, CIMultiDict({"a": text, "User-Agent": text})
    )
    tokens = ":method :url :path :remote-addr :user-id :user-agent :req[a] :request-id :route :template :version"
    line = shown(tokens, happened)
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_quotes_in_a_value_cannot_forge_a_field(exchange):
    line = shown('":user-agent" :status', exchange(headers={"User-Agent": 'x" 200 "y'}))
    assert line == '"x\\" 200 \\"y" 200\n'


def test_traceback_follows_in_marked_lines_with_the_request_id(exchange):
    try:
        raise ValueError("first\n127.0.0.1 GET /forged 200")
    except ValueError as error:
        lines = shown(":remote-addr :method :status", exchange(status=500, failure=error)).splitlines()
    assert lines[0] == "127.0.0.1 GET 500"
    assert lines[1] == "    | request req_0123456789ab"
    assert lines[-1] == "    | 127.0.0.1 GET /forged 200"
    assert all(line.startswith("    | ") for line in lines[1:])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (":mehtod :url", ':mehtod is not a token; did you mean ":method"? the tokens are :bytes :date :error'),
        (":response", ':response is not a token; did you mean ":response-time"?'),
        (":qqq", ":qqq is not a token; the tokens are"),
        (":req", ':req names no header; write it like ":req[accept]"'),
        (":status[3]", ':status[3] takes nothing in brackets; write ":status"'),
        ("jsno", "'jsno' is neither \"json\" nor a format: it has no token; the tokens are"),
        ("", "'' is neither \"json\" nor a format"),
        (":status\n:url", "a format is one line of printable characters and tabs"),
    ],
)
def test_settings_refuse_a_format_and_say_what_there_is(text, said):
    with pytest.raises(ValidationError) as refused:
        Settings(format=text)
    assert said in str(refused.value)


@pytest.mark.parametrize("text", ["json", ":method", "time :date[iso] 12:30"])
def test_settings_take_a_format(text):
    assert Settings(format=text).format == text


@pytest.mark.parametrize("name", ["", "-", "_", "a b", "a:b"])
def test_settings_refuse_a_name_to_redact_that_no_header_has(name):
    with pytest.raises(ValidationError):
        Settings(redact=(name,))

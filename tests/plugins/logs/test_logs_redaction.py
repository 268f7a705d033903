"""What is a secret, and that it is found however it is spelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.logs import Settings
from plugins.logs.escaping import LONGEST_TEXT
from plugins.logs.redaction import LONGEST_SEARCHED, Redaction

CANARY = "c4n4ry-77-value"


@pytest.mark.parametrize(
    "target",
    [
        "/users?token={}",
        "/users?page=2&ACCESS_TOKEN={}&limit=3",
        "/users?accessToken={}",
        "/users?api-key={}",
        "/users?%74oken={}",
        "/users?to%6ben={}",
        "/users?token[eq]={}",
        "/users?token%5Beq%5D={}",
        "/users?a=1;password={}",
        "/users?token={};still-the-value",
        "/users?token=a={}",
        "/users?next=/b?token={}",
        "/users?x-secret={}",
        "/users?reset_token={}",
        "/users?newPassword={}",
        "/users?tokens=1&PASSWORD_CONFIRMATION={}",
        "/users?token=&token={}",
        "http://ann:{}@host/users",
        "/users?next=http://ann:{}@host/",
    ],
)
def test_url_masks_a_secret_in_any_spelling(target):
    assert CANARY not in Redaction(["X-Secret"]).url(target.format(CANARY))


@pytest.mark.parametrize(
    "target",
    [
        "/users",
        "/users?page=2&limit=20",
        "/users?tokens=3",
        "/users?hash=3&key=4",
        "/users?q=token",
        "/a@b",
        "-",
        "*",
        "/x?total%5Bgte%5D=5",
    ],
)
def test_url_keeps_what_is_no_secret(target):
    assert Redaction().url(target) == target


@given(
    st.sampled_from(["token", "api_key", "password", "x-secret"]),
    st.text(st.characters(exclude_characters="&", min_codepoint=33, max_codepoint=126)),
    st.lists(st.text("abt=;[]%25+?", max_size=6), max_size=3),
)
def test_url_never_shows_the_value_of_a_secret_whatever_stands_before_it(name, rest, before):
    target = "/a?" + "&".join([*before, f"{name}={CANARY}{rest}", "b=1"])
    assert CANARY not in Redaction(["x-secret"]).url(target)


def test_url_keeps_the_parameters_around_a_secret():
    assert Redaction().url("/a?x=1&token=abc&y=2") == "/a?x=1&token=***&y=2"


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "Set-Cookie", "X-API-Key", "PROXY-AUTHORIZATION", "x_secret"]
)
def test_headers_that_are_secrets_are_known_in_any_case(name):
    assert Redaction(["x-secret"]).hides(name)


def test_headers_and_parameters_that_the_documentation_lists_are_hidden():
    documented = (Settings.model_fields["redact"].description or "").partition("besides ")[2].partition(" and ")[0]
    names = documented.replace(",", " ").split()
    assert len(names) == 13
    assert [name for name in names if not Redaction().hides(name)] == []


@pytest.mark.parametrize("name", ["Accept", "User-Agent", "X-Request-Id", "Host", "cookies"])
def test_other_headers_are_not_hidden(name):
    assert not Redaction(["x-secret"]).hides(name)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer {}",
        "Authorization: Basic {}",
        "Cookie: a=1; session={}",
        "{{'Authorization': 'Bearer {}', 'Accept': '*/*'}}",
        "{{'Cookie': 'a=1; session={}'}}",
        '{{"password": "{}"}}',
        "password={} is wrong",
        "GET /users?page=1&token={} failed",
        "cannot reach postgres://pegboard:{}@db:5432/app",
        "bearer {} has expired",
        "<CIMultiDict('X-Secret': '{}')>",
        "tokenizer: token={}",
        "the_x_secret = {}",
        "--reset-token={}",
    ],
)
def test_free_text_loses_what_looks_like_a_secret(text):
    assert CANARY not in Redaction(["x-secret"]).text(text.format(CANARY))


def test_free_text_without_secrets_is_kept():
    text = "The pool is exhausted: 10 of 10 connections are in use (users.list, tokenizer: on)."
    assert Redaction().text(text) == text


def test_text_of_a_request_loses_what_that_request_carried():
    headers = {
        "Authorization": f"Bearer {CANARY}-1",
        "Cookie": f'theme=dark; sid="{CANARY}-2"',
        "X-Api-Key": f"{CANARY}-3",
    }
    said = f"{CANARY}-1 is no key, {CANARY}-2 neither, {CANARY}-3, {CANARY} 4"
    masked = Redaction().text_of(said, target=f"/users?token={CANARY}+4", headers=headers)
    assert CANARY not in masked
    assert masked == "*** is no key, *** neither, ***, ***"


def test_text_of_a_request_keeps_words_that_short_secrets_would_match():
    masked = Redaction().text_of("a valid name", target="/users?token=a", headers={"Authorization": "Basic val"})
    assert masked == "a valid name"


def test_free_text_is_clipped_and_a_secret_at_the_cut_does_not_show():
    """The cut of what is searched falls in the middle, of which nothing is kept."""
    for shift in range(-40, 40):
        text = "x" * (LONGEST_SEARCHED // 2 + shift) + f" token={CANARY} " + "y" * 1_000_000
        masked = Redaction().text(text)
        assert CANARY[:6] not in masked
        assert len(masked) < LONGEST_TEXT + 100


@pytest.mark.parametrize("text", ["?", "a", "?%", ";", "&%", "=", "token", "%"])
@pytest.mark.parametrize("start", ["/", "/?", "/?%", "/?token", "/?token="])
def test_long_url_is_searched_once_whatever_a_client_repeats(start, text):
    """100,000 characters: searched anew from each of them, as it once was, this takes minutes."""
    target = start + text * (100_000 // len(text))
    target += f"{'&' if '?' in target else '?'}token={CANARY}"
    assert CANARY not in Redaction().url(target)

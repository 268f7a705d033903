"""Which names give a secret away, however they are spelled."""

from __future__ import annotations

import pytest

from service.secrets import comparable_name, looks_secret, may_be_secret


@pytest.mark.parametrize(
    "name",
    ["password", "passwd", "user_password", "passwordHash", "client_secret", "token", "reset_token", "accessToken",
     "authtoken", "api_key", "apikey", "APIKey", "X-API-Key", "private-key", "password_hash", "email_hash", "emailHash",
     "SECRET", "ToKeN", "Pass Word", "salt", "user_pwd", "token_count"],
)  # fmt: skip
def test_name_of_a_secret_looks_like_one(name: str) -> None:
    assert looks_secret(name)
    assert may_be_secret(name)


@pytest.mark.parametrize(
    "name",
    ["key", "keys", "signing_key", "signingKey", "dbpass", "cookies", "redis-dsn", "tokens", "pepper", "PRIVATE"],
)
def test_name_that_is_often_a_secrets_may_be_one(name: str) -> None:
    assert not looks_secret(name)
    assert may_be_secret(name)


@pytest.mark.parametrize("name", ["id", "hash", "keyboard", "monkey", "hashtag", "fields_name", "basal_t", ""])
def test_other_names_do_not_look_like_one(name: str) -> None:
    assert not looks_secret(name)
    assert not may_be_secret(name)


@pytest.mark.parametrize("name", ["tokenizer", "passage", "saltwater", "apidkey"])
def test_word_that_only_begins_like_one_does_not_look_like_one(name: str) -> None:
    assert not looks_secret(name)


def test_names_are_compared_without_case_and_separators() -> None:
    assert {comparable_name(name) for name in ("api_key", "apiKey", "API-Key", " api key ")} == {"apikey"}

"""What a URL of Redis names, in every form, and that nothing of one that is none is shown."""

from __future__ import annotations

import re

import pytest

from plugins.redis.urls import Kind, target_of

HOSTS = (("one", 26379), ("two", 5000))


@pytest.mark.parametrize(
    ("url", "kind", "addresses", "db", "shown"),
    [
        ("redis://host", Kind.SINGLE, (("host", 6379),), 0, "host:6379, database 0"),
        ("redis://host:7000/3", Kind.SINGLE, (("host", 7000),), 3, "host:7000, database 3"),
        ("redis://host?db=3", Kind.SINGLE, (("host", 6379),), 3, "host:6379, database 3"),
        ("redis://api:secret@host/", Kind.SINGLE, (("host", 6379),), 0, "host:6379, database 0"),
        ("redis://:secret@[::1]:7000", Kind.SINGLE, (("::1", 7000),), 0, "[::1]:7000, database 0"),
        ("redis://[::1]", Kind.SINGLE, (("::1", 6379),), 0, "[::1]:6379, database 0"),
        ("rediss://host", Kind.SINGLE, (("host", 6379),), 0, "host:6379, database 0"),
        ("unix:///run/redis.sock", Kind.SINGLE, ("/run/redis.sock",), 0, "/run/redis.sock, database 0"),
        ("unix://api:secret@/run/a%20b?db=2", Kind.SINGLE, ("/run/a b",), 2, "/run/a b, database 2"),
        (
            "redis+sentinel://one,two:5000/mymaster/1",
            Kind.SENTINEL,
            HOSTS,
            1,
            "mymaster of the Sentinels one:26379, two:5000, database 1",
        ),
        (
            "rediss+sentinel://one,two:5000/my%2Fmaster?db=1",
            Kind.SENTINEL,
            HOSTS,
            1,
            "my/master of the Sentinels one:26379, two:5000, database 1",
        ),
        ("redis+cluster://one,two:1", Kind.CLUSTER, (("one", 6379), ("two", 1)), 0, "the cluster of one:6379, two:1"),
        ("rediss+cluster://one/0", Kind.CLUSTER, (("one", 6379),), 0, "the cluster of one:6379"),
    ],
)
def test_url_is_understood_in_every_form(url, kind, addresses, db, shown):
    target = target_of(url)
    assert (target.kind, target.addresses, target.db) == (kind, addresses, db)
    assert str(target) == repr(target) == shown
    assert (target.tls is not None) == url.startswith("rediss")


def test_user_and_password_are_percent_decoded():
    target = target_of("redis://a%40b:p%40ss%3Aw%2Frd@host")
    assert (target.login.username, target.login.password) == ("a@b", "p@ss:w/rd")
    assert target_of("redis://:pw@host").login.username is None
    assert target_of("redis://host").login.password is None


def test_sentinels_have_a_login_of_their_own():
    target = target_of("redis+sentinel://api:pw@one/mymaster?sentinel_username=watch&sentinel_password=p%40")
    assert (target.login.username, target.login.password) == ("api", "pw")
    assert (target.sentinel_login.username, target.sentinel_login.password) == ("watch", "p@")


def test_tls_takes_files_and_may_do_without_verifying():
    tls = target_of("rediss://h?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k&ssl_cert_reqs=none").tls
    assert (tls.ca, tls.cert, tls.key, tls.verifies) == ("/ca", "/c", "/k", False)
    assert target_of("rediss://h").tls.verifies is True


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is not understood: a URL of Redis looks like redis://user:password@host:6379/0"),
        ("secret", "is not understood"),
        ("http://api:secret@host", "is not understood"),
        ("redis:secret", "is not understood"),
        ("redis://", "is not understood"),
        ("redis:///0", "is not understood"),
        ("redis://:half#secret@host", "is not understood"),
        ("redis://:half/secret@host", "is not understood"),
        ("redis://:12/secret@host", "is not understood"),
        ("redis://:half?secret@host", "is not understood"),
        ("redis://:12?a=secret@host", "is not understood"),
        ("redis://host:secret", "is not understood"),
        ("redis://host:0", "is not understood"),
        ("redis://host:99999", "is not understood"),
        ("redis://one,two", "is not understood"),
        ("redis://[::1", "is not understood"),
        ("redis://host/secret", "is not understood"),
        ("redis://host/0/secret", "is not understood"),
        ("redis://host?secret", "is not understood"),
        ("unix://secret/path", "is not understood"),
        ("unix://", "is not understood"),
        ("redis://host?secret=1", "has a query that is not understood: after ? there may be db"),
        ("redis://host?ssl_ca_certs=secret", "after ? there may be db"),
        ("rediss://host?secret=1", "there may be db, ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs"),
        ("rediss://host?ssl_cert_reqs=secret", "has an ssl_cert_reqs that is not understood"),
        ("redis+sentinel://one:26379", "does not say what the Sentinels call their master"),
        ("redis+cluster://one/1", "a cluster has only number 0"),
    ],
)
def test_url_that_is_none_is_refused_without_showing_any_of_it(url, words):
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        target_of(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None

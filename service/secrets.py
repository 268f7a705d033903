"""What is taken for a secret: by its name, or as the password of a URL; and what is printed in its place.

Names are compared without case and without what separates words: `api_key`, `apiKey` and `API-Key` are one name.
Two degrees: `looks_secret` where hiding too much would hurt (columns, parameters, headers), `may_be_secret` where it
costs no more than a `***` (settings that are shown).
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"
"""What stands wherever a secret would be printed."""

CREDENTIAL_HEADERS: Final = ("authorization", "proxy-authorization", "cookie", "set-cookie")
"""Headers that are secrets whatever they hold, and are not called like one."""

ANYWHERE: Final = ("password", "passwd", "passphrase", "secret", "credential", "apikey", "privatekey")
"""What gives a secret away wherever it stands in a name."""

AS_A_WORD: Final = ("token", "pwd", "salt")
"""What does as a word of its own: `reset_token`, not `tokens`. A name may also end in `token`, or in `_hash`."""

_ANYWHERE = re.compile(rf"{'|'.join(ANYWHERE)}|token$")
_AS_A_WORD = re.compile(rf"(^|_)({'|'.join(AS_A_WORD)})(_|$)|_hash$")
_MAYBE = re.compile(r"pass|pwd|token|private|pepper|salt|cookie|authorization|dsn|(^|_)keys?$")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\W_]+")
_USERINFO = re.compile(r"(?<=://)([^\s/?#@:]*):[^\s/?#]*(?=@)")
_USERINFO_LOOSE = re.compile(r"(?<=://)([^\s:@]*):\S*(?=@)")


def comparable_name(name: str) -> str:
    """`name` as names are compared."""
    return _SEPARATORS.sub("", name).lower()


def looks_secret(name: str) -> bool:
    """True for `password_hash`, `apiKey`, `reset_token`; false for `tokens` or a bare `hash`."""
    return _ANYWHERE.search(comparable_name(name)) is not None or _AS_A_WORD.search(_words(name)) is not None


def may_be_secret(name: str) -> bool:
    """As `looks_secret`, and true for what is often one: `key`, `dbpass`, `cookies`, `redis_dsn`."""
    return looks_secret(name) or _MAYBE.search(_words(name)) is not None


def _words(name: str) -> str:
    """`name` in lower case, its words apart by underscores."""
    return _SEPARATORS.sub("_", _HUMP.sub("_", name)).lower()


def without_userinfo(text: str) -> str:
    """`text` with the password of every URL in it masked."""
    return _USERINFO_LOOSE.sub(rf"\1:{MASK}", _USERINFO.sub(rf"\1:{MASK}", text))


def passwords_in(text: str) -> list[str]:
    """The passwords of the URLs in `text`."""
    return [found[0].partition(":")[2] for found in _USERINFO_LOOSE.finditer(text)]

"""What never reaches the log: which headers and parameters are secrets, and how they are masked.

Names are compared without case, dashes and underscores, so that `api_key`, `apiKey` and `API-Key` are one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, unquote_plus

from plugins.logs.escaping import LONGEST_TEXT, clipped

MASK = "***"

SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key")
SECRET_PARAMETERS = (
    "access_token",
    "api_key",
    "client_secret",
    "id_token",
    "passwd",
    "password",
    "password_hash",
    "refresh_token",
    "secret",
    "token",
)

SCHEMES = frozenset({"basic", "bearer", "digest", "negotiate"})
"""First words of an Authorization header: no secrets themselves."""

SHORTEST_SECRET = 4
"""Shorter values are not looked for in free text: they would be found in every other word (chosen)."""

LONGEST_SEARCHED = 4 * LONGEST_TEXT
"""Characters of free text that are searched: the rest is never kept. A secret cut in two here is cut away below."""

_USERINFO = re.compile(r"(?<=://)[^/?#@\s\"']*@")
_CREDENTIALS = re.compile(r"\b(basic|bearer)\s+[^\s\"',;]+", re.IGNORECASE)


class Redaction:
    """The names whose values are masked: the ones above and the operator's own."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        every = (*SECRET_HEADERS, *SECRET_PARAMETERS, *names)
        self._names = frozenset(_squash(name) for name in every)
        spelled = "|".join(r"[-_]?".join(map(re.escape, name)) for name in sorted(self._names, key=len, reverse=True))
        self._suspect = re.compile(rf"[?&;](?:[^=?&;%]*%|{spelled})")  # of lower-case text: twice as quick
        self._assigned = re.compile(
            rf"(?<![a-z0-9])((?:{spelled})(?:\[\w+\])?[\"']?\s*[=:]\s*)"
            r"(?:\"[^\"\r\n]*\"|'[^'\r\n]*'|(?:(?:basic|bearer|digest|negotiate)\s+)?[^\s\"'&,)}\]]+)",
            re.IGNORECASE,
        )
        self._header_line = re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie)(:\s*)[^\r\n\"']+", re.IGNORECASE)

    def hides(self, name: str) -> bool:
        """True for a header or parameter whose value is masked."""
        return _squash(name) in self._names

    def url(self, target: str) -> str:
        """`target` with the values of secret parameters, and the user and password of an absolute URL, masked.

        A parameter is known by its decoded name and without its operator: `%74oken` and `token[eq]` are `token`.
        """
        if "://" in target:
            target = _USERINFO.sub(f"{MASK}@", target)
        if "?" not in target or self._suspect.search(target.lower()) is None:
            return target
        path, _, query = target.partition("?")
        return f"{path}?{'&'.join(map(self._mask_pair, query.split('&')))}"

    def text(self, text: str) -> str:
        """Free text, as libraries log it, clipped, with everything masked that looks like the value of a secret."""
        text = _USERINFO.sub(f"{MASK}@", clipped(text, LONGEST_SEARCHED))
        text = self._header_line.sub(rf"\1\2{MASK}", text)
        text = self._assigned.sub(rf"\1{MASK}", text)
        return clipped(_CREDENTIALS.sub(rf"\1 {MASK}", text))

    def text_of(self, text: str, *, target: str, headers: Mapping[str, str]) -> str:
        """`text` about one request: the secrets which that request carried are masked wherever they occur."""
        text = clipped(text, LONGEST_SEARCHED)
        found = {*self._in_headers(headers), *self._in_query(target)}
        for secret in sorted(found, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, MASK)
        return self.text(text)

    def _in_headers(self, headers: Mapping[str, str]) -> Iterator[str]:
        for name, value in headers.items():
            if self.hides(name):
                yield value
                for word in value.split():
                    if word.lower() not in SCHEMES:
                        yield word
                        yield word.partition("=")[2].strip(';,"')

    def _in_query(self, target: str) -> Iterator[str]:
        for pair in target.partition("?")[2].split("&"):
            if (end := self._end_of_secret_name(pair)) is not None:
                yield pair[end + 1 :]
                yield unquote_plus(pair[end + 1 :])

    def _mask_pair(self, pair: str) -> str:
        end = self._end_of_secret_name(pair)
        return pair if end is None else f"{pair[:end]}={MASK}"

    def _end_of_secret_name(self, pair: str) -> int | None:
        """Where the `=` behind the first secret name in `name=value` stands, or in what a value has of that form."""
        start = 0
        while (end := pair.find("=", start)) >= 0:  # each character is looked at once: a client chooses the length
            begin = 1 + max(pair.rfind(";", start, end), pair.rfind("?", start, end), start - 1)
            if begin < end and self.hides(unquote(pair[begin:end]).partition("[")[0]):
                return end
            start = end + 1
        return None


def _squash(name: str) -> str:
    return name.strip().lower().replace("-", "").replace("_", "")

"""What never reaches the log: which headers and parameters are secrets, and how they are masked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

from plugins.logs.escaping import LONGEST_TEXT, clipped
from service.api import CREDENTIAL_HEADERS, MASK, comparable_name, looks_secret

SCHEMES = frozenset({"apikey", "basic", "bearer", "digest", "negotiate"})
"""First words of an Authorization header: no secrets themselves."""

SHORTEST_SECRET = 4
"""Shorter values are not looked for in free text: they would be found in every other word (chosen)."""

LONGEST_SEARCHED = 4 * LONGEST_TEXT
"""Characters of free text that are searched: the rest is never kept. A secret cut in two here is cut away below."""

KNOWN_NAMES = 256
"""Spellings of parameters that are not looked at anew; bounded, since clients make them up (chosen)."""

_NAME = re.compile(r"(?<![^=?&;])([^=?&;]+)=")  # begins nowhere else, so that each character is looked at once
_USERINFO = re.compile(r"(?<=://)[^/?#@\s\"']*@")
_CREDENTIALS = re.compile(r"\b(apikey|basic|bearer)\s+[^\s\"',;]+", re.IGNORECASE)
_HEADER_LINE = re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie)(:\s*)[^\r\n\"']+", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?<![\w-])([\w-]+)(?:\[\w+\])?[\"']?\s*[=:]\s*")
_ASSIGNED = re.compile(
    r"\"[^\"\r\n]*\"|'[^'\r\n]*'|(?:(?:apikey|basic|bearer|digest|negotiate)\s+)?[^\s\"'&,)}\]]+", re.IGNORECASE
)


class Redaction:
    """The names whose values are masked: those that look like a secret's, credentials, and the operator's own."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(map(comparable_name, (*CREDENTIAL_HEADERS, *names)))
        spelled = "|".join(r"[-_]?".join(map(re.escape, name)) for name in self._names)
        self._ending = re.compile(rf"(?<![a-z0-9])(?:{spelled})$", re.IGNORECASE)
        self._hides_spelled = lru_cache(KNOWN_NAMES)(lambda name: self.hides(unquote(name).partition("[")[0]))

    def hides(self, name: str) -> bool:
        """True for a header or parameter whose value is masked."""
        return looks_secret(name) or comparable_name(name) in self._names

    def url(self, target: str) -> str:
        """`target` with the values of secret parameters, and the user and password of an absolute URL, masked.

        A parameter is known by its decoded name and without its operator: `%74oken` and `token[eq]` are `token`.
        """
        if "://" in target:
            target = _USERINFO.sub(f"{MASK}@", target)
        path, _, query = target.partition("?")
        if not any(map(self._hides_spelled, _NAME.findall(query))):
            return target
        return f"{path}?{'&'.join(map(self._mask_pair, query.split('&')))}"

    def text(self, text: str) -> str:
        """Free text, as libraries log it, clipped, with everything masked that looks like the value of a secret."""
        text = _USERINFO.sub(f"{MASK}@", clipped(text, LONGEST_SEARCHED))
        text = "".join(self._unassigned(_HEADER_LINE.sub(rf"\1\2{MASK}", text)))
        return clipped(_CREDENTIALS.sub(rf"\1 {MASK}", text))

    def text_of(self, text: str, *, target: str, headers: Mapping[str, str]) -> str:
        """`text` about one request: the secrets which that request carried are masked wherever they occur."""
        text = clipped(text, LONGEST_SEARCHED)
        found = {*self._in_headers(headers), *self._in_query(target)}
        for secret in sorted(found, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, MASK)
        return self.text(text)

    def _unassigned(self, text: str) -> Iterator[str]:
        """`text` in pieces, with the value masked in everything like `token=value` and `"user_token": "value"`."""
        end = 0
        for found in _ASSIGNMENT.finditer(text):
            if found.start() >= end and (looks_secret(found[1]) or self._ending.search(found[1])):
                value = _ASSIGNED.match(text, found.end())
                if value is not None:
                    yield text[end : found.end()] + MASK
                    end = value.end()
        yield text[end:]

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
        return next((found.end() - 1 for found in _NAME.finditer(pair) if self._hides_spelled(found[1])), None)

"""The Link header of a list: where its other pages are, as relative references.

Each is the query of the request with another page or cursor in it, so it holds behind any proxy and path. It is
spelled anew: what a client sent cannot end a reference or the header. Source: RFC 8288; RFC 3986, section 4.2.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_plus

from plugins.resources.parse.query import MAX_OFFSET_ROWS
from plugins.resources.render import Pagination

MAX_CHARS: Final = 4_000
"""Of the header (chosen: clients and proxies take 8 KiB for a header line or for all). A longer one is left out."""

PLACES: Final = frozenset({"page", "cursor"})
"""The parameters that say which page it is."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9\-._~!$'()*+,:@/?&=]*")
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def elsewhere(query: str) -> str:
    """The query, still percent-encoded, without what says which page it is; it ends with `&` unless it is empty."""
    if "page" in query or "cursor" in query or "%" in query:
        pieces = [piece for piece in query.split("&") if unquote_plus(piece.partition("=")[0]) not in PLACES]
        query = "&".join(pieces)
    if not query:
        return ""
    if not _PLAIN.fullmatch(query):
        query = quote(_STRAY_PERCENT.sub("%25", query), safe="-._~!$'()*+,:@/?&=%", errors="surrogateescape")
    return f"{query}&"


def link_header(query: str, pagination: Pagination) -> str:
    """The header's value: by page as far as pages go, else by cursor; empty where it would be too long."""
    page, limit, pages = pagination.page, pagination.limit, pagination.pages
    rest = elsewhere(query)
    value = f'<?{rest}page=1>; rel="first"'
    if page is not None and pagination.has_prev:
        value += f', <?{rest}page={page - 1}>; rel="prev"'
    elif pagination.prev_cursor is not None:
        value += f', <?{rest}cursor={pagination.prev_cursor}>; rel="prev"'
    if page is not None and pagination.has_next and page * limit <= MAX_OFFSET_ROWS:
        value += f', <?{rest}page={page + 1}>; rel="next"'
    elif pagination.next_cursor is not None:
        value += f', <?{rest}cursor={pagination.next_cursor}>; rel="next"'
    if pages and not pagination.is_estimate and (pages - 1) * limit <= MAX_OFFSET_ROWS:
        value += f', <?{rest}page={pages}>; rel="last"'
    return value if len(value) <= MAX_CHARS else ""

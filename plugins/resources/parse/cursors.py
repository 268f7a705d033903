"""Cursors: the place in a list from which a page goes on, as text that clients keep and send back as it is.

A cursor is base64url of the JSON `[version, direction, fingerprint, values]`. The values are those of the total order
in one row, as PostgreSQL prints them, null for NULL; the fingerprint binds them to the list: its route, the row above,
its order and its filters. Nothing is secret or signed: a forged one asks for rows of the same list, at a place
that its sort and filters could have shown too.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal, cast

import orjson

from plugins.resources.parse.filters import Condition, Filter
from plugins.resources.schema.kinds import Unfit
from plugins.resources.schema.resource import Order

VERSION: Final = 1

MAX_CHARS: Final = 4_000
"""Of a cursor (chosen: half of what a request line takes). A row whose values are longer gets none."""

FINGERPRINT_BYTES: Final = 8
"""Enough that a cursor of another list is not taken by accident; it protects nothing."""

Direction = Literal[">", ">=", "<", "<="]
"""Where the rows stand to the cursor's values: after them, from them on, before them, up to them."""

DIRECTIONS: Final = (">", ">=", "<", "<=")
OTHER_SIDE: Final[dict[Direction, Direction]] = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
"""All rows that a direction leaves out are in this one."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a total order."""

    direction: Direction
    values: tuple[str | None, ...]
    """One for each column of the order."""

    @property
    def is_backward(self) -> bool:
        """Whether the rows stand before it."""
        return self.direction[0] == "<"


def read_cursor(text: str, fingerprint: str, length: int) -> Cursor:
    """The cursor of a list with this fingerprint and an order of `length` columns. Raises Unfit."""
    if len(text) > MAX_CHARS:
        raise Unfit("is longer than any cursor of this service")
    broken = Unfit("is not a cursor of this service; send nextCursor or prevCursor as it was")
    if not _TOKEN.fullmatch(text):
        raise broken
    try:
        token = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise broken from None
    if not isinstance(token, list) or not token or type(token[0]) is not int:
        raise broken
    if token[0] != VERSION:
        raise Unfit("is of another version of this service; begin again without it")
    if len(token) != 4:
        raise broken
    _, direction, bound, values = token
    if direction not in DIRECTIONS or not isinstance(bound, str) or not isinstance(values, list):
        raise broken
    if bound != fingerprint:
        raise Unfit("is of a list with another path, sort or filter; begin again without it")
    if len(values) != length or not all(map(_is_value, values)):
        raise broken
    return Cursor(cast(Direction, direction), tuple(values))


def _is_value(value: object) -> bool:
    return value is None or (isinstance(value, str) and "\0" not in value)


def write_cursor(direction: Direction, fingerprint: str, values: Sequence[str | None]) -> str | None:
    """The text of a cursor; None where it would be too long to be sent back."""
    token = urlsafe_b64encode(orjson.dumps((VERSION, direction, fingerprint, values))).rstrip(b"=")
    return token.decode("ascii") if len(token) <= MAX_CHARS else None


def fingerprint(scope: Sequence[str], order: Sequence[Order], conditions: Sequence[Condition]) -> str:
    """What a cursor is bound to. `scope` says which list: its route's name, and the key of the row above."""
    facts = [
        scope,
        [(each.field.column.name, each.is_descending) for each in order],
        [_fact(each) for each in conditions],
    ]
    digest = blake2b(orjson.dumps(facts), digest_size=FINGERPRINT_BYTES).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _fact(condition: Condition) -> object:
    if isinstance(condition, Filter):
        return condition.field.column.name, condition.operator, condition.value
    return "or" if condition.is_any else "and", [_fact(member) for member in condition.members]

"""What a statement of a list says of itself: its shape, in a comment, for whoever finds its text in the database.

pg_stat_statements keeps the text of a statement as it was first seen, comments inside it included; one that stands
before it is cut off from PostgreSQL 18 on. To PostgreSQL the operators that become LIKE are one statement: which of
them it was is that of the first. A list keeps its marks as it keeps its texts, since making one takes 6 us.
"""

from __future__ import annotations

from typing import Final

import orjson

from plugins.resources.shapes import Shape

BEGIN: Final = "SELECT /* pegboard "
"""How a statement begins that has one."""

END: Final = " */ "

SLASH: Final = r"\u002f"
"""A / in JSON: with none in it, no name can end the comment, or begin one inside it."""


def mark(schema: str, shape: Shape) -> str:
    """SELECT, and the comment behind it: schema and shape, in JSON."""
    return f"{BEGIN}{orjson.dumps((schema, shape)).decode().replace('/', SLASH)}{END}"


def marked(query: str) -> str | None:
    """The JSON in the mark of a statement; None where it has none."""
    return query[len(BEGIN) :].partition(END)[0] if query.startswith(BEGIN) else None

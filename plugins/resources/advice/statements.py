"""Lists that pg_stat_statements has seen.

It keeps texts, and a text of ours begins with a mark that says its shape (`plan/marks.py`), as no other way says it:
read out of the SQL it would be wrong whenever `plan/` changes, and a queryid, which EXPLAIN (VERBOSE) gives for a
statement that is at hand, says nothing of those that are not. Those are what is looked for here: what clients asked for
before the service was started.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import TypeAdapter, ValidationError

from plugins.resources.plan.marks import BEGIN, marked
from plugins.resources.schema.naming import quoted
from plugins.resources.shapes import Seen, Shape, merged
from service.api import Database

MOST_STATEMENTS: Final = 200
"""That are looked at (chosen): those that have taken the most time."""


async def read_statements(database: Database, extension_schema: str, schema: str) -> list[Seen]:
    """Shapes of lists of tables in `schema`, first what has taken the most time. Raises ServiceErrors."""
    rows = await database.fetch(
        f"SELECT s.query, s.calls, s.total_exec_time, s.max_exec_time "  # noqa: S608 (the identifier is quoted)
        f"FROM {quoted(extension_schema)}.pg_stat_statements s "
        "JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = pg_catalog.current_database() "
        "WHERE pg_catalog.starts_with(s.query, $1::text) ORDER BY s.total_exec_time DESC LIMIT $2::int",
        BEGIN,
        MOST_STATEMENTS,
    )
    marks = TypeAdapter(tuple[str, Shape])
    seen = [(shape, row) for row in rows if (shape := _shape(str(row["query"]), marks, schema)) is not None]
    return merged([_seen(shape, row) for shape, row in seen])


def _shape(query: str, marks: TypeAdapter[tuple[str, Shape]], schema: str) -> Shape | None:
    """None where it is of another schema, or written by another version of Pegboard."""
    try:
        of_schema, shape = marks.validate_json(marked(query) or "")
    except ValidationError:
        return None
    return shape if of_schema == schema else None


def _seen(shape: Shape, row: Mapping[str, object]) -> Seen:
    calls, total_ms, worst_ms = [float(str(row[name])) for name in ("calls", "total_exec_time", "max_exec_time")]
    return Seen(shape, round(calls), total_ms / 1000, worst_ms / 1000)

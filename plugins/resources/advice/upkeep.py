"""What a table has: statistics that are old, indexes that serve nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from plugins.resources.advice.candidates import Candidate, candidates_for, served
from plugins.resources.advice.facts import Facts, Index, Known
from plugins.resources.advice.findings import Advice, in_bytes
from plugins.resources.schema.naming import quoted, relation
from plugins.resources.schema.resource import Resource
from plugins.resources.shapes import shape_of

SMALL_BYTES: Final = 65_536
"""Of a table that may do without statistics (chosen: autovacuum itself leaves those of under 50 rows alone)."""

STALE_ROWS: Final = 1_000
STALE_RATIO: Final = 0.2
"""Statistics are stale once so many rows have changed, and so much of all (chosen: twice what autovacuum waits for)."""

UNUSED_SCANS: Final = 1_000
"""An index is called unused once its table was read so often without it (chosen)."""

UNUSED_AGE: Final = timedelta(days=7)
"""And once scans were counted for so long (chosen: what runs once a week has run)."""


def upkeep(resource: Resource, known: Known, now: datetime) -> Iterator[Advice]:
    """What would help one table, whatever clients ask for."""
    table = resource.table
    facts = known.tables.get(table.name)
    if facts is None:
        return
    if not facts.is_analysed and facts.bytes >= SMALL_BYTES:
        yield Advice(
            "statistics",
            resource.name,
            f"{table.name} was never analysed, so that PostgreSQL plans, and counts that are estimated, go by guesses.",
            (f"It takes {in_bytes(facts.bytes)}.",),
            (),
            f"ANALYZE {relation(table)};",
        )
    elif facts.is_analysed and facts.changed >= max(STALE_ROWS, STALE_RATIO * (facts.rows or 0)):
        yield Advice(
            "statistics",
            resource.name,
            f"{table.name} has changed much since it was analysed: plans and estimated counts go by old figures.",
            (f"{facts.changed:,} changes of rows, where there were about {facts.rows or 0:,}.",),
            (),
            f"ANALYZE {relation(table)};",
        )
    since = _counted_since(known, now)
    for index in facts.indexes:
        if index.is_partitioned:
            continue
        line = f"DROP INDEX CONCURRENTLY {quoted(table.schema)}.{quoted(index.name)};"
        size = f"It takes {in_bytes(index.bytes)}."
        if not index.is_valid:
            what = (
                f"Index {index.name} of {table.name} is not valid: unless it is being made right now, making it "
                "failed, and it serves nothing and costs every write."
            )
            yield Advice("invalid index", resource.name, what, (size,), (), line)
        elif since is not None and facts.scans >= UNUSED_SCANS and _is_idle(index, resource, facts):
            what = f"Index {index.name} of {table.name} is never used, and costs every write."
            used = (
                f"Since {since:%Y-%m-%d} {table.name} was read {facts.scans:,} times, never by it; replicas "
                "count their own."
            )
            yield Advice("unused index", resource.name, what, (used, size), (), line)


def too_young(resources: Iterable[Resource], known: Known, now: datetime) -> str | None:
    """Why no index is called unused, where scans have not been counted for long enough; None where that is no reason:
    they have, or every index has a use."""
    if _counted_since(known, now) is not None:
        return None
    tables = [(each, known.tables[each.table.name]) for each in resources if each.table.name in known.tables]
    if not any(_is_idle(index, resource, facts) for resource, facts in tables for index in facts.indexes):
        return None
    told = known.since.astimezone(UTC) if known.since is not None else None
    since = f"since {told:%Y-%m-%d %H:%M} UTC" if told is not None else "from a time that it does not tell"
    return (
        f"Which indexes are never used is not told yet: PostgreSQL has counted {since}, and after {UNUSED_AGE.days} "
        "days that tells."
    )


def _counted_since(known: Known, now: datetime) -> datetime | None:
    """Since when scans are counted, where that is long enough for an index to be called unused."""
    return known.since if known.since is not None and now - known.since >= UNUSED_AGE else None


def _is_idle(index: Index, resource: Resource, facts: Facts) -> bool:
    """Whether nothing has used it, and nothing that is known of would."""
    is_own = index.is_valid and not index.is_partitioned and not index.is_needed
    return is_own and index.scans == 0 and not _has_a_purpose(index, resource, facts)


def _has_a_purpose(index: Index, resource: Resource, facts: Facts) -> bool:
    """Whether dropping it would have an index advised: for a foreign key, or for the order of the resource."""
    others = [other for other in facts.indexes if other is not index]
    purposes = [Candidate(resource.table, key.columns) for key in resource.table.foreign_keys]
    purposes += candidates_for(shape_of(resource), resource.table, has_key=bool(resource.key))
    return any(served(each, [index]) > served(each, others) for each in purposes)

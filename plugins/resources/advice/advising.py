"""What is looked at, and what is advised.

Looked at: the lists along every foreign key of what is served, those in the order that a resource has by itself, and
those that clients ask for and that take the most time; each is explained. An index is advised where none serves a
foreign key or an order, and where a list reads much more than a page although another index would find it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from plugins.resources.advice.explaining import NoPlan, Plan, explain
from plugins.resources.advice.facts import FACTS, Facts, Index, Known, read_facts
from plugins.resources.advice.statements import read_statements
from plugins.resources.advice.wanted import Served, Wanted, served, wanted_by
from plugins.resources.plan.sql import quoted, relation
from plugins.resources.schema.catalogue import ForeignKey
from plugins.resources.schema.kinds import OPERATORS
from plugins.resources.schema.resource import Resource
from plugins.resources.shapes import Seen, Shape, merged, shape_of
from service.api import Database, Heard, ServiceError, listed

MOST_SEEN: Final = 20
"""Shapes that clients ask for and that are looked at (chosen: each is explained)."""

MUCH_ROWS: Final = 10_000
"""Rows read for one page that are called much (chosen: some milliseconds, which another index would save)."""

SMALL_BYTES: Final = 65_536
"""Of a table that may do without statistics (chosen: autovacuum itself leaves those of under 50 rows alone)."""

STALE_ROWS: Final = 1_000
STALE_RATIO: Final = 0.2
"""Statistics are stale once so many rows have changed, and so much of all (chosen: twice what autovacuum waits for)."""

UNUSED_SCANS: Final = 1_000
"""An index is called unused once its table was read so often without it (chosen)."""

INDEXABLE: Final = frozenset({"table", "partitioned table", "materialised view"})


@dataclass(frozen=True, slots=True)
class Advice:
    """One finding."""

    kind: Literal["index", "statistics", "unused index", "invalid index"]
    table: str
    what: str
    """A sentence."""
    evidence: tuple[str, ...]
    """Sentences."""
    plan: tuple[str, ...]
    """How the list is got now; empty where there is none to explain."""
    run: str
    """The line that would help."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A list that was looked at."""

    list: str
    plan: Plan | None
    reason: str
    """Why there is no plan."""
    seen: tuple[str, ...]
    """Who asked for it, how often, how long it took."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that is found."""

    advice: tuple[Advice, ...]
    looked: tuple[Looked, ...]
    notes: tuple[str, ...]
    """What could not be looked at, and why: sentences."""


@dataclass(slots=True)
class _Look:
    """A list to look at."""

    resource: Resource
    shape: Shape
    keys: list[ForeignKey] = field(default_factory=list)
    """The foreign keys that it goes along."""
    is_default: bool = False
    """Whether it is in the order that the resource has by itself."""
    seen: list[tuple[str, Seen]] = field(default_factory=list)
    """By whom."""

    @property
    def seconds(self) -> float:
        return max([each.seconds for _, each in self.seen], default=0.0)


async def advise(database: Database, resources: Sequence[Resource], heard: Heard) -> Report:
    """Look at the lists of these resources, and at what their tables have. `heard` is what the workers that serve have
    seen. Raises ServiceErrors where the database does not answer."""
    notes: list[str] = []
    seen = _told(heard, notes)
    tables = [resource for resource in resources if resource.table.relation in INDEXABLE]
    if others := [resource.name for resource in resources if resource not in tables]:
        notes.append(f"Not looked at, since they have no indexes of their own: {listed(others)}.")
    if not tables:
        return Report((), (), tuple(notes))
    body = await database.fetch_json(FACTS, tables[0].table.schema, [resource.table.name for resource in tables])
    known = read_facts(body or b"")
    noted = await _noted(database, known, tables, notes)
    looks = _looks(tables, {"the service": seen, "pg_stat_statements": noted})
    advice: list[tuple[float, Advice, Wanted]] = []
    looked: list[Looked] = []
    for look in looks:
        plan = await explain(database, look.resource, look.shape)
        looked.append(_looked(look, plan))
        advice += _advice_for(look, plan, known)
    rest = [each for resource in tables for each in _of_table(resource, known)]
    return Report((*_sorted(advice), *rest), tuple(looked), tuple(notes))


def _told(heard: Heard, notes: list[str]) -> list[Seen]:
    """What all workers have seen; where some have not told it, notes say why."""
    told: list[tuple[Seen, ...]] = []
    problems = list(heard.problems)
    for answer in heard.answers:
        try:
            told.append(TypeAdapter(tuple[Seen, ...]).validate_python(answer))
        except ValidationError:
            problems.append("It is of another version of Pegboard than this command; restart it.")
    how = "is not wholly known" if told else "is not known"
    notes += [f"What clients ask for {how} from a running service: {problem}" for problem in dict.fromkeys(problems)]
    seen = merged([each for worker in told for each in worker])
    if told and not seen:
        notes.append("No client has asked the running service for a list yet.")
    return seen


async def _noted(database: Database, known: Known, resources: Sequence[Resource], notes: list[str]) -> list[Seen]:
    """What pg_stat_statements has; where it has nothing, a note says why."""
    if known.statements is None:
        notes.append(
            "What clients asked for is not known from pg_stat_statements, which this database does not have: "
            "add it to shared_preload_libraries, and CREATE EXTENSION pg_stat_statements."
        )
        return []
    try:
        return await read_statements(database, known.statements, resources)
    except ServiceError:
        notes.append(
            "What clients asked for is not known from pg_stat_statements, which cannot be read: "
            "see that it is in shared_preload_libraries, and GRANT pg_read_all_stats to the role."
        )
        return []


def _looks(resources: Sequence[Resource], seen: Mapping[str, Sequence[Seen]]) -> list[_Look]:
    """Every list to look at, each once."""
    looks: dict[Shape, _Look] = {}
    named = {resource.table.name: resource for resource in resources}

    def look(resource: Resource, shape: Shape) -> _Look:
        return looks.setdefault(shape, _Look(resource, shape))

    for resource in resources:
        for key in resource.table.foreign_keys:
            look(resource, shape_of(resource, [(column, "eq") for column in key.columns])).keys.append(key)
        if resource.key or resource.sort:
            look(resource, shape_of(resource)).is_default = True
    for origin, shapes in seen.items():
        for each in [each for each in shapes if _is_of(each.shape, named)][:MOST_SEEN]:
            look(named[each.shape.table], each.shape).seen.append((origin, each))
    return list(looks.values())


def _is_of(shape: Shape, resources: Mapping[str, Resource]) -> bool:
    """Whether there is such a list here, and an index could serve it: who has seen it may know another schema."""
    resource = resources.get(shape.table)
    columns = {name for name, _ in shape.filters} | {name.removeprefix("-") for name in shape.order}
    operators = {operator for _, operator in shape.filters}
    return resource is not None and columns <= resource.table.columns.keys() and operators <= {*OPERATORS}


# --- words


def _named(look: _Look) -> str:
    """`orders filtered by status, total[gte], sorted by -created_at, id`."""
    filters = [name if operator == "eq" else f"{name}[{operator}]" for name, operator in look.shape.filters]
    by = f" filtered by {', '.join(filters)}" if filters else ""
    order = look.shape.order if look.resource.key else look.shape.order[:1]
    sorted_by = f"{',' if by else ''} sorted by {', '.join(order)}" if order else ""
    return f"{look.resource.name}{by}{sorted_by}"


def _looked(look: _Look, plan: Plan | NoPlan) -> Looked:
    there = plan if isinstance(plan, Plan) else None
    return Looked(_named(look), there, plan.reason if isinstance(plan, NoPlan) else "", tuple(_seen(look)))


def _seen(look: _Look) -> list[str]:
    sentences = []
    for origin, each in look.seen:
        times = f"{each.calls:,} {'time' if each.calls == 1 else 'times'}"
        mean_ms, worst_ms = each.seconds / max(each.calls, 1) * 1000, each.worst_s * 1000
        sentences.append(f"Seen by {origin} {times}, {mean_ms:,.1f} ms each, {worst_ms:,.1f} ms at most.")
    return sentences


def _evidence(look: _Look, plan: Plan | NoPlan, facts: Facts) -> tuple[str, ...]:
    rows = f"has about {facts.rows:,} rows and" if facts.rows is not None else "has rows that nobody has counted and"
    size = f"{look.resource.name} {rows} takes {_size(facts.bytes)}."
    if isinstance(plan, NoPlan):
        return (size, f"The list of {_named(look)} {plan.reason}.", *_seen(look))
    tried = f"The list of {_named(look)} takes {plan.ms:,.1f} ms and reads {plan.read:,} rows for {plan.rows:,}."
    return (size, tried, *_seen(look))


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


# --- indexes that are wanted


def _advice_for(look: _Look, plan: Plan | NoPlan, known: Known) -> list[tuple[float, Advice, Wanted]]:
    """At most one."""
    resource, table = look.resource, look.resource.table
    facts = known.tables.get(table.name)
    if facts is None:
        return []
    reads_much = plan.read >= MUCH_ROWS if isinstance(plan, Plan) else plan.is_slow
    found: Wanted | None = None
    what = ""
    for key in look.keys:
        wanted = Wanted(table, key.columns)
        if served(wanted, facts.indexes) is Served.NOT:
            found = wanted
            columns = listed(key.columns)
            what = (
                f"{table.name} refers to {key.target} by {columns}, which no index begins with: finding the rows that "
                f"belong to one row of {key.target}, and every DELETE there, reads the whole table."
            )
    is_selective = isinstance(plan, NoPlan) or plan.kept < (facts.rows or plan.read) / 2
    best = wanted_by(look.shape, table, has_key=bool(resource.key), is_selective=is_selective)
    if found is None and best is not None:
        level = served(best, facts.indexes)
        if level is Served.NOT and look.is_default:
            what = (
                f"{table.name} is sorted by {', '.join(look.shape.order)} unless a client asks for another order, and "
                "no index has that order: every page sorts the whole table."
            )
            found = best
        elif level is not Served.FULLY and reads_much:
            what = f"The list of {_named(look)} reads much more than a page, and no index leads to just that."
            found = best
    if found is None:
        return []
    if any(part.opclass == "gin_trgm_ops" for part in found.then) and not known.has_trigrams:
        what += " The index needs an extension first: CREATE EXTENSION pg_trgm."
    if table.relation == "partitioned table":
        what += " For a partitioned table it is made while writes wait."
    lines = plan.lines if isinstance(plan, Plan) else ()
    advice = Advice("index", resource.name, what, _evidence(look, plan, facts), lines, found.line)
    return [(max(look.seconds, plan.ms / 1000 if isinstance(plan, Plan) else 0.0), advice, found)]


def _sorted(advice: Iterable[tuple[float, Advice, Wanted]]) -> list[Advice]:
    """First what takes the most time; an index that another one's makes needless is part of that one's advice."""
    by_line: dict[str, tuple[Wanted, list[Advice]]] = {}
    for _, each, wanted in sorted(advice, key=lambda entry: (-entry[0], entry[1].run)):
        by_line.setdefault(each.run, (wanted, []))[1].append(each)
    for line, (wanted, several) in list(by_line.items()):
        for other, others in by_line.values():
            if wanted.begins(other):
                others += several
                del by_line[line]
                break
    return [_joined(several, line) for line, (_, several) in by_line.items()]


def _joined(several: Sequence[Advice], line: str) -> Advice:
    first = several[0]
    what = " ".join(dict.fromkeys([each.what for each in several]))
    evidence = tuple(dict.fromkeys([sentence for each in several for sentence in each.evidence]))
    return Advice(first.kind, first.table, what, evidence, first.plan, line)


# --- what a table has


def _of_table(resource: Resource, known: Known) -> Iterable[Advice]:
    table = resource.table
    facts = known.tables.get(table.name)
    if facts is None:
        return
    if not facts.is_analysed and facts.bytes >= SMALL_BYTES:
        yield Advice(
            "statistics",
            resource.name,
            f"{table.name} was never analysed, so that PostgreSQL plans, and counts that are estimated, go by guesses.",
            (f"It takes {_size(facts.bytes)}.",),
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
    for index in facts.indexes:
        if index.is_partitioned:
            continue
        line = f"DROP INDEX CONCURRENTLY {quoted(table.schema)}.{quoted(index.name)};"
        size = f"It takes {_size(index.bytes)}."
        if not index.is_valid:
            what = (
                f"Index {index.name} of {table.name} is not valid: unless it is being made right now, making it "
                "failed, and it serves nothing and costs every write."
            )
            yield Advice("invalid index", resource.name, what, (size,), (), line)
        elif _is_unused(index, facts) and not _has_a_purpose(index, resource, facts):
            since = f" since {known.since:%Y-%m-%d}" if known.since is not None else ""
            what = f"Index {index.name} of {table.name} is never used, and costs every write."
            used = f"{table.name} was read {facts.scans:,} times{since}, never by it; replicas count their own."
            yield Advice("unused index", resource.name, what, (used, size), (), line)


def _is_unused(index: Index, facts: Facts) -> bool:
    return not index.is_needed and index.scans == 0 and facts.scans >= UNUSED_SCANS


def _has_a_purpose(index: Index, resource: Resource, facts: Facts) -> bool:
    """Whether dropping it would have an index advised: for a foreign key, or for the order of the resource."""
    others = [other for other in facts.indexes if other is not index]
    purposes = [Wanted(resource.table, key.columns) for key in resource.table.foreign_keys]
    if (ordered := wanted_by(shape_of(resource), resource.table, has_key=bool(resource.key))) is not None:
        purposes.append(ordered)
    return any(served(each, [index]) > served(each, others) for each in purposes)

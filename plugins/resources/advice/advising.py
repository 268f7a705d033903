"""What is looked at, and what is advised.

Each list of `looks.py` is explained. An index is advised where none serves a foreign key or an order, and where a list
or a count reads much more than it must although another index would find just that; for a view, on the table behind it
that is read from end to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter, ValidationError

from plugins.resources.advice.candidates import Candidate, Served, candidates_for, served
from plugins.resources.advice.explaining import NoPlan, Plan, Scan, explain, seeks_text
from plugins.resources.advice.facts import FACTS, Facts, Known, read_facts
from plugins.resources.advice.findings import Advice, Report
from plugins.resources.advice.looks import Look, looks_at
from plugins.resources.advice.statements import read_statements
from plugins.resources.advice.upkeep import too_young, upkeep
from plugins.resources.advice.views import read_sources, seen_through
from plugins.resources.schema.catalogue import Catalogue, Table
from plugins.resources.schema.resource import Resource
from plugins.resources.shapes import Seen, Shape, merged
from service.api import Database, Heard, ServiceError, listed

MUCH_ROWS: Final = 10_000
"""Rows read for one page, or passed over by a count, that are called much (chosen: some milliseconds, which another
index would save)."""

SLOW_S: Final = 0.1
"""A count that takes so long is called slow (chosen)."""

FAR_S: Final = 0.002
FAR_RATIO: Final = 3
"""A list that was seen to take so long, and so much longer than when it was tried, is tried again (chosen: more than
the way to PostgreSQL and back usually takes)."""

INDEXABLE: Final = frozenset({"table", "partitioned table", "materialised view"})


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of advice, and what it takes to set it beside others."""

    seconds: float
    advice: Advice
    candidate: Candidate


async def advise(
    database: Database, catalogue: Catalogue, resources: Sequence[Resource], heard: Heard, *, now: datetime
) -> Report:
    """Look at the lists of these resources, and at what their tables have. `heard` is what the workers that serve have
    seen. Raises ServiceErrors where the database does not answer."""
    notes: list[str] = []
    seen = _told(heard, notes)
    if foreign := [resource.name for resource in resources if resource.table.relation == "foreign table"]:
        notes.append(f"Not looked at, since their indexes are in another database: {listed(foreign)}.")
    there = [resource for resource in resources if resource.name not in foreign]
    if not there:
        return Report((), (), tuple(notes))
    names = [table.name for table in catalogue.tables.values() if table.relation in INDEXABLE]
    known = read_facts(await database.fetch_json(FACTS, catalogue.schema, names) or b"")
    noted = await _noted(database, known, catalogue.schema, notes)
    looks = looks_at(there, {"the service": seen, "pg_stat_statements": noted})
    advising = _Advising(database, catalogue, known, notes)
    plans = [(look, await explain(database, look.resource, look.shape)) for look in looks]
    plans = [(look, await _tried_again(database, look, plan, _took_s(look, plans))) for look, plan in plans]
    looked = []
    found: list[Found] = []
    surprising = []
    for look, plan in plans:
        looked.append(look.looked(plan))
        told = len(found) + len(notes)
        found += await advising.advice_for(look, plan)
        if len(found) + len(notes) == told and _is_far(look, _took_s(look, plans)):
            surprising.append(look)
    if surprising:
        notes.append(_surprise(surprising))
    rest = [each for resource in there for each in upkeep(resource, known, now)]
    if (young := too_young(there, known, now)) is not None:
        notes.append(young)
    return Report((*_sorted(found), *rest), tuple(looked), tuple(notes))


def _took_s(look: Look, plans: Iterable[tuple[Look, Plan | NoPlan]]) -> float:
    """What the page and the count together took, since they are seen together."""
    there = [
        plan for other, plan in plans if (other.shape.table, other.shape.where) == (look.shape.table, look.shape.where)
    ]
    return sum([plan.ms / 1000 if isinstance(plan, Plan) else math.inf for plan in there])


def _is_far(look: Look, took_s: float) -> bool:
    """Whether it was seen to take much longer than it takes."""
    return look.mean_s >= max(FAR_S, FAR_RATIO * took_s)


async def _tried_again(database: Database, look: Look, plan: Plan | NoPlan, took_s: float) -> Plan | NoPlan:
    """The plan with which it takes longer: the one it has, or where clients see it take much longer than that with
    some values, one with a text that is sought in vain."""
    if not (_is_far(look, took_s) and seeks_text(look.resource, look.shape)):
        return plan
    again = await explain(database, look.resource, look.shape, is_in_vain=True)
    is_slower = again.is_slow if isinstance(again, NoPlan) else isinstance(plan, Plan) and again.ms > plan.ms
    return again if is_slower else plan


def _surprise(looks: Sequence[Look]) -> str:
    """What was seen to be slow and is quick."""
    what = listed([f"the {look.what} ({look.mean_s * 1000:,.1f} ms each)" for look in looks])
    return (
        f"Seen to take more than {FAR_RATIO} times as long as when tried here: {what}. Clients may give other "
        "values or ask for later pages, it may have been before there was an index, or PostgreSQL was busy or waited "
        "for locks."
    )


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


async def _noted(database: Database, known: Known, schema: str, notes: list[str]) -> list[Seen]:
    """What pg_stat_statements has; where it has nothing, a note says why."""
    if known.statements is None:
        notes.append(
            "What clients asked for is not known from pg_stat_statements, which this database does not have: "
            "add it to shared_preload_libraries, and CREATE EXTENSION pg_stat_statements."
        )
        return []
    try:
        return await read_statements(database, known.statements, schema)
    except ServiceError:
        notes.append(
            "What clients asked for is not known from pg_stat_statements, which cannot be read: "
            "see that it is in shared_preload_libraries, and GRANT pg_read_all_stats to the role."
        )
        return []


class _Advising:
    """What would serve the lists of one schema."""

    def __init__(self, database: Database, catalogue: Catalogue, known: Known, notes: list[str]) -> None:
        self._database = database
        self._tables = catalogue.tables
        self._known = known
        self._notes = notes

    async def advice_for(self, look: Look, plan: Plan | NoPlan) -> list[Found]:
        """Adds to the notes where a list is slow and nothing helps."""
        if look.resource.table.relation == "view":
            return await self._for_view(look, plan)
        found = list(self._for_table(look, plan))
        if not found and look.shape.count == "exact" and _reads_much(plan) and _is_slow(look, plan):
            self._notes.append(f"{look.tried(plan)} No index would help; without count=exact it is estimated.")
        return found

    def _for_table(self, look: Look, plan: Plan | NoPlan) -> Iterator[Found]:
        table = look.resource.table
        facts = self._known.tables.get(table.name)
        if facts is None:
            return
        is_along_a_key = False
        for key in look.keys:
            candidate = Candidate(table, key.columns)
            if served(candidate, facts.indexes) is Served.NOT:
                is_along_a_key = True
                what = (
                    f"{table.name} refers to {key.target} by {listed(key.columns)}, which no index begins with: "
                    f"finding the rows that belong to one row of {key.target}, and every DELETE there, reads the whole "
                    "table."
                )
                yield self._found(look, plan, candidate, facts, what)
        if is_along_a_key:
            return
        is_selective = isinstance(plan, NoPlan) or _is_selective(look.shape, plan, facts)
        for candidate, level in _unserved(look, look.shape, table, facts, is_selective=is_selective):
            if level is Served.NOT and look.is_default:
                what = (
                    f"{table.name} is sorted by {', '.join(look.shape.order)} unless a client asks for another order, "
                    "and no index has that order: every page sorts the whole table."
                )
                yield self._found(look, plan, candidate, facts, what)
            elif _reads_much(plan):
                what = f"The {look.what} reads much more than {_enough(look)}, and no index leads to just that."
                yield self._found(look, plan, candidate, facts, what)

    async def _for_view(self, look: Look, plan: Plan | NoPlan) -> list[Found]:
        """On the tables behind it that are read from end to end, and whose own columns it is filtered or sorted by."""
        if not _reads_much(plan):
            return []
        shape, view = look.shape, look.resource.table
        columns = [*[name for name, _ in shape.where.leaves()], *[name.removeprefix("-") for name in shape.order]]
        try:
            sources = await read_sources(self._database, view, columns)
        except ServiceError:
            sources = {}
        found = []
        for source, behind in seen_through(shape, sources):
            table, facts = self._tables.get(source.table), self._known.tables.get(source.table)
            if table is None or facts is None or source.schema != table.schema:
                continue
            scans = [scan for scan in plan.scans if scan.alias == source.alias] if isinstance(plan, Plan) else []
            if isinstance(plan, Plan) and not any(scan.is_whole for scan in scans):
                continue
            is_selective = all(_is_selective(shape, scan, facts) for scan in scans)
            for candidate, _ in _unserved(look, behind, table, facts, is_selective=is_selective):
                what = (
                    f"The {look.what} reads much more than {_enough(look)}: {view.name} is a view, and of {table.name} "
                    "behind it no index leads to just that."
                )
                found.append(self._found(look, plan, candidate, facts, what))
        if not found:
            self._notes.append(
                f"{look.tried(plan)} {view.name} is a view, and no index of a table behind it is known that would help."
            )
        return found

    def _found(self, look: Look, plan: Plan | NoPlan, candidate: Candidate, facts: Facts, what: str) -> Found:
        if any(part.opclass == "gin_trgm_ops" for part in candidate.then) and not self._known.has_trigrams:
            what += " The index needs an extension first: CREATE EXTENSION pg_trgm."
        if candidate.table.relation == "partitioned table":
            what += " For a partitioned table it is made while writes wait."
        lines = plan.lines if isinstance(plan, Plan) else ()
        evidence = look.evidence(plan, candidate.table.name, facts)
        seconds = max(look.seconds, plan.ms / 1000 if isinstance(plan, Plan) else 0.0)
        return Found(seconds, Advice("index", look.resource.name, what, evidence, lines, candidate.line), candidate)


def _unserved(
    look: Look, shape: Shape, table: Table, facts: Facts, *, is_selective: bool
) -> Iterator[tuple[Candidate, Served]]:
    """The indexes of the table that the list wants, as `shape` of it, and that no index there is as good as."""
    if shape.count and not is_selective:
        return  # what is counted has to be read
    for candidate in candidates_for(shape, table, has_key=bool(look.resource.key), is_selective=is_selective):
        level = served(candidate, facts.indexes)
        if level is not Served.FULLY:
            yield candidate, level


def _is_selective(shape: Shape, read: Plan | Scan, facts: Facts) -> bool:
    """Whether less than half passes: of the table, or where a count ends at its cap, of what it has read."""
    return read.kept < (read.read if shape.count else facts.rows or read.read) / 2


def _reads_much(plan: Plan | NoPlan) -> bool:
    return plan.read >= MUCH_ROWS if isinstance(plan, Plan) else plan.is_slow


def _is_slow(look: Look, plan: Plan | NoPlan) -> bool:
    seen = any(each.seconds >= SLOW_S * each.calls for _, each in look.seen)
    return seen or (plan.ms >= SLOW_S * 1000 if isinstance(plan, Plan) else plan.is_slow)


def _enough(look: Look) -> str:
    return "it counts" if look.shape.count else "a page"


def _sorted(found: Iterable[Found]) -> list[Advice]:
    """First what takes the most time; an index that another one's makes needless is part of that one's advice."""
    by_line: dict[str, tuple[Candidate, list[Advice]]] = {}
    for each in sorted(found, key=lambda each: (-each.seconds, each.advice.run)):
        by_line.setdefault(each.advice.run, (each.candidate, []))[1].append(each.advice)
    for line, (candidate, several) in list(by_line.items()):
        for other, others in by_line.values():
            if candidate.begins(other):
                others += several
                del by_line[line]
                break
    return [_joined(several, line) for line, (_, several) in by_line.items()]


def _joined(several: Sequence[Advice], line: str) -> Advice:
    first = several[0]
    what = " ".join(dict.fromkeys([each.what for each in several]))
    evidence = tuple(dict.fromkeys([sentence for each in several for sentence in each.evidence]))
    return Advice(first.kind, first.table, what, evidence, first.plan, line)

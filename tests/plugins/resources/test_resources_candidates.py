"""The index that a list wants, the line that makes it, and which indexes serve it as well."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.resources.advice.candidates import Candidate, Served, candidates_for, served
from plugins.resources.advice.facts import Index, IndexColumn
from plugins.resources.schema.resource import Resource
from plugins.resources.shapes import Conditions, Shape

NOT, PARTLY, FULLY = Served


def shape(*filters: str, order: str = "id") -> Shape:
    """`state`, `price[gt]`: as columns of items; the order with commas."""
    pairs = [tuple(each.rstrip("]").split("[")) if "[" in each else (each, "eq") for each in filters]
    return Shape("items", Conditions(tuple(sorted(pairs))), tuple(order.split(",")) if order else ())  # type: ignore[arg-type]


def index(*columns: str, **facts: Any) -> Index:
    """`-made_at` is descending with NULLs first, as PostgreSQL has it unless told otherwise; `name:ops` an opclass."""
    parts = []
    for each in columns:
        name, _, opclass = each.removeprefix("-").partition(":")
        is_descending = each.startswith("-")
        parts.append(IndexColumn(name or None, is_descending, is_descending, opclass or "usual_ops", not opclass))
    usual = {
        "method": "btree",
        "rows": "all",
        "is_unique": False,
        "is_valid": True,
        "is_needed": False,
        "is_partitioned": False,
        "bytes": 8192,
        "scans": 0,
    }
    return Index("some_idx", columns=tuple(parts), **{**usual, **facts})


@pytest.mark.parametrize(
    ("wanted_for", "columns"),
    [
        (shape(), '("id")'),
        (shape(order="-made_at,-id"), '("made_at", "id")'),
        (shape(order="made_at,-id"), '("made_at", "id" DESC)'),
        (shape(order="-made_at,id"), '("made_at" DESC, "id")'),
        (shape("state", order="-made_at,-id"), '("state", "made_at", "id")'),
        (shape("state[in]", "page"), '("page", "state", "id")'),
        (shape("made_at", order="made_at,id"), '("made_at", "id")'),
        (shape("state", "price[gt]", "price[lt]", order="-made_at,-id"), '("state", "price")'),
        (shape("made_at[gte]", "price[gt]", order="made_at,id"), '("made_at", "id")'),
        (shape("price[ne]", "state[nin]", "born[null]"), '("id")'),
        (shape("name[startswith]"), '("name" text_pattern_ops)'),
        (shape("name[contains]"), 'USING gin ("name" gin_trgm_ops)'),
        (shape("state", "name[contains]"), '("state", "id")'),
        (shape("tags[has]"), 'USING gin ("tags" array_ops)'),
    ],
    ids=str,
)
def test_list_wants_an_index(items: Resource, wanted_for: Shape, columns: str) -> None:
    (candidate,) = candidates_for(wanted_for, items.table, has_key=True)
    assert candidate.line == f'CREATE INDEX CONCURRENTLY ON "public"."items" {columns};'


def test_list_whose_ranges_most_rows_pass_wants_its_order(items: Resource) -> None:
    (candidate,) = candidates_for(shape("price[gt]", order="made_at,id"), items.table, has_key=True, is_selective=False)
    assert candidate.columns == ("made_at", "id")


def test_list_without_a_key_wants_the_first_column_of_its_order(items: Resource) -> None:
    """The rest of the order is every other column."""
    (candidate,) = candidates_for(shape("state", order="made_at,id,name,price"), items.table, has_key=False)
    assert candidate.columns == ("state", "made_at")


def test_list_that_nothing_serves_wants_none(items: Resource) -> None:
    assert candidates_for(shape("price[ne]", order=""), items.table, has_key=True) == ()


EQUAL, RANGE, UNEQUAL = (Conditions((leaf,)) for leaf in (("state", "eq"), ("price", "gt"), ("name", "ne")))


@pytest.mark.parametrize(
    ("where", "columns"),
    [
        (Conditions((), ((EQUAL, RANGE),)), ['("state")', '("price")']),
        (Conditions((("page", "ne"),), ((EQUAL, RANGE),)), ['("state")', '("price")']),
        # what all rows must be is found first
        (Conditions((("page", "eq"),), ((EQUAL, RANGE),)), ['("page", "id")']),
        # one that is not found by an index has the whole table read anyway
        (Conditions((), ((EQUAL, UNEQUAL),)), ['("id")']),
        # the first whose alternatives can all be found
        (
            Conditions((), ((EQUAL, UNEQUAL), (RANGE, Conditions((("page", "eq"), ("name", "ne")))))),
            ['("price")', '("page")'],
        ),
        # alternatives in an alternative
        (
            Conditions((), ((EQUAL, Conditions((("name", "ne"),), ((RANGE, Conditions((("page", "in"),))),))),)),
            ['("state")', '("price")', '("page")'],
        ),
    ],
    ids=str,
)
def test_alternatives_want_an_index_each(items: Resource, where: Conditions, columns: list[str]) -> None:
    candidates = candidates_for(Shape("items", where, ("id",)), items.table, has_key=True)
    assert [each.line for each in candidates] == [
        f'CREATE INDEX CONCURRENTLY ON "public"."items" {each};' for each in columns
    ]


def test_alternatives_that_most_rows_pass_want_the_order(items: Resource) -> None:
    shape = Shape("items", Conditions((), ((EQUAL, RANGE),)), ("made_at", "id"))
    (candidate,) = candidates_for(shape, items.table, has_key=True, is_selective=False)
    assert candidate.columns == ("made_at", "id")


def test_names_are_quoted_and_partitioned_tables_take_no_concurrently(build: Any) -> None:
    odd = build.table('a "b"', build.column("Id", "int4"), relation="partitioned table")
    assert Candidate(odd, ("Id", 'x"')).line == 'CREATE INDEX ON "public"."a ""b""" ("Id", "x""");'


@pytest.mark.parametrize(
    ("wanted_for", "there", "how"),
    [
        # equality: its columns first, in any order
        (shape("state", "page"), index("page", "state", "id"), FULLY),
        (shape("state", "page"), index("page", "id"), PARTLY),
        (shape("state", "page"), index("id", "page"), NOT),
        (shape("state"), index("state:text_pattern_ops", "id"), NOT),
        (shape("state"), index("", "state"), NOT),
        # the order: forwards or backwards, and nothing else
        (shape(order="made_at,id"), index("made_at", "id"), FULLY),
        (shape(order="-made_at,-id"), index("made_at", "id"), FULLY),
        (shape(order="made_at,id"), index("-made_at", "-id"), FULLY),
        (shape(order="made_at,-id"), index("made_at", "id"), PARTLY),
        (shape(order="made_at,-id"), index("-made_at", "id"), FULLY),
        (shape(order="made_at,id"), index("made_at"), PARTLY),
        (shape(order="made_at,id"), index("id", "made_at"), NOT),
        (shape("state", order="made_at,id"), index("state"), PARTLY),
        (shape("state", order="made_at,id"), index("state", "made_at", "id", "price"), FULLY),
        # a key: there is nothing to order behind it
        (shape(order="id,made_at"), index("id"), FULLY),
        (shape("id", order="made_at,id"), index("id", is_unique=True), FULLY),
        # ranges run either way
        (shape("price[gt]", order="made_at,id"), index("-price"), FULLY),
        (shape("state", "price[gt]", order="made_at,id"), index("price", "state"), NOT),
        # partial ones
        (shape("state"), index("state", "id", rows="some"), NOT),
        (shape("state"), index("state", "id", rows="not null"), FULLY),
        (shape(order="made_at,id"), index("made_at", "id", rows="not null"), NOT),
        # other methods
        (shape("state"), index("state", method="hash"), NOT),
        (shape("name[contains]"), index("name:gin_trgm_ops", method="gin"), FULLY),
        (shape("name[contains]"), index("name"), NOT),
        (shape("name[startswith]"), index("name"), NOT),
        (shape("name[startswith]"), index("name:text_pattern_ops"), FULLY),
        (shape("state"), index("state", "id", method="brin"), NOT),
        # one that failed while it was made
        (shape("state"), index("state", "id", is_valid=False), NOT),
    ],
    ids=str,
)
def test_index_serves_a_list(items: Resource, wanted_for: Shape, there: Index, how: Served) -> None:
    (candidate,) = candidates_for(wanted_for, items.table, has_key=True)
    assert served(candidate, [there]) is how
    assert served(candidate, [index("weight"), there]) is how, "the best of them counts"


def test_foreign_key_is_served_by_what_begins_with_it_whatever_the_order(items: Resource) -> None:
    candidate = Candidate(items.table, ("page",))
    assert served(candidate, [index("page", "made_at")]) is FULLY
    assert served(candidate, [index("page", method="hash")]) is FULLY
    assert served(candidate, [index("made_at", "page")]) is NOT
    assert served(candidate, []) is NOT


def test_index_begins_another_that_makes_it_needless(items: Resource) -> None:
    short, (long,) = (
        Candidate(items.table, ("page",)),
        candidates_for(shape("page", "state"), items.table, has_key=True),
    )
    assert short.begins(long)
    assert not long.begins(short)
    assert not short.begins(short)
    assert not Candidate(items.table, ("id",)).begins(long)

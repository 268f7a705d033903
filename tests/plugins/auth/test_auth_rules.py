"""What several roles come to, held against a plain model: cells of rows and columns, and what each rule shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.auth.permissions.rules import Claim, Rule, as_text, granted, source_of
from service.api import EVERY_ROW, NO_ROW, Grant, Principal

COLUMNS = ("id", "owner", "team", "pay")
VALUES = ("1", "2")

columns = st.none() | st.frozensets(st.sampled_from(COLUMNS), min_size=1)
where = st.dictionaries(st.sampled_from(COLUMNS[1:]), st.sampled_from([Claim("a"), Claim("b"), "1", "2"]), max_size=2)
rules = st.builds(Rule, where.map(lambda each: tuple(sorted(each.items()))), columns, columns)
principals = st.fixed_dictionaries({}, optional={"a": st.sampled_from(["1", "2", None, ["1"]]), "b": st.just("1")})
rows = st.lists(st.fixed_dictionaries({name: st.sampled_from(VALUES) for name in COLUMNS}), max_size=6)


def asks(claims: Mapping[str, Any]) -> Principal:
    return Principal("ada", claims=MappingProxyType(dict(claims)), scheme="test")


def is_shown(grant: Grant, row: Mapping[str, str]) -> bool:
    return any(all(row[column] == text for column, text in alternative) for alternative in grant.where)


def shows(rule: Rule, row: Mapping[str, str], claims: Mapping[str, Any]) -> bool:
    """The model: one rule, one row."""
    wanted = [(column, claims.get(v.name) if isinstance(v, Claim) else v) for column, v in rule.where]
    return all(isinstance(text, str) and row[column] == text for column, text in wanted)


def has(names: frozenset[str] | None, column: str) -> bool:
    return names is None or column in names


@given(st.lists(rules, min_size=1, max_size=4), principals, rows)
def test_no_cell_is_granted_that_no_single_rule_grants(
    chosen: Sequence[Rule], claims: Mapping[str, Any], table: Sequence[Mapping[str, str]]
) -> None:
    grant = granted(chosen, asks(claims))
    for row in table if grant is not None else ():
        for column in COLUMNS:
            if is_shown(grant, row) and has(grant.readable, column):
                assert any(shows(rule, row, claims) and has(rule.readable, column) for rule in chosen)
            if is_shown(grant, row) and has(grant.writable, column):
                assert any(shows(rule, row, claims) and has(rule.writable, column) for rule in chosen)


@given(rules, principals, rows)
def test_one_rule_is_granted_whole(rule: Rule, claims: Mapping[str, Any], table: Sequence[Mapping[str, str]]) -> None:
    grant = granted([rule], asks(claims))
    assert grant is not None
    assert (grant.readable, grant.writable) == (rule.readable, rule.writable)
    assert [is_shown(grant, row) for row in table] == [shows(rule, row, claims) for row in table]


@given(st.lists(rules, min_size=1, max_size=3), principals, st.randoms())
def test_order_of_roles_makes_no_difference(chosen: list[Rule], claims: Mapping[str, Any], random: Any) -> None:
    shuffled = chosen.copy()
    random.shuffle(shuffled)
    assert granted(chosen, asks(claims)) == granted(shuffled, asks(claims))


@given(st.lists(rules, min_size=1, max_size=3), principals)
def test_role_that_may_do_everything_takes_nothing_away(chosen: list[Rule], claims: Mapping[str, Any]) -> None:
    grant = granted([*chosen, Rule((), None, None)], asks(claims))
    assert grant == Grant()


def test_rules_of_the_same_rows_have_all_their_columns() -> None:
    mine = (("owner", Claim("sub")),)
    grant = granted(
        [Rule(mine, frozenset({"id"}), frozenset()), Rule(mine, frozenset({"pay"}), frozenset({"pay"}))], asks({})
    )
    assert grant == Grant(((("owner", "ada"),),), frozenset({"id", "pay"}), frozenset({"pay"}))


def test_rules_of_other_rows_and_columns_have_the_columns_in_common() -> None:
    mine = Rule((("owner", Claim("sub")),), frozenset({"id", "pay"}), frozenset())
    public = Rule((("team", "1"),), frozenset({"id", "name"}), frozenset())
    grant = granted([mine, public], asks({}))
    assert grant == Grant(((("owner", "ada"),), (("team", "1"),)), frozenset({"id"}), frozenset())
    assert granted([mine, Rule((), frozenset({"name"}), frozenset())], asks({})) is None


def test_rule_of_which_another_one_grants_all_but_the_writing_still_counts() -> None:
    """It is left out only where another one grants all of it, its writing too; else the columns are those in common."""
    few = Rule((("owner", Claim("sub")),), frozenset({"id"}), frozenset({"id"}))
    many = Rule((), frozenset({"id", "pay"}), frozenset())
    assert granted([few, many], asks({})) == Grant(EVERY_ROW, frozenset({"id"}), frozenset())


def test_rows_that_are_among_others_are_not_asked_for_beside_them() -> None:
    """`owner`, and `owner` with `team`, are `owner`: every alternative more may cost PostgreSQL an index."""
    mine = Rule((("owner", Claim("sub")),), frozenset({"id", "pay"}), frozenset())
    ours = Rule((("owner", Claim("sub")), ("team", "1")), frozenset({"id", "name"}), frozenset())
    assert granted([mine, ours], asks({})) == Grant(((("owner", "ada"),),), frozenset({"id"}), frozenset())


def test_claim_that_is_missing_or_no_value_is_no_row() -> None:
    for value in (None, ["1"], {"a": 1}, float("nan"), float("inf"), 10**5000):
        grant = granted([Rule((("owner", Claim("a")),), None, None)], asks({"a": value}))
        assert grant is not None
        assert grant.where == NO_ROW
    assert granted([Rule((("owner", Claim("sub")),), None, None)], Principal(None)).where == NO_ROW  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (1, "1"), (1.5, "1.5"), (1e22, "1e+22"), ("x", "x"), ("", "")]
)
def test_claim_is_text_as_postgresql_reads_it(value: object, text: str) -> None:
    assert as_text(value) == text


def test_source_of_a_value_is_a_claim_or_itself() -> None:
    assert source_of("claim:sub") == Claim("sub")
    assert source_of("claim:a:b") == Claim("a:b")
    assert source_of("literal:claim:sub") == "claim:sub"
    assert source_of("literal:literal:x") == "literal:x"
    assert source_of("plain") == "plain"
    assert source_of(True) == "true"
    assert source_of(7) == "7"


# --- fingerprints

texts = st.text(max_size=3)
grants = st.builds(
    Grant,
    st.lists(st.lists(st.tuples(texts, texts), max_size=2).map(tuple), max_size=2).map(tuple),
    st.none() | st.frozensets(texts, max_size=2),
    st.none() | st.frozensets(texts, max_size=2),
)


@given(grants, grants)
def test_fingerprints_are_equal_exactly_where_grants_are(one: Grant, other: Grant) -> None:
    assert (one == other) == (one.fingerprint == other.fingerprint)


def test_fingerprint_has_no_place_where_one_value_passes_for_two() -> None:
    found = {
        Grant(((("a", "bc"),),)).fingerprint,
        Grant(((("ab", "c"),),)).fingerprint,
        Grant(((("a", "b"), ("c", "")),)).fingerprint,
        Grant(((("a", "b"),), (("c", ""),))).fingerprint,
        Grant(EVERY_ROW).fingerprint,
        Grant(NO_ROW).fingerprint,
        Grant(readable=frozenset()).fingerprint,
        Grant(readable=frozenset({""})).fingerprint,
        Grant(readable=frozenset({"a"})).fingerprint,
        Grant(writable=frozenset({"a"})).fingerprint,
        Grant(readable=frozenset({"a", "b"})).fingerprint,
        Grant(readable=frozenset({"ab"})).fingerprint,
    }
    assert len(found) == 12


def test_fingerprint_is_the_same_in_every_process() -> None:
    code = (
        "import json; from service.api import Grant; "
        "print(json.dumps(Grant(((('b', '2'), ('a', 'é')),), frozenset({'x', 'y', 'z'})).fingerprint))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    here = Grant(((("a", "é"), ("b", "2")),), frozenset({"z", "y", "x"})).fingerprint
    assert {json.loads(each) for each in told} == {here}

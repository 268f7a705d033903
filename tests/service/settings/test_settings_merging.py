"""Layers on top of each other, against a plain model; and what a merged tree remembers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from service.settings.merging import Table, Value, at, grown, is_reference, merged, plain
from service.settings.positions import Layer, Place

KEYS = st.sampled_from(["a", "b", "c"])
SCALARS = st.integers(0, 3) | st.sampled_from(["x", ""]) | st.booleans() | st.lists(st.integers(0, 2), max_size=2)
TREES = st.recursive(
    st.dictionaries(KEYS, SCALARS, max_size=3),
    lambda inner: st.dictionaries(KEYS, SCALARS | inner, max_size=3),
    max_leaves=12,
)


def model(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    """What merging is, in five lines of plain Python."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = model(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return result


def tree(data: dict[str, object], name: str = "layer") -> Table:
    return grown(data, Place(Layer(name)))


def stacked(layers: Iterable[dict[str, object]]) -> Table:
    return reduce(merged, map(tree, layers), tree({}))


def same_kinds(first: object, second: object) -> bool:
    """No key is a table in one and something else in the other."""
    if isinstance(first, dict) != isinstance(second, dict):
        return False
    if not isinstance(first, dict) or not isinstance(second, dict):
        return True
    return all(same_kinds(first[key], second[key]) for key in first.keys() & second.keys())


@given(st.lists(TREES, max_size=5))
def test_stacking_is_the_plain_model(layers: list[dict[str, object]]) -> None:
    expected: dict[str, object] = {}
    for layer in layers:
        expected = model(expected, layer)
    assert plain(stacked(layers)) == expected


@given(st.lists(TREES, max_size=5))
def test_keys_keep_the_order_of_their_first_appearance(layers: list[dict[str, object]]) -> None:
    order = list(dict.fromkeys([key for layer in layers for key in layer]))
    assert list(stacked(layers).entries) == order


@given(TREES, TREES, TREES)
def test_merging_is_associative_where_kinds_agree(
    first: dict[str, object], second: dict[str, object], third: dict[str, object]
) -> None:
    if not (same_kinds(first, second) and same_kinds(second, third) and same_kinds(first, third)):
        return
    left = merged(merged(tree(first), tree(second)), tree(third))
    right = merged(tree(first), merged(tree(second), tree(third)))
    assert plain(left) == plain(right)


@given(TREES)
def test_an_empty_layer_changes_nothing_and_a_layer_over_itself_is_itself(data: dict[str, object]) -> None:
    assert plain(merged(tree(data), tree({}))) == data
    assert plain(merged(tree({}), tree(data))) == data
    assert plain(merged(tree(data), tree(data))) == data


@given(TREES, TREES)
def test_every_value_remembers_the_last_layer_that_set_it(below: dict[str, object], above: dict[str, object]) -> None:
    def check(node: Table) -> None:
        for child in node.entries.values():
            if isinstance(child, Table):
                check(child)
            else:
                upper = at(tree(above), [str(part) for part in child.place.path])
                expected = "above" if isinstance(upper, Value) else "below"
                assert child.place.layer.name == expected

    check(merged(tree(below, "below"), tree(above, "above")))


def test_lists_are_replaced_as_a_whole() -> None:
    assert plain(merged(tree({"a": [1, 2]}), tree({"a": [3]}))) == {"a": [3]}


def test_a_reference_is_one_value() -> None:
    below = {"plugins": {"x": {"url": {"env": "A", "default": "a"}}}}
    above = {"plugins": {"x": {"url": {"file": "b"}}}}
    assert plain(merged(tree(below), tree(above))) == above


def test_a_plugin_s_own_table_is_never_a_reference() -> None:
    data = {"plugins": {"logs": {"file": "access.log"}}, "routes": {"users.*": {"env": "x"}}}
    assert isinstance(at(tree(data), ["plugins", "logs"]), Table)
    assert isinstance(at(tree(data), ["routes", "users.*"]), Table)


def test_reference_is_told_by_its_keys() -> None:
    assert is_reference({"env": "A"})
    assert is_reference({"file": "A", "default": 3})
    assert not is_reference({"env": "A", "file": "b"})
    assert not is_reference({"env": 5})
    assert not is_reference({"env": "A", "other": 1})
    assert not is_reference({"default": 1})

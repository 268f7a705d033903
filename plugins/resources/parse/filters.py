"""Filters: `field[operator]=value` in a query string, and trees of them in JSON, as frozen values.

    eq ne gt gte lt lte like ilike contains startswith endswith has    one value
    in nin overlaps between                                            several; `between` takes two, inclusive
    null                                                               true or false

`ne` and `nin` are the exact complements of `eq` and `in`: rows with NULL are among them. A tree is an object whose
members must all hold: `and` and `or` with a list are logic, any other name is a field, with a value (`eq`) or an
object of operators: `{"or": [{"price": {"lt": 10}}, {"and": [{"name": "x"}, {"tags": {"has": "a"}}]}]}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from plugins.resources.parse.documents import Document, Malformed, Number, read_document
from plugins.resources.parse.names import Names
from plugins.resources.parse.texts import split_list
from plugins.resources.schema.kinds import OTHER, Kind, Unfit
from plugins.resources.schema.resource import Field

MAX_VALUES: Final = 1_000
"""Values of one `in`, `nin` or `overlaps` (chosen)."""

MAX_DEPTH: Final = 5
"""Lists of `and` and `or` inside each other."""

MAX_LEAVES: Final = 50
"""Conditions of one tree."""

MAX_WILDCARDS: Final = 10
MAX_PATTERN_CHARS: Final = 200
"""Of a pattern of `like` and `ilike` (chosen: each % is tried at every place of the text)."""

MANY: Final = frozenset({"in", "nin", "overlaps", "between"})
WITH_WILDCARDS: Final = frozenset({"like", "ilike"})
OF_ELEMENTS: Final = frozenset({"has", "overlaps"})
LOGIC: Final = frozenset({"and", "or"})


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition."""

    field: Field
    operator: str
    value: str | tuple[str, ...]
    """Text that PostgreSQL reads as the field's type; several where the operator takes several; `true` or `false` for
    `null`."""


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions that must all hold, or of which one must."""

    is_any: bool
    members: tuple[Condition, ...]


Condition = Filter | Group


def read_filter(names: Names, parameter: str, field: Field | None, operator: str, text: str) -> Filter | None:
    """The condition of one parameter of a query string; None where it is wrong, or the field is not there."""
    if not names.has_operator(parameter, field, operator) or field is None:
        return None
    try:
        return Filter(field, operator, _value(field.kind, operator, split_list(text) if operator in MANY else text))
    except Unfit as unfit:
        names.blame(parameter, f"{unfit}.")
        return None


def read_tree(names: Names, place: str, text: str) -> Condition | None:
    """The condition that the JSON in parameter `place` spells; None where something is wrong with it."""
    try:
        document = read_document(text)
    except Malformed as malformed:
        names.blame(place, f"{malformed}.")
        return None
    try:
        return _Tree(names).read(document, place, MAX_DEPTH)
    except _TooManyError:
        names.blame(place, f"has more than {MAX_LEAVES} conditions.")
        return None


class _TooManyError(Exception):
    """There are more conditions than a tree may have."""


class _Tree:
    """One tree being read. A condition that is wrong is blamed and left out: the request is refused anyway."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._leaves_left = MAX_LEAVES

    def read(self, document: Document, place: str, depth: int) -> Condition | None:
        """What an object says: all of its members."""
        if not isinstance(document, dict):
            self._spend(1)
            self._names.blame(place, 'must be an object of conditions, such as {"FIELD": {"OPERATOR": VALUE}}.')
            return None
        if not document:
            self._spend(1)
            self._names.blame(place, "has no conditions.")
            return None
        members: list[Condition | None] = []
        for name, inner in document.items():
            at = f"{place}.{name}"
            if name in LOGIC and isinstance(inner, list):
                members.append(self._list(name, inner, at, depth))
            elif name in LOGIC and name not in self._names.resource.fields:
                self._names.blame(at, "must be a list of conditions.")
            else:
                members += self._field(name, inner, at)
        return _joined(members, is_any=False)

    def _list(self, name: str, documents: list[Document], place: str, depth: int) -> Condition | None:
        if not depth:
            self._names.blame(place, f"stands more than {MAX_DEPTH} lists deep.")
            return None
        if not documents:
            self._names.blame(place, "has no conditions.")
            return None
        members = [self.read(each, f"{place}[{at}]", depth - 1) for at, each in enumerate(documents)]
        return _joined(members, is_any=name == "or")

    def _field(self, name: str, inner: Document, place: str) -> list[Condition | None]:
        self._spend(len(inner) or 1 if isinstance(inner, dict) else 1)
        field = self._names.field(place, name)
        if field is None:
            return []
        if isinstance(inner, dict) and inner:
            return [self._leaf(field, operator, value, f"{place}.{operator}") for operator, value in inner.items()]
        if isinstance(inner, dict):
            self._names.blame(place, 'must have an operator, such as {"eq": VALUE}.')
        elif isinstance(inner, list):
            self._names.blame(place, 'must be a value or an object of operators, such as {"in": [VALUE, VALUE]}.')
        else:
            return [self._leaf(field, "eq", inner, place)]
        return []

    def _spend(self, leaves: int) -> None:
        """What is no condition counts too: faults are bounded as conditions are."""
        self._leaves_left -= leaves
        if self._leaves_left < 0:
            raise _TooManyError

    def _leaf(self, field: Field, operator: str, document: Document, place: str) -> Filter | None:
        if not self._names.has_operator(place, field, operator):
            return None
        try:
            return Filter(field, operator, _value(field.kind, operator, _spelled(field.kind, operator, document)))
        except Unfit as unfit:
            self._names.blame(place, f"{unfit}.")
            return None


def _joined(members: list[Condition | None], *, is_any: bool) -> Condition | None:
    standing = tuple(member for member in members if member is not None)
    return standing[0] if len(standing) == 1 else Group(is_any, standing)


def _spelled(kind: Kind, operator: str, document: Document) -> str | tuple[str, ...]:
    """A value of JSON as a query string would have it: text, several for an operator that takes several."""
    if operator == "null":
        if not isinstance(document, bool):
            raise Unfit("must be true or false")
        return "true" if document else "false"
    kind = _compared(kind, operator)
    if operator not in MANY:
        return _text(kind, document)
    if not isinstance(document, list):
        raise Unfit("must be a list of values")
    return tuple([_text(kind, each) for each in document])


def _text(kind: Kind, document: Document) -> str:
    """One value: numbers may be text too, all else is what it is."""
    if document is None:
        raise Unfit('must not be null; write {"null": true}')
    if isinstance(document, list | dict):
        raise Unfit("must be a single value")
    if isinstance(document, bool):
        if kind.name == "boolean":
            return "true" if document else "false"
        raise Unfit("must be a number" if kind.name in ("integer", "number") else "must be text")
    if kind.name == "boolean":
        raise Unfit("must be true or false")
    if isinstance(document, Number) and kind.name not in ("integer", "number"):
        raise Unfit("must be text")
    return str(document)


def _value(kind: Kind, operator: str, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """What is given, each value as PostgreSQL reads it. Raises Unfit."""
    if operator == "null":
        if given not in ("true", "false"):
            raise Unfit("must be true or false")
        return given
    parse = _compared(kind, operator).parse
    if isinstance(given, str):
        return _pattern(given) if operator in WITH_WILDCARDS else parse(given)
    if operator == "between" and len(given) != 2:
        raise Unfit("must be two values, the least and the greatest")
    if len(given) > MAX_VALUES:
        raise Unfit(f"must have at most {MAX_VALUES} values")
    values: list[str] = []
    try:
        for each in given:
            values.append(parse(each))  # noqa: PERF401  # whose length says which one is wrong
    except Unfit as unfit:
        if len(given) == 1:
            raise
        raise Unfit(f"is wrong at [{len(values)}], which {unfit}") from None
    return tuple(values)


def _compared(kind: Kind, operator: str) -> Kind:
    """The kind of what the operator's values are compared with."""
    return (kind.element or OTHER) if operator in OF_ELEMENTS else kind


def _pattern(text: str) -> str:
    """A pattern of LIKE: `%` any text, `_` any character, a backslash makes either itself."""
    if len(text) > MAX_PATTERN_CHARS:
        raise Unfit(f"must have at most {MAX_PATTERN_CHARS} characters")
    bare = text.replace("\\\\", "")
    if bare.endswith("\\"):
        raise Unfit("must not end with a backslash that escapes nothing; write two for a backslash")
    if bare.count("%") - bare.count("\\%") > MAX_WILDCARDS:
        raise Unfit(f"must have at most {MAX_WILDCARDS} wildcards %")
    return text

"""The fields and operators that a request names: looked up, and blamed where they are not there."""

from __future__ import annotations

from typing import Final

from plugins.resources.parse.faults import MAX_SUGGESTIONS, Fault, cut
from plugins.resources.schema.kinds import OPERATORS
from plugins.resources.schema.resource import Field, Resource
from service.api import nearest

RESERVED: Final = ("page", "limit", "cursor", "count", "sort", "fields", "filter")
"""The parameters of a list; never columns when bare."""


class Names:
    """What one request may name, and the faults that it has so far."""

    def __init__(self, resource: Resource, faults: list[Fault]) -> None:
        self.resource = resource
        self._faults = faults
        self._suggestions = 0

    def field(self, place: str, name: str, *, is_parameter: bool = False) -> Field | None:
        """The field called `name`; one that is hidden is as unknown as one that is not there."""
        fields = self.resource.fields
        if (field := fields.get(name)) is not None:
            return field
        meant = None
        if self._suggestions < MAX_SUGGESTIONS:
            self._suggestions += 1
            meant = nearest(name, [*fields, *RESERVED] if is_parameter else fields)
        called = cut(name) or "an empty name"
        what = "is neither a field nor a parameter" if is_parameter else f"names {called}, which is no field"
        self.blame(place, f"{what}; did you mean {meant}?" if meant else f"{what}.")
        return None

    def has_operator(self, place: str, field: Field | None, operator: str) -> bool:
        """Whether the operator is one of the field's; with no field, whether there is such an operator at all."""
        takes = field.kind.operators if field is not None else OPERATORS
        if operator in takes:
            return True
        what = f"has no operator {cut(operator)}" if operator else "names no operator"
        if field is not None and operator in OPERATORS:
            what = f"is of kind {field.kind.name} and has no operator {operator}"
        self.blame(place, f"{what}; it takes {', '.join(takes)}.")
        return False

    def blame(self, place: str, message: str) -> None:
        """Note a fault; the message goes on after `place`."""
        self._faults.append(Fault(cut(place), message))

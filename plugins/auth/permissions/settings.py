"""[plugins.auth.roles.ROLE.tables.TABLE]: what principals with a role may do to the rows of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from service.api import Action, PluginSettings, nearest, toml

EVERY_TABLE: Final = "*"

ANONYMOUS_ROLE: Final = "anonymous"
"""What whoever has not said who they are has, and nobody else, whatever a token says."""

EVERY_ROLE: Final = "*"
"""What everyone has, whoever they are."""

NOT_OF_TOKENS: Final = frozenset({ANONYMOUS_ROLE, EVERY_ROLE})
"""Roles that nobody has by a token that names them."""

CLAIM: Final = "claim:"
LITERAL: Final = "literal:"
"""What a text of `where` begins with that is no claim though it looks like one."""

NEAR: Final = 0.75
"""How alike a name is to one that it is taken for, from 0 to 1 (chosen: one letter of five wrong, or two that changed
places). Rules must not come to be about something else by a line that somebody pastes."""

_ALMOST: Final = re.compile(r"\s*(\w+)\s*:\s*(.*)", re.DOTALL)

Text = Annotated[str, Field(min_length=1)]


def _spelled(value: str | int | float) -> str | int | float:
    """As it is. Raises PydanticCustomError for what may be meant as a claim and would be a text, or names none."""
    if not isinstance(value, str) or value.startswith(LITERAL):
        return value
    almost = _ALMOST.fullmatch(value)
    kind = nearest(almost[1], (CLAIM[:-1], LITERAL[:-1]), cutoff=NEAR) if almost is not None else None
    if almost is None or kind is None or (value == f"{CLAIM}{almost[2]}" and almost[2]):
        return value
    meant = f"{kind}:{almost[2] or '...'}"
    message = f"is neither a claim nor safely a text; write {toml(meant)}, or {toml(LITERAL + value)}"
    raise PydanticCustomError("where", "{message}", {"message": message, "example": meant})


class TableRule(PluginSettings):
    """Tables and columns go by their names in the database; `"*"` is every table that the role does not name."""

    actions: Annotated[tuple[Action, ...], Field(min_length=1)] = ("read", "list")
    """What the role may do: `read` is one row by its key, `list` is rows and how many there are; `create`, `update`,
    `delete`."""

    readable: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """The columns that exist for the role; all that are served unless set."""

    writable: tuple[Text, ...] | None = None
    """Those of them that it may give a value; all that can be written unless set."""

    where: Annotated[
        Mapping[Text, Annotated[bool | str | int | float, AfterValidator(_spelled)]],
        Field(default_factory=dict, examples=[{"owner_id": "claim:sub"}]),
    ]
    """The rows: those in which each of these columns has the value of a claim, `"claim:sub"`, or the value that stands
    here. `"literal:claim:sub"` is the text claim:sub."""

    @model_validator(mode="after")
    def _write_what_can_be_read(self) -> Self:
        if self.readable is None or self.writable is None:
            return self
        unseen = [column for column in self.writable if column not in self.readable]
        if unseen:
            right = toml([*self.readable, *unseen])
            raise ValueError(
                f"lacks {unseen[0]}, which writable names: what cannot be read is not there; write: readable = {right}"
            )
        return self


class RoleRules(PluginSettings):
    tables: Annotated[Mapping[Text, TableRule], Field(default_factory=dict)]
    """By table. Once any role names one, whatever no role grants on it is refused."""

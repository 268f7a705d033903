"""[plugins.resources] and [plugins.resources.table.NAME]: what an operator can say about what is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from plugins.resources.schema.catalogue import Action
from plugins.resources.schema.naming import as_segments, is_segment
from service.api import PluginSettings, Unique, toml

MAX_LIMIT_ROWS = 10_000
"""The most that `max_limit` may be (chosen): an answer is one value in memory, here and in PostgreSQL."""


Columns = str | tuple[str, ...]
"""Names of columns: a list, or one text with commas."""


def _one_segment(path: str) -> str:
    if "/" in path or not is_segment(path):
        fix = "-".join(as_segments(path)) or "..."
        raise ValueError(f"must be one segment of a URL, without / {{ and }}; write: path = {toml(fix)}")
    return path


def _segments(path: str) -> str:
    if path and not all(map(is_segment, path.split("/"))):
        fix = "/".join(as_segments(path))
        raise ValueError(f"must be segments of a URL, without {{ and }}, and / between them; write: path = {toml(fix)}")
    return path


class TableSettings(PluginSettings):
    """[plugins.resources.table.NAME]: NAME and all columns go by their names in the database."""

    path: Annotated[str, AfterValidator(_one_segment)] | None = None
    """Segment of the URL; the table's name unless set."""

    key: Columns | None = None
    """The columns that identify a row; the primary key, or a unique one without NULLs, unless set. A table's must have
    one of these in it; a view needs it."""

    fields: Columns | None = None
    """The columns to serve, in this order; all unless set. Naming one that looks like a secret shows it."""

    hidden: Columns = ()
    """Columns that do not exist for clients."""

    writes: bool | tuple[Action, ...] | None = None
    """What clients may do beside reading: `true` is `["create", "update", "delete"]`, `false` nothing. Unless set,
    everything where `tables` or `writes` above names the table, and nothing where only `"*"` has found it."""

    modified: str | None = None
    """A column with the time of the last change: set with every write, and read-only for clients."""

    bigint: Literal["number", "string"] = "number"
    """How bigint and numeric are shown: `"string"` keeps their digits in clients that read numbers as floating-point
    ones, as JavaScript does. Both are taken in a body either way."""

    sort: Columns = ()
    """The order of a list unless a client asks for another: `"-created_at"` is newest first; the key is appended."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT_ROWS)] | None = None
    """Rows a page unless a client asks; 10, or `max_limit` where that is less."""

    max_limit: Annotated[int, Field(ge=1, le=MAX_LIMIT_ROWS)] = 100
    """The most rows of a page, at most 10000; a client that asks for more gets this many."""

    names: Literal["camel", "as-is"] = "camel"
    """How columns are called in JSON and query strings: `createdAt`, or `created_at` as in the database."""

    @model_validator(mode="after")
    def _limit_fits(self) -> Self:
        if self.limit is not None and self.limit > self.max_limit:
            raise ValueError(f"is {self.max_limit}, below limit = {self.limit}; write: max_limit = {self.limit}")
        return self


class Settings(PluginSettings):
    path: Annotated[str, AfterValidator(_segments), Unique()] = ""
    """Segments of the URL before those of the tables: `"shop"` is /api/v1/shop/users. Each instance needs one of its
    own. The names of routes that have one begin with that of the instance: `reporting.users.list`."""

    schema_: Annotated[str, Field(alias="schema", min_length=1)] = "public"
    """The schema whose tables are served."""

    tables: tuple[str, ...] = ()
    """Tables and views by name, which asks for writing too; `"*"` is each one that has a key, to be read only."""

    writes: tuple[str, ...] = ()
    """Those of them that clients may write to as well, by name."""

    table: Annotated[Mapping[str, TableSettings], Field(default_factory=dict)]
    """What differs for single tables."""

    def options(self, table: str) -> TableSettings:
        """The settings of one table."""
        return self.table.get(table) or TableSettings()

"""Writing: what is bound to the routes that make, change and remove rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp.web import Request

from plugins.resources.handlers.blaming import untaken
from plugins.resources.handlers.committing import GONE, NOT_YOURS, Committer, Look, Written
from plugins.resources.handlers.healing import Healing
from plugins.resources.handlers.receiving import JSON, Receiver
from plugins.resources.parse.body import BodyReader, Row
from plugins.resources.parse.faults import Fault
from plugins.resources.parse.keys import parse_key, place_of
from plugins.resources.parse.query import parse_nothing
from plugins.resources.plan.writes import UNSEEN, WriteStatements
from plugins.resources.render import absence, refusal, rejection
from plugins.resources.schema.catalogue import Action
from plugins.resources.schema.granted import Granted
from service.api import (
    Answer,
    Conflict,
    Detail,
    Forbidden,
    InternalError,
    InvalidBody,
    InvalidRequest,
    ServiceError,
)

ELSEWHERE: Final = "The database did not keep this row: a trigger may have put it elsewhere. Look before trying again."

Bound = Sequence[str]
"""The values of rows: of those that may be written, then of those that may be read."""

Reaches = Callable[[Action, Sequence[str]], Sequence[str]]
"""The names of resources that differ as well after an action on these columns."""


class WriteHandler:
    """`POST /{resource}`; `PATCH`, `PUT` and `DELETE /{resource}/{id}`; `OPTIONS` there.

    What is written is what is `granted`, and what is shown of it `shown`, if anything. Handlers take the values of the
    rows of both, in this order.
    """

    def __init__(
        self,
        granted: Granted,
        shown: Granted | None,
        database: Healing,
        receiver: Receiver,
        committer: Committer,
        *,
        reaches: Reaches,
    ) -> None:
        self._resource = resource = granted.resource
        self._rows = granted.rows
        self._tells_place = shown is not None and shown.resource.has_items
        self._fetch_json = database.fetch_json
        self._received = receiver.row
        self._commit = committer.commit
        self._reaches = reaches
        self._statements = WriteStatements(granted, shown)
        self._created = BodyReader(resource, "create")
        self._updated = BodyReader(resource, "update")
        self._replaced = BodyReader(resource, "replace")
        self._reached_by_create = reaches("create", ())
        self._reached_by_delete = reaches("delete", ())
        self._kept = resource.table.kept
        self._names = {field.column.origin: field.name for field in resource.fields.values() if field.column.origin}
        """API names by those that a refusal tells: of a table's own columns, also where a view shows them."""
        self._allow = ", ".join(sorted(resource.item_methods))

    async def create(self, request: Request, bound: Bound = ()) -> Answer:
        if text := request.rel_url.raw_query_string:
            faults: list[Fault] = []
            parse_nothing(text, faults)
            if faults:
                raise refusal(faults)
        row = await self._received(request, self._created, ())
        if not await self._fits(row, bound):
            raise Forbidden(NOT_YOURS)
        sql, arguments = self._statements.insert(row, bound)
        written = await self._written(sql, arguments, row, self._reached_by_create, Look(""))
        if written is None or written.row == GONE:  # a trigger's doing
            raise Conflict(ELSEWHERE)
        if written.row == UNSEEN:
            return Answer(201)
        place = place_of(written.key, self._resource) if self._tells_place else None
        headers = [("Location", f"{request.rel_url.raw_path}/{place}")] if place is not None else []
        return Answer(201, written.row, headers=headers)

    async def update(self, request: Request, bound: Bound = ()) -> Answer:
        key = self._key(request)
        return await self._changed(key, await self._received(request, self._updated, key), bound)

    async def replace(self, request: Request, bound: Bound = ()) -> Answer:
        key = self._key(request)
        return await self._changed(key, await self._received(request, self._replaced, key), bound)

    async def delete(self, request: Request, bound: Bound = ()) -> Answer:
        key = (*self._key(request), *bound)
        try:
            look = self._look("delete", key)
            written = await self._commit(self._statements.delete, key, reach=self._reached_by_delete, look=look)
        except (InvalidRequest, InvalidBody) as error:  # of other rows, which this would have changed
            raise Conflict(error.message) from error
        if written is None:
            raise await self._absent(key)
        return Answer(204)

    def options(self, request: Request) -> Answer:
        return Answer(204, headers=[("Allow", self._allow), ("Accept-Patch", JSON)])

    # --- steps of these

    def _key(self, request: Request) -> list[str]:
        faults: list[Fault] = []
        key = parse_key(request.match_info["id"], self._resource, faults)
        parse_nothing(request.rel_url.raw_query_string, faults)
        if faults:
            raise refusal(faults)
        return key

    async def _changed(self, key: Sequence[str], row: Row, bound: Bound) -> Answer:
        if not row.fields and not row.absent:
            return _shown(await self._as_it_is(key, bound))
        if not await self._fits(row, bound):
            await self._as_it_is(key, bound)
            raise Forbidden(NOT_YOURS)
        sql, arguments = self._statements.update((*key, *bound), row)
        columns = [field.column.name for field in (*row.fields, *row.absent)]
        look = self._look("update", (*key, *bound))
        written = await self._written(sql, arguments, row, self._reaches("update", columns), look)
        if written is None or written.row == GONE:
            raise await self._absent((*key, *bound[: self._rows.size]))
        return _shown(written.row)

    async def _fits(self, row: Row, bound: Bound) -> bool:
        """Whether the row could be one that may be written. It is asked first: what the database refuses before it
        could be looked at would tell of rows that may not be read."""
        if self._rows.are_none:
            return False
        asked = self._statements.fits(row, bound)
        if asked is None:
            return True
        sql, arguments = asked
        try:
            return await self._fetch_json(sql, *arguments) == b"true"
        except (InvalidRequest, InvalidBody, InternalError) as error:
            raise await self._in_api_names(error, row) from error

    async def _as_it_is(self, key: Sequence[str], bound: Bound) -> bytes:
        """The row with this key, as far as it may be read. Raises where there is none."""
        row = await self._fetch_json(self._statements.read, *key, *bound)
        if row is None:
            raise await self._absent((*key, *bound[: self._rows.size]))
        return row

    def _look(self, action: Action, key: Sequence[str]) -> Look | None:
        """What is looked for where no row comes back; nothing where that can only mean that there is none."""
        return Look(self._statements.look, key) if action in self._kept else None

    async def _written(
        self, sql: str, arguments: Sequence[object], row: Row, reach: Sequence[str], look: Look | None
    ) -> Written | None:
        try:
            return await self._commit(sql, arguments, reach=reach, look=look, is_restricted=not self._rows.are_all)
        except (InvalidRequest, InvalidBody, InternalError, Conflict) as error:
            raise await self._in_api_names(error, row) from error

    async def _in_api_names(self, error: ServiceError, row: Row) -> ServiceError:
        """The same refusal, told of fields; where PostgreSQL did not tell which value it is, each is tried alone."""
        names = self._names
        details = [Detail(names[each.field], f"{each.message}.") for each in error.details if each.field in names]
        if not error.details and not isinstance(error, Conflict):
            faults = await untaken(self._fetch_json, row.fields, row.values)
            if faults:
                return rejection(faults)
        kind = InvalidBody if isinstance(error, InvalidRequest) else type(error)
        return kind(error.message, details=details, headers=error.headers)

    async def _absent(self, key: Sequence[str]) -> ServiceError:
        """Why no row was written. `key` has the values of rows behind it."""
        if not self._resource.is_key_unique and await self._fetch_json(self._statements.is_of_several, *key) == b"true":
            return Conflict("Several rows have this key, so none of them is written.")
        return absence(self._resource)


def _shown(row: bytes) -> Answer:
    """The row, where it may be read."""
    return Answer(204) if row == UNSEEN else Answer(200, row)

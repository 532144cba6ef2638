"""Resources: a table and the shape of its bodies in, the endpoints over its rows out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy.exc import IntegrityError
from starlette.endpoints import HTTPEndpoint
from starlette.responses import JSONResponse, Response

from app import bodies, pages
from app.problems import Problem
from app.storage import rows
from lockstep_gate import faults
from lockstep_gate.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Table
    from starlette.requests import Request


@dataclass(frozen=True)
class Resource:
    """What is particular to one table: all that its endpoints need to know."""

    table: Table
    singular: str
    new: type[bodies.Body]
    change: type[bodies.Body]
    duplicate: str  # told when a unique constraint refuses the row
    dangling: str = "this row refers to one that does not exist"  # told when a foreign key does
    filters: tuple[str, ...] = ()


class Collection(HTTPEndpoint):
    """All rows of a table: list them, add one."""

    resource: ClassVar[Resource]

    async def get(self, request: Request) -> Response:
        """Answer with a page of rows, and the cursor of the next page where there is more."""
        table = self.resource.table
        page = pages.read(request.query_params, table=table.name, filters=self.resource.filters)
        # One row more than asked for tells whether there is a next page.
        found = await _run(
            request, partial(rows.page, after=page.after, limit=page.limit + 1, equal=page.equal), self.resource
        )
        items = found[: page.limit]
        more = pages.cursor(items[-1]["id"], table=table.name) if len(found) > page.limit else None
        return JSONResponse({"items": [_shown(row) for row in items], "next": more})

    async def post(self, request: Request) -> Response:
        """Add a row and answer with it."""
        values = await bodies.read(request, self.resource.new, limit_bytes=request.state.request_limit_bytes)
        row = await _run(request, rows.insert, self.resource, values)
        location = f"/{self.resource.table.name}/{row['id']}"
        return JSONResponse(_shown(row), status_code=HTTPStatus.CREATED, headers={"Location": location})


class Member(HTTPEndpoint):
    """One row of a table: read it, change it, delete it."""

    resource: ClassVar[Resource]

    async def get(self, request: Request) -> Response:
        """Answer with the row."""
        return self._found(await _run(request, rows.get, self.resource, self._id(request)))

    async def patch(self, request: Request) -> Response:
        """Change what the body names, leave the rest, and answer with the row as it is now."""
        row_id = self._id(request)
        values = await bodies.read(request, self.resource.change, limit_bytes=request.state.request_limit_bytes)
        return self._found(await _run(request, rows.update, self.resource, row_id, values))

    async def delete(self, request: Request) -> Response:
        """Take the row away."""
        if not await _run(request, rows.delete, self.resource, self._id(request)):
            raise self._not_found()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _id(self, request: Request) -> int:
        row_id = pages.whole_number(request.path_params["id"])
        if row_id is None:
            raise self._not_found()
        return row_id

    def _found(self, row: rows.Row | None) -> Response:
        if row is None:
            raise self._not_found()
        return JSONResponse(_shown(row))

    def _not_found(self) -> Problem:
        return Problem(HTTPStatus.NOT_FOUND, f"there is no {self.resource.singular} with this id")


async def _run(request: Request, work: Callable[..., Any], resource: Resource, *arguments: Any) -> Any:
    """Run a function of `rows` on a thread; a conflict that the client can do something about becomes a 409."""
    try:
        return await request.state.threads.run(work, request.state.engine, resource.table, *arguments)
    except IntegrityError as error:
        details = {Fault.DUPLICATE: resource.duplicate, Fault.DANGLING: resource.dangling}
        detail = details.get(faults.kind(error))
        if detail is None:
            raise
        raise Problem(HTTPStatus.CONFLICT, detail) from None


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row as JSON can hold it, times in UTC whatever the session's time zone."""
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for name, value in row.items()
    }

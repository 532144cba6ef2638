"""Problems: whatever kept a request from being served in, an RFC 9457 answer out."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from lockstep_gate import faults
from lockstep_gate.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

log = logging.getLogger("app")
RETRY_AFTER = {"Retry-After": "5"}


class Problem(Exception):
    """A request that cannot be served, and why, in words for the client."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


class ProblemResponse(JSONResponse):
    """An answer of the type application/problem+json."""

    media_type = "application/problem+json"


def answer(problem: Problem) -> Response:
    """Return the response that says what the problem is."""
    content = {"type": "about:blank", "title": problem.status.phrase, "status": problem.status.value}
    content |= {"detail": problem.detail, **problem.members}
    return ProblemResponse(content, status_code=problem.status.value, headers=dict(problem.headers or {}))


def unavailable(detail: str, **members: Any) -> Problem:
    """Return a 503 that says when to come again."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=RETRY_AFTER, **members)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - Starlette picks the handler by this type
    return answer(error)


async def _on_http(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker: it was registered for this class
    details = {404: "there is nothing at this path", 405: f"{request.method} is not possible here"}
    status = HTTPStatus(error.status_code)
    return answer(Problem(status, details.get(status.value, status.description), headers=error.headers))


async def _on_database(request: Request, error: Exception) -> Response:
    """Errors of the database that no endpoint made something better of; their text stays in the log."""
    assert isinstance(error, SQLAlchemyError)  # noqa: S101 - for the type checker: it was registered for this class
    fault = faults.kind(error)
    if fault is Fault.UNAVAILABLE:
        log.warning("database: %s", faults.first_line(error))
        return answer(unavailable("the database cannot answer now"))
    if fault is Fault.MISFIT:
        log.error("schema: %s", faults.first_line(error))
        request.state.gate.doubt()
        return answer(unavailable("the schema does not fit this release"))
    if fault is Fault.UNSTORABLE:
        return answer(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "a value cannot be stored"))
    if fault is not Fault.UNKNOWN:
        return answer(Problem(HTTPStatus.CONFLICT, fault.value))
    raise error


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    """Nobody is left to read an answer; the access log gets a status and no traceback."""
    return answer(Problem(HTTPStatus.BAD_REQUEST, "the request ended before its body did"))


async def _on_bug(_request: Request, _error: Exception) -> Response:
    """Tell the client nothing of it: the traceback goes to the log, by the server."""
    return answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of ours; it has been logged"))


HANDLERS: dict[Any, Any] = {
    Problem: _on_problem,
    HTTPException: _on_http,
    SQLAlchemyError: _on_database,
    ClientDisconnect: _on_disconnect,
    Exception: _on_bug,
}

"""Probes: what a platform asks an instance, answered from memory.

None of them touches the database: a platform that restarts instances in a database outage makes it worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.problems import answer, unavailable

if TYPE_CHECKING:
    from starlette.requests import Request


async def alive(_request: Request) -> Response:
    """Answer that the process lives."""
    return JSONResponse({"alive": True})


async def ready(request: Request) -> Response:
    """Answer whether the gate is open; once it was, an outage of the database does not close it."""
    gate = request.state.gate
    if gate.is_open:
        return JSONResponse({"ready": True})
    return answer(unavailable(gate.verdict.reason, gate=gate.verdict.state.value))


async def version(request: Request) -> Response:
    """Answer which release this is."""
    release = request.state.gate.release
    return JSONResponse({"digest": release.digest, "commit": release.commit})


ROUTES = [Route("/healthz", alive), Route("/readyz", ready), Route("/version", version)]
PATHS = frozenset(route.path for route in ROUTES)

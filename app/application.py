"""Application: the ASGI application: routes, middleware, and what lives as long as the process."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware

from app import organisations, probes, users
from app.access_log import AccessLog
from app.problems import HANDLERS
from app.storage import engine as storage
from app.threads import Threads
from lockstep_gate import Gate
from lockstep_gate.asgi import Admission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Engine

    from app.settings import Settings
    from lockstep_gate.release import Release

log = logging.getLogger("app")
ANSWER_MARGIN_S = 2


def make(settings: Settings, release: Release) -> Starlette:
    """Return the application; nothing is connected, and no thread runs, before its lifespan begins."""
    engine = storage.make(settings)
    gate = Gate(engine, release, report_interval=settings.report_interval_s)
    app = Starlette(
        routes=[*probes.ROUTES, *users.ROUTES, *organisations.ROUTES],
        middleware=[Middleware(AccessLog), Middleware(Admission, gate=gate, open_paths=probes.PATHS)],
        exception_handlers=HANDLERS,
        lifespan=partial(_lifespan, settings=settings, engine=engine, gate=gate),
    )
    # A path is right or it is not: no redirect built from a Host header that anyone may set.
    app.router.redirect_slashes = False
    return app


@asynccontextmanager
async def _lifespan(app: Starlette, *, settings: Settings, engine: Engine, gate: Gate) -> AsyncIterator[dict[str, Any]]:
    # What the pool and the server may take, and a margin, so that their own, better words come first.
    answer_timeout_s = settings.statement_timeout_s + storage.CONNECT_TIMEOUT_S + ANSWER_MARGIN_S
    try:
        async with gate.lifespan(app):
            yield {
                "engine": engine,
                "gate": gate,
                "request_limit_bytes": settings.request_limit_bytes,
                "threads": Threads(settings.pool_size, answer_timeout_s=answer_timeout_s),
            }
    finally:
        engine.dispose()
        log.info("stopped")

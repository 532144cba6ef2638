"""Application: settings in, the ASGI application out: routes, middleware, and what lives as long as the process."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware

from app import organisations, probes, users
from app.access_log import AccessLog
from app.admission import Admission
from app.gate import Gate
from app.problems import HANDLERS
from app.reporting import Instance
from app.storage import engine as storage
from app.threads import Threads
from app.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.release import Release
    from app.settings import Settings

log = logging.getLogger("app")
ANSWER_MARGIN_S = 2


def make(settings: Settings, release: Release) -> Starlette:
    """Return the application; nothing is connected, and no thread runs, before its lifespan begins."""
    gate = Gate()
    app = Starlette(
        routes=[*probes.ROUTES, *users.ROUTES, *organisations.ROUTES],
        middleware=[Middleware(AccessLog), Middleware(Admission, gate=gate)],
        exception_handlers=HANDLERS,
        lifespan=partial(_lifespan, settings=settings, release=release, gate=gate),
    )
    # A path is right or it is not: no redirect built from a Host header that anyone may set.
    app.router.redirect_slashes = False
    return app


@asynccontextmanager
async def _lifespan(
    _app: Starlette, *, settings: Settings, release: Release, gate: Gate
) -> AsyncIterator[dict[str, Any]]:
    engine = storage.make(settings)
    watch = Watch(engine, gate, Instance(release), report_interval_s=settings.report_interval_s)
    watch.start()
    try:
        yield {
            "engine": engine,
            "gate": gate,
            "release": release,
            "request_limit_bytes": settings.request_limit_bytes,
            "threads": Threads(
                settings.pool_size,
                # What the pool and the server may take, and a margin, so that their own, better words come first.
                answer_timeout_s=settings.statement_timeout_s + storage.CONNECT_TIMEOUT_S + ANSWER_MARGIN_S,
            ),
            "watch": watch,
        }
    finally:
        signed_off = await to_thread.run_sync(watch.stop)
        engine.dispose()
        log.info("stopped%s", "" if signed_off else ", the report in the ledger is left to expire")

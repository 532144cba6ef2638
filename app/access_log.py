"""Access log: a request in, one short line out: method, path, status, duration.

Never the query string or a header: they may carry what is nobody's business. Probes that pass are not worth a line.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from app import probes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("app.access")
SHOWN_PATH = 200
SERVER_FAULT = 500


class AccessLog:
    """ASGI middleware that writes one line for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log how it was answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = SERVER_FAULT  # what a client gets if the application raises

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun = time.perf_counter()
        try:
            await self.app(scope, receive, note)
        finally:
            if status >= SERVER_FAULT or scope["path"] not in probes.PATHS:
                # The raw path is still percent-encoded: no path can forge a line.
                path = scope["raw_path"].decode("ascii", "backslashreplace")[:SHOWN_PATH]
                log.info("%s %s %d %.0f ms", scope["method"], path, status, 1000 * (time.perf_counter() - begun))

"""Admission: a request in, passed on while the gate is open, turned away with the reason while it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import probes
from app.problems import answer, unavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from app.gate import Gate


class Admission:
    """ASGI middleware; what an open gate costs a request is one look at an attribute."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 503."""
        app = self.app
        if scope["type"] == "http" and not self.gate.is_open and scope["path"] not in probes.PATHS:
            verdict = self.gate.verdict
            app = answer(unavailable(verdict.reason, gate=verdict.state.value))
        await app(scope, receive, send)

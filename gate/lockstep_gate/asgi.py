"""ASGI: a middleware that passes requests on while the gate is open, and says why not while it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep_gate import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, MutableMapping

    from lockstep_gate.gate import Gate

    Message = MutableMapping[str, Any]
    Application = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]

TRY_AGAIN_LATER = 1013  # https://www.iana.org/assignments/websocket


class Admission:
    """What an open gate costs a request is one look at an attribute.

    `open_paths` are never closed: a platform's probes.
    """

    def __init__(self, app: Application, gate: Gate, open_paths: Collection[str] = ()) -> None:
        """Stand before an application."""
        self.app = app
        self.gate = gate
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Pass the request on, or answer 503."""
        if scope["type"] not in ("http", "websocket") or self.gate.is_open or scope["path"] in self.open_paths:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": self.gate.verdict.reason[:100]})
        else:
            body = refusal.body(self.gate.verdict)
            headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers(body)]
            await send({"type": "http.response.start", "status": refusal.STATUS, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

"""WSGI: a middleware that passes requests on while the gate is open, and says why not while it is closed.

A WSGI server tells nobody when its worker processes begin: the gate starts with the first request, which waits for its
first answer, and takes its report back when the process ends.
"""

from __future__ import annotations

import atexit
import os
import time
from typing import TYPE_CHECKING, Any

from lockstep_gate import refusal
from lockstep_gate.verdict import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from lockstep_gate.gate import Gate

FIRST_ANSWER_S = 5.0


class Admission:
    """`app.wsgi_app = Admission(app.wsgi_app, gate)` (Flask), `application = Admission(application, gate)` (Django)."""

    def __init__(self, app: Callable[..., Iterable[bytes]], gate: Gate, open_paths: Collection[str] = ()) -> None:
        """Stand before an application."""
        self.app = app
        self.gate = gate
        self.open_paths = frozenset(open_paths)
        self._started_in = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Pass the request on, or answer 503."""
        if self._started_in != os.getpid():
            self._start()
        if self.gate.is_open or environ.get("PATH_INFO", "") in self.open_paths:
            return self.app(environ, start_response)
        body = refusal.body(self.gate.verdict)
        start_response(f"{refusal.STATUS} {refusal.REASON}", refusal.headers(body))
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else body]

    def _start(self) -> None:
        self.gate.start()
        if self._started_in != os.getpid():
            self._started_in = os.getpid()
            atexit.register(self.gate.stop)
        ends = time.monotonic() + FIRST_ANSWER_S
        while self.gate.verdict.state is State.UNASKED and time.monotonic() < ends:
            time.sleep(0.01)

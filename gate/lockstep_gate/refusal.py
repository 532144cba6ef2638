"""Refusal: the answer of a closed gate, an RFC 9457 problem that says when to come again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockstep_gate.verdict import Verdict

STATUS = 503
REASON = "Service Unavailable"
RETRY_AFTER_S = 5


def body(verdict: Verdict) -> bytes:
    """Return the JSON: the verdict's reason may be shown to clients, its detail and cure are the operator's."""
    problem = {
        "type": "about:blank", "title": REASON, "status": STATUS, "detail": verdict.reason, "gate": verdict.state.value,
    }  # fmt: skip
    return json.dumps(problem, ensure_ascii=False, separators=(",", ":")).encode()


def headers(content: bytes) -> list[tuple[str, str]]:
    """Return the headers that go with it."""
    return [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(content))),
        ("Retry-After", str(RETRY_AFTER_S)),
    ]

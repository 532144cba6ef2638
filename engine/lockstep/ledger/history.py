"""History: the runs and steps of the ledger, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.postgres.control import Control

_RUNS = """
SELECT id, verb, road, commit, started, finished, coalesce(outcome, 'running'), error, message, from_heads, to_heads
  FROM migrator.run ORDER BY id DESC LIMIT %s"""

_STEPS = """
SELECT s.revision, s.direction, s.state, s.message, s.started, s.finished, s.duration_ms, s.waited_ms, s.attempts,
       s.statements, r.commit, r.road, r.host
  FROM migrator.step s JOIN migrator.run r ON r.id = s.run ORDER BY s.id DESC LIMIT %s"""


def runs(control: Control, limit: int) -> list[dict[str, Any]]:
    """Return the newest runs, the newest first."""
    names = ("id", "verb", "road", "commit", "started", "finished", "outcome", "error", "message", "from", "to")
    return [dict(zip(names, row, strict=True)) for row in control.rows(_RUNS, (limit,))]


def steps(control: Control, limit: int) -> list[dict[str, Any]]:
    """Return the newest steps, the newest first."""
    names = ("revision", "direction", "state", "message", "started", "finished", "duration_ms", "waited_ms",
             "attempts", "statements", "commit", "road", "host")  # fmt: skip
    return [dict(zip(names, row, strict=True)) for row in control.rows(_STEPS, (limit,))]

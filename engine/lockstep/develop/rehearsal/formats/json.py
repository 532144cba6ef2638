"""JSON: a rehearsal as one document for machines; `format` grows when a field changes its meaning."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.develop.rehearsal.observation import Observation, Rehearsed
    from lockstep.develop.rehearsal.rehearse import Rehearsal

FORMAT = 1


def document(rehearsal: Rehearsal) -> dict[str, Any]:
    """Return the rehearsal as plain data."""
    return {
        "rehearsal": FORMAT,
        "server": rehearsal.server,
        "base": rehearsal.base,
        "chosen": rehearsal.how,
        "took_s": round(rehearsal.took_s, 2),
        "revisions": [_revision(one) for one in rehearsal.revisions],
        "not_reached": list(rehearsal.not_reached),
        "filled": [dataclasses.asdict(one) for one in rehearsal.filled],
        "findings": [dataclasses.asdict(one) for one in rehearsal.findings],
        "opinions": [dataclasses.asdict(one) | {"agrees": one.agrees} for one in rehearsal.opinions],
        "loads": [one.as_dict() for one in rehearsal.loads],
        "errors": len(rehearsal.errors),
        "warnings": len(rehearsal.warnings),
    }


def write(rehearsal: Rehearsal) -> str:
    """Return the document as text."""
    return json.dumps(document(rehearsal), indent=2, default=str) + "\n"


def _revision(one: Rehearsed) -> dict[str, Any]:
    return {
        "revision": one.revision,
        "label": one.label,
        "message": one.message,
        "file": one.path,
        "stopped": one.stopped,
        "difference": list(one.difference),
        "difference_again": list(one.again),
        "passes": [
            {
                "direction": done.direction,
                "duration_ms": round(done.duration_ms, 2),
                "error": done.error,
                "statements": [_statement(seen) for seen in done.observations],
            }
            for done in one.passes
        ],
    }


def _statement(seen: Observation) -> dict[str, Any]:
    return dataclasses.asdict(seen) | {
        "began_ms": round(seen.began_ms, 3),
        "duration_ms": round(seen.duration_ms, 3),
        "taken": [{"relation": lock.relation, "mode": lock.words, "standing": lock.standing} for lock in seen.taken],
        "held": [{"relation": lock.relation, "mode": lock.words, "standing": lock.standing} for lock in seen.held],
    }

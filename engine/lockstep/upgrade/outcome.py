"""Outcome: what a run did so far, for the ledger, for the last word, and for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockstep.errors import MigratorError
    from lockstep.ledger.steps import Applied
    from lockstep.project.plan import Step
    from lockstep.upgrade.guard import Deferred, Objection
    from lockstep.upgrade.unknowns import Unknown


class Outcome:
    """What a run did so far; kept up to date, so that an error can say what was applied and what was not."""

    def __init__(self, heads: tuple[str, ...] = ()) -> None:
        """Begin with nothing done, on a database that is at these heads."""
        self.heads_before = self.heads_after = heads
        self.applied: list[Applied] = []
        self.pending: list[Step] = []
        self.adopted = 0
        self.loaded: tuple[str, ...] = ()  # revisions that the checkpoint stood for
        self.ahead: tuple[str, ...] = ()
        self.version_table: str | None = None  # Alembic's, where the run had to find it
        self.deferred: Deferred | None = None
        self.unknown: list[Unknown] = []
        self.failed_backfills: tuple[str, ...] = ()  # of this run or an earlier one

    def as_dict(self) -> dict:
        """Return the outcome as the JSON documents show it."""
        return {
            "heads_before": list(self.heads_before), "heads_after": list(self.heads_after),
            "applied": [item._asdict() for item in self.applied],
            "not_applied": [step.revision for step in self.pending], "adopted": self.adopted,
            "loaded": list(self.loaded), "ahead": list(self.ahead),
            "deferred": [step.revision for step in self.pending] if self.deferred else [],
            "waits_for": [_objection(item) for item in self.deferred.objections] if self.deferred else [],
            "stays": list(self.deferred.kept) if self.deferred else [],
            "unknown": [one.as_dict() for one in self.unknown],
            "waits_for_backfill": (self.deferred.backfill[0] or None) if self.deferred else None,
            "failed_backfills": list(self.failed_backfills),
        }  # fmt: skip


def _objection(item: Objection) -> dict:
    release = item.release
    return {
        "release": release.digest, "commit": release.commit, "instances": release.instances, "since": release.since,
        "last_seen": release.last_seen, "needs": [need._asdict() for need in item.needs],
    }  # fmt: skip


def explain(error: MigratorError, outcome: Outcome) -> None:
    """Add to an error what was applied and what was not."""
    if outcome.applied or outcome.pending:
        loaded = f"the checkpoint of {len(outcome.loaded)} revisions, " if outcome.loaded else ""
        kept = loaded + (", ".join(item.label for item in outcome.applied) or "none")
        rest = ", ".join(step.label for step in outcome.pending) or "none"
        error.details = (*error.details, f"applied and kept: {kept}", f"not applied: {rest}")
        error.message += f"; {len(outcome.applied)} applied and kept, {len(outcome.pending)} not applied"

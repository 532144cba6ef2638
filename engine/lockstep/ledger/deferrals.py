"""Deferrals: which revisions are held back, why, and for which releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.postgres.control import Control


def record(control: Control, revisions: list[str], reason: str, waits_for: list[str]) -> None:
    """Write which revisions are held back, and for which releases; the first reason stands with its time."""
    for revision in revisions:
        control.rows(
            "INSERT INTO migrator.deferred (revision, reason, waits_for) VALUES (%s, %s, %s) "
            "ON CONFLICT (revision) DO UPDATE SET reason = excluded.reason, waits_for = excluded.waits_for",
            (revision, reason, waits_for),
        )


def forget(control: Control, *, but: list[str]) -> None:
    """Take away what is not held back any more: a later release may have left a revision out."""
    control.rows("DELETE FROM migrator.deferred WHERE revision <> ALL (%s)", (but,))


def current(control: Control) -> dict[str, tuple[str, Any]]:
    """Return the revisions held back, each with the reason and since when."""
    return {row[0]: (row[1], row[2]) for row in control.rows("SELECT revision, reason, since FROM migrator.deferred")}

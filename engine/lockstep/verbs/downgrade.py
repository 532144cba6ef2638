"""`migrator downgrade REV`: takes revisions back; for developers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.errors import EXIT_DONE, Refused
from lockstep.ledger import releases
from lockstep.project import environment, manifest
from lockstep.upgrade import connected_run, line
from lockstep.upgrade.request import Request

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.ledger.run_context import Run
    from lockstep.report import Report
    from lockstep.settings import Settings

_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND datname = current_database()"


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Revert down to a target, under the same lock, limits and ledger as an upgrade."""
    project = environment.load(settings, manifest.of(settings))
    with connected_run.connected(settings, report) as run:
        if not arguments.yes:
            _refuse_under_a_live_app(run)
        outcome = line.migrate(run, project, Request("downgrade", arguments.revision), report)
    if outcome.ahead:
        raise Refused(
            f"the database is at {', '.join(outcome.ahead)}, which has no file here",
            "check out the commit that holds it",
        )
    at = ", ".join(outcome.heads_after) or "base"
    return report.finish(
        EXIT_DONE, "done", f"done: {len(outcome.applied)} reverted, the database is at {at} (safe to run again)"
    )


def _refuse_under_a_live_app(run: Run) -> None:
    instances = releases.live_instances(run.control, run.settings.retention_ms)
    sessions = run.control.row(_SESSIONS, (run.settings.app_role,))[0]
    if instances or sessions:
        raise Refused(
            f"the app is in session on this database ({instances} instances reported, {sessions} connections)",
            "a downgrade takes away what it uses; stop it first, or give --yes",
        )

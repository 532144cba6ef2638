"""Load as step: bring an empty database to a checkpoint's head within a run, in one transaction.

Schema, rows, version table and ledger entries commit together, checked as a revision is; after a kill before that,
nothing is there. On a database that is not empty the checkpoint is not looked at.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lockstep.postgres.session import Session
from lockstep.project import checkpoint_file
from lockstep.upgrade import checkpoint_sql
from lockstep.upgrade.guard import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.ledger.run_context import Run
    from lockstep.project.checkpoint_file import Checkpoint
    from lockstep.project.environment import Project
    from lockstep.project.plan import Step

    Checks = list[Callable[[Any, Step], None]]


def into_empty(run: Run, project: Project, context: Any, pending: list[Step], checks: Checks) -> tuple[str, ...]:
    """Load the project's checkpoint where that is possible; return the revisions it stood for, else none.

    Raises Refused for a checkpoint that is not of these revisions, StepFailed, Interrupted or Unreachable.
    """
    found = _wanted(run, project, pending)
    if found is None:
        return ()
    begun = time.monotonic()
    last = next(step for step in pending if step.revision == found.head)
    try:
        _load(run, context, found, last, checks)
    except Deferred as reason:
        run.tell(f"unused     the checkpoint: {reason.message}")
        return ()
    run.tell(checkpoint_sql.line(found, time.monotonic() - begun))
    return tuple(found.seals)


def _wanted(run: Run, project: Project, pending: list[Step]) -> Checkpoint | None:
    place = checkpoint_file.path(run.settings.checkpoint, project.script.dir)
    if not place or not run.control.row(checkpoint_sql.NEVER_STEPPED)[0]:
        return None
    empty, server, encoding, search_path = checkpoint_sql.is_empty(run.control.rows)
    if not empty:
        return None
    found = checkpoint_file.read(place)
    if why := checkpoint_sql.unfit(found, server, encoding, search_path):
        run.tell(f"unused     the checkpoint: {why}")
        return None
    checkpoint_sql.require_same(found, checkpoint_sql.here(project.script, found))
    checkpoint_sql.require_heads(project.script, found)
    # An upgrade to an earlier target has nothing of a checkpoint that goes further.
    return found if set(found.seals) <= {step.revision for step in pending} else None


def _load(run: Run, context: Any, found: Checkpoint, last: Step, checks: Checks) -> None:
    """Run it all in one transaction, with the run's limits and the lock seen to be held."""
    connection = context.connection
    session = Session(context, run.control, run.settings)
    run.interrupt.cancel = lambda: run.control.rows("SELECT pg_cancel_backend(%s)", (session.pid,))
    try:
        with checkpoint_sql.errors(run, found, lambda: session.is_lost):
            session.begin(run.settings.lock_timeout_ms, max(1, int(run.deadline.left() * 1000)))
            with connection.connection.dbapi_connection.cursor() as cursor:
                checkpoint_sql.into(cursor, found, run.id)
            context._ensure_version_table()  # noqa: SLF001 - as Alembic itself makes it
            for head in found.heads:
                connection.execute(context._version.insert().values(version_num=head))  # noqa: SLF001
            for check in checks:
                check(connection, last)
            connection.commit()
    finally:
        run.interrupt.cancel = lambda: None
        if not session.is_lost:
            connection.rollback()

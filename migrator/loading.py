"""Loading: an empty database and a checkpoint in, the database at the checkpoint's head out, in one transaction.

Schema, rows, version table and ledger entries commit together, checked as a revision is; killed before, nothing is
there. On any other database the checkpoint is not looked at.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from migrator.checkpoint import file, load
from migrator.guard import Deferred
from migrator.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.checkpoint.file import Checkpoint
    from migrator.environment import Project
    from migrator.means import Means
    from migrator.plan import Step

    Checks = list[Callable[[Any, Step], None]]


def into_empty(means: Means, project: Project, context: Any, pending: list[Step], checks: Checks) -> tuple[str, ...]:
    """Load the project's checkpoint where that is possible; return the revisions it stood for, else none.

    Raises Refused for a checkpoint that is not of these revisions, StepFailed, Interrupted or Unreachable.
    """
    found = _wanted(means, project, pending)
    if found is None:
        return ()
    begun = time.monotonic()
    last = next(step for step in pending if step.revision == found.head)
    try:
        _load(means, context, found, last, checks)
    except Deferred as reason:
        means.tell(f"unused     the checkpoint: {reason.message}")
        return ()
    means.tell(load.line(found, time.monotonic() - begun))
    return tuple(found.seals)


def _wanted(means: Means, project: Project, pending: list[Step]) -> Checkpoint | None:
    place = file.path(means.settings.checkpoint, project.script.dir)
    if not place or not means.control.row(load.NEVER_STEPPED)[0]:
        return None
    empty, server, encoding, search_path = load.is_empty(means.control.rows)
    if not empty:
        return None
    found = file.read(place)
    if why := load.unfit(found, server, encoding, search_path):
        means.tell(f"unused     the checkpoint: {why}")
        return None
    load.require_same(found, load.here(project.script, found))
    load.require_heads(project.script, found)
    # An upgrade to an earlier target has nothing of a checkpoint that goes further.
    return found if set(found.seals) <= {step.revision for step in pending} else None


def _load(means: Means, context: Any, found: Checkpoint, last: Step, checks: Checks) -> None:
    """Run it all in one transaction, with the run's limits and the lock seen to be held."""
    connection = context.connection
    session = Session(context, means.control, means.settings)
    means.interrupt.cancel = lambda: means.control.rows("SELECT pg_cancel_backend(%s)", (session.pid,))
    try:
        with load.errors(means, found, lambda: session.is_lost):
            session.begin(means.settings.lock_timeout_ms, max(1, int(means.deadline.left() * 1000)))
            with connection.connection.dbapi_connection.cursor() as cursor:
                load.into(cursor, found, means.run)
            context._ensure_version_table()  # noqa: SLF001 - as Alembic itself makes it
            for head in found.heads:
                connection.execute(context._version.insert().values(version_num=head))  # noqa: SLF001
            for check in checks:
                check(connection, last)
            connection.commit()
    finally:
        means.interrupt.cancel = lambda: None
        if not session.is_lost:
            connection.rollback()

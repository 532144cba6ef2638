"""Holding: settings in, what a run works with out: connected, the run lock held, its row in the ledger kept."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lockstep import ledger
from lockstep.errors import MigratorError, Unreachable
from lockstep.ledger.run_context import Means
from lockstep.postgres import connect, lock
from lockstep.postgres.control import errors_of_server
from lockstep.stop import watchdog
from lockstep.stop.deadline import Deadline
from lockstep.stop.interrupt import Interrupt, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from lockstep.report import Report
    from lockstep.settings import Settings
    from lockstep.upgrade.outcome import Outcome


@contextlib.contextmanager
def connected(
    settings: Settings, report: Report, there: Connection | None = None, deadline: Deadline | None = None
) -> Iterator[Means]:
    """Connect within the run's deadline, unless a connection is there; signals listened to; yields the run's means.

    The deadline is counted from now, unless the run began before and has one.
    """
    deadline = deadline or Deadline.after(settings.deadline_ms)
    with listening(Interrupt()) as interrupt, watchdog.bounded(deadline):
        control = connect.control(settings, deadline, interrupt, report.line, there)
        try:
            with errors_of_server(control.where):
                yield Means(control, settings, deadline, interrupt, report.line)
        finally:
            control.close()


@contextlib.contextmanager
def locked(means: Means, verb: str, road: str, outcome: Outcome) -> Iterator[Means]:
    """Hold the run lock and keep the run's row in the ledger while the block runs."""
    control = means.control
    wait = means.deadline.sooner(means.settings.lock_wait_ms)
    with lock.held(control, wait, means.interrupt, means.tell), recorded(means, verb, road, outcome) as own:
        yield own


@contextlib.contextmanager
def recorded(means: Means, verb: str, road: str, outcome: Outcome) -> Iterator[Means]:
    """Keep the run's row in the ledger while the block runs, which holds the run lock."""
    control = means.control
    ledger.prepare(control)
    run = ledger.start_run(control, verb, road, means.settings.commit, means.settings.run_id)
    try:
        yield means._replace(run=run)
    except BaseException as caught:
        error = means.interrupt.instead_of(caught)
        if not isinstance(error, MigratorError):
            _finish(means, run, "failed", outcome, MigratorError(f"{type(error).__name__}: {error}"))
            raise
        _finish(means, run, error.word, outcome, error)
        if error is caught:
            raise
        raise error from caught
    if not _finish(means, run, "ahead" if outcome.ahead else "done", outcome) and outcome.applied:
        raise _uncertain(means)


def _finish(means: Means, run: int, word: str, outcome: Outcome, error: MigratorError | None = None) -> bool:
    """Write the run's end; False where the connection is lost: the next run marks this one as interrupted."""
    revision = outcome.pending[0].revision if error and outcome.pending else None
    heads = outcome.heads_before, outcome.heads_after
    with contextlib.suppress(MigratorError):
        ledger.finish_run(means.control, run, word, heads=heads, error=error, revision=revision)
        return True
    return False


def _uncertain(means: Means) -> Unreachable:
    """Return the error for a run whose end, which waits for the disk for all its steps, was not written."""
    return Unreachable(
        f"the connection to {means.control.where.shown} was lost at the end of the run: if the server itself was "
        "stopped, its last steps may be lost",
        "the next run looks what is there, and applies what is not",
    )

"""Run lock: one run at a time on a database; the run's row in the ledger is begun and ended with it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lockstep.errors import MigratorError, Unreachable
from lockstep.ledger import runs, tables
from lockstep.postgres import lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.ledger.run_context import Run
    from lockstep.upgrade.outcome import Outcome


@contextlib.contextmanager
def locked(run: Run, verb: str, road: str, outcome: Outcome) -> Iterator[Run]:
    """Hold the run lock and keep the run's row in the ledger while the block runs."""
    control = run.control
    wait = run.deadline.sooner(run.settings.lock_wait_ms)
    with lock.held(control, wait, run.interrupt, run.tell), recorded(run, verb, road, outcome) as own:
        yield own


@contextlib.contextmanager
def recorded(run: Run, verb: str, road: str, outcome: Outcome) -> Iterator[Run]:
    """Keep the run's row in the ledger while the block runs, which holds the run lock."""
    control = run.control
    tables.prepare(control)
    number = runs.start(control, verb, road, run.settings.commit, run.settings.run_id)
    try:
        yield run._replace(id=number)
    except BaseException as caught:
        error = run.interrupt.instead_of(caught)
        if not isinstance(error, MigratorError):
            _finish(run, number, "failed", outcome, MigratorError(f"{type(error).__name__}: {error}"))
            raise
        _finish(run, number, error.word, outcome, error)
        if error is caught:
            raise
        raise error from caught
    if not _finish(run, number, "ahead" if outcome.ahead else "done", outcome) and outcome.applied:
        raise _uncertain(run)


def _finish(run: Run, number: int, word: str, outcome: Outcome, error: MigratorError | None = None) -> bool:
    """Write the run's end; False where the connection is lost: the next run marks this one as interrupted."""
    revision = outcome.pending[0].revision if error and outcome.pending else None
    heads = outcome.heads_before, outcome.heads_after
    with contextlib.suppress(MigratorError):
        runs.finish(run.control, number, word, heads=heads, error=error, revision=revision)
        return True
    return False


def _uncertain(run: Run) -> Unreachable:
    """Return the error for a run whose end was not written: with it all its steps were to reach the disk."""
    return Unreachable(
        f"the connection to {run.control.where.shown} was lost at the end of the run: if the server itself was "
        "stopped, its last steps may be lost",
        "the next run looks at what is there, and applies what is not",
    )

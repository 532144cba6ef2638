"""Run lock: one run at a time on a database, and its row in the ledger kept from its first moment to its last."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lockstep import ledger
from lockstep.errors import MigratorError, Unreachable
from lockstep.postgres import lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.ledger.run_context import Means
    from lockstep.upgrade.outcome import Outcome


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

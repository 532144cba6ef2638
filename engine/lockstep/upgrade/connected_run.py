"""Connected run: what a run works with once it is connected, its deadline watched and signals listened to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lockstep.ledger.run_context import Run
from lockstep.postgres import connect
from lockstep.postgres.control import errors_of_server
from lockstep.stop import watchdog
from lockstep.stop.deadline import Deadline
from lockstep.stop.interrupt import Interrupt, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.report import Report
    from lockstep.settings import Settings


@contextlib.contextmanager
def reached(settings: Settings, report: Report, deadline: Deadline | None = None) -> Iterator[Run]:
    """Connect within the run's deadline, listen to signals, and yield the run; nothing is asked of the server yet.

    The deadline is counted from now, unless the run began before and has one.
    """
    deadline = deadline or Deadline.after(settings.deadline_ms)
    with listening(Interrupt()) as interrupt, watchdog.bounded(deadline):
        control = connect.reach(settings, deadline, interrupt, report.line)
        try:
            with errors_of_server(control.where):
                yield Run(control, settings, deadline, interrupt, report.line)
        finally:
            control.close()


@contextlib.contextmanager
def connected(settings: Settings, report: Report, deadline: Deadline | None = None) -> Iterator[Run]:
    """Do the same, and ask the server whether it can be migrated."""
    with reached(settings, report, deadline) as run:
        report.prepare()
        connect.require_fit(run.control, settings)
        yield run

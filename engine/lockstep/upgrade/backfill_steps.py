"""Backfill steps: an upgrade does short backfills at once, and defers what needs a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.backfill import declare, needs, progress, store, target
from lockstep.backfill.worker import Worker
from lockstep.errors import Busy
from lockstep.project import environment
from lockstep.stop.deadline import Deadline
from lockstep.upgrade.guard import Deferred

if TYPE_CHECKING:
    from lockstep.backfill.store import Backfill
    from lockstep.ledger.run_context import Run
    from lockstep.project.environment import Project
    from lockstep.project.plan import Step

# So much of the time that is left may go into backfills: the revisions after them want some too.
SHARE = 0.5
# After so long it is known how fast it goes; what will not be done in time is left to `migrator backfill` at once.
KNOWN_AFTER_S = 3.0

_DECLARED = "UPDATE migrator.backfill SET revision = %(revision)s WHERE revision IS NULL"
_REVERTED = (
    "UPDATE migrator.backfill SET state = 'reverted', finished = clock_timestamp(), "
    "note = 'its revision was taken back; the values it wrote are not' WHERE revision = %(revision)s"
)


def record(connection: Any, step: Step) -> bool:
    """Write, in the step's transaction, which revision declared a backfill; end those of one that is taken back.

    Return whether there were any. A revision that declares none, as most do, is not asked about.
    """
    if step.direction == "up" and not connection.info.pop(declare.DECLARED, False):
        return False
    sql = _DECLARED if step.direction == "up" else _REVERTED
    return bool(connection.exec_driver_sql(sql, {"revision": step.revision}).rowcount)


class Backfills:
    """The backfills of one run of the migrator."""

    def __init__(self, run: Run, project: Project) -> None:
        """Take what the run works with."""
        self._run, self._project = run, project
        self._tried: set[str] = set()
        self._there = store.there(run.control)  # the ledger keeps its tables while the run lock is held
        # Most projects have none, and only a step of this run can declare one: not asked around every step.
        self._any = self._there and bool(store.every(run.control))

    def before(self, step: Step) -> None:
        """Finish what the step needs finished, where there is time; else raise Deferred with the reason."""
        unfinished = [item for item in self._every() if item.unfinished]
        with environment.aside():
            needed = needs.of(self._project, step, unfinished, self._parts)
        for item in needed:
            self._try(item)
            now = store.one(self._run.control, item.name)
            if now is not None and now.unfinished:
                raise Deferred(step, (), backfill=_waits_for(now))

    def after(self, step: Step) -> None:
        """Do what the step declared, as far as there is time."""
        if step.direction != "up":
            return
        for item in self._every():
            if item.revision == step.revision and item.unfinished:
                self._try(item)

    def require_finished(self) -> None:
        """Raise Busy where a backfill is unfinished that has to be done before this release is served."""
        for item in store.every(self._run.control):
            if item.before_serving and item.unfinished:
                self._try(item)
                now = store.one(self._run.control, item.name)
                if now is not None and now.unfinished:
                    raise Busy(
                        f"this release is not served before the end of {_waits_for(now)[1]}",
                        "run `migrator backfill`, or this again with more time: it goes on from where it is",
                    )

    def tell_failed(self) -> tuple[str, ...]:
        """Tell of each backfill that stopped and waits for somebody, whichever run it was; return their names."""
        failed = [item for item in self._every() if item.state == "failed"]
        for item in failed:
            self._run.tell(progress.line(item))
        return tuple(item.name for item in failed)

    def _every(self) -> list[Backfill]:
        return store.every(self._run.control) if self._any else []

    def _parts(self, item: Backfill) -> set[str]:
        return target.parts(self._run.control.rows, item.namespace, item.relation)

    def record(self, connection: Any, step: Step) -> None:
        """Write, in the step's transaction, what it declared or took back, where the ledger has backfills."""
        if self._there:
            self._any |= record(connection, step)

    def _try(self, item: Backfill) -> None:
        """Work on one, once in a run; what it does not get done in its share of the time is left to another run."""
        run = self._run
        if item.name in self._tried:
            return
        self._tried.add(item.name)
        if item.state == "paused":
            run.tell(progress.line(item))
            return
        own = run._replace(deadline=Deadline(run.deadline.now() + run.deadline.left() * SHARE))
        worker = Worker(own, item, enough=_will_not_do(own.deadline))
        worker.work()
        now = store.one(run.control, item.name)
        if now is not None:
            run.tell(progress.line(now))


def _will_not_do(deadline: Deadline) -> Any:
    def enough(now: Backfill, seconds: float) -> bool:
        if seconds < KNOWN_AFTER_S or not now.estimate or not now.rate:
            return False
        return (now.estimate - now.seen) / now.rate > deadline.left()

    return enough


def _waits_for(now: Backfill) -> tuple[str, str]:
    """Return the name of a backfill that is waited for, and the same in words."""
    share = f", {int(now.share * 100)} % done" if now.share is not None else ""
    why = f": {now.note}" if now.note else ""
    return now.name, f"backfill {now.name} ({now.state}{share}{why})"

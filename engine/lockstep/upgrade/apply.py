"""Apply: run one step and commit the change together with its ledger row; try it briefly, again and again.

A try waits for a lock a few milliseconds only, so a client of the app that queues behind it does too. Between two
tries nothing is held: the whole revision was rolled back, and the wait for who blocks happens outside the queue.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockstep.errors import Busy, MigratorError, Refused, StepFailed
from lockstep.ledger import steps
from lockstep.ledger.steps import Applied
from lockstep.postgres import snapshots
from lockstep.postgres.blockers import Waiting
from lockstep.postgres.control import lost
from lockstep.postgres.session import Session, scalar
from lockstep.postgres.snapshots import OlderSnapshots
from lockstep.postgres.statements import without_literals
from lockstep.report import counted
from lockstep.upgrade import step_cure
from lockstep.upgrade.execution import Execution
from lockstep.upgrade.statement_watch import Watch
from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lockstep.ledger.run_context import Run
    from lockstep.ledger.steps import Entry
    from lockstep.postgres.blockers import Blocked
    from lockstep.project.plan import Step
    from lockstep.upgrade.foresight import Foreseen
    from lockstep.upgrade.statement_runner import Judge

FIRST_TRY_MS = 5
_ALEMBIC_LOG = logging.getLogger("alembic.runtime.migration")


class _Missed(Exception):
    """A try did not get its lock, lost a deadlock, or has rewritten what an older snapshot would find empty."""


@dataclass
class _Tries:
    """The tries of one step so far."""

    step: Step
    wait_ms: int
    number: int = 0
    waited_s: float = 0.0
    start: float = field(default_factory=time.monotonic)
    vacuums: list[int] = field(default_factory=list)  # tables whose autovacuum is pushed aside first
    blocked: Blocked | None = None  # what was last seen in the way
    open_before: list[str] | None = None  # the transactions that were open when the try began, where it matters
    execution: Execution | None = None
    applied: Applied | None = None


@dataclass(frozen=True)
class _BeforeCommit:
    """All that is asked before anything is committed: the guard, then who could not live with the commit itself."""

    guard: Judge
    refuse_older_snapshots: Callable[[Any], None]

    def check(self, connection: Any, step: Step) -> None:
        self.guard.check(connection, step)
        self.refuse_older_snapshots(connection)

    def foresee(self, connection: Any, step: Step, foreseen: Foreseen) -> None:
        self.guard.foresee(connection, step, foreseen)


def _nothing(_record: logging.LogRecord) -> bool:
    return False


class Applier:
    """Applies steps on the connection that env.py configured, for one run."""

    def __init__(self, context: Any, run: Run, arguments: dict[str, Any], judge: Judge) -> None:
        """Take over the MigrationContext; `arguments` are what env.py passes on to each revision."""
        self._context, self._run, self._arguments = context, run, arguments
        self._judge = _BeforeCommit(judge, self._refuse_older_snapshots)
        self.checks: list[Callable[[Any, Step], None]] = []  # asked in the step's transaction, before it commits
        self._tries: _Tries | None = None
        self._entries: dict[str, Entry | None] = {**steps.entries(run.control)}
        self.heads: tuple[str, ...] = ()
        self._session = Session(context, run.control, run.settings)
        self._session.listen(self._statement, self._leave)
        steps.get_ready(context.connection)
        self._watch = Watch(run.control, self._session.pid, run.deadline, run.tell)
        _ALEMBIC_LOG.addFilter(_nothing)  # it would say "Running upgrade" at every try
        self._alembic_block = context.autocommit_block
        context.autocommit_block = self._block
        context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, self._version_moved)
        run.interrupt.cancel = lambda: run.control.rows("SELECT pg_cancel_backend(%s)", (self._session.pid,))

    def close(self) -> None:
        """Let go of the connection."""
        self._run.interrupt.cancel = lambda: None
        self._watch.close()
        self._session.close()
        self._context.__dict__.pop("get_current_heads", None)
        _ALEMBIC_LOG.removeFilter(_nothing)

    def step(self, step: Step) -> Applied:
        """Apply one step; raise Busy at the deadline, StepFailed, Refused, Unreachable or Interrupted."""
        run = self._run
        waiting = Waiting(
            run.control, self._session.pid, run.deadline, run.interrupt, run.tell,
            run.settings.terminate_blockers_after_ms / 1000,
        )  # fmt: skip
        self._session.restore()
        tries = self._tries = _Tries(step, min(FIRST_TRY_MS, run.settings.lock_timeout_ms))
        while True:
            begun = time.monotonic()
            try:
                return self._try(tries)
            except _Missed:
                tries.blocked = self._watch.blocked or tries.blocked
                if not _only_vacuum(self._watch.blocked, tries):
                    waiting.until_clear(self._watch.blocked, step.label, tries.start)
                if isinstance(self._watch.blocked, OlderSnapshots):
                    tries.open_before = snapshots.open_now(run.control)
                tries.wait_ms = min(tries.wait_ms * 2, run.settings.lock_timeout_ms)
                tries.waited_s += time.monotonic() - begun

    def _try(self, tries: _Tries) -> Applied:
        """Run the revision once, whole; raise _Missed when it has to be tried again."""
        run, step = self._run, tries.step
        run.interrupt.check()
        tries.number += 1
        # Under the run lock nobody else writes it: what was read at the start is true until the first try.
        known = self._entries if tries.number == 1 else {step.revision: steps.entry(run.control, step.revision)}
        before = known.get(step.revision)
        execution = tries.execution = Execution(
            step, before, run, self._session, self._watch, tries.wait_ms, self._judge
        )
        try:
            with execution.inside(step.alembic):
                self._context._migrations_fn = lambda *_: [step.alembic]  # noqa: SLF001 - one at a time through Alembic's own loop
                self._session.begin(tries.wait_ms, execution.statement_ms())
                for relation in tries.vacuums:
                    self._push_vacuum_aside(relation, execution)
                self._context.run_migrations(**self._arguments)
        except BaseException as error:
            judged = self._judged(step, error)
            if isinstance(judged, StepFailed | _Missed):  # not undone, nor to be tried again
                judged = execution.committed() or judged
            with contextlib.suppress(Exception):  # on a lost connection the server has done it
                self._context.connection.rollback()
            if isinstance(judged, MigratorError):
                self._say_what_stays(judged, execution)
            raise judged from error
        assert tries.applied is not None  # noqa: S101 - Alembic called _version_moved, or raised
        if now := self.heads:  # under the run lock nobody else moves them; Alembic itself asks once in a run
            self._context.get_current_heads = lambda: now
        else:
            self._context.__dict__.pop("get_current_heads", None)
        return tries.applied

    def _say_what_stays(self, error: MigratorError, execution: Execution) -> None:
        """Name the statements that a revision which left its transaction has kept."""
        error.kept = execution.at.kept
        if error.kept:
            stay = "stays" if len(error.kept) == 1 else "stay"
            stays = f"{counted(len(error.kept), 'statement')} of it {stay}, and a later run goes on from there"
            error.cure = error.cure.replace(step_cure.NOTHING_KEPT, stays)
            error.details += tuple(f"stays: {text}" for text in error.kept)
        elif isinstance(error, Refused) and execution.at.row:
            steps.forget_started(self._run.control, execution.at.row)

    def _statement(self, cursor: Any, sql: str, execute: Callable[[], None]) -> bool:
        execution = self._tries and self._tries.execution
        return execution.handle(cursor, sql, execute) if execution else False

    def _leave(self, what: str) -> None:
        if self._tries and self._tries.execution:
            self._tries.execution.leave(what)

    @contextlib.contextmanager
    def _block(self) -> Iterator[None]:
        execution = self._tries and self._tries.execution
        with execution.block(self._context, self._alembic_block) if execution else self._alembic_block():
            yield

    def _version_moved(self, *, ctx: Any, heads: Iterable[str], **_: Any) -> None:
        """Ask the checks and write the ledger row: Alembic calls this in the step's transaction, before it commits."""
        tries, run = self._tries, self._run
        if tries is None or tries.execution is None:
            return
        step, execution = tries.step, tries.execution
        self.heads = tuple(sorted(heads))
        for check in self.checks:
            check(ctx.connection, step)
        self._refuse_older_snapshots(ctx.connection)
        waited = int(tries.waited_s * 1000)
        duration = int((time.monotonic() - tries.start) * 1000) - waited
        applied = Applied(
            step.revision, step.label, step.message, step.direction, duration, waited, tries.number,
            len(execution.at.digests), bool(execution.at.done),
        )  # fmt: skip
        steps.mark_finished(ctx.connection, execution.at.row, applied, run.id, step.seal)
        tries.applied = applied

    def _refuse_older_snapshots(self, connection: Any) -> None:
        """Have a try that rewrote a table tried again, once nobody has a snapshot in which it would be empty."""
        assert self._tries is not None  # noqa: S101 - asked within a step
        found = snapshots.older(connection, self._run.control, self._tries.open_before)
        if found is not None:
            self._watch.blocked = found
            raise _Missed

    def _push_vacuum_aside(self, relation: int, execution: Execution) -> None:
        """Wait for SHARE UPDATE EXCLUSIVE, long enough for PostgreSQL to cancel an autovacuum in the way.

        It does so only for a session that waits longer than deadlock_timeout, which a brief try never does; and
        this lock blocks no reader or writer while it waits. An autovacuum against wraparound is never cancelled.
        """
        connection = self._context.connection
        name = scalar(
            connection,
            "SELECT oid::regclass::text FROM pg_class WHERE oid = :oid AND relkind IN ('r', 'p', 'm')",
            oid=relation,
        )
        if name is None:
            return
        timeout = int(scalar(connection, "SELECT setting FROM pg_settings WHERE name = 'deadlock_timeout'")) + 500
        self._session.limit(timeout, execution.statement_ms())
        connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE")
        self._session.limit(execution.try_ms, execution.statement_ms())

    def _judged(self, step: Step, error: BaseException) -> BaseException:
        """Return what an error of a try means: try again, or an expected error with its cure."""
        if isinstance(error, MigratorError | KeyboardInterrupt | _Missed):
            return error
        self._run.interrupt.check()
        state = sqlstate.of(error)
        if state in {sqlstate.LOCK_NOT_AVAILABLE, sqlstate.DEADLOCK_DETECTED}:
            return _Missed()
        if state == sqlstate.QUERY_CANCELED and (self._watch.hit_deadline or self._run.deadline.passed):
            blocked = self._watch.blocked or (self._tries and self._tries.blocked)
            seen = f", when it waited for {blocked}" if blocked else ""
            return Busy(f"{step.label}: cancelled at the deadline{seen}", "give the run more time with --deadline")
        if self._session.is_lost:
            return lost(self._run.control.where)
        return StepFailed(
            f"{step.label}: {_one_line(error)}",
            step_cure.of(error, self._run.settings),
            details=_place(error, step),
        )


def _only_vacuum(blocked: Blocked | None, tries: _Tries) -> bool:
    """Tell whether only vacuum is in the way and the next try is to push it aside first."""
    if blocked is None or blocked.relation is None or blocked.relation in tries.vacuums:
        return False
    if not all(blocker.is_vacuum for blocker in blocked.blockers):
        return False
    tries.vacuums.append(blocked.relation)
    return True


def _one_line(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    text = primary or " ".join(str(original).split()) or "no message"
    return text if primary else f"{type(original).__name__}: {text}"


def _place(error: BaseException, step: Step) -> tuple[str, ...]:
    """Return where in the revision file it happened, what the server added, and the statement."""
    lines = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
             if frame.filename == str(step.path)]  # fmt: skip
    diag = getattr(getattr(error, "orig", None), "diag", None)
    found = [f"at {lines[-1]}"] if lines else [f"in {step.path}"]
    if getattr(diag, "message_detail", None):
        found.append(f"detail: {diag.message_detail}")  # type: ignore[union-attr]
    if getattr(diag, "message_hint", None):
        found.append(f"hint: {diag.message_hint}")  # type: ignore[union-attr]
    if getattr(error, "statement", None):
        found.append(f"statement: {without_literals(error.statement, 300)}")  # type: ignore[attr-defined] - may hold a secret
    return tuple(found)

"""Worker: do one backfill, batch after batch, until it is done, stopped, or out of time; any number may share it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg2

from lockstep.backfill import store
from lockstep.backfill.batch import Batches, Failing, Session, is_of_a_row
from lockstep.backfill.pace import Pace
from lockstep.backfill.pressure import Limits, Pressure
from lockstep.backfill.progress import Progress
from lockstep.errors import Refused, StepFailed
from lockstep.postgres.control import lost
from lockstep.postgres.statements import quoted
from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.backfill.batch import Done
    from lockstep.backfill.store import Backfill
    from lockstep.ledger.run_context import Run

TARGET_MS = 50
LOOK_EVERY_S = 1.0
MISS_S = (0.02, 1.0)  # the first and the longest pause after a batch that met somebody's lock
TELL_MISSES = 4
IDLE_S = 0.1
FINAL_ROUNDS = 20
MOST_ASIDE = 1000
MISSED = (sqlstate.LOCK_NOT_AVAILABLE, sqlstate.DEADLOCK_DETECTED, sqlstate.SERIALIZATION_FAILURE)

_HOLDER = """
SELECT a.pid, coalesce(a.application_name, ''), coalesce(a.state, 'state hidden'),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8
  FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.granted AND l.relation = to_regclass(%s)
   AND l.mode NOT IN ('AccessShareLock') AND l.pid <> %s ORDER BY a.xact_start LIMIT 1"""


@dataclass
class Worker:
    """One process's part in one backfill."""

    run: Run
    backfill: Backfill
    limits: Limits = field(default_factory=Limits)
    target_ms: int = TARGET_MS
    enough: Callable[[Backfill, float], bool] = lambda _backfill, _seconds: False  # asked once a second

    def work(self) -> str:
        """Work until there is nothing to do for this worker; return the backfill's state then.

        Raises StepFailed for a row that fails, Refused for a table that cannot be walked, Unreachable, Interrupted.
        """
        run, name = self.run, self.backfill.name
        try:
            session = Session(run.control.where, run.settings, self.backfill, self.target_ms)
        except psycopg2.OperationalError as error:
            raise lost(run.control.where) from error
        worker = store.join(run.control, name, session.pid)
        before = run.interrupt.cancel
        run.interrupt.cancel = lambda: run.control.rows("SELECT pg_cancel_backend(%s)", (session.pid,))
        try:
            return self._work(session, worker)
        finally:
            run.interrupt.cancel = before
            session.raw.close()
            with contextlib.suppress(Exception):  # on a lost connection the next worker forgets this one
                store.leave(run.control, worker)

    def _work(self, session: Session, worker: str) -> str:
        try:
            pace = Pace(self.backfill.batch_size, self.target_ms)
            batches = Batches(session, self.backfill, worker, pace, self.run.deadline)
        except psycopg2.Error as error:
            raise self._lost_or_failed(session, error) from error
        except Refused as refused:
            self._fail(refused.message)
            raise
        progress = Progress(self.run.tell, self.backfill)
        try:
            return _Round(self, session, batches, progress).until_over()
        finally:
            progress.end()

    def _fail(self, note: str) -> None:
        store.set_state(self.run.control, self.backfill.name, "failed", note, of=("new", "running"))

    def _lost_or_failed(self, session: Session, error: psycopg2.Error) -> Exception:
        self.run.interrupt.check()
        if session.raw.closed or error.pgcode is None:
            return lost(self.run.control.where)
        return self.failed(error.diag.message_primary or str(error))

    def failed(self, what: str, cure: str = "") -> StepFailed:
        """Write that the backfill stopped, and return the error that says so."""
        self._fail(what)
        return StepFailed(
            f"backfill {self.backfill.name} stopped: {what}",
            cure or "correct what it met; `migrator backfill` goes on from where it is, what is done stays",
        )


@dataclass
class _Round:
    """The state of one worker's loop."""

    worker: Worker
    session: Session
    batches: Batches
    progress: Progress
    misses: int = 0
    final_rounds: int = 0
    looked: float = 0.0
    started: bool = False
    pressure: Pressure = field(init=False)

    def __post_init__(self) -> None:
        self.run, self.backfill = self.worker.run, self.worker.backfill
        self.pressure = Pressure(self.run.control, self.backfill, self.worker.limits)
        self.begun = self.looked = time.monotonic()

    def until_over(self) -> str:
        """Do batch after batch."""
        while True:
            self.run.interrupt.check()
            if self.run.deadline.passed:
                return "unfinished"
            if time.monotonic() - self.looked >= LOOK_EVERY_S and not self._look():
                return "unfinished"
            try:
                done = self._batch()
            except Failing as failing:
                self._failing(failing)
            except psycopg2.Error as error:
                if not self._error(error):
                    return store.state(self.run.control, self.backfill.name)[0]
            else:
                if done is None or done.finished:
                    state = self._nothing(done)
                    if state != "running":
                        return state
                else:
                    self._after(done)

    def _batch(self) -> Done | None:
        if not self.started:  # here, because the table may be locked just now
            self.batches.begin()
            self.started = True
        return self.batches.one()

    def _after(self, done: Done) -> None:
        batches = self.batches
        self.misses = self.misses if done.kind == "final" and not done.rows else 0
        if done.kind == "walk":
            batches.skip_locked = False
            if batches.limit is None:
                batches.pace.took(done.walked, done.rows, done.held_ms)
            else:
                batches.limit = batches.limit * 2 if batches.limit * 2 < batches.pace.size else None
            self.progress.add(done.walked)
        elif done.kind == "final":
            self._after_final(done)

    def _after_final(self, done: Done) -> None:
        """Go on looking; raise StepFailed where rows that are still to do keep coming."""
        if done.rows == 0:  # held by somebody, or changed by him: look again in a while
            self._pause_for_lock()
        elif not done.full:
            self.final_rounds += 1
            self.run.interrupt.sleep(IDLE_S)
        if self.final_rounds > FINAL_ROUNDS:
            raise self.worker.failed(
                "rows that are still to be done keep coming",
                "something goes on writing them: give the column a default, or deploy the release that fills it; "
                "then run `migrator backfill` again",
            )

    def _nothing(self, done: Done | None) -> str:
        """No range is free: it is over, or others hold what is left."""
        state, note = store.state(self.run.control, self.backfill.name)
        if state == "done" and done is not None:
            self._analyze()
        if state == "failed":
            raise StepFailed(
                f"backfill {self.backfill.name} stopped: {note}",
                "correct what it met; `migrator backfill` goes on from where it is, what is done stays",
            )
        if state == "running":
            self.run.interrupt.sleep(IDLE_S)
        return state

    def _analyze(self) -> None:
        """Let the planner know the new values, where so many were written that it would guess wrong."""
        now = store.one(self.run.control, self.backfill.name)
        if now is None or now.rows * 10 < (now.estimate or 0):
            return
        columns = ", ".join(quoted(column) for column in self.backfill.assignments)
        place = f"{quoted(self.backfill.namespace)}.{quoted(self.backfill.relation)}"
        self.session.raw.rollback()
        self.session.raw.autocommit = True
        with contextlib.suppress(psycopg2.Error), self.session.raw.cursor() as cursor:  # autovacuum does it later
            cursor.execute(f"ANALYZE {place} ({columns})")
            self.run.tell(f"analyzed   {self.backfill.relation}")

    def _failing(self, failing: Failing) -> None:
        """Stop with the row, or set it aside."""
        shown = failing.walk.shown(failing.keys[0])
        more = f" (and {len(failing.keys) - 1} or more others)" if len(failing.keys) > 1 else ""
        what = f"{shown}{more}: {failing.message}"
        if self.backfill.on_error == "stop":
            raise self.worker.failed(what, failing.cure)
        self.batches.set_aside(failing)
        self.batches.limit = None
        aside = len(store.aside(self.run.control, self.backfill.name))
        self.run.tell(f"set aside  {what}")
        if aside >= MOST_ASIDE:
            raise self.worker.failed(f"{aside} rows were set aside, the last {what}")

    def _error(self, error: psycopg2.Error) -> bool:
        """Take in the error of a batch; tell whether to go on, raise what stops the worker."""
        self.run.interrupt.check()
        batches = self.batches
        if error.pgcode == sqlstate.QUERY_CANCELED and self.run.deadline.passed:
            return True
        if error.pgcode in MISSED:
            batches.pace.missed()
            batches.skip_locked = True
            self._pause_for_lock()
            return True
        size = min(batches.pace.size, batches.limit or batches.pace.size)
        if size > 1 and (error.pgcode == sqlstate.QUERY_CANCELED or is_of_a_row(error.pgcode)):
            if error.pgcode == sqlstate.QUERY_CANCELED and batches.limit is None:
                batches.pace.cut_off()  # a limit would hide from the pace how long the smaller batch takes
            else:
                batches.limit = max(1, size // 2)
            return True
        if self.session.raw.closed or error.pgcode is None:
            raise lost(self.run.control.where) from error
        if store.state(self.run.control, self.backfill.name)[0] in ("reverted", "cancelled", "paused"):
            return False  # the column went with the revision
        raise self.worker.failed(error.diag.message_primary or str(error)) from error

    def _pause_for_lock(self) -> None:
        self.misses += 1
        seconds = min(MISS_S[1], MISS_S[0] * 2 ** min(self.misses, 10))
        if self.misses >= TELL_MISSES:
            self._say(f"others hold rows or the table: {self._holder()}")
        self.run.interrupt.sleep(seconds)

    def _holder(self) -> str:
        place = f"{quoted(self.backfill.namespace)}.{quoted(self.backfill.relation)}"
        for pid, application, state, seconds in self.run.control.rows(_HOLDER, (place, self.session.pid)):
            age = f", for {seconds:.0f} s" if seconds is not None else ""
            return f"pid {pid} ({application or 'no application name'}, {state}{age})"
        return "nobody seen"

    def _say(self, reason: str | None) -> None:
        store.note(self.run.control, self.batches.worker, reason)
        if reason:
            self.progress.pause(reason)

    def _look(self) -> bool:
        """Once a second: pause while the database suffers; tell how far it is. False: the caller has enough."""
        control = self.run.control
        while (reason := self.pressure.reason()) and not self.run.deadline.passed:
            self._say(reason)
            self.run.interrupt.sleep(LOOK_EVERY_S)
            if store.state(control, self.backfill.name)[0] != "running":
                break
        now = store.one(control, self.backfill.name)
        self.looked = time.monotonic()
        if now is None:
            return True
        self.batches.rate, self.batches.left_s = self.progress.tell_of(now)
        return not self.worker.enough(now, self.looked - self.begun)

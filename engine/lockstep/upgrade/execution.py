"""Execution: one revision's statements in, each run under the right limits, counted, and resumed after a cut.

Inside the revision's transaction PostgreSQL itself gives all or nothing. Outside of it (`autocommit_block`) each
statement has a transaction of its own, with the ledger's word on it and the guard's before it commits. What PostgreSQL
takes in none is judged before it runs, and is the one statement that is uncertain after a kill.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any, Protocol

from lockstep import ledger
from lockstep.errors import Busy, MigratorError, StepFailed
from lockstep.postgres import statements
from lockstep.upgrade import foresight, outside_transaction
from lockstep.upgrade.invalid_indexes import Rubble, is_valid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lockstep.ledger import Entry
    from lockstep.ledger.run_context import Means
    from lockstep.postgres.session import Session
    from lockstep.postgres.statements import Statement
    from lockstep.project.plan import Step
    from lockstep.upgrade.foresight import Foreseen
    from lockstep.upgrade.outside_transaction import Kind
    from lockstep.upgrade.statement_watch import Watch

CLEAR_MS = 1000  # an index that is still read is left to the next run
# What the server says when the uncertain statement of a run that was cut off had been done after all:
# duplicate table (an index is one), object, column, schema; undefined table (an index), object, column.
ALREADY_DONE = {"42P07", "42710", "42701", "42P06", "42P01", "42704", "42703"}


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of a driver's error, bare or wrapped by SQLAlchemy."""
    error = getattr(error, "orig", None) or error
    return getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)


class Judge(Protocol):
    """Who speaks for the live releases; both raise Deferred where one would lose something."""

    def check(self, connection: Any, step: Step) -> None:
        """Judge what the transaction has done so far, before it commits."""

    def foresee(self, connection: Any, step: Step, foreseen: Foreseen) -> None:
        """Judge a statement that cannot be taken back, before it runs."""


_LEAVE_IT = "leave COMMIT and ROLLBACK to the runner; work outside a transaction goes into autocommit_block()"


class Execution:
    """The statements of one try of one revision. `done` are the digests that a try before committed."""

    def __init__(
        self, step: Step, before: Entry | None, means: Means, session: Session, watch: Watch, try_ms: int, judge: Judge
    ) -> None:
        """Take the step, what the ledger holds of it, and the means of the run."""
        resumes = before is not None and before.state == "started" and before.direction == step.direction
        self.step, self.try_ms = step, try_ms
        self.row: int | None = before.id if before and resumes else None
        self.done: tuple[str, ...] = before.digests if before and resumes else ()
        self._uncertain = bool(before and resumes and before.uncertain)
        self.digests: list[str] = []
        self._texts: list[str] = []  # of the same statements
        self._kept = len(self.done) - self._uncertain
        self._means, self._session, self._watch, self._judge = means, session, watch, judge
        self._active = False
        self._outside = False
        self._stopped: MigratorError | None = None  # what a revision that catches all errors must not get past
        self._left = False  # the transaction that the try began has been ended for an autocommit block

    @contextlib.contextmanager
    def inside(self, alembic_step: Any) -> Iterator[None]:
        """Count and guard what the revision's own function runs, and nothing that Alembic adds around it."""
        migrate = alembic_step.migration_fn

        @functools.wraps(migrate)
        def counted(**arguments: Any) -> None:
            self._active = True
            try:
                if hasattr(returned := migrate(**arguments), "close"):  # a generator or a coroutine: nothing of it ran
                    returned.close()
                    raise StepFailed(
                        f"{self.step.label} did not run: its function yields or is async", "make it a plain function"
                    )
                if self._stopped:
                    raise self._stopped
                with self.paused():  # a role or a search path that it set is not for what Alembic and the ledger write
                    if not self._session.limit(self.try_ms, self.statement_ms()):
                        raise self._ended()
            except SystemExit as error:
                raise StepFailed(
                    f"{self.step.label} calls exit({error.code})", "let it raise an error instead"
                ) from None
            finally:
                self._active = False

        alembic_step.migration_fn = counted
        try:
            yield
        finally:
            alembic_step.migration_fn = migrate

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let statements of our own pass uncounted."""
        was, self._active = self._active, False
        try:
            yield
        finally:
            self._active = was

    @contextlib.contextmanager
    def block(self, context: Any, original: Callable[[], Any]) -> Iterator[None]:
        """Stand in for Alembic's autocommit_block: mark the revision as under way in what is committed here."""
        block = original()
        with self.paused():
            if ended := self.committed():
                raise ended
            self._session.as_at_the_start()
            self._judge.check(context.connection, self.step)  # what was done so far is committed here
            self._mark(context.connection)
            self._left = True
            block.__enter__()
            self._kept = max(self._kept, len(self.digests))
        self._outside = True
        try:
            yield
        except BaseException:
            self._outside = False
            with self.paused():
                block.__exit__(*sys.exc_info())
            raise
        self._outside = False
        with self.paused():
            block.__exit__(None, None, None)
            self._session.limit(self.try_ms, self.statement_ms())
        self._left = False

    def committed(self) -> StepFailed | None:
        """Return the error for a revision that has ended its transaction past SQLAlchemy; None for one that has not."""
        return self._ended() if not self._left and self._session.has_committed else None

    def _ended(self) -> StepFailed:
        return StepFailed(
            f"{self.step.label} ends its transaction on the driver's own connection; what it did before that stays",
            f"{_LEAVE_IT}; see what is there before the next run",
        )

    def leave(self, what: str) -> None:
        """Refuse a commit or rollback by the revision itself: the ledger would not know what stayed."""
        if self._active and not self._outside:
            raise self._stopped or StepFailed(f"{self.step.label} {what} by itself", _LEAVE_IT)

    @property
    def kept(self) -> tuple[str, ...]:
        """The statements of it that are committed, also where the rest of it is rolled back; literals left out."""
        return tuple(self._texts[: self._kept])

    def handle(self, cursor: Any, sql: str, execute: Callable[[], None]) -> bool:
        """Run one statement of the revision, or skip it; return False for a statement that is not the revision's."""
        if not self._active:
            return False
        if self._stopped:
            raise self._stopped
        try:
            self._handle(cursor, statements.parse(sql), execute)
        except MigratorError as error:
            self._stopped = error
            raise
        return True

    def _handle(self, cursor: Any, statement: Statement, execute: Callable[[], None]) -> None:
        self._means.interrupt.check()
        if self._means.deadline.passed:
            raise Busy(
                f"{self.step.label}: the deadline of the run has passed", "give the run more time with --deadline"
            )
        if statement.ends_transaction:
            raise StepFailed(
                f"{self.step.label} ends the transaction itself: {statements.shortened(statement.sql, 40)}",
                _LEAVE_IT,
            )
        if getattr(cursor.connection, "autocommit", self._outside) is not self._outside:
            now = "in a transaction inside its block" if self._outside else "on a connection in autocommit"
            raise StepFailed(f"{self.step.label} works {now}: {statements.shortened(statement.sql, 40)}", _LEAVE_IT)
        if statement.reads and self._outside and not statement.sets:
            self._ask_alone(cursor, statement, execute)
        elif statement.reads:
            self._run_inside(cursor, statement, execute)
        elif self._was_done(statement):
            return
        elif self._outside:
            self._run_in_block(cursor, statement, execute)
        else:
            self._run_inside(cursor, statement, execute)

    def _was_done(self, statement: Statement) -> bool:
        """Count a statement; tell whether an earlier try committed it."""
        position = len(self.digests)
        self._count(statement)
        if position >= len(self.done):
            return False
        if self.done[position] != statement.digest:
            raise StepFailed(
                f"{self.step.label} was cut off after {len(self.done)} statements and edited since",
                "put the file back as it was, let it finish, and write a new revision",
            )
        return not (self._uncertain and position == len(self.done) - 1)

    def _count(self, statement: Statement) -> None:
        self.digests.append(statement.digest)
        self._texts.append(statements.masked(statement.sql))

    def _run_inside(self, cursor: Any, statement: Statement, execute: Callable[[], None]) -> None:
        # While the transaction holds no lock yet, a patient statement blocks nobody and may wait.
        patient = statement.patient and len(self.digests) == 1 and not self._outside
        if patient:
            cursor.execute(f"SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = {self._left_ms()}")
        with self._watch.statement(self.step.label, patient=patient):
            execute()
        if patient:
            self._limit(cursor.connection.cursor(), "SET LOCAL", patient=False)

    def _run_in_block(self, cursor: Any, statement: Statement, execute: Callable[[], None]) -> None:
        """Run one statement of an autocommit block: in a transaction of its own, unless PostgreSQL takes it in none."""
        maybe_done = len(self.digests) == len(self.done) and self._uncertain
        kind = statement.outside or (outside_transaction.UNKNOWN if maybe_done else None)
        if kind:
            self._foresee(cursor, statement, kind)
        if maybe_done or (kind and not kind.sometimes):
            self._run_outside(cursor, statement, execute, maybe_done=maybe_done)
            return
        try:
            self._run_alone(cursor, statement, execute)
        except Exception as error:
            if sqlstate(error) not in outside_transaction.REFUSES_A_TRANSACTION or statement.several:
                raise
            if not kind:
                self._foresee(cursor, statement, outside_transaction.UNKNOWN)
            self._run_outside(cursor, statement, execute, maybe_done=False)

    def _ask_alone(self, cursor: Any, statement: Statement, execute: Callable[[], None]) -> None:
        """Run a SELECT of an autocommit block: the functions that it calls may do whatever other statements do.

        One that only read is asked again by a run that goes on; one that wrote is done once, as any other.
        """
        place = len(self.digests)
        if self.done[place : place + 1] == (statement.digest,):
            self._count(statement)
        else:
            self._run_alone(cursor, statement, execute)

    def _run_alone(self, cursor: Any, statement: Statement, execute: Callable[[], None]) -> None:
        """Run one statement in a transaction of its own, with the guard's and the ledger's word on it."""
        ours = cursor.connection.cursor()  # the statement's own cursor keeps its rows
        ours.execute("BEGIN")
        try:
            self._limit(ours, "SET LOCAL", patient=statement.patient)
            with self._watch.statement(self.step.label, patient=statement.patient):
                execute()
            with self.paused():
                wrote = self._session.as_at_the_start()
                if statement.reads and wrote and not statement.locks_rows:
                    self._count(statement)
                if wrote:
                    self._judge.check(self._session.context.connection, self.step)
                if wrote or not statement.reads:
                    ledger.mark_done(ours, self.row or 0, self.digests)
            ours.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):  # on a lost connection the server has done it
                ours.execute("ROLLBACK")
            raise
        self._kept = max(self._kept, len(self.digests))

    def _foresee(self, cursor: Any, statement: Statement, kind: Kind) -> None:
        """Have a statement judged that cannot be tried: a transaction only asks."""
        if kind.takes is outside_transaction.Takes.NOTHING:
            return
        ours = cursor.connection.cursor()
        ours.execute("BEGIN")
        try:
            self._limit(ours, "SET LOCAL", patient=False)
            with self.paused():
                foreseen = foresight.look(ours, statement, kind)
                self._session.as_at_the_start()
                self._judge.foresee(self._session.context.connection, self.step, foreseen)
        finally:
            with contextlib.suppress(Exception):
                ours.execute("ROLLBACK")

    def _run_outside(self, cursor: Any, statement: Statement, execute: Callable[[], None], *, maybe_done: bool) -> None:
        """Run what PostgreSQL takes in no transaction; the ledger knows it as uncertain while it runs."""
        self._limit(cursor, "SET", patient=statement.patient)
        rubble = Rubble(statement)
        if maybe_done:
            rubble.clear(cursor)
        self._require_valid(cursor, statement.creates_index)
        rubble.look(cursor)
        ledger.mark_statement(self._means.control, self.row or 0, self.digests, uncertain=True)
        try:
            with self._watch.statement(self.step.label, patient=statement.patient):
                execute()
        except Exception as error:
            if not (maybe_done and sqlstate(error) in ALREADY_DONE):
                self._clear_away(cursor, rubble)
                raise
        ledger.mark_statement(self._means.control, self.row or 0, self.digests, uncertain=False)
        self._kept = max(self._kept, len(self.digests))

    def _limit(self, cursor: Any, how: str, *, patient: bool) -> None:
        # Beyond the watch, which cancels at the deadline, the server itself ends a patient statement a little later.
        lock_ms, statement_ms = (0, self._left_ms() + 5000) if patient else (self.try_ms, self.statement_ms())
        cursor.execute(f"{how} lock_timeout = {lock_ms}; {how} statement_timeout = {statement_ms}")

    def _clear_away(self, cursor: Any, rubble: Rubble) -> None:
        """After a failed statement: the half-built index of its making goes, and then it is known not to be done."""
        with contextlib.suppress(Exception):  # the error under way is the one to report; the next run clears away
            cursor.execute(f"SET lock_timeout = {CLEAR_MS}; SET statement_timeout = {CLEAR_MS}")
            rubble.clear(cursor)
            ledger.mark_statement(self._means.control, self.row or 0, self.digests[:-1], uncertain=False)

    def _require_valid(self, cursor: Any, index: str | None) -> None:
        if index and is_valid(cursor, index) is False:
            raise StepFailed(
                f"{self.step.label}: index {index} exists but is INVALID (a build of it was cut off earlier)",
                f"DROP INDEX CONCURRENTLY {index}; then run again",
            )

    def _mark(self, connection: Any) -> None:
        if self.row is None:
            self.row = ledger.mark_started(
                connection, self._means.run, self.step.revision, self.step.direction, self.step.seal, self.digests
            )
        elif len(self.digests) > len(self.done):
            ledger.mark_cursor(connection, self.row, self.digests)

    def _left_ms(self) -> int:
        return max(1, int(self._means.deadline.left() * 1000))

    def statement_ms(self) -> int:
        """Return how long one statement that blocks clients may run now."""
        return min(self._means.settings.statement_timeout_ms or self._left_ms(), self._left_ms())

"""Statement runner: run one statement of a revision under its limits, have it judged, and note it in the ledger.

Outside of the revision's transaction each statement gets one of its own, which the guard checks and which writes into
the ledger that the statement is done. What PostgreSQL takes in no transaction is judged before it runs, and is
uncertain after a kill.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from lockstep.errors import StepFailed
from lockstep.ledger import steps
from lockstep.postgres import outside_transaction
from lockstep.upgrade import foresight
from lockstep.upgrade.invalid_indexes import LeftBehind, is_valid
from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.ledger.run_context import Run
    from lockstep.postgres.outside_transaction import Kind
    from lockstep.postgres.session import Session
    from lockstep.postgres.statements import Statement
    from lockstep.project.plan import Step
    from lockstep.upgrade.foresight import Foreseen
    from lockstep.upgrade.statement_cursor import StatementCursor
    from lockstep.upgrade.statement_watch import Watch

CLEAR_MS = 1000  # an index that is still read is left to the next run
# What the server says when the uncertain statement of a run that was cut off had been done after all:
# duplicate table (an index is one), object, column, schema; undefined table (an index), object, column.
ALREADY_DONE = {
    sqlstate.DUPLICATE_TABLE, sqlstate.DUPLICATE_OBJECT, sqlstate.DUPLICATE_COLUMN, sqlstate.DUPLICATE_SCHEMA,
    sqlstate.UNDEFINED_TABLE, sqlstate.UNDEFINED_OBJECT, sqlstate.UNDEFINED_COLUMN,
}  # fmt: skip


class Judge(Protocol):
    """Who speaks for the live releases; both raise Deferred where one would lose something."""

    def check(self, connection: Any, step: Step) -> None:
        """Judge what the transaction has done so far, before it commits."""

    def foresee(self, connection: Any, step: Step, foreseen: Foreseen) -> None:
        """Judge a statement that cannot be taken back, before it runs."""


class StatementRunner:
    """Runs the statements of one try of one step."""

    def __init__(
        self,
        step: Step,
        cursor: StatementCursor,
        run: Run,
        session: Session,
        watch: Watch,
        try_ms: int,
        judge: Judge,
    ) -> None:
        """Take the step, how far it is, and what the run works with."""
        self.try_ms, self._step, self._at = try_ms, step, cursor
        self._run, self._session, self._watch, self._judge = run, session, watch, judge

    def renew_limits(self) -> bool:
        """Set the limits of a try for the transaction that runs; tell whether it is still the same."""
        return self._session.limit(self.try_ms, self.statement_ms())

    def run_inside(self, cursor: Any, statement: Statement, execute: Callable[[], None], *, outside: bool) -> None:
        """Run a statement in the transaction that is there, or one that only sets something."""
        # While the transaction holds no lock yet, a patient statement blocks nobody and may wait.
        patient = statement.patient and len(self._at.digests) == 1 and not outside
        if patient:
            cursor.execute(f"SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = {self._left_ms()}")
        with self._watch.statement(self._step.label, patient=patient):
            execute()
        if patient:
            self._limit(cursor.connection.cursor(), "SET LOCAL", patient=False)

    def run_in_block(self, cursor: Any, statement: Statement, execute: Callable[[], None]) -> None:
        """Run one statement of an autocommit block: in a transaction of its own, unless PostgreSQL takes it in none."""
        maybe_done = self._at.maybe_done
        kind = statement.outside or (outside_transaction.UNKNOWN if maybe_done else None)
        if kind:
            self._foresee(cursor, statement, kind)
        if maybe_done or (kind and not kind.sometimes):
            self._run_outside(cursor, statement, execute, maybe_done=maybe_done)
            return
        try:
            self._run_alone(cursor, statement, execute)
        except Exception as error:
            if sqlstate.of(error) not in outside_transaction.REFUSES_A_TRANSACTION or statement.several:
                raise
            if not kind:
                self._foresee(cursor, statement, outside_transaction.UNKNOWN)
            self._run_outside(cursor, statement, execute, maybe_done=False)

    def ask_alone(self, cursor: Any, statement: Statement, execute: Callable[[], None]) -> None:
        """Run a SELECT of an autocommit block: the functions that it calls may do whatever other statements do.

        One that only read is asked again by a run that goes on; one that wrote is done once, as any other.
        """
        if not self._at.was_written_by(statement):
            self._run_alone(cursor, statement, execute)

    def _run_alone(self, cursor: Any, statement: Statement, execute: Callable[[], None]) -> None:
        """Run one statement in a transaction of its own, which the guard checks and the ledger notes."""
        ours = cursor.connection.cursor()  # the statement's own cursor keeps its rows
        ours.execute("BEGIN")
        try:
            self._limit(ours, "SET LOCAL", patient=statement.patient)
            with self._watch.statement(self._step.label, patient=statement.patient):
                execute()
            wrote = self._session.as_at_the_start()
            counts = not statement.reads
            if statement.reads and wrote and not statement.locks_rows and self._at.is_beyond_the_done:
                self._at.count(statement)
                counts = True
            if wrote:
                self._judge.check(self._session.context.connection, self._step)
            if counts:
                steps.mark_done(ours, self._at.row or 0, self._at.digests)
            ours.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):  # on a lost connection the server has done it
                ours.execute("ROLLBACK")
            raise
        self._at.keep()

    def _foresee(self, cursor: Any, statement: Statement, kind: Kind) -> None:
        """Have a statement judged that cannot be tried: a transaction only asks."""
        if kind.takes is outside_transaction.Takes.NOTHING:
            return
        ours = cursor.connection.cursor()
        ours.execute("BEGIN")
        try:
            self._limit(ours, "SET LOCAL", patient=False)
            foreseen = foresight.look(ours, statement, kind)
            self._session.as_at_the_start()
            self._judge.foresee(self._session.context.connection, self._step, foreseen)
        finally:
            with contextlib.suppress(Exception):
                ours.execute("ROLLBACK")

    def _run_outside(self, cursor: Any, statement: Statement, execute: Callable[[], None], *, maybe_done: bool) -> None:
        """Run what PostgreSQL takes in no transaction; the ledger knows it as uncertain while it runs."""
        self._limit(cursor, "SET", patient=statement.patient)
        left = LeftBehind(statement)
        if maybe_done:
            left.clear(cursor)
        self._require_valid(cursor, statement.creates_index)
        left.look(cursor)
        steps.mark_statement(self._run.control, self._at.row or 0, self._at.digests, uncertain=True)
        try:
            with self._watch.statement(self._step.label, patient=statement.patient):
                execute()
        except Exception as error:
            if not (maybe_done and sqlstate.of(error) in ALREADY_DONE):
                self._clear_away(cursor, left)
                raise
        steps.mark_statement(self._run.control, self._at.row or 0, self._at.digests, uncertain=False)
        self._at.keep()

    def _limit(self, cursor: Any, how: str, *, patient: bool) -> None:
        # Beyond the watch, which cancels at the deadline, the server itself ends a patient statement a little later.
        lock_ms, statement_ms = (0, self._left_ms() + 5000) if patient else (self.try_ms, self.statement_ms())
        cursor.execute(f"{how} lock_timeout = {lock_ms}; {how} statement_timeout = {statement_ms}")

    def _clear_away(self, cursor: Any, left: LeftBehind) -> None:
        """After a failed statement, drop the index that it left half-built; then it is known not to be done."""
        with contextlib.suppress(Exception):  # the error under way is the one to report; the next run clears away
            cursor.execute(f"SET lock_timeout = {CLEAR_MS}; SET statement_timeout = {CLEAR_MS}")
            left.clear(cursor)
            steps.mark_statement(self._run.control, self._at.row or 0, self._at.digests[:-1], uncertain=False)

    def _require_valid(self, cursor: Any, index: str | None) -> None:
        if index and is_valid(cursor, index) is False:
            raise StepFailed(
                f"{self._step.label}: index {index} exists but is INVALID (a build of it was cut off earlier)",
                f"DROP INDEX CONCURRENTLY {index}; then run again",
            )

    def _left_ms(self) -> int:
        return max(1, int(self._run.deadline.left() * 1000))

    def statement_ms(self) -> int:
        """Return how long one statement that blocks clients may run now."""
        return min(self._run.settings.statement_timeout_ms or self._left_ms(), self._left_ms())

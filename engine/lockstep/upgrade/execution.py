"""Execution: run one revision's statements, each under the right limits, so that they can be resumed after a cut.

Inside the revision's transaction PostgreSQL itself gives all or nothing. In an `autocommit_block` each statement gets
a transaction of its own, which the guard checks and which writes into the ledger that the statement is done. A
statement that PostgreSQL takes in no transaction is judged before it runs; after a kill only that one is uncertain.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any

from lockstep.errors import Busy, MigratorError, StepFailed
from lockstep.postgres import statements
from lockstep.project import early_commit
from lockstep.upgrade.statement_cursor import StatementCursor
from lockstep.upgrade.statement_runner import StatementRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lockstep.ledger.run_context import Run
    from lockstep.ledger.steps import Entry
    from lockstep.postgres.session import Session
    from lockstep.postgres.statements import Statement
    from lockstep.project.plan import Step
    from lockstep.upgrade.statement_runner import Judge
    from lockstep.upgrade.statement_watch import Watch

_LEAVE_IT = "leave COMMIT and ROLLBACK to the runner; work outside a transaction goes into autocommit_block()"


class Execution:
    """The statements of one try of one revision; `at` is how far it is."""

    def __init__(
        self, step: Step, before: Entry | None, run: Run, session: Session, watch: Watch, try_ms: int, judge: Judge
    ) -> None:
        """Take the step, what the ledger holds of it, and what the run works with."""
        self.step, self.try_ms, self.at = step, try_ms, StatementCursor(step, before)
        self._run, self._session, self._judge = run, session, judge
        self._runner = StatementRunner(step, self.at, run, session, watch, try_ms, judge)
        self._active = False
        self._outside = False
        self._stopped: MigratorError | None = None  # what a revision that catches all errors must not get past
        self._early = early_commit.EarlyCommit()
        self._left = False  # the transaction that the try began has been ended for an autocommit block

    def statement_ms(self) -> int:
        """Return how long one statement that blocks clients may run now."""
        return self._runner.statement_ms()

    @contextlib.contextmanager
    def inside(self, alembic_step: Any) -> Iterator[None]:
        """Count and guard what the revision's own function runs, and nothing that Alembic adds around it."""
        migrate = alembic_step.migration_fn

        @functools.wraps(migrate)
        def counted(**arguments: Any) -> None:
            self._active = True
            try:
                with self._early.left_out(self._session.context.connection, lambda: self._active and not self._outside):
                    returned = migrate(**arguments)
                if hasattr(returned, "close"):  # a generator or a coroutine: nothing of it ran
                    returned.close()
                    raise StepFailed(
                        f"{self.step.label} did not run: its function yields or is async", "make it a plain function"
                    )
                if self._stopped:
                    raise self._stopped
                with self.paused():  # a role or a search path that it set is not for what Alembic and the ledger write
                    if not self._runner.renew_limits():
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
        self._early.asked = ""
        with self.paused():
            if ended := self.committed():
                raise ended
            self._session.as_at_the_start()
            self._judge.check(context.connection, self.step)  # what was done so far is committed here
            self.at.mark(context.connection, self._run)
            self._left = True
            block.__enter__()
            self.at.keep()
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
            self._runner.renew_limits()
        self._left = False

    def committed(self) -> StepFailed | None:
        """Return the error for a revision that has ended its transaction unknown to SQLAlchemy; None for any other."""
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
        self._run.interrupt.check()
        if self._run.deadline.passed:
            raise Busy(
                f"{self.step.label}: the deadline of the run has passed", "give the run more time with --deadline"
            )
        if early_commit.is_one(statement.sql):
            self._early.asked = "" if self._outside else statements.shortened(statement.sql, 40)
            return
        if self._early.asked and not self._outside and not statement.reads:
            raise StepFailed(
                f"{self.step.label} ends the transaction itself and goes on: {self._early.asked}", _LEAVE_IT
            )
        if statement.ends_transaction:
            raise StepFailed(
                f"{self.step.label} ends the transaction itself: {statements.shortened(statement.sql, 40)}",
                _LEAVE_IT,
            )
        if getattr(cursor.connection, "autocommit", self._outside) is not self._outside:
            now = "in a transaction inside its block" if self._outside else "on a connection in autocommit"
            raise StepFailed(f"{self.step.label} works {now}: {statements.shortened(statement.sql, 40)}", _LEAVE_IT)
        with self.paused():  # what is asked on the way is not the revision's
            if statement.reads and self._outside and not statement.sets:
                self._runner.ask_alone(cursor, statement, execute)
            elif not statement.reads and self.at.was_done(statement):
                return
            elif self._outside and not statement.reads:
                self._runner.run_in_block(cursor, statement, execute)
            else:
                self._runner.run_inside(cursor, statement, execute, outside=self._outside)

"""Statement cursor: count a revision's statements as they come, and leave out those that an earlier run has done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.errors import StepFailed
from lockstep.ledger import steps
from lockstep.postgres import statements

if TYPE_CHECKING:
    from lockstep.ledger.run_context import Run
    from lockstep.ledger.steps import Entry
    from lockstep.postgres.statements import Statement
    from lockstep.project.plan import Step


class StatementCursor:
    """How far one try of one revision is. `done` are the digests that a try before committed."""

    def __init__(self, step: Step, before: Entry | None) -> None:
        """Take the step, and what the ledger holds of it."""
        resumes = before is not None and before.state == "started" and before.direction == step.direction
        self._step = step
        self.row: int | None = before.id if before and resumes else None
        self.done: tuple[str, ...] = before.digests if before and resumes else ()
        self._uncertain = bool(before and resumes and before.uncertain)
        self.digests: list[str] = []
        self._texts: list[str] = []  # of the same statements
        self._kept = len(self.done) - self._uncertain

    @property
    def kept(self) -> tuple[str, ...]:
        """The statements that are committed, also where the rest is rolled back; literals left out."""
        return tuple(self._texts[: self._kept])

    @property
    def maybe_done(self) -> bool:
        """Tell whether the statement that was counted last is the one that a cut left uncertain."""
        return self._uncertain and len(self.digests) == len(self.done)

    @property
    def is_beyond_the_done(self) -> bool:
        """Tell whether all that an earlier try committed was met again."""
        return len(self.digests) >= len(self.done)

    def count(self, statement: Statement) -> None:
        """Take one statement more."""
        self.digests.append(statement.digest)
        self._texts.append(statements.without_literals(statement.sql))

    def was_done(self, statement: Statement) -> bool:
        """Count a statement; tell whether an earlier try committed it."""
        position = len(self.digests)
        self.count(statement)
        if position >= len(self.done):
            return False
        if self.done[position] != statement.digest:
            raise StepFailed(
                f"{self._step.label} was cut off after {len(self.done)} statements and edited since",
                "put the file back as it was, let it finish, and write a new revision",
            )
        return not self.maybe_done

    def was_written_by(self, statement: Statement) -> bool:
        """Tell whether an earlier try committed this SELECT, which wrote; if so, count it."""
        found = self.done[len(self.digests) : len(self.digests) + 1] == (statement.digest,)
        if found:
            self.count(statement)
        return found

    def keep(self) -> None:
        """Note that all that was counted is committed."""
        self._kept = max(self._kept, len(self.digests))

    def mark(self, connection: Any, run: Run) -> None:
        """Write, in the transaction that is about to be committed, which statements it holds."""
        if self.row is None:
            step = self._step
            self.row = steps.mark_started(connection, run.id, step.revision, step.direction, step.seal, self.digests)
        elif len(self.digests) > len(self.done):
            steps.mark_cursor(connection, self.row, self.digests)

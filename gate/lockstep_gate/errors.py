"""Errors: everything that Lockstep says no with, each with its cure and its exit code.

LockstepError
  Usage         2   wrong usage or settings
  Refused       1   a check did not hold
  Busy          3   a lock was not got in time
  StepFailed    4   a revision failed
  Unreachable   5   the database cannot be reached
    Exhausted   5   this machine has no files or memory left for it
  Interrupted 130/143   SIGINT or SIGTERM; 129 SIGHUP

Anything else that reaches the top is a bug of ours: exit 70.
"""

from __future__ import annotations

from lockstep_gate import exits
from lockstep_gate.masking import masked


class LockstepError(Exception):
    """An expected error; never raised itself. `message` says what is wrong, `cure` what to do."""

    code = exits.BUG.code
    word = "error"
    again = exits.AFTER_A_CHANGE

    def __init__(self, message: str, cure: str = "", *, details: tuple[str, ...] = ()) -> None:
        """Hold one line of message, one line of cure, and any further lines for people."""
        super().__init__(masked(message))
        self.message = masked(message)
        self.cure = masked(cure)
        self.details = tuple(map(masked, details))
        self.kept: tuple[str, ...] = ()  # statements of the revision that stay, where it has left its transaction

    def __str__(self) -> str:
        """Return message and cure in one line, as the stock Alembic command prints it."""
        return f"{self.message}. {self.cure}" if self.cure else self.message


class Usage(LockstepError):
    """Wrong usage or settings."""

    code, word, again = exits.USAGE.code, exits.USAGE.word, exits.USAGE.again


class Refused(LockstepError):
    """A check did not hold: contract, drift, edited revision, unsafe change."""

    code, word, again = exits.REFUSED.code, exits.REFUSED.word, exits.REFUSED.again


class Busy(LockstepError):
    """The run lock or the lock timeouts were not got in time."""

    code, word, again = exits.BUSY.code, exits.BUSY.word, exits.BUSY.again


class StepFailed(LockstepError):
    """A revision failed and was rolled back; what was applied before it stays."""

    code, word, again = exits.FAILED.code, exits.FAILED.word, exits.FAILED.again


class Unreachable(LockstepError):
    """The database cannot be reached, or was lost on the way."""

    code, word, again = exits.UNREACHABLE.code, exits.UNREACHABLE.word, exits.UNREACHABLE.again


class Exhausted(Unreachable):
    """This machine has no files, memory or disk left for the run."""


class Interrupted(LockstepError):
    """SIGINT, SIGTERM or SIGHUP: rolled back, lock released."""

    word, again = exits.TERMINATED.word, exits.TERMINATED.again

    def __init__(self, signum: int, message: str = "") -> None:
        """Take the signal's number; the exit code is 128 plus it."""
        super().__init__(message or f"stopped by signal {signum}; what was running was rolled back")
        self.code = exits.of_signal(signum)

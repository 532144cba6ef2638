"""Errors: everything the migrator says no with, each with its cure and its exit code.

MigratorError
  Usage         2   wrong usage or settings
  Refused       1   a check did not hold
    Deferred    1   a revision would break a live release (rolls back one revision)
  Busy          3   a lock was not got in time
  StepFailed    4   a revision failed
  Unreachable   5   the database cannot be reached
    Exhausted   5   this machine has no files or memory left for it
  Interrupted 130/143   SIGINT or SIGTERM; 129 SIGHUP

Anything else that reaches the top is a bug of ours: exit 70.
"""

from __future__ import annotations

import re

EXIT_DONE = 0
EXIT_BUG = 70

AGAIN_AS_IT_IS = "safe to run again as it is"
AGAIN_AFTER_A_CHANGE = "run it again after that change"


# What somebody else's code puts into its error may be the database's URL.
_PASSWORD = r"(\w://[^\s:/@]*:)[^\s/]*@|(password\s*=\s*)('[^']*'|[^\s&]+)"  # noqa: S105 - what one looks like
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f]"


def masked(text: str) -> str:
    """Return a text with the passwords of URLs and connection strings taken out, fit for a terminal and a ledger."""
    text = re.sub(_CONTROL, "?", text).encode("utf-8", "backslashreplace").decode()
    return re.sub(_PASSWORD, lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", text)


class MigratorError(Exception):
    """An expected error; never raised itself. `message` says what is wrong, `cure` what to do."""

    code = EXIT_BUG
    word = "error"
    again = AGAIN_AFTER_A_CHANGE

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


class Usage(MigratorError):
    """Wrong usage or settings."""

    code = 2
    word = "usage"


class Refused(MigratorError):
    """A check did not hold: contract, drift, edited revision, unsafe change."""

    code = 1
    word = "refused"


class Busy(MigratorError):
    """The run lock or the lock timeouts were not got in time."""

    code = 3
    word = "busy"
    again = AGAIN_AS_IT_IS


class StepFailed(MigratorError):
    """A revision failed and was rolled back; what was applied before it stays."""

    code = 4
    word = "failed"


class Unreachable(MigratorError):
    """The database cannot be reached, or was lost on the way."""

    code = 5
    word = "unreachable"
    again = AGAIN_AS_IT_IS


class Exhausted(Unreachable):
    """This machine has no files, memory or disk left for the run."""


class Interrupted(MigratorError):
    """SIGINT, SIGTERM or SIGHUP: rolled back, lock released."""

    word = "interrupted"
    again = AGAIN_AS_IT_IS

    def __init__(self, signum: int, message: str = "") -> None:
        """Take the signal's number; the exit code is 128 plus it."""
        super().__init__(message or f"stopped by signal {signum}; what was running was rolled back")
        self.code = 128 + signum

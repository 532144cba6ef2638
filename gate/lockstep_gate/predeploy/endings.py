"""Endings: every way a pre-deploy can end without its yes, each with its exit code.

Ending
  Refused       1   a build, a job or a check did not hold
  Unusable      2   wrong usage or settings, a key that is not accepted
  OutOfTime     3   the deadline passed
  Failed            the job failed; the code is the migrator's where the ledger tells it
  Unreachable   5   the database or the API does not answer
"""

from __future__ import annotations

from lockstep_gate import exits


class Ending(Exception):
    """An end that is not a yes; `cure` says what to do."""

    code = exits.REFUSED.code

    def __init__(self, message: str, cure: str = "") -> None:
        """Hold one line of what happened and one of what to do."""
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.message}; {self.cure}" if self.cure else self.message


class Refused(Ending):
    """A build, a job or a check did not hold."""


class Unusable(Ending):
    """Wrong usage or settings."""

    code = exits.USAGE.code


class OutOfTime(Ending):
    """The one deadline of this command passed."""

    code = exits.BUSY.code


class Failed(Ending):
    """The job failed."""

    def __init__(self, message: str, cure: str = "", *, code: int = exits.REFUSED.code) -> None:
        """Take the migrator's own exit code, where it is known."""
        super().__init__(message, cure)
        self.code = code


class Unreachable(Ending):
    """The database or the API does not answer."""

    code = exits.UNREACHABLE.code

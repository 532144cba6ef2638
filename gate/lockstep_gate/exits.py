"""Exits: every code a command of Lockstep may end with, its word, and whether the command is safe to run again."""

from __future__ import annotations

import re
from typing import NamedTuple


class Exit(NamedTuple):
    """One way to end: the word stands first in the last line, `again` last in it."""

    code: int
    word: str
    meaning: str
    again: str


AS_IT_IS = "safe to run again as it is"
AFTER_A_CHANGE = "run it again after that change"

DONE = Exit(0, "done", "done, or nothing to do", "safe to run again")
REFUSED = Exit(1, "refused", "a check did not hold", AFTER_A_CHANGE)
USAGE = Exit(2, "usage", "wrong usage or settings", AFTER_A_CHANGE)
BUSY = Exit(3, "busy", "a lock, or the time for it, was not got", AS_IT_IS)
FAILED = Exit(4, "failed", "a revision failed", AFTER_A_CHANGE)
UNREACHABLE = Exit(5, "unreachable", "the database cannot be reached", AS_IT_IS)
BUG = Exit(70, "bug", "a bug of ours", "report it")
HANGUP = Exit(129, "interrupted", "interrupted by SIGHUP", AS_IT_IS)
INTERRUPTED = Exit(130, "interrupted", "interrupted by SIGINT", AS_IT_IS)
TERMINATED = Exit(143, "interrupted", "interrupted by SIGTERM", AS_IT_IS)

TABLE = (DONE, REFUSED, USAGE, BUSY, FAILED, UNREACHABLE, BUG, HANGUP, INTERRUPTED, TERMINATED)
_SIGNALLED = 128
_SIGNAL = r"\bsignal (\d{1,2})\b"
# How the ledger names the class of an error that nobody foresaw.
_OF_A_BUG = ("MigratorError", "LockstepError")


def of_signal(number: int) -> int:
    """Return the code of a process that a signal ended."""
    return _SIGNALLED + number


def of_run(outcome: str | None, error: str | None, message: str | None) -> int:
    """Return the exit code of a run as the ledger recorded it: its outcome's word, its error's class and message.

    A run whose end was never written may have been anything: it counts as refused.
    """
    if error in _OF_A_BUG:
        return BUG.code
    if outcome == TERMINATED.word:
        signal = re.search(_SIGNAL, message or "")
        return of_signal(int(signal[1])) if signal else TERMINATED.code
    by_word = {one.word: one.code for one in TABLE if one.code}
    return by_word.get(outcome or "", REFUSED.code)


def line(*codes: Exit) -> str:
    """Return the part of a --help that says what the codes mean."""
    return "exit codes: " + ", ".join(f"{one.code} {one.meaning}" for one in codes)

"""Signals: which of them end a run, whether one has come, and what a process does about it where nobody listens.

Python's own default for SIGTERM ends the process without a last word, and the first process of a container ignores it.
So a signal is noted from the first moment on, and whoever can act on it looks: an exception raised while modules are
being imported would be lost in some of them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


class _Process:
    """What came of signals in this process; a handler has no other place to write to."""

    asked: int | None = None
    is_over = False


def ending() -> tuple[int, ...]:
    """Return the signals that end a run; SIGHUP is none where whoever started it had it ignored, as `nohup` does."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *(() if is_ignored else (signal.SIGHUP,)))


def handle(handler: Handler) -> dict[int, object]:
    """Give the signals that end a run a handler (in the main thread); return those they had."""
    return {number: signal.signal(number, handler) for number in ending()}


def ignore() -> None:
    """Have the signals that end a run do nothing any more."""
    for number in ending():
        signal.signal(number, signal.SIG_IGN)


def asked() -> int | None:
    """Return the first signal that asked this process to end; None if none did."""
    return _Process.asked


def note(number: int, _frame: object = None) -> None:
    """Write down that a signal has come."""
    _Process.asked = _Process.asked or number


def stop(number: int, _frame: object = None) -> None:
    """Raise KeyboardInterrupt with the signal's number, as Python does for SIGINT: once, and before the last word."""
    is_first = _Process.asked is None
    note(number)
    if is_first and not _Process.is_over:
        raise KeyboardInterrupt(number)


def last_word() -> None:
    """Have `stop` raise no more: what is being said now is what came of the run."""
    _Process.is_over = True


def begin() -> None:
    """Have `stop` raise again, for the next command line of a process; one that was asked to end begins none."""
    _Process.is_over = False


def number_of(stopped: KeyboardInterrupt) -> int:
    """Return the signal that a KeyboardInterrupt came of: SIGINT where Python, or a file of the user's, raised it."""
    given = stopped.args[0] if stopped.args else None
    return given if isinstance(given, int) else int(signal.SIGINT)

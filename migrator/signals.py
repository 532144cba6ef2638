"""Signals: those that end a run, and a process that heeds them where nobody listens for them.

Python's own default for SIGTERM ends the process without a last word, and the first process of a container ignores it.
This module is part of the quick way: it imports what `signal` is made of, without the `enum` around it.
"""

import _signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]


def ending() -> tuple[int, ...]:
    """Return the signals that end a run; SIGHUP is none where whoever started it had it ignored, as `nohup` does."""
    is_ignored = _signal.getsignal(_signal.SIGHUP) == _signal.SIG_IGN
    return (_signal.SIGINT, _signal.SIGTERM, *(() if is_ignored else (_signal.SIGHUP,)))


def handle(handler: "Handler") -> dict[int, object]:
    """Give the signals that end a run a handler (in the main thread); return those they had."""
    return {number: _signal.signal(number, handler) for number in ending()}


def stop(number: int, _frame: object) -> None:
    """Raise KeyboardInterrupt with the signal's number: what Python itself does for SIGINT, but for the number."""
    raise KeyboardInterrupt(number)


def number_of(stopped: KeyboardInterrupt) -> int:
    """Return the signal that a KeyboardInterrupt came of: SIGINT where Python itself raised it."""
    return stopped.args[0] if stopped.args else int(_signal.SIGINT)

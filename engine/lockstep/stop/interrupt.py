"""Interrupt: on SIGINT, SIGTERM or SIGHUP cancel the statement that runs, and raise Interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from lockstep.errors import AGAIN_AS_IT_IS, Interrupted
from lockstep.stop import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lockstep.stop.signals import Handler

GRACE_S = 1.7  # A platform and an operator expect the job to be gone within two seconds.
# Where no run is under way: a throw-away database is dropped, and a server stopped. Docker kills after ten seconds.
LONG_GRACE_S = 8.0
CANCEL_EVERY_S = 0.1
TELL_S = 0.2
ROLLED_BACK = "the server rolls back"
MAY_BE_LEFT = "a throw-away database may be left, what was done stays"


class Interrupt:
    """Whether the run was asked to stop, and the one sleep that wakes when it is."""

    def __init__(self, grace_s: float | None = None, forced: str = ROLLED_BACK) -> None:
        """Start with nothing asked; `forced` says what a run that does not end within the grace time leaves behind."""
        self.grace_s, self.forced = GRACE_S if grace_s is None else grace_s, forced
        self.signum: int | None = None
        self.cancel: Callable[[], object] = lambda: None
        self._asked = threading.Event()
        self._over = threading.Event()

    def note(self, signum: int) -> None:
        """Write down that the run was asked to stop: a handler may do no more.

        What it interrupts may be the sleep, and hold the lock that waking it takes.
        """
        self.signum = self.signum or signum

    def ask(self, signum: int) -> None:
        """Ask the run to stop, and wake it."""
        self.note(signum)
        self._asked.set()

    def check(self) -> None:
        """Raise Interrupted if the run was asked to stop."""
        if self.signum:
            self.cancel = lambda: None  # all that still runs is taking back and letting go
            raise Interrupted(self.signum)

    def instead_of(self, error: BaseException) -> BaseException:
        """Return Interrupted where an error is only what a cancelled statement said; else the error itself."""
        if not self.signum or isinstance(error, Interrupted):
            return error
        return Interrupted(self.signum)

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise Interrupted as soon as the run is asked to stop."""
        self._asked.wait(max(0.0, seconds))
        self.check()

    def _follow(self, wakeup: int) -> None:
        """Wake the run and have what runs cancelled; leave by force when the grace time ends.

        A thread of its own: psycopg2 waits in C, where Python's own signal handlers do not run. Leaving by
        force is safe at any point: the server rolls back what is open and the session's lock goes with it.
        """
        number, ending = 0, signals.ending()
        while number not in ending:  # a revision or env.py may handle others
            data = os.read(wakeup, 1)
            if not data or self._over.is_set():
                return
            number = data[0]
        self.ask(number)
        threading.Thread(target=self._cancel, daemon=True, name="cancel").start()
        if self._over.wait(self.grace_s):
            return
        leave(128 + number, f"interrupted: left by force after {self.grace_s:g} s; {self.forced}")

    def _cancel(self) -> None:
        """Cancel what runs until the run is over; on a thread of its own too: a network that is cut answers nothing."""
        while not self._over.is_set():
            with contextlib.suppress(Exception):
                self.cancel()
            self._over.wait(CANCEL_EVERY_S)


def leave(code: int, words: str) -> None:
    """End the process by force; say these words before, if somebody reads them.

    They are said on a thread of its own: what the run waits for may be a pipe that is full.
    """

    def tell() -> None:
        with contextlib.suppress(Exception):  # the process's own: a models file that is being loaded has another
            print(f"{words} (exit {code}; {AGAIN_AS_IT_IS})", file=sys.__stderr__, flush=True)

    try:
        speaker = threading.Thread(target=tell, daemon=True, name="last word")
        speaker.start()
        speaker.join(TELL_S)
    finally:
        os._exit(code)


@contextlib.contextmanager
def listening(interrupt: Interrupt) -> Iterator[Interrupt]:
    """Turn signals into a request on `interrupt` while the block runs (in the main thread; else do nothing).

    One that came before counts, and one that the block had no time to act on is noted for what comes after.
    """
    try:
        with _heard(interrupt, lambda number, _frame: interrupt.note(number)):
            if _is_main() and (number := signals.asked()):
                interrupt.ask(number)
            yield interrupt
    finally:
        if interrupt.signum:
            signals.note(interrupt.signum)


@contextlib.contextmanager
def heeding() -> Iterator[None]:
    """Turn signals into a KeyboardInterrupt while the block runs, wherever nobody in it is `listening`.

    One that came before is raised at once.
    """
    with _heard(Interrupt(LONG_GRACE_S, MAY_BE_LEFT), signals.stop):
        signals.begin()
        try:
            heed()
            yield
        finally:
            signals.last_word()


def heed() -> None:
    """Raise KeyboardInterrupt if a signal was noted: for what goes on after a block that listened."""
    if _is_main() and (number := signals.asked()):
        raise KeyboardInterrupt(number)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _heard(interrupt: Interrupt, handler: Handler) -> Iterator[None]:
    if not _is_main():
        yield
        return
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    # First, so that none is noted by the handler and wakes nobody.
    previous = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    handlers = signals.handle(handler)
    thread = threading.Thread(target=interrupt._follow, args=(ours,), daemon=True, name="interrupt")  # noqa: SLF001
    thread.start()
    try:
        yield
    finally:
        interrupt._over.set()  # noqa: SLF001
        signal.set_wakeup_fd(previous)
        for number, before in handlers.items():
            signal.signal(number, before)  # type: ignore[arg-type]
        if interrupt.signum and previous >= 0:  # whoever listens around this is to see the end of it too
            with contextlib.suppress(OSError):
                os.write(previous, bytes([interrupt.signum]))
        os.close(theirs)
        thread.join()
        os.close(ours)

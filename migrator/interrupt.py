"""Interrupt: SIGINT, SIGTERM and SIGHUP in, the running statement cancelled and an Interrupted raised."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from migrator import signals
from migrator.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.signals import Handler

GRACE_S = 1.7  # A platform and an operator expect the job to be gone within two seconds.
CANCEL_EVERY_S = 0.1
FORCED = f"interrupted: left by force after {GRACE_S} s; the server rolls back; safe to run again"


class Interrupt:
    """Whether the run was asked to stop, and the one sleep that wakes when it is."""

    def __init__(self) -> None:
        """Start with nothing asked."""
        self.signum: int | None = None
        self.cancel: Callable[[], object] = lambda: None
        self._asked = threading.Event()
        self._over = threading.Event()

    def ask(self, signum: int) -> None:
        """Ask the run to stop, as a signal does."""
        self.signum = self.signum or signum
        self._asked.set()

    def check(self) -> None:
        """Raise Interrupted if the run was asked to stop."""
        if self._asked.is_set():
            self.cancel = lambda: None  # nothing runs any more but what takes back and lets go
            raise Interrupted(self.signum or signal.SIGTERM)

    def instead_of(self, error: BaseException) -> BaseException:
        """Return Interrupted where an error is only what a cancelled statement said; else the error itself."""
        if not self._asked.is_set() or isinstance(error, Interrupted):
            return error
        return Interrupted(self.signum or signal.SIGTERM)

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise Interrupted as soon as the run is asked to stop."""
        self._asked.wait(max(0.0, seconds))
        self.check()

    def _follow(self, wakeup: int) -> None:
        """Cancel what runs until the run is over; leave by force when the grace time ends.

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
        end = time.monotonic() + GRACE_S
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                self.cancel()
            if self._over.wait(CANCEL_EVERY_S):
                return
        with contextlib.suppress(Exception):  # the process's own: a models file that is being loaded has another
            print(FORCED, file=sys.__stderr__, flush=True)
        os._exit(128 + number)


@contextlib.contextmanager
def listening(interrupt: Interrupt) -> Iterator[Interrupt]:
    """Turn signals into a request on `interrupt` while the block runs (in the main thread; else do nothing)."""
    with _heard(interrupt, lambda number, _frame: interrupt.ask(number)):
        yield interrupt


@contextlib.contextmanager
def heeding() -> Iterator[None]:
    """Turn signals into a KeyboardInterrupt while the block runs, wherever nobody in it is `listening`."""
    with _heard(Interrupt(), signals.stop):
        yield


@contextlib.contextmanager
def _heard(interrupt: Interrupt, handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    handlers = signals.handle(handler)
    previous = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    thread = threading.Thread(target=interrupt._follow, args=(ours,), daemon=True, name="interrupt")  # noqa: SLF001
    thread.start()
    try:
        yield
    finally:
        interrupt._over.set()  # noqa: SLF001
        signal.set_wakeup_fd(previous)
        for number, before in handlers.items():
            signal.signal(number, before)  # type: ignore[arg-type]
        os.close(theirs)
        thread.join()
        os.close(ours)

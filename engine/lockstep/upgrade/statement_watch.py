"""Statement watch: while a statement runs, see who blocks it and how far it is, and cancel it at the deadline.

It is a thread of its own on the control connection, for the migrating connection is busy with the statement.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from typing import TYPE_CHECKING

from lockstep.postgres import blockers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lockstep.postgres.blockers import Blocked
    from lockstep.postgres.control import Control
    from lockstep.stop.deadline import Deadline

QUIET_S = 0.0015  # most DDL is over by then and costs no look
CLOSE_S = 0.1  # so long it looks back to back: a try is over after a few milliseconds
FAR_S = 0.25
TELL_AFTER_S = 1.0
TELL_EVERY_S = 10.0

_PROGRESS = """
SELECT phase, lockers_done, lockers_total, blocks_done, blocks_total, tuples_done, tuples_total
  FROM pg_stat_progress_create_index WHERE pid = %s"""


class Watch:
    """Looks at the statement that runs; `blocked` is what it was last seen waiting for."""

    def __init__(self, control: Control, pid: int, deadline: Deadline, tell: Callable[[str], None]) -> None:
        """Start the thread, idle."""
        self.blocked: Blocked | None = None
        self.hit_deadline = False
        self._control, self._pid, self._deadline, self._tell = control, pid, deadline, tell
        self._condition = threading.Condition()
        self._running: tuple[str, float, bool] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._loop, daemon=True, name="watch")
        self._thread.start()

    @contextlib.contextmanager
    def statement(self, label: str, *, patient: bool) -> Iterator[None]:
        """Watch while the block runs one statement."""
        self.blocked, self.hit_deadline = None, False
        with self._condition:
            self._running = (label, time.monotonic(), patient)
            self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._running = None
                self._condition.notify()

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout=5)

    def _loop(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._running or self._closed)
                current = self._running
                if self._closed:
                    return
                over = self._condition.wait_for(functools.partial(self._moved_on, current), QUIET_S)
            if not over and current:
                with contextlib.suppress(Exception):  # the statement itself reports a lost connection
                    self._follow(current)

    def _moved_on(self, current: tuple[str, float, bool] | None) -> bool:
        return self._running is not current

    def _follow(self, current: tuple[str, float, bool]) -> None:
        label, start, patient = current
        next_word = start + TELL_AFTER_S
        while self._running is current:
            blocked = blockers.look(self._control, self._pid)
            if blocked and self._running is current:
                self.blocked = blocked
            elapsed = time.monotonic() - start
            if time.monotonic() >= next_word:
                self._tell(f"working    {label}   {elapsed:.0f} s{self._how_far(blocked)}")
                next_word += TELL_EVERY_S
            if patient and self._deadline.passed and self._running is current:
                self.hit_deadline = True
                self._control.rows("SELECT pg_cancel_backend(%s)", (self._pid,))
            with self._condition:
                pause = 0.0005 if elapsed < CLOSE_S else min(FAR_S, self._deadline.left() + 0.01)
                self._condition.wait_for(lambda: self._running is not current, pause)

    def _how_far(self, blocked: Blocked | None) -> str:
        if blocked:
            return f", waits for {blocked}"
        for phase, lockers, all_lockers, blocks, all_blocks, tuples, all_tuples in self._control.rows(
            _PROGRESS, (self._pid,)
        ):
            for done, total, unit in (
                (blocks, all_blocks, "blocks"), (tuples, all_tuples, "rows"),
                (lockers, all_lockers, "older transactions"),
            ):  # fmt: skip
                if total:
                    return f", {phase}: {done} of {total} {unit} ({100 * done // total} %)"
            return f", {phase}"
        return ""

"""Watchdog: cut all connections of a run that is still not over half a minute after its deadline.

At the deadline the server itself ends every statement of ours. Who still waits for an answer then waits for a server
that hangs or a pooler that is paused. libpq does so for as long as the other end keeps the connection, which may be for
good. To each stage a connection that is cut is a lost one, and it says so in its own words. Where the run is not over
even then, it waits for a revision's own Python, or for a pipe that nobody reads, and the process leaves by force.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

from lockstep.errors import Busy, MigratorError, Unreachable
from lockstep.stop import interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.stop.deadline import Deadline

PATIENCE_S = 30.0  # longer than what comes after the deadline takes: what is open rolled back, the run's end written
CUTS, AGAIN_S = 2, 5.0  # what is left to do after a cut is to say so
_CURE = "set a time limit for what the revision's Python waits for, or give the run more time with --deadline"
# No WeakSet: its callbacks are Python, and an exception that a signal raises in one is lost. A run has a few dozen.
_ours: list[weakref.ref] = []


def note(connection: object) -> None:
    """Remember a driver's connection as one of this process's, for as long as somebody uses it."""
    with contextlib.suppress(TypeError):  # another driver's may not be one that can be remembered
        _ours.append(weakref.ref(connection))


def knows(connection: Any) -> bool:
    """Tell whether a driver's connection is one that was noted."""
    return any(reference() is connection for reference in tuple(_ours))


@contextlib.contextmanager
def bounded(deadline: Deadline) -> Iterator[None]:
    """Cut what is noted where the block is not over in time; the Unreachable that comes of it says so."""
    over, has_cut = threading.Event(), threading.Event()

    def watch() -> None:
        if over.wait(deadline.left() + PATIENCE_S):
            return
        has_cut.set()
        for _ in range(CUTS):  # whoever goes on with another connection is cut again
            _cut()
            if over.wait(AGAIN_S):
                return
        after = f"{PATIENCE_S + CUTS * AGAIN_S:g} s after the deadline"
        interrupt.leave(Busy.code, f"{Busy.word}: left by force {after}; {interrupt.ROLLED_BACK}. Cure: {_CURE}.")

    thread = threading.Thread(target=watch, daemon=True, name="silence")
    thread.start()
    try:
        yield
    except Exception as error:
        unanswered = _unanswered(error) if has_cut.is_set() else error
        if unanswered is error:
            raise
        raise unanswered from error
    finally:
        over.set()
        thread.join()


def _unanswered(error: Exception) -> Exception:
    """Return the error for a run that was cut: in the words of the stage that met the cut, if it had any."""
    said = f"no answer {PATIENCE_S:g} s after the deadline"
    if not isinstance(error, MigratorError):
        return Unreachable(said, "give it more time: --deadline")
    if isinstance(error, Unreachable) and not error.message.startswith(said):  # as a bound inside of this one does
        error.message = f"{said}: {error.message}"
    return error


def _cut() -> None:
    """End all connections for good, so that whoever waits for one is told that it is lost."""
    for reference in tuple(_ours):
        connection = reference()
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as its:
            its.shutdown(socket.SHUT_RDWR)

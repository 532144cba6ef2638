"""Silence: a run's deadline in; its connections cut, all of them, where it is not over half a minute later.

Where it is not even then, the process leaves by force: what it waits for is not its database, but a revision's own
Python, or a pipe that nobody reads.

At the deadline the server itself ends every statement of ours. Who still waits for an answer then waits for a server
that hangs or a pooler that is paused: libpq does so for as long as the other end keeps the connection, which may be for
good. A connection that is cut is lost, and each stage has its words and its way for that.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from migrator import interrupt
from migrator.errors import Busy, MigratorError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.clock import Deadline

PATIENCE_S = 30.0  # longer than what comes after the deadline takes: what is open rolled back, the run's end written
AGAIN_S = 5.0  # whoever goes on with another connection
FORCE_S = 10.0  # after the first cut: all that is left to do then is to say so

_ours: weakref.WeakSet[Any] = weakref.WeakSet()


def note(connection: Any) -> None:
    """Remember a driver's connection as one of this process's, for as long as somebody uses it."""
    with contextlib.suppress(TypeError):  # another driver's may not be one that can be remembered
        _ours.add(connection)


@contextlib.contextmanager
def bounded(deadline: Deadline) -> Iterator[None]:
    """Cut what is noted where the block is not over in time; the Unreachable that comes of it says so."""
    over, has_cut = threading.Event(), threading.Event()

    def watch() -> None:
        patience, cut_at = deadline.left() + PATIENCE_S, 0.0
        while not over.wait(patience):
            if has_cut.is_set() and time.monotonic() - cut_at >= FORCE_S:
                after = f"{PATIENCE_S + FORCE_S:g} s after the deadline"
                interrupt.leave(Busy.code, f"{Busy.word}: left by force {after}; {interrupt.ROLLED_BACK}")
            cut_at = cut_at or time.monotonic()
            has_cut.set()
            _cut()
            patience = min(AGAIN_S, FORCE_S)

    thread = threading.Thread(target=watch, daemon=True, name="silence")
    thread.start()
    try:
        yield
    except Unreachable as error:
        if has_cut.is_set():
            error.message = f"no answer {PATIENCE_S:g} s after the deadline: {error.message}"
        raise
    except MigratorError:
        raise
    except Exception as error:
        if has_cut.is_set():  # what the driver says of a connection that is gone, where nobody had words for it
            raise Unreachable(
                f"no answer {PATIENCE_S:g} s after the deadline", "give it more time: --deadline"
            ) from error
        raise
    finally:
        over.set()
        thread.join()


def _cut() -> None:
    """End all connections for good, so that whoever waits for one is told that it is lost."""
    import socket  # noqa: PLC0415 - a load of a checkpoint would pay for it

    with contextlib.suppress(RuntimeError):  # somebody just made another: it is there the next time
        for connection in tuple(_ours):
            with contextlib.suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as its:
                its.shutdown(socket.SHUT_RDWR)

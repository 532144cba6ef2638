"""Apart: work in, what comes of it out, done on a thread of its own.

Python acts on a signal only between two steps of its own, and psycopg2 waits for an answer in C: for good, where the
server is silent. The main thread waits here, and so hears SIGTERM and the alarm of a deadline.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def done(work: Callable[[], T], patience_s: float | None = None) -> T:
    """Return what the work returns, or raise what it raises; TimeoutError where it does not end in that time.

    Work that does not end is left behind, as it is where a signal's handler raises: the process is to end then.
    """
    ended: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for who waits
            failed = error
            ended.put(lambda: _raised(failed))
        else:
            ended.put(lambda: result)

    threading.Thread(target=run, daemon=True, name="apart").start()
    try:
        outcome = ended.get(timeout=patience_s)
    except queue.Empty:
        raise TimeoutError from None
    return outcome()


def _raised(error: BaseException) -> NoReturn:
    raise error

"""Own thread: a piece of work done on a thread of its own, while this one waits and hears signals.

Python acts on a signal only between two steps of its own, and psycopg2 waits for an answer in C: for good, where the
server is silent. The main thread waits here, and so hears SIGTERM and the alarm of a deadline.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def done(work: Callable[[], T], patience_s: float | None = None) -> T:
    """Return what the work returns, or raise what it raises; TimeoutError where it does not end in that time.

    Work that does not end is left behind: the process is to end then. A pool's thread would be waited for.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for who waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="own-thread").start()
    return future.result(patience_s)

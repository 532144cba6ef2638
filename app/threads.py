"""Threads: a blocking call in, its result out, on as many threads as there are database connections.

A request therefore waits its turn on the event loop, in order and for a bounded time, and never inside a thread
for a connection of the pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, fail_after, get_cancelled_exc_class, to_thread

from app.problems import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
QUEUE_TIMEOUT_S = 5.0


class Threads:
    """The threads of one process that talk to the database for requests."""

    def __init__(self, number: int, *, answer_timeout_s: float, queue_timeout_s: float = QUEUE_TIMEOUT_S) -> None:
        self._turns = CapacityLimiter(number)
        self._threads = CapacityLimiter(number)
        self._answer_timeout_s = answer_timeout_s
        self._queue_timeout_s = queue_timeout_s

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return `work(*arguments)`; a 503 problem if its turn, or its end, does not come in time."""
        turn = object()
        try:
            with fail_after(self._queue_timeout_s):
                await self._turns.acquire_on_behalf_of(turn)
        except TimeoutError:
            raise unavailable("too many requests are waiting for the database") from None
        try:
            # The server ends what takes too long by itself; a server that is frozen does not, and its thread is
            # left behind, holding its connection and so its place in the pool.
            with fail_after(self._answer_timeout_s):
                return await to_thread.run_sync(work, *arguments, limiter=self._threads, abandon_on_cancel=True)
        except TimeoutError:
            raise unavailable("the database did not answer in time") from None
        except get_cancelled_exc_class():
            # The server ends requests that outlast its graceful shutdown; this is the last thing they do.
            raise unavailable("this instance is stopping") from None
        finally:
            self._turns.release_on_behalf_of(turn)

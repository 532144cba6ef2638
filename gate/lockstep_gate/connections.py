"""Connections: a piece of work done on a connection of the app's own engine, whichever kind of engine that is.

The work always gets a synchronous SQLAlchemy Connection in a transaction. An AsyncEngine's connections belong to the
event loop that made them, so its twin here has a loop and a pool of its own: neither waits for the other.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import create_engine, pool
from sqlalchemy.engine import Connection, Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")


class Connections(Protocol):
    """Where work is done, from one thread at a time."""

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do the work in one transaction; errors of the database pass through."""

    def close(self) -> None:
        """Give back what was opened for this."""

    def forget(self) -> None:
        """Leave to the parent what it had open before a fork: two processes on one socket mix up their answers."""


class OfEngine:
    """The connections of an Engine, which belongs to the app."""

    def __init__(self, engine: Engine) -> None:
        """Open nothing yet."""
        self._engine = engine

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do the work in one transaction."""
        with self._engine.begin() as connection:
            return work(connection)

    def close(self) -> None:
        """Leave the engine to the app."""

    def forget(self) -> None:
        """Begin with an empty pool, closing nothing."""
        self._engine.dispose(close=False)


class OfAsyncEngine:
    """Connections like those of an AsyncEngine, on an event loop of their own."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Open nothing yet."""
        self._of = engine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._twin: AsyncEngine | None = None

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do the work in one transaction; the thread waits for it."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(self._run(work))

    async def _run(self, work: Callable[[Connection], T]) -> T:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - only where the app has one

        if self._twin is None:
            # With what the app gave its engine: driver, arguments, creator and events.
            own_pool = self._of.sync_engine.pool.recreate()
            self._twin = create_async_engine(self._of.url, pool=own_pool, hide_parameters=True)
        async with self._twin.begin() as connection:
            return await connection.run_sync(work)

    def close(self) -> None:
        """Close the connections and the loop."""
        if self._loop is None:
            return
        if self._twin is not None:
            self._loop.run_until_complete(self._twin.dispose())
        self._loop.close()
        self._loop = self._twin = None

    def forget(self) -> None:
        """Begin anew, closing nothing."""
        self._loop = self._twin = None


def of(engine: Any) -> Connections:
    """Return the connections of an Engine, an AsyncEngine, or a function that makes a driver's connections."""
    if isinstance(engine, Engine):
        return OfEngine(engine)
    if hasattr(engine, "sync_engine"):
        return OfAsyncEngine(engine)
    if callable(engine):
        return _of_factory(engine)
    raise TypeError(
        f"a gate asks through an Engine, an AsyncEngine or a connection factory, not {type(engine).__name__}"
    )


def _of_factory(factory: Callable[[], Any]) -> Connections:
    """Return connections made by a function: `lambda: psycopg.connect(…)`, or an `async def` for asyncpg."""
    if inspect.iscoroutinefunction(factory):
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

        made = create_async_engine("postgresql+asyncpg://", async_creator=factory, poolclass=pool.NullPool)
        return OfAsyncEngine(made)
    # SQLAlchemy has to be told whose connections they are: one is made to look at.
    first = factory()
    driver = type(first).__module__.partition(".")[0]
    first.close()
    engine = create_engine(f"postgresql+{driver}://", creator=factory, poolclass=pool.NullPool, hide_parameters=True)
    return OfEngine(engine)

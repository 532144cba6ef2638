"""Env substitution: env.py configures, the engine connects.

Where env.py calls `configure(connection=…)`, the engine puts in a connection of its own: psycopg2's, to the same
database, with what env.py had set on its session. A transaction that env.py had begun is ended first. So it does not
matter how env.py connects, nor what it has done by then.
"""

from __future__ import annotations

import ast
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockstep.errors import Refused
from lockstep.postgres import connect as connecting
from lockstep.project import env_connections, env_session
from lockstep.stop import watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa
    from alembic.runtime.environment import EnvironmentContext

    Work = Callable[[Any, dict[str, Any]], None]

SEVERAL = Refused(
    "env.py configures more than one database or schema, one after the other; nothing was changed",
    "run it once for each: an alembic.ini or a section (-n NAME) for each, or -x NAME=VALUE that env.py reads",
)


@dataclass
class Substitution:
    """One run of env.py, with `work(context, arguments)` in the place of its run_migrations.

    `connect` makes a connection of ours; `reads`: what env.py had begun is not kept; `redirect`: the throw-away
    database that all of this is about; `configured` is filled with what env.py configures.
    """

    environment: EnvironmentContext
    work: Work
    connect: Callable[[], sa.Connection]
    configured: dict[str, Any]
    more: Callable[[sa.Connection, dict[str, Any]], dict[str, Any]]
    redirect: str = ""
    reads: bool = False
    called: list[Any] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    _made: list[sa.Connection] = field(default_factory=list)

    def install(self, original: Callable[..., None]) -> None:
        """Stand in for `configure`: on the instance, because a subclass would lose Alembic's module proxy."""
        self._original = original
        self.environment.configure = self._configure  # type: ignore[method-assign]

    def close(self) -> None:
        """Close what was made for env.py."""
        for connection in self._made:
            with contextlib.suppress(Exception):  # lost, as whoever used it has said
                connection.close()

    def _configure(self, connection: Any = None, *positional: Any, **options: Any) -> None:
        if self.called or options.get("upgrade_token", "upgrades") != "upgrades":
            raise Refused(SEVERAL.message.partition(";")[0], SEVERAL.cure)
        self.configured |= {name: options.get(name) for name in ("target_metadata", "include_object")}
        given = connection
        if given is not None and not self.environment.is_offline_mode():
            _require_postgresql(given)
            connection = self._ours(given)
            options |= self.more(connection, options)
        self._original(connection, *positional, **(options | {"transaction_per_migration": True}))
        context = self.environment.get_context()
        take_over(context, lambda arguments: self._run(context, given, arguments))

    def _ours(self, given: sa.Connection) -> sa.Connection:
        """Return the connection that the engine works on in the place of env.py's."""
        if given.engine is getattr(self.connect, "__self__", None):  # the engine's own env.py asked for one of ours
            return given
        ours = self.connect()
        self._made.append(ours)
        if not self.redirect:
            env_session.require_same_database(given, ours)
        ours = env_session.of_dialect(given, ours)
        self._settle(given, ours)
        return ours

    def _settle(self, given: sa.Connection, ours: sa.Connection) -> None:
        if self.redirect and not env_connections.was_led(given):  # of a `creator=`: it is at the real database
            env_session.end_transaction(given, keep=False)
            return
        taken = env_session.take(given)
        env_session.end_transaction(given, keep=not self.reads)
        env_session.give(ours, taken)

    def _run(self, context: Any, given: Any, arguments: dict[str, Any]) -> None:
        self.called.append(context)
        try:
            if given is not None and given.engine is not context.connection.engine and not given.closed:
                self._settle(given, context.connection)  # what env.py did since
            if context.connection is not None:
                _keep(context.connection, keep=not self.reads)
            self.work(context, arguments)
        except BaseException as error:
            self.failed.append(error)  # env.py may take it for its own affair
            raise


def _keep(ours: sa.Connection, *, keep: bool) -> None:
    """End what env.py did on our connection by Alembic's context, such as making the schema of its version table."""
    if keep:
        ours.commit()
    else:
        ours.rollback()


def take_over(context: Any, work: Callable[[dict[str, Any]], None]) -> None:
    """Let `work(arguments)` stand in for the context's run_migrations, once; check that it can."""
    if context.as_sql:
        return
    _require_postgresql(context)
    if context._in_external_transaction:  # noqa: SLF001 - Alembic keeps it private, and silently gives up its own transactions
        raise Refused(
            "env.py hands over a connection that is already in a transaction",
            "call context.configure() before anything runs on it: each revision needs a transaction of its own",
        )
    watchdog.note(context.connection.connection.dbapi_connection)  # env.py may have made it itself
    context.connection.exec_driver_sql(connecting.LEDGER_OUT_OF_SEARCH_PATH)
    context.connection.commit()
    alembic_run = context.run_migrations

    def run_migrations(**arguments: Any) -> None:
        context.run_migrations = alembic_run
        work(arguments)

    context.run_migrations = run_migrations


def _require_postgresql(configured: Any) -> None:
    name = configured.dialect.name
    if name != "postgresql":
        raise Refused(f"env.py connects to {name}", "the migrator works on PostgreSQL alone")


def loops(env_py: Path) -> bool:
    """Tell whether env.py may configure more than once: it has a loop, or a function of its own to call again."""
    try:
        tree = ast.parse(env_py.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.For | ast.AsyncFor | ast.While) for node in ast.walk(tree))


class Counting:
    """A run of env.py that changes nothing, to see how often it configures and runs."""

    def __init__(self, environment: EnvironmentContext) -> None:
        """Take the environment in which env.py is about to run."""
        self.environment, self.runs = environment, 0

    def install(self) -> None:
        """Stand in for `configure`."""
        self._original = self.environment.configure
        self.environment.configure = self._configure  # type: ignore[method-assign]

    def _configure(self, *positional: Any, **options: Any) -> None:
        self._original(*positional, **options)
        self.environment.get_context().run_migrations = self._count  # type: ignore[method-assign]

    def _count(self, **_arguments: Any) -> None:
        self.runs += 1

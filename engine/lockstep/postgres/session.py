"""Session: put our limits on the connection that env.py works with, and see each statement that runs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.errors import Refused
from lockstep.postgres import lock, prepared
from lockstep.postgres.control import lost
from lockstep.postgres.limits import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.postgres.control import Control
    from lockstep.settings import Settings

# What a revision may leave behind in the session, and the next one must not meet.
_STATE = "SELECT current_setting('search_path'), current_setting('role')"
_SET_HERE = "SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session'"
_RESTORE = (
    "SELECT set_config('role', %(role)s, false), set_config('search_path', %(search_path)s, false)"
    ", set_config('lock_timeout', %(lock)s, true), set_config('statement_timeout', %(statement)s, true)"
)
# Who commits on the driver's connection, past SQLAlchemy's events, is in another transaction afterwards.
_NUMBER = "txid_current()"


# The log keeps the order of commits, so the run's own end, which waits for the disk, does so for all steps before it.
_NO_FLUSH = "set_config('synchronous_commit', 'off', true)"
_BEGIN = f"{_RESTORE}, {_NO_FLUSH}, {_NUMBER}, ({lock.STILL_HELD.replace(':pid', '%(pid)s')})"
_AS_AT_THE_START = (
    "SELECT set_config('role', %(role)s, true), set_config('search_path', %(search_path)s, true)"
    f", txid_current_if_assigned() IS NOT NULL, {prepared.THERE}"
)
_LIMIT = f"{_RESTORE}, {_NUMBER}, {prepared.THERE}"
# One message, because each revision pays for it: all settings as they were at the start, then what env.py had set by
# then. Its role comes last: it may not have the right to the others.
_TAKE_BACK = "SET ROLE NONE; RESET ALL; SELECT "


class Session:
    """One connection of SQLAlchemy, under Alembic's MigrationContext."""

    def __init__(self, context: Any, control: Control, settings: Settings) -> None:
        """Set the limits for good (outside a transaction: a rollback would take them back) and remember the state."""
        self.context, self._control = context, control
        self._forget: Callable[[], None] = lambda: None
        self._transaction = 0
        connection = context.connection
        connection.rollback()
        connection.exec_driver_sql(limits(settings, control.server_version))
        self.pid = require_same_database(connection, control)
        self._search_path, self._role = connection.exec_driver_sql(_STATE).one()
        mine = {name: setting for name, setting in connection.exec_driver_sql(_SET_HERE) if name != "role"}
        mine |= {"search_path": self._search_path, "role": self._role}
        self._as_it_was = [text for item in mine.items() for text in item]
        self._take_back = _TAKE_BACK + ", ".join(["set_config(%s, %s, false)"] * len(mine))
        connection.commit()
        if getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
            raise Refused(
                "env.py connects with autocommit, so a revision that fails would be half applied",
                "take isolation_level='AUTOCOMMIT' out of its engine; what needs it goes into autocommit_block()",
            )

    def restore(self) -> None:
        """Take back what a revision has SET for the session, search path and role too: the next one starts clean."""
        connection = self.context.connection
        connection.rollback()
        driver = connection.connection.dbapi_connection
        driver.autocommit = True  # no BEGIN and no COMMIT, which are round trips of their own
        try:
            with driver.cursor() as cursor:
                cursor.execute(self._take_back, self._as_it_was)
        finally:
            if not self.is_lost:
                driver.autocommit = False

    def begin(self, lock_ms: int, statement_ms: int) -> None:
        """Begin a transaction as the session was at the start, with a try's limits; Unreachable if the lock is lost."""
        connection = self.context.connection
        self._transaction = 0
        connection.rollback()
        *_, self._transaction, held = self._set(_BEGIN, lock_ms, statement_ms, pid=self._control.pid)
        if not held:
            raise lost(self._control.where)

    def limit(self, lock_ms: int, statement_ms: int) -> bool:
        """Set search path, role and a try's limits for the transaction that runs; tell whether it is still the same."""
        was = self._transaction
        *_, self._transaction, there = self._set(_LIMIT, lock_ms, statement_ms)
        prepared.note(self.context.connection, there)
        return bool(was == self._transaction)

    def as_at_the_start(self) -> bool:
        """Put search path and role back for the rest of the transaction alone; tell whether it has written anything."""
        given = {"search_path": self._search_path, "role": self._role}
        [(*_, wrote, there)] = prepared.rows(self.context.connection, _AS_AT_THE_START, given)
        prepared.note(self.context.connection, there)
        return bool(wrote)

    @property
    def has_committed(self) -> bool:
        """Tell whether the transaction that began here is committed; asked from beside, also after one that failed."""
        if not self._transaction or self.is_lost:
            return False
        return bool(self._control.row("SELECT txid_status(%s) = 'committed'", (self._transaction,))[0])

    def _set(self, sql: str, lock_ms: int, statement_ms: int, **more: Any) -> Any:
        limits = {"lock": f"{lock_ms}ms", "statement": f"{statement_ms}ms"}
        given = {"search_path": self._search_path, "role": self._role, **limits, **more}
        [row] = prepared.rows(self.context.connection, sql, given)
        return row

    @property
    def is_lost(self) -> bool:
        """Tell whether the connection broke."""
        connection = self.context.connection
        return bool(connection.invalidated or getattr(connection.connection.dbapi_connection, "closed", False))

    def listen(self, handle: Callable[[Any, str, Callable[[], None]], bool], leave: Callable[[str], None]) -> None:
        """Let `handle` see each statement, and answer whether it took care of it; `leave` each end of a transaction."""
        from sqlalchemy import event  # noqa: PLC0415

        def one(cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
            return handle(cursor, sql, lambda: context.dialect.do_execute(cursor, sql, parameters, context))

        def many(cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
            return handle(cursor, sql, lambda: context.dialect.do_executemany(cursor, sql, parameters, context))

        def plain(cursor: Any, sql: str, context: Any) -> bool:
            return handle(cursor, sql, lambda: context.dialect.do_execute_no_params(cursor, sql, context))

        engine = self.context.connection.engine
        listeners = (
            ("do_execute", one), ("do_executemany", many), ("do_execute_no_params", plain),
            ("commit", lambda _: leave("commits")), ("rollback", lambda _: leave("rolls back")),
        )  # fmt: skip
        for name, listener in listeners:
            event.listen(engine, name, listener)
        self._forget = lambda: [event.remove(engine, name, listener) for name, listener in listeners]  # type: ignore[assignment]

    def close(self) -> None:
        """Let go of the connection's engine."""
        self._forget()


def require_same_database(connection: Any, control: Control) -> int:
    """Return the pid of the connection that env.py made; raise Refused where it leads elsewhere than the run's own."""
    pid = int(scalar(connection, "SELECT pg_backend_pid()"))
    if pid == control.pid:
        raise Refused(
            "the URL leads through a pooler that shares connections between transactions",
            "give the URL of the database itself, or of the pooler's session mode",
        )
    if not scalar(connection, lock.STILL_HELD, pid=control.pid):
        control.row("SELECT 1")  # a connection that was lost has lost the lock too: Unreachable
        raise Refused(
            "env.py connects to another database than MIGRATOR_DATABASE_URL names",
            "let env.py take its URL from the configuration (sqlalchemy.url), or set MIGRATOR_DATABASE_URL to the same",
        )
    return pid


def scalar(connection: Any, sql: str, **parameters: Any) -> Any:
    """Run one statement with :named parameters and return the first column of its first row, or None."""
    import sqlalchemy as sa  # noqa: PLC0415

    return connection.execute(sa.text(sql), parameters).scalar()

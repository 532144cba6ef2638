"""Connect: a database URL in, connections out whose limits the runner has set.

The limits are set after connecting, by SET: a pooler may refuse startup options.
"""

from __future__ import annotations

import contextlib
import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from lockstep.errors import Busy, Interrupted, MigratorError, Refused, Unreachable, Usage
from lockstep.postgres import driver, pooler, tls
from lockstep.postgres.address import Address, address
from lockstep.stop import watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lockstep.settings import Settings
    from lockstep.stop.deadline import Deadline
    from lockstep.stop.interrupt import Interrupt

OLDEST_SERVER = 120000
HAS_CONNECTION_CHECK = 140000
CONNECT_TIMEOUT_S = 5

# What the server or libpq says when waiting would not help (connection errors carry no SQLSTATE).
_FINAL = (
    (r"password authentication failed", "the password is not accepted", "check user and password in the URL"),
    (r"no password supplied", "the server wants a password", "put it in the URL"),
    (r"no pg_hba.conf entry|rejects connection", "the server lets nobody in from here this way",
     "check host, user and sslmode"),
    (r'database ".*" does not exist', "the database does not exist", "create it, or correct the name in the URL"),
    (r'role ".*" does not exist', "the role does not exist", "create it, or correct the user in the URL"),
    (r'role ".*" is not permitted to log in', "the role may not log in", "ALTER ROLE … LOGIN, or use another one"),
    (r"permission denied for database", "the role may not connect to the database", "GRANT CONNECT ON DATABASE … TO …"),
    (r"invalid \w+ value|unrecognized configuration parameter|invalid value for parameter",
     "the URL holds an option that PostgreSQL does not know", "check what follows the ? in the URL"),
    (r"root certificate file|certificate verify failed|does not match host name",
     "the server's certificate is not trusted", "check MIGRATOR_TLS_CA, or sslmode and sslrootcert in the URL"),
    (r"server does not support SSL", "the server takes no encrypted connections, and one is required",
     "switch TLS on there, or take MIGRATOR_REQUIRE_TLS or sslmode away"),
)  # fmt: skip


def open_connection(where: Address, timeout_s: float) -> psycopg2.extensions.connection:
    """Open one connection, or raise psycopg2.OperationalError."""
    # Without gssencmode=disable libpq spends a round trip on asking for an encryption nobody here has.
    extra = {} if "gssencmode" in where.dsn else {"gssencmode": "disable"}
    connection = psycopg2.connect(
        where.dsn,
        connect_timeout=max(2, int(min(timeout_s, CONNECT_TIMEOUT_S))),  # libpq rounds 1 up to 2 anyway
        **driver.NETWORK,
        **extra,
    )
    watchdog.note(connection)
    return connection


def wait(
    where: Address, deadline: Deadline, interrupt: Interrupt, tell: Callable[[str], None]
) -> psycopg2.extensions.connection:
    """Connect as soon as the database answers; raise Unreachable at the deadline, Usage where waiting is no use."""
    first = True
    pause = 0.1
    while True:
        interrupt.check()
        try:
            return open_connection(where, max(1.0, deadline.left()))
        except psycopg2.OperationalError as error:
            reason = _reason(error, where)
        if deadline.left() <= pause:
            raise Unreachable(
                f"{where.shown} does not answer: {reason}", "check that the database runs and can be reached from here"
            )
        if first:
            tell(f"waiting    for {where.shown}: {reason}")
            first = False
        interrupt.sleep(pause)
        pause = min(pause * 2, 1.0)


def _reason(error: psycopg2.OperationalError, where: Address) -> str:
    """Return a short reason for a failed try; raise Usage when another try cannot do better."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Is the server running")]
    text = said[-1] if said else "no reason given"
    for sign, message, cure in _FINAL:
        if re.search(sign, text):
            raise Usage(f"{where.shown}: {message}", cure) from None
    # libpq names host and port itself; never a password.
    return re.sub(r"^connection to server .* failed: |^.*FATAL: *", "", text)


_FIRST, _LAST = (end.replace(tzinfo=UTC) for end in (datetime.min, datetime.max))  # noqa: DTZ901 - replaced


def _time(text: str | None, cursor: Any) -> Any:
    """Return a time; the first or last that Python knows for one it does not: reports and ledger may hold anything."""
    try:
        return psycopg2.extensions.PYDATETIMETZ(text, cursor)  # type: ignore[operator]
    except ValueError:
        return _FIRST if text and text.endswith("BC") else _LAST


_ANY_TIME = psycopg2.extensions.new_type((1184,), "ANY_TIME", _time)


class Control:
    """The run's own autocommit connection: it holds the lock, keeps the run's rows, and looks at who blocks.

    Used by one thread at a time (a mutex); never in a transaction, so that it holds no snapshot
    that CREATE INDEX CONCURRENTLY would have to wait for.
    """

    def __init__(self, raw: psycopg2.extensions.connection, where: Address) -> None:
        """Wrap an open connection."""
        self.raw = raw
        self.where = where
        self.mutex = threading.RLock()
        watchdog.note(raw)
        raw.autocommit = True
        psycopg2.extensions.register_type(_ANY_TIME, raw)
        # Asked of the server: through a pooler, libpq knows only the pooler's own number.
        self.pid: int = self.row("SELECT pg_backend_pid()")[0]
        self.server_version: int = raw.server_version

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; raise Unreachable when the connection is gone."""
        with self.mutex:
            try:
                with self.raw.cursor() as cursor:
                    cursor.execute(sql, parameters)
                    return cursor.fetchall() if cursor.description else []
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if self.raw.closed:
                    raise lost(self.where) from error
                raise

    def row(self, sql: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> tuple[Any, ...]:
        """Run one statement and return its only row."""
        return self.rows(sql, parameters)[0]

    def bound(self, settings: Settings) -> None:
        """Set the session's own limits."""
        self.rows(limits(settings, self.server_version, "10s") + " SET search_path = pg_catalog;")

    def close(self) -> None:
        """Close the connection; the session's advisory lock goes with it."""
        self.raw.close()


_NOT_AS_MADE = (
    psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn, psycopg2.errors.DuplicateTable,
    psycopg2.errors.NotNullViolation, psycopg2.errors.CheckViolation,
)  # fmt: skip


@contextlib.contextmanager
def errors_of_server(where: Address) -> Iterator[None]:
    """Turn what the server says to a statement of ours, not of a revision, into an expected error."""
    try:
        yield
    except psycopg2.errors.InsufficientPrivilege as error:
        raise Refused(
            f"this role may not do that on {where.shown}: {error.diag.message_primary}",
            "run the migrator with the role that owns the database and its schema",
        ) from error
    except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected, psycopg2.errors.QueryCanceled) as error:
        raise Busy(
            f"the ledger in {where.shown} is locked: {error.diag.message_primary}", "see who holds it (pg_locks)"
        ) from error
    except _NOT_AS_MADE as error:
        raise Refused(
            f"the ledger in {where.shown} is not as the migrator made it: {error.diag.message_primary}",
            "put back what somebody dropped or changed in schema migrator, from a backup",
        ) from error
    except psycopg2.errors.ReadOnlySqlTransaction as error:
        raise Refused(f"{where.shown} is read-only", "give the URL of the primary") from error
    except (psycopg2.errors.DiskFull, psycopg2.errors.TooManyConnections) as error:
        raise Unreachable(f"{where.shown}: {error.diag.message_primary}", "make room on the server") from error


def lost(where: Address) -> Unreachable:
    """Return the error for a connection that broke on the way."""
    return Unreachable(
        f"the connection to {where.shown} was lost; the server rolls back what was open",
        "the next run goes on from what the ledger shows as applied",
    )


def control(
    settings: Settings, deadline: Deadline, interrupt: Interrupt, tell: Callable[[str], None],
    there: psycopg2.extensions.connection | None = None,
) -> Control:  # fmt: skip
    """Return the control connection, that which is `there` if one is, to a database that may be changed; or refuse."""
    where = address(settings.database_url, settings.url_source)
    tls.insist(where, settings)
    pooler.look_at(where)
    try:
        raw = there or wait(where, deadline.sooner(settings.wait_ms), interrupt, tell)
    except Interrupted as error:
        raise Interrupted(error.code - 128, "stopped while waiting for the database; nothing was changed") from None
    except Unreachable as error:
        error.cure = pooler.advice(where) or error.cure
        raise
    connection = Control(raw, where)
    try:
        _look(connection, settings)
        _look_between(connection, settings, tell)
    except MigratorError:
        connection.close()
        raise
    return connection


def _look(connection: Control, settings: Settings) -> None:
    """Refuse a server that cannot be migrated; set the session's own limits."""
    if connection.server_version < OLDEST_SERVER:
        version = connection.server_version // 10000
        raise Refused(f"PostgreSQL {version} is too old", "the migrator works on 12 and newer")
    asked = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool"
    replica, read_only = connection.row(asked)
    if replica:
        raise Refused(f"{connection.where.shown} is a read-only replica", "give the URL of the primary")
    if read_only:
        raise Refused(f"{connection.where.shown} is set read-only", "unset default_transaction_read_only for this role")
    connection.bound(settings)


def _look_between(connection: Control, settings: Settings, tell: Callable[[str], None]) -> None:
    """Refuse what stands between us and the server: a pooler that keeps no session, a network that others hear."""
    protection, is_worth_a_word = tls.verdict(connection.raw)
    if is_worth_a_word and settings.require_tls:
        raise Refused(
            f"the connection to {connection.where.shown} is {protection}",
            "write sslmode=verify-full into the URL (MIGRATOR_REQUIRE_TLS is on)",
        )
    if is_worth_a_word:
        tell(f"warning    the connection to {connection.where.shown} is {protection}; MIGRATOR_TLS_CA makes it safe")
    pooler.verdict(connection, lambda: open_connection(connection.where, CONNECT_TIMEOUT_S))


def limits(settings: Settings, server_version: int, statement_timeout: str | None = None) -> str:
    """Return the SET statements that bound a session of ours, whatever its role's or database's defaults are.

    client_connection_check_interval (14 and newer) makes the backend of a killed migrator leave the lock
    queue; without it the app stays stalled behind it for as long as the blocker lives.
    """
    name = re.sub(r"[^\w.+/-]", "_", f"migrator/{settings.commit}"[:63], flags=re.ASCII)
    sets = {
        "application_name": name,
        "lock_timeout": f"{settings.lock_timeout_ms}ms",
        "statement_timeout": statement_timeout or f"{settings.statement_timeout_ms}ms",
        "idle_in_transaction_session_timeout": f"{settings.idle_timeout_ms}ms",
    }
    if server_version >= HAS_CONNECTION_CHECK:
        sets["client_connection_check_interval"] = "1s"
    return " ".join(f"SET {key} = '{value}';" for key, value in sets.items())


# For a role named like the ledger's schema, "$user" would put the app's tables among the ledger's.
_LEDGER_OUT = """
SELECT set_config('search_path', coalesce(string_agg(part, ',' ORDER BY place), 'public'), {local})
  FROM unnest(string_to_array(current_setting('search_path'), ',')) WITH ORDINALITY AS p (part, place)
 WHERE CASE btrim(part, ' "') WHEN '$user' THEN current_user ELSE btrim(part, ' "') END <> 'migrator'"""
LEDGER_OUT_OF_SEARCH_PATH = _LEDGER_OUT.format(local="false")
LEDGER_OUT_FOR_THE_TRANSACTION = _LEDGER_OUT.format(local="true")


def migrating_connection(where: Address, settings: Settings) -> psycopg2.extensions.connection:
    """Return a connection that carries the limits; raise Unreachable."""
    try:
        raw = open_connection(where, CONNECT_TIMEOUT_S)
    except psycopg2.OperationalError as error:
        raise Unreachable(
            f"{where.shown} does not answer: {_reason(error, where)}",
            "check that the database runs and can be reached from here",
        ) from None
    raw.autocommit = True  # a SET inside a transaction that rolls back would be undone
    with raw.cursor() as cursor:
        cursor.execute(limits(settings, raw.server_version) + LEDGER_OUT_OF_SEARCH_PATH)
    raw.autocommit = False
    return raw


def migrating_engine(where: Address, settings: Settings) -> Any:
    """Return a SQLAlchemy engine whose connections carry the limits and end with their use."""
    import sqlalchemy as sa  # noqa: PLC0415 - a run with nothing to do never needs it

    tls.insist(where, settings)
    return sa.create_engine(
        "postgresql+psycopg2://", creator=lambda: migrating_connection(where, settings), poolclass=sa.pool.NullPool
    )

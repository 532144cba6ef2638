"""Control: the run's own connection, and what the server's errors on it mean."""

from __future__ import annotations

import contextlib
import functools
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from lockstep.errors import Busy, Refused, Unreachable
from lockstep.postgres.connection import CONNECT_TIMEOUT_S, open_connection
from lockstep.postgres.limits import limits
from lockstep.stop import watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lockstep.postgres.address import Address
    from lockstep.settings import Settings

_FIRST, _LAST = (end.replace(tzinfo=UTC) for end in (datetime.min, datetime.max))  # noqa: DTZ901 - replaced


def _time(text: str | None, cursor: psycopg2.extensions.cursor) -> datetime:
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
        self.where = where
        self.mutex = threading.RLock()
        self._wrap(raw)

    def _wrap(self, raw: psycopg2.extensions.connection) -> None:
        self.raw = raw
        watchdog.note(raw)
        raw.autocommit = True
        psycopg2.extensions.register_type(_ANY_TIME, raw)
        self.server_version: int = raw.server_version

    def renew(self) -> None:
        """Go on with a new session, for what it begins with: the old one's locks and settings are gone."""
        self.close()
        self.__dict__.pop("pid", None)
        try:
            self._wrap(open_connection(self.where, CONNECT_TIMEOUT_S))
        except psycopg2.OperationalError as error:
            raise lost(self.where) from error

    @functools.cached_property
    def pid(self) -> int:
        """Asked of the server: through a pooler, libpq knows only the pooler's own number."""
        return int(self.row("SELECT pg_backend_pid()")[0])

    def rows(self, sql: str, parameters: Sequence | dict | None = None) -> list[tuple]:
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

    def row(self, sql: str, parameters: Sequence | dict | None = None) -> tuple:
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

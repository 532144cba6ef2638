"""Look: try in the step's own transaction what cannot be known by reading, in a savepoint, as the app's role.

Nothing is written: defaults are evaluated, statements only planned. Each look is short, and taken back with all that
it set; one that was not over in time, or that may not be taken as that role, tells nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

TIMEOUT_MS = 100
_UNTOLD = {"57014", "55P03", "40P01"}  # too slow, or somebody's lock: not the release's fault
_PLACE = "lockstep_look"


class Failed(NamedTuple):
    """What the server said."""

    sqlstate: str
    text: str


class Look:
    """Looks on one connection, inside its transaction; without a connection nothing is told."""

    def __init__(
        self,
        connection: Connection | None,
        paths: dict[str, tuple[str, ...]],
        outside: Callable[[str], list[Any]] | None = None,
    ) -> None:
        """`paths` are the roles by name, each with its schemas; `outside` asks a session that sees what was before."""
        self._connection, self._paths, self._outside = connection, paths, outside

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles to look as."""
        return tuple(self._paths)

    def fails(self, statement: str, *, role: str | None = None) -> Failed | None:
        """Run a statement and take it back; return how it failed, None if it went or could not be tried."""
        return next(iter(self.failures([statement], role=role)), (None, None))[1]

    def failures(self, statements: Iterable[str], *, role: str | None = None) -> Iterator[tuple[str, Failed]]:
        """Run each statement and take it back; give those that failed."""
        statements = list(statements)
        if self._connection is None or not statements:
            return
        with self._connection.connection.cursor() as cursor:
            cursor.execute(f"SAVEPOINT {_PLACE}")
            try:
                if not self._become(cursor, role):
                    return
                for statement in statements:
                    cursor.execute(f"SAVEPOINT {_PLACE}_one")
                    failed = _try(cursor, statement)
                    cursor.execute(f"ROLLBACK TO SAVEPOINT {_PLACE}_one")
                    if failed is not None and failed.sqlstate not in _UNTOLD:
                        yield statement, failed
            finally:
                cursor.execute(f"ROLLBACK TO SAVEPOINT {_PLACE}; RELEASE SAVEPOINT {_PLACE}")

    def value(self, statement: str) -> Any:
        """Return the one value that a statement reads, as the migrator; None where it cannot be read in time."""
        if self._connection is None:
            return None
        with self._connection.connection.cursor() as cursor:
            cursor.execute(f"SAVEPOINT {_PLACE}")
            try:
                self._become(cursor, None)
                if _try(cursor, statement) is not None:
                    return None
                row = cursor.fetchone()
                return row[0] if row else None
            finally:
                cursor.execute(f"ROLLBACK TO SAVEPOINT {_PLACE}; RELEASE SAVEPOINT {_PLACE}")

    def was(self, statement: str) -> Any:
        """Return the one value that a statement reads as the database was; None where it cannot in time."""
        if self._outside is None:
            return None
        limits = f"SET LOCAL statement_timeout = {TIMEOUT_MS}; SET LOCAL lock_timeout = 10; "
        try:
            rows = self._outside(f"BEGIN READ ONLY; {limits}{statement}")
        except Exception:  # noqa: BLE001 - whatever it was, it tells nothing; the session goes on
            rows = []
        finally:
            with contextlib.suppress(Exception):
                self._outside("ROLLBACK")
        return rows[0][0] if rows else None

    def _become(self, cursor: Any, role: str | None) -> bool:
        path = self._paths.get(role or "", ())
        if path:
            names = ", ".join(quoted(one) for one in path)
            cursor.execute(f"SET LOCAL search_path = {names}, pg_temp".replace("%", "%%"))
        cursor.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}; SET LOCAL lock_timeout = {TIMEOUT_MS // 2}")
        # What is only planned must not be planned at length, nor in parallel.
        return role is None or _try(cursor, f"SET LOCAL ROLE {quoted(role)}") is None


def _try(cursor: Any, statement: str) -> Failed | None:
    import psycopg2  # noqa: PLC0415 - nothing is looked at in a run that changes nothing

    try:
        cursor.execute(statement.replace("%", "%%"), {})
    except psycopg2.Error as error:
        return Failed(error.pgcode or "", (error.diag.message_primary or str(error)).strip())
    return None
